"""API keys: shown once, known by prefix, and never more than whoever made them."""

import re

import pytest
from baseten.client.managementapi import CreateAPIKeyRequest, GetApiKeysParams

from guildhall import one, refusal

TEAM_CATEGORIES = ("WORKSPACE_MANAGE_ALL", "WORKSPACE_EXPORT_METRICS", "WORKSPACE_INVOKE")


def listed(caller, **filters):
    return caller.api.get_api_keys(params=GetApiKeysParams(**filters)).keys


def prefixes(keys):
    return {key.prefix for key in keys}


def entry(caller, key):
    """How `caller` sees `key`."""
    return one(info for info in listed(caller) if info.prefix == key.prefix)


def request(category, **fields):
    return CreateAPIKeyRequest(type=category, **fields)


def test_a_key_is_prefix_dot_rest(fresh_acme):
    key = fresh_acme.member.make_key("PERSONAL")
    assert re.fullmatch(r"guild_[0-9A-Za-z]{8}\.[0-9A-Za-z]{38}", key.api_key)
    assert key.prefix in prefixes(listed(fresh_acme.member))


def test_a_personal_key_is_its_owner(fresh_acme):
    key = fresh_acme.member.make_key("PERSONAL", name="laptop")
    assert key.api.get_users_me() == fresh_acme.member.api.get_users_me()
    assert key.api.get_teams() == fresh_acme.member.api.get_teams()
    seen = entry(fresh_acme.member, key)
    assert (seen.type, seen.name, seen.team_name) == ("PERSONAL", "laptop", None)
    assert seen.owner.user_id == fresh_acme.member.user_id
    assert seen.owner.email == fresh_acme.member.email


def test_an_admin_lists_everybody_s_personal_keys_others_their_own(fresh_acme):
    key = fresh_acme.member.make_key("PERSONAL")
    assert entry(fresh_acme.admin, key).owner.user_id == fresh_acme.member.user_id
    for other in (fresh_acme.team_admin, fresh_acme.stranger):
        assert key.prefix not in prefixes(listed(other))
        refusal(404, other.api.delete_api_keys, api_key_prefix=key.prefix)
    assert key.api.get_users_me().user_id == fresh_acme.member.user_id


@pytest.mark.parametrize("category", TEAM_CATEGORIES)
def test_a_team_key_is_seen_by_its_team(fresh_acme, category):
    team = fresh_acme.team
    made = fresh_acme.team_admin.api.post_teams_api_keys(team_id=team.id, request=request(category, name="robot"))
    key = fresh_acme.guildhall.caller(made.api_key)
    for caller in (fresh_acme.admin, fresh_acme.team_admin, fresh_acme.member):
        seen = entry(caller, key)
        assert (seen.type, seen.name, seen.team_name, seen.owner) == (category, "robot", team.name, None)
        assert seen.model_ids is None, "a key for all models lists none"
    assert key.prefix not in prefixes(listed(fresh_acme.stranger))
    assert prefixes(listed(key)) == {key.prefix}, "a team key sees itself"


def test_the_team_stands_in_the_path_or_in_the_body(fresh_acme):
    team, other = fresh_acme.team, fresh_acme.other_team
    post, post_in = fresh_acme.admin.api.post_api_keys, fresh_acme.admin.api.post_teams_api_keys
    ways = {
        post(request=request("WORKSPACE_INVOKE", team_id=team.id)).api_key: team,
        post_in(team_id=team.id, request=request("WORKSPACE_INVOKE")).api_key: team,
        post_in(team_id=team.id, request=request("WORKSPACE_INVOKE", team_id=team.id)).api_key: team,
        post(request=request("WORKSPACE_INVOKE")).api_key: fresh_acme.default_team,
    }
    for api_key, where in ways.items():
        assert entry(fresh_acme.admin, fresh_acme.guildhall.caller(api_key)).team_name == where.name
    before = prefixes(listed(fresh_acme.admin))
    refusal(400, post_in, team_id=team.id, request=request("WORKSPACE_INVOKE", team_id=other.id))
    refusal(400, post, request=request("PERSONAL", team_id=team.id))
    refusal(400, post, request=request("WORKSPACE_MANAGE_API_KEYS", team_id=team.id))
    assert prefixes(listed(fresh_acme.admin)) == before


def test_only_admins_make_team_keys(fresh_acme):
    team = fresh_acme.team
    before = prefixes(listed(fresh_acme.admin))
    for category in TEAM_CATEGORIES:
        ask = request(category, team_id=team.id)
        refusal(403, fresh_acme.member.api.post_teams_api_keys, team_id=team.id, request=request(category))
        refusal(403, fresh_acme.member.api.post_api_keys, request=ask)
        refusal(404, fresh_acme.stranger.api.post_teams_api_keys, team_id=team.id, request=request(category))
        refusal(404, fresh_acme.stranger.api.post_api_keys, request=ask)
        refusal(403, team.keys["WORKSPACE_MANAGE_ALL"].api.post_api_keys, request=ask)
    refusal(403, team.keys["WORKSPACE_MANAGE_ALL"].api.post_api_keys, request=request("PERSONAL"))
    assert prefixes(listed(fresh_acme.admin)) == before


def test_a_key_that_manages_keys_does_that_and_nothing_else(fresh_acme):
    manager = fresh_acme.admin.make_key("WORKSPACE_MANAGE_API_KEYS", name="key-robot")
    seen = entry(fresh_acme.admin, manager)
    assert (seen.type, seen.team_name) == ("WORKSPACE_MANAGE_API_KEYS", None)

    for team in (fresh_acme.team, fresh_acme.other_team):
        key = manager.make_key("WORKSPACE_MANAGE_ALL", team_id=team.id)
        assert key.api.get_teams_secrets(team_id=team.id)
        assert entry(fresh_acme.admin, key).team_name == team.name
        assert manager.api.delete_api_keys(api_key_prefix=key.prefix).prefix == key.prefix
        refusal(401, key.api.get_teams_secrets, team_id=team.id)
    everything = listed(fresh_acme.admin)
    expected = {key.prefix for key in everything if key.type in TEAM_CATEGORIES} | {manager.prefix}
    assert prefixes(listed(manager)) == expected

    refusal(403, manager.api.post_api_keys, request=request("WORKSPACE_MANAGE_API_KEYS"))
    refusal(403, manager.api.post_api_keys, request=request("PERSONAL"))
    refusal(403, manager.api.get_teams_secrets, team_id=fresh_acme.team.id)
    refusal(403, manager.api.get_secrets)
    refusal(403, manager.api.get_users)
    names = {team.id: team.name for team in manager.api.get_teams().teams}
    assert names[fresh_acme.team.id] == fresh_acme.team.name
    assert manager.api.get_teams_team_id(team_id=fresh_acme.team.id).name == fresh_acme.team.name
    assert prefixes(listed(fresh_acme.admin)) == prefixes(everything)


def test_only_organization_admins_make_a_key_that_manages_keys(fresh_acme):
    ask = request("WORKSPACE_MANAGE_API_KEYS")
    for caller in (fresh_acme.team_admin, fresh_acme.member, fresh_acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        refusal(403, caller.api.post_api_keys, request=ask)


def test_categories_that_cannot_be_made(fresh_acme):
    for category in ("ROUTES", "WORKSPACE_RULE_THE_WORLD"):
        refusal(400, fresh_acme.admin.api.post_api_keys, request=request(category))


def test_the_list_is_filtered_by_type(fresh_acme):
    keys = {category: fresh_acme.team_key(category) for category in TEAM_CATEGORIES}
    keys["WORKSPACE_MANAGE_API_KEYS"] = fresh_acme.admin.make_key("WORKSPACE_MANAGE_API_KEYS")
    keys["PERSONAL"] = fresh_acme.admin
    everything = listed(fresh_acme.admin)
    for category, key in keys.items():
        found = listed(fresh_acme.admin, type=category)
        assert prefixes(found) == {info.prefix for info in everything if info.type == category}
        assert key.prefix in prefixes(found)
    assert listed(fresh_acme.admin, type="ROUTES") == []


def test_the_list_is_filtered_by_who_made_the_key(fresh_acme):
    by_admin = fresh_acme.admin.make_key("WORKSPACE_INVOKE", team_id=fresh_acme.team.id)
    by_team_admin = fresh_acme.team_admin.make_key("WORKSPACE_INVOKE", team_id=fresh_acme.team.id)
    assert prefixes(listed(fresh_acme.admin)) >= {by_admin.prefix, by_team_admin.prefix}
    for maker, made, not_made in (
        (fresh_acme.admin, by_admin, by_team_admin),
        (fresh_acme.team_admin, by_team_admin, by_admin),
    ):
        mine = prefixes(listed(maker, created_by_me=True))
        assert made.prefix in mine and not_made.prefix not in mine


def test_a_key_may_be_narrowed_to_models(fresh_acme):
    models = [model.id for model in fresh_acme.admin.api.get_models().models if model.team_name == fresh_acme.team.name]
    for category in ("WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"):
        key = fresh_acme.team_key(category, model_ids=models[:1])
        assert entry(fresh_acme.member, key).model_ids == models[:1]
    too_wide = request("WORKSPACE_MANAGE_ALL", team_id=fresh_acme.team.id, model_ids=models[:1])
    refusal(400, fresh_acme.admin.api.post_api_keys, request=too_wide)
    nowhere = request("WORKSPACE_INVOKE", team_id=fresh_acme.team.id, model_ids=["aaaaaaaa"])
    refusal(404, fresh_acme.admin.api.post_api_keys, request=nowhere)


def test_a_null_is_an_absent_field(fresh_acme):
    key = fresh_acme.member.make_key("PERSONAL", name=None, model_ids=None, team_id=None)
    assert entry(fresh_acme.member, key).name is None


def test_a_field_nobody_understood_never_makes_a_wider_key(fresh_acme):
    before = prefixes(listed(fresh_acme.admin))
    body = {"type": "WORKSPACE_INVOKE", "team_id": fresh_acme.team.id, "modelIds": ["aaaaaaaa"]}
    answer = fresh_acme.admin.http.post("/v1/api_keys", json=body)
    assert answer.status_code == 400 and "modelIds" in answer.json()["message"]
    assert prefixes(listed(fresh_acme.admin)) == before


def test_a_name_is_of_one_living_key(fresh_acme):
    team_admin, team = fresh_acme.team_admin, fresh_acme.team
    key = fresh_acme.team_key("WORKSPACE_INVOKE", name="robot")
    again = request("WORKSPACE_MANAGE_ALL", name="robot", team_id=team.id)
    refusal(409, team_admin.api.post_api_keys, request=again)
    fresh_acme.admin.make_key("WORKSPACE_INVOKE", name="robot", team_id=fresh_acme.other_team.id)
    team_admin.api.delete_api_keys(api_key_prefix=key.prefix)
    next_robot = team_admin.make_key("WORKSPACE_MANAGE_ALL", name="robot", team_id=team.id)
    assert entry(fresh_acme.member, next_robot).name == "robot"


def test_names_that_no_key_can_have(fresh_acme):
    for name in ("Robot", "two words", "ä", "", "x" * 65):
        ask = request("PERSONAL", name=name)
        assert "name" in refusal(400, fresh_acme.member.api.post_api_keys, request=ask)
    fresh_acme.member.make_key("PERSONAL", name="e2e-test-0f8fad5b-d9cb-469f-a165-70867728950e")


def test_a_revoked_key_is_worth_nothing_at_once(fresh_acme):
    key = fresh_acme.team_key("WORKSPACE_MANAGE_ALL")
    assert key.api.get_secrets()
    gone = fresh_acme.team_admin.api.delete_api_keys(api_key_prefix=key.prefix)
    assert gone.prefix == key.prefix
    refusal(401, key.api.get_secrets)
    refusal(401, key.api.get_organizations_me)
    assert key.prefix not in prefixes(listed(fresh_acme.admin))
    refusal(404, fresh_acme.admin.api.delete_api_keys, api_key_prefix=key.prefix)


def test_who_may_revoke(fresh_acme):
    key = fresh_acme.team_key("WORKSPACE_INVOKE")
    refusal(403, fresh_acme.member.api.delete_api_keys, api_key_prefix=key.prefix)
    refusal(404, fresh_acme.stranger.api.delete_api_keys, api_key_prefix=key.prefix)
    assert key.prefix in prefixes(listed(fresh_acme.admin))
    assert key.api.delete_api_keys(api_key_prefix=key.prefix).prefix == key.prefix, "any key may revoke itself"
    personal = fresh_acme.member.make_key("PERSONAL")
    fresh_acme.admin.api.delete_api_keys(api_key_prefix=personal.prefix)
    refusal(401, personal.api.get_users_me)
    for nothing in ("guild_aaaaaaaa", "no such/prefix"):
        refusal(404, fresh_acme.admin.api.delete_api_keys, api_key_prefix=nothing)


def test_keys_of_another_organization_are_not_there(fresh_acme):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    key = fresh_acme.team_key("WORKSPACE_INVOKE")
    assert prefixes(listed(founder)) == {founder.prefix}
    refusal(404, founder.api.delete_api_keys, api_key_prefix=key.prefix)
    refusal(404, founder.api.post_api_keys, request=request("WORKSPACE_INVOKE", team_id=fresh_acme.team.id))
    assert entry(fresh_acme.admin, key)
