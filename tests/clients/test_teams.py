"""Teams, which the clients only read."""

from baseten.client.managementapi import GetTeamsParams

from guildhall import one, refusal


def shown(teams):
    return {(team.id, team.name, team.default) for team in teams}


def test_an_organization_admin_sees_every_team(acme):
    teams = acme.admin.api.get_teams().teams
    assert shown(teams) == shown(acme.teams)
    assert len(teams) == len(acme.teams)
    assert one(team.name for team in teams if team.default) == acme.default_team.name


def test_a_person_sees_the_teams_they_are_in(acme):
    members = [person for person in acme.people if not person.is_org_admin()]
    for person in members:
        theirs = [team for team in acme.teams if team.id in person.teams]
        assert shown(person.api.get_teams().teams) == shown(theirs), person.email


def test_a_team_key_sees_its_own_team(acme):
    key = acme.team.keys["WORKSPACE_MANAGE_ALL"]
    assert shown(key.api.get_teams().teams) == shown([acme.team])
    assert key.api.get_teams_team_id(team_id=acme.team.id).name == acme.team.name
    refusal(404, key.api.get_teams_team_id, team_id=acme.other_team.id)
    refusal(404, key.api.get_teams_team_id, team_id=acme.default_team.id)


def test_a_team_is_read_as_it_is_listed(acme):
    for team in acme.member.api.get_teams().teams:
        assert acme.member.api.get_teams_team_id(team_id=team.id) == team


def test_a_team_is_found_by_its_exact_name(acme):
    def found(caller, name):
        return shown(caller.api.get_teams(params=GetTeamsParams(name=name)).teams)

    for caller in (acme.admin, acme.team_admin, acme.member):
        assert found(caller, acme.team.name) == shown([acme.team])
    assert found(acme.stranger, acme.team.name) == set()
    for nothing in (acme.team.name + "x", acme.team.name[:-1], ""):
        assert found(acme.admin, nothing) == set()


def test_a_name_may_hold_what_a_query_must_escape(fresh_acme):
    name = "R&D / Größe +1?"
    made = fresh_acme.admin.http.post("/v1/teams", json={"name": name})
    assert made.status_code == 200, made.text
    found = fresh_acme.admin.api.get_teams(params=GetTeamsParams(name=name)).teams
    assert one(found).name == name
    assert fresh_acme.admin.api.get_teams_team_id(team_id=one(found).id).name == name


def test_a_team_one_is_not_in_is_as_little_there_as_one_that_never_was(acme):
    there = refusal(404, acme.stranger.api.get_teams_team_id, team_id=acme.team.id)
    nowhere = refusal(404, acme.stranger.api.get_teams_team_id, team_id="aaaaaaaa")
    assert there == nowhere


def test_teams_of_another_organization_are_not_there(fresh_acme):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    theirs = one(founder.api.get_teams().teams)
    assert theirs.default and theirs.name == "Default"
    refusal(404, founder.api.get_teams_team_id, team_id=fresh_acme.team.id)
    refusal(404, fresh_acme.admin.api.get_teams_team_id, team_id=theirs.id)
    assert theirs.id not in {team.id for team in fresh_acme.admin.api.get_teams().teams}


def test_a_new_name_is_seen_by_the_members(fresh_acme):
    team = fresh_acme.team
    renamed = fresh_acme.admin.http.patch(f"/v1/teams/{team.id}", json={"name": "Kites"})
    assert renamed.status_code == 200, renamed.text
    assert fresh_acme.member.api.get_teams_team_id(team_id=team.id).name == "Kites"
    for secret in fresh_acme.member.api.get_teams_secrets(team_id=team.id).secrets:
        assert secret.team_name == "Kites"


def test_who_leaves_a_team_no_longer_sees_it(fresh_acme):
    team, member = fresh_acme.team, fresh_acme.member
    left = fresh_acme.team_admin.http.delete(f"/v1/teams/{team.id}/members/{member.user_id}")
    assert left.status_code == 200, left.text
    assert team.id not in {seen.id for seen in member.api.get_teams().teams}
    refusal(404, member.api.get_teams_team_id, team_id=team.id)
    refusal(404, member.api.get_teams_secrets, team_id=team.id)
