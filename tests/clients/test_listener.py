"""What holds on every route: who is let in, how a refusal looks, what is not served."""

import asyncio

import httpx
import pytest
from baseten.client import AsyncManagementClient, ManagementClient
from baseten.client.managementapi import ResponseError

from guildhall import refusal


def with_authorization(acme, value):
    headers = {} if value is None else {"Authorization": value}
    # An empty key is the SDK's way of sending no header of its own.
    return ManagementClient(api_key="", headers=headers, base_url_override=acme.guildhall.url).api


@pytest.mark.parametrize("scheme", ["Bearer", "Api-Key"])
def test_both_schemes_let_the_same_person_in(acme, scheme):
    for caller in (acme.admin, acme.member, acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        api = with_authorization(acme, f"{scheme} {caller.api_key}")
        assert api.get_users_me() == caller.api.get_users_me()
        assert api.get_teams() == caller.api.get_teams()
        assert api.get_teams_secrets(team_id=acme.team.id) == caller.api.get_teams_secrets(team_id=acme.team.id)


@pytest.mark.parametrize("scheme", ["Bearer", "Api-Key"])
def test_a_key_that_does_not_work_lets_nobody_in(acme, scheme):
    key = acme.admin.api_key
    for wrong in (f"{key}x", key[:-1], key.split(".")[0], key.swapcase(), "guild_aaaaaaaa." + "a" * 38, "x"):
        api = with_authorization(acme, f"{scheme} {wrong}")
        refusal(401, api.get_users_me)
        refusal(401, api.get_teams_secrets, team_id=acme.team.id)


def test_without_a_key_nobody_is_let_in(acme):
    for nothing in (None, f"Basic {acme.admin.api_key}", acme.admin.api_key):
        api = with_authorization(acme, nothing)
        for call in (api.get_users_me, api.get_teams, api.get_secrets, api.get_api_keys, api.get_audit_logs):
            refusal(401, call)


def test_wrong_keys_do_not_lock_out_good_ones(fresh_acme):
    wrong = with_authorization(fresh_acme, "Bearer guild_aaaaaaaa." + "a" * 38)
    for _ in range(100):
        with pytest.raises(ResponseError):
            wrong.get_users_me()
    assert fresh_acme.member.api.get_users_me().user_id == fresh_acme.member.user_id


def test_a_route_that_is_not_served_names_itself(acme):
    api = acme.admin.api
    unserved = {
        "/v1/gateway/groups": api.get_gateway_groups,
        "/v1/library_listings": api.get_library_listings,
        "/v1/gateway/endpoints": api.get_gateway_endpoints,
        "/v1/loops/runs": api.get_loops_runs,
    }
    for path, call in unserved.items():
        message = refusal(501, call)
        assert "GET" in message and path in message


def test_a_route_that_never_was_is_not_there(acme):
    answer = acme.admin.http.get("/v1/no_such_thing")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_field_that_nobody_knows_is_named(fresh_acme):
    body = {"name": "kite_token", "value": "x", "team": fresh_acme.other_team.id}
    answer = fresh_acme.member.http.post(f"/v1/teams/{fresh_acme.team.id}/secrets", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "team" in answer.json()["message"]
    secrets = fresh_acme.admin.api.get_teams_secrets(team_id=fresh_acme.team.id).secrets
    assert "kite_token" not in {secret.name for secret in secrets}


def test_the_asynchronous_client_sees_the_same(acme):
    async def ask():
        async with AsyncManagementClient(api_key=acme.member.api_key, base_url_override=acme.guildhall.url) as client:
            api, team = client.api, acme.team.id
            calls = [api.get_users_me(), api.get_teams(), api.get_teams_secrets(team_id=team), api.get_api_keys()]
            return await asyncio.gather(*calls, *(api.get_users() for _ in range(20)))

    me, teams, secrets, keys, *users = asyncio.run(ask())
    api = acme.member.api
    assert (me, teams) == (api.get_users_me(), api.get_teams())
    assert secrets == api.get_teams_secrets(team_id=acme.team.id)
    assert {key.prefix for key in keys.keys} == {key.prefix for key in api.get_api_keys().keys}
    assert all(page == api.get_users() for page in users)


def test_the_server_may_be_the_client_s_proxy(acme):
    """Then `api.localhost` needs no name service: the whole address stands in the request line."""
    with httpx.Client(
        base_url="http://api.localhost:8000",
        proxy=acme.guildhall.url,
        headers={"Authorization": f"Bearer {acme.member.api_key}"},
    ) as http:
        api = ManagementClient(api_key="", http_client_override=http).api
        assert api.get_users_me() == acme.member.api.get_users_me()
        assert api.get_teams_secrets(team_id=acme.team.id) == acme.member.api.get_teams_secrets(team_id=acme.team.id)
