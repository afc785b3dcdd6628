"""Secrets: each team its own, and no value ever comes back."""

from collections import Counter

from baseten.client.managementapi import UpsertSecretRequest

from guildhall import one, refusal


def upsert(caller, team, name, value="s3cr3t-value"):
    request = UpsertSecretRequest(name=name, value=value)
    return caller.api.post_teams_secrets(team_id=team.id, request=request)


def listed(caller, team):
    return caller.api.get_teams_secrets(team_id=team.id).secrets


def named(caller, team, name):
    return one(secret for secret in listed(caller, team) if secret.name == name)


def test_a_team_lists_its_own(acme):
    for caller in (acme.admin, acme.team_admin, acme.member, acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        secrets = listed(caller, acme.team)
        assert secrets and {secret.team_name for secret in secrets} == {acme.team.name}
        assert secrets == listed(acme.admin, acme.team)


def test_without_a_team_the_list_joins_all_that_one_sees(acme):
    for person in (acme.admin, acme.team_admin, acme.member, acme.stranger):
        everywhere = [secret.id for team in person.api.get_teams().teams for secret in listed(person, team)]
        assert sorted(secret.id for secret in person.api.get_secrets().secrets) == sorted(everywhere)
    names = Counter(secret.name for secret in acme.admin.api.get_secrets().secrets)
    assert max(names.values()) > 1, "the demo has one name in several teams"


def test_a_team_key_lists_its_team_only(acme):
    key = acme.team.keys["WORKSPACE_MANAGE_ALL"]
    assert key.api.get_secrets().secrets == listed(acme.admin, acme.team)
    refusal(404, key.api.get_teams_secrets, team_id=acme.other_team.id)


def test_another_team_s_are_not_there(acme):
    request = UpsertSecretRequest(name="intruder", value="x")
    refusal(404, acme.stranger.api.get_teams_secrets, team_id=acme.team.id)
    refusal(404, acme.stranger.api.post_teams_secrets, team_id=acme.team.id, request=request)
    refusal(404, acme.stranger.api.delete_teams_secrets, team_id=acme.team.id, secret_name="intruder")
    assert "intruder" not in {secret.name for secret in listed(acme.admin, acme.team)}


def test_what_a_member_sets_the_others_see(fresh_acme):
    made = upsert(fresh_acme.member, fresh_acme.team, "kite_token")
    assert (made.name, made.team_name) == ("kite_token", fresh_acme.team.name)
    for caller in (fresh_acme.admin, fresh_acme.team_admin, fresh_acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        assert named(caller, fresh_acme.team, "kite_token") == made
    elsewhere = listed(fresh_acme.admin, fresh_acme.other_team)
    assert "kite_token" not in {secret.name for secret in elsewhere}


def test_a_new_value_keeps_id_and_time(fresh_acme):
    first = upsert(fresh_acme.member, fresh_acme.team, "kite_token", "one")
    assert upsert(fresh_acme.team_admin, fresh_acme.team, "kite_token", "two") == first
    assert named(fresh_acme.admin, fresh_acme.team, "kite_token") == first


def test_one_name_in_two_teams_is_two_secrets(fresh_acme):
    here = upsert(fresh_acme.admin, fresh_acme.team, "kite_token")
    there = upsert(fresh_acme.admin, fresh_acme.other_team, "kite_token")
    assert here.id != there.id
    fresh_acme.admin.api.delete_teams_secrets(team_id=fresh_acme.other_team.id, secret_name="kite_token")
    assert named(fresh_acme.member, fresh_acme.team, "kite_token") == here


def test_spellings_that_differ_in_case_and_punctuation_are_one_name(fresh_acme):
    first = upsert(fresh_acme.member, fresh_acme.team, "kite_access_token")
    for spelling in ("kite-access-token", "kite.access.token", "KITE_Access-Token"):
        again = upsert(fresh_acme.member, fresh_acme.team, spelling)
        assert (again.id, again.name) == (first.id, spelling), "the last spelling is shown"
    fresh_acme.member.api.delete_teams_secrets(team_id=fresh_acme.team.id, secret_name="Kite.Access-Token")
    assert first.id not in {secret.id for secret in listed(fresh_acme.admin, fresh_acme.team)}


def test_what_is_deleted_is_gone_for_all(fresh_acme):
    made = upsert(fresh_acme.member, fresh_acme.team, "kite_token")
    gone = fresh_acme.team_admin.api.delete_teams_secrets(team_id=fresh_acme.team.id, secret_name="kite_token")
    assert gone.name == "kite_token"
    assert made.id not in {secret.id for secret in listed(fresh_acme.member, fresh_acme.team)}
    for again in (fresh_acme.member, fresh_acme.admin):
        refusal(404, again.api.delete_teams_secrets, team_id=fresh_acme.team.id, secret_name="kite_token")
    assert upsert(fresh_acme.member, fresh_acme.team, "kite_token").id != made.id


def test_names_that_no_secret_can_have(fresh_acme):
    before = listed(fresh_acme.admin, fresh_acme.team)
    for name in ("go/se cret", "with space", "", "...", "größe", "x" * 129):
        request = UpsertSecretRequest(name=name, value="x")
        message = refusal(400, fresh_acme.member.api.post_teams_secrets, team_id=fresh_acme.team.id, request=request)
        assert "name" in message
    # In a path the SDK escapes them, and they stay one segment: not there, like any other name.
    for name in ("go/se cret", "with space", "...", "größe", "x" * 129):
        refusal(404, fresh_acme.member.api.delete_teams_secrets, team_id=fresh_acme.team.id, secret_name=name)
    assert listed(fresh_acme.admin, fresh_acme.team) == before


def test_values_that_no_secret_can_have(fresh_acme):
    for value in ("", "x" * (64 * 1024 + 1)):
        request = UpsertSecretRequest(name="kite_token", value=value)
        message = refusal(400, fresh_acme.member.api.post_teams_secrets, team_id=fresh_acme.team.id, request=request)
        assert "value" in message
    assert "kite_token" not in {secret.name for secret in listed(fresh_acme.admin, fresh_acme.team)}
    upsert(fresh_acme.member, fresh_acme.team, "kite_token", "x" * (64 * 1024))


def test_no_answer_holds_a_value(fresh_acme):
    canary, team = "canary-0c6f9a", fresh_acme.team
    secrets = f"/v1/teams/{team.id}/secrets"
    answers = [
        fresh_acme.member.http.post(secrets, json={"name": "kite_token", "value": canary}),
        fresh_acme.member.http.get(secrets),
        fresh_acme.admin.http.get("/v1/secrets"),
        fresh_acme.admin.http.get("/v1/audit_logs"),
        fresh_acme.member.http.delete(f"{secrets}/kite_token"),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert canary not in answer.text


def test_without_a_team_a_person_writes_to_the_default_team(fresh_acme):
    request = UpsertSecretRequest(name="kite_token", value="x")
    made = fresh_acme.admin.api.post_secrets(request=request)
    assert made.team_name == fresh_acme.default_team.name
    assert named(fresh_acme.admin, fresh_acme.default_team, "kite_token") == made
    assert fresh_acme.admin.api.delete_secrets(secret_name="kite_token").name == "kite_token"
    assert made.id not in {secret.id for secret in listed(fresh_acme.admin, fresh_acme.default_team)}


def test_who_is_not_in_the_default_team_cannot_write_there(fresh_acme):
    outsider = fresh_acme.without_default_team()
    request = UpsertSecretRequest(name="intruder", value="x")
    refusal(403, outsider.api.post_secrets, request=request)
    refusal(403, outsider.api.delete_secrets, secret_name="intruder")
    assert "intruder" not in {secret.name for secret in fresh_acme.admin.api.get_secrets().secrets}


def test_without_a_team_a_team_key_writes_to_its_own(fresh_acme):
    key = fresh_acme.team.keys["WORKSPACE_MANAGE_ALL"]
    made = key.api.post_secrets(request=UpsertSecretRequest(name="kite_token", value="x"))
    assert made.team_name == fresh_acme.team.name
    assert named(fresh_acme.member, fresh_acme.team, "kite_token") == made
    key.api.delete_secrets(secret_name="kite_token")
    assert made.id not in {secret.id for secret in listed(fresh_acme.member, fresh_acme.team)}


def test_a_key_that_only_calls_or_measures_has_no_business_here(fresh_acme):
    request = UpsertSecretRequest(name="intruder", value="x")
    for category in ("WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"):
        key = fresh_acme.team_key(category)
        refusal(403, key.api.get_teams_secrets, team_id=fresh_acme.team.id)
        refusal(403, key.api.get_secrets)
        refusal(403, key.api.post_teams_secrets, team_id=fresh_acme.team.id, request=request)
        refusal(404, key.api.get_teams_secrets, team_id=fresh_acme.other_team.id)
    assert "intruder" not in {secret.name for secret in listed(fresh_acme.admin, fresh_acme.team)}
