"""Restricted environments: a team's environment that only some may change."""

from baseten.client.managementapi import (
    UpdateEnvironmentGroupManageAccess as ManageAccess,
    UpdateEnvironmentGroupRequest as Update,
)

from guildhall import one, refusal


def group(caller, team, name):
    return caller.api.get_teams_environment_groups_env_name(team_id=team.id, env_name=name)


def make_staging(acme):
    """The SDK changes environment groups and does not make them; that route is ours."""
    made = acme.team_admin.http.post(
        f"/v1/teams/{acme.team.id}/environment_groups",
        json={"name": "staging", "manage_access": {"is_restricted": False}},
    )
    assert made.status_code == 200, made.text


def restrict(caller, team, user_ids, name="staging"):
    access = ManageAccess(is_restricted=True, user_ids=user_ids)
    return caller.api.patch_teams_environment_groups(
        team_id=team.id, env_name=name, request=Update(manage_access=access)
    )


def may_change(group):
    return {user.user_id for user in group.manage_access.users or []}


def test_each_is_read_as_it_is_listed(acme):
    restricted = set()
    for team in acme.teams:
        groups = acme.admin.api.get_teams_environment_groups(team_id=team.id)
        assert not groups.pagination.has_more
        for listed in groups.items:
            assert (listed.team_id, listed.team_name) == (team.id, team.name)
            assert group(acme.admin, team, listed.name) == listed
            if listed.manage_access.is_restricted:
                restricted.add(listed.name)
                assert acme.admin.user_id in may_change(listed), "organization admins always have access"
            else:
                assert not may_change(listed)
    assert "production" in restricted, "the demo restricts one"


def test_without_a_team_it_is_the_default_team_s(acme):
    groups = acme.admin.api.get_environment_groups().items
    assert groups == acme.admin.api.get_teams_environment_groups(team_id=acme.default_team.id).items
    for listed in groups:
        assert acme.admin.api.get_environment_groups_env_name(env_name=listed.name) == listed


def test_who_is_not_in_the_default_team_is_refused_there(fresh_acme):
    outsider = fresh_acme.without_default_team()
    refusal(403, outsider.api.get_environment_groups)
    refusal(403, outsider.api.get_environment_groups_env_name, env_name="production")
    update = Update(manage_access=ManageAccess(is_restricted=False))
    refusal(403, outsider.api.patch_environment_groups, env_name="production", request=update)


def test_without_a_team_the_default_team_s_is_changed(fresh_acme):
    made = fresh_acme.admin.http.post(
        "/v1/environment_groups", json={"name": "staging", "manage_access": {"is_restricted": False}}
    )
    assert made.status_code == 200, made.text
    update = Update(manage_access=ManageAccess(is_restricted=True))
    changed = fresh_acme.admin.api.patch_environment_groups(env_name="staging", request=update)
    assert changed.team_id == fresh_acme.default_team.id
    assert group(fresh_acme.admin, fresh_acme.default_team, "staging") == changed
    assert changed.manage_access.is_restricted


def test_a_team_admin_restricts_and_a_member_sees_it(fresh_acme):
    make_staging(fresh_acme)
    team, team_admin, member = fresh_acme.team, fresh_acme.team_admin, fresh_acme.member
    assert not group(member, team, "staging").manage_access.is_restricted

    changed = restrict(team_admin, team, [member.user_id])
    for caller in (member, fresh_acme.admin, team.keys["WORKSPACE_MANAGE_ALL"]):
        assert group(caller, team, "staging") == changed
    assert changed.manage_access.is_restricted
    assert may_change(changed) >= {member.user_id, team_admin.user_id, fresh_acme.admin.user_id}
    shown = one(user for user in changed.manage_access.users if user.user_id == member.user_id)
    assert (shown.email, shown.name) == (member.email, member.name)

    restrict(team_admin, team, [])
    assert member.user_id not in may_change(group(member, team, "staging")), "the list is replaced"


def test_lifting_the_restriction_empties_the_list(fresh_acme):
    make_staging(fresh_acme)
    restrict(fresh_acme.team_admin, fresh_acme.team, [fresh_acme.member.user_id])
    lifted = fresh_acme.team_admin.api.patch_teams_environment_groups(
        team_id=fresh_acme.team.id,
        env_name="staging",
        request=Update(manage_access=ManageAccess(is_restricted=False)),
    )
    assert not lifted.manage_access.is_restricted and not may_change(lifted)
    assert group(fresh_acme.member, fresh_acme.team, "staging") == lifted


def test_an_empty_change_changes_nothing(fresh_acme):
    make_staging(fresh_acme)
    restricted = restrict(fresh_acme.team_admin, fresh_acme.team, [fresh_acme.member.user_id])
    for nothing in (Update(), Update(manage_access=None)):
        same = fresh_acme.team_admin.api.patch_teams_environment_groups(
            team_id=fresh_acme.team.id, env_name="staging", request=nothing
        )
        assert same == restricted == group(fresh_acme.member, fresh_acme.team, "staging")


def test_a_member_may_not_restrict_not_even_one_who_is_granted(fresh_acme):
    make_staging(fresh_acme)
    team, member, stranger = fresh_acme.team, fresh_acme.member, fresh_acme.stranger
    granted = restrict(fresh_acme.team_admin, team, [member.user_id])
    update = Update(manage_access=ManageAccess(is_restricted=False))
    for caller in (member, team.keys["WORKSPACE_MANAGE_ALL"]):
        refusal(403, caller.api.patch_teams_environment_groups, team_id=team.id, env_name="staging", request=update)
    refusal(404, stranger.api.patch_teams_environment_groups, team_id=team.id, env_name="staging", request=update)
    refusal(404, stranger.api.get_teams_environment_groups, team_id=team.id)
    assert group(fresh_acme.admin, team, "staging") == granted


def test_only_members_of_the_team_can_be_granted(fresh_acme):
    make_staging(fresh_acme)
    before = group(fresh_acme.admin, fresh_acme.team, "staging")
    for user_id in (fresh_acme.stranger.user_id, fresh_acme.admin.user_id, "aaaaaaaa"):
        access = ManageAccess(is_restricted=True, user_ids=[user_id])
        refusal(
            400,
            fresh_acme.team_admin.api.patch_teams_environment_groups,
            team_id=fresh_acme.team.id,
            env_name="staging",
            request=Update(manage_access=access),
        )
    assert group(fresh_acme.admin, fresh_acme.team, "staging") == before


def test_who_leaves_the_team_loses_the_grant(fresh_acme):
    make_staging(fresh_acme)
    team, member = fresh_acme.team, fresh_acme.member
    restrict(fresh_acme.team_admin, team, [member.user_id])
    left = member.http.delete(f"/v1/teams/{team.id}/members/{member.user_id}")
    assert left.status_code == 200, left.text
    assert member.user_id not in may_change(group(fresh_acme.team_admin, team, "staging"))


def test_an_environment_that_nobody_has_is_not_there(acme):
    for name in ("nowhere", "a/b", "Not A Name"):
        refusal(404, acme.admin.api.get_teams_environment_groups_env_name, team_id=acme.team.id, env_name=name)
        refusal(404, acme.admin.api.get_environment_groups_env_name, env_name=name)
