"""A Chain of two chainlets that run, pushed by stock truss and called end to end."""

import pytest
from baseten.client import InferenceClient
from baseten.client.inferenceapi import ResponseError, RunRemoteInput

from guildhall import one
from truss_cli import RUNNING_SECONDS_MAX, Terminal, chain_source, eventually

# One worker runs them all, so that one server makes their environment once.
pytestmark = pytest.mark.xdist_group("running chains")


@pytest.fixture(scope="module")
def chain(running_acme, tmp_path_factory):
    acme, home = running_acme, tmp_path_factory.mktemp("home")
    source = chain_source(home, "greets")
    terminal = Terminal(acme, acme.member, home / "member", None, RUNNING_SECONDS_MAX)
    terminal("chains", "push", source, "--team", acme.team.name)
    found = one(chain for chain in acme.admin.api.get_chains().chains if chain.name == "greets")

    def is_active():
        deployment = one(acme.admin.api.get_chains_deployments(chain_id=found.id).deployments)
        assert "FAILED" not in deployment.status, deployment
        return deployment.status == "ACTIVE"

    eventually(is_active, seconds_max=RUNNING_SECONDS_MAX)
    return found


def call(caller, chain):
    client = InferenceClient(api_key=caller.api_key, base_url_override=f"{caller.url}/chains/{chain.id}")
    return client.http_client.post("/environments/production/run_remote", json={"max_value": 1}, timeout=60)


def test_one_chainlet_calls_the_other(running_acme, chain):
    answer = call(running_acme.member, chain)
    assert (answer.status_code, answer.json()) == (200, "Hello, world! "), answer.text


def test_who_may_call(running_acme, chain):
    assert call(running_acme.team_key("WORKSPACE_INVOKE"), chain).status_code == 200
    assert call(running_acme.stranger, chain).status_code == 404
    assert call(running_acme.team_key("WORKSPACE_EXPORT_METRICS"), chain).status_code == 403
    client = InferenceClient(
        api_key=running_acme.stranger.api_key, base_url_override=f"{running_acme.stranger.url}/chains/{chain.id}"
    )
    with pytest.raises(ResponseError) as caught:
        client.api.run_remote(env_name="production", request=RunRemoteInput({"max_value": 1}))
    assert caught.value.status_code == 404
