"""The organization and its people."""

from baseten.client.managementapi import GetUsersParams

from guildhall import one, refusal


def test_every_key_is_told_its_organization(acme):
    team_keys = [key for team in acme.teams for key in team.keys.values()]
    for caller in [*acme.people, *team_keys]:
        organization = caller.api.get_organizations_me()
        assert (organization.org_id, organization.name) == (acme.id, "acme")


def test_everyone_sees_the_people_of_the_organization(acme):
    everyone = {(person.user_id, person.email, person.name) for person in acme.people}
    for caller in (acme.admin, acme.team_admin, acme.member, acme.stranger):
        page = caller.api.get_users()
        assert {(user.user_id, user.email, user.name) for user in page.items} == everyone
        assert len(page.items) == len(everyone)
        assert not page.pagination.has_more and page.pagination.cursor is None


def test_pages_of_people_join_to_the_whole_list(acme):
    seen, cursor = [], None
    while True:
        page = acme.member.api.get_users(params=GetUsersParams(limit=3, cursor=cursor))
        assert 1 <= len(page.items) <= 3
        seen += [user.user_id for user in page.items]
        cursor = page.pagination.cursor
        assert page.pagination.has_more == (cursor is not None)
        if cursor is None:
            break
    assert len(seen) > 3, "more than one page"
    assert sorted(seen) == sorted(person.user_id for person in acme.people)


def test_a_person_is_told_who_they_are(acme):
    for person in acme.people:
        me = person.api.get_users_me()
        assert (me.user_id, me.email, me.name) == (person.user_id, person.email, person.name)
        assert me.workspace_name == "acme"


def test_a_person_is_found_by_address(acme):
    by_email = acme.member.api.get_users(params=GetUsersParams(email=acme.admin.email))
    assert one(by_email.items).user_id == acme.admin.user_id
    for nobody in ("nobody@acme.example", ""):
        assert acme.member.api.get_users(params=GetUsersParams(email=nobody)).items == []


def test_a_person_is_found_by_id(acme):
    found = acme.stranger.api.get_users_user_id(user_id=acme.member.user_id)
    assert found.email == acme.member.email
    for nobody in ("aaaaaaaa", "no id/at all"):
        refusal(404, acme.admin.api.get_users_user_id, user_id=nobody)


def test_a_team_key_is_no_member_of_the_organization(acme):
    key = acme.team.keys["WORKSPACE_MANAGE_ALL"]
    me = key.api.get_users_me()
    assert me.user_id not in {person.user_id for person in acme.people}
    refusal(403, key.api.get_users)
    refusal(403, key.api.get_users_user_id, user_id=acme.member.user_id)


def test_people_of_another_organization_are_not_there(fresh_acme):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    me = founder.api.get_users_me()
    assert [user.user_id for user in founder.api.get_users().items] == [me.user_id]
    refusal(404, founder.api.get_users_user_id, user_id=fresh_acme.admin.user_id)
    refusal(404, fresh_acme.admin.api.get_users_user_id, user_id=me.user_id)
    assert fresh_acme.admin.api.get_users(params=GetUsersParams(email=me.email)).items == []


def test_who_is_removed_is_gone_at_once(fresh_acme):
    admin, member = fresh_acme.admin, fresh_acme.member
    assert admin.http.delete(f"/v1/users/{member.user_id}").status_code == 200
    refusal(401, member.api.get_users_me)
    refusal(404, admin.api.get_users_user_id, user_id=member.user_id)
    assert member.user_id not in {user.user_id for user in fresh_acme.stranger.api.get_users().items}
