"""Models that run: pushed by stock truss, called by truss and by the SDK's inference client."""

import hashlib
import json

import pytest
from baseten.client import InferenceClient
from baseten.client.inferenceapi import AsyncPredictRequest, PredictInput, ResponseError
from baseten.client.managementapi import GetModelsParams, UpsertSecretRequest

from guildhall import one
from truss_cli import RUNNING_SECONDS_MAX, Terminal, eventually, model_dir

# One worker runs them all, so that one server makes their environment once.
pytestmark = pytest.mark.xdist_group("running models")

SECRET = "model_key"
CONFIG = f"secrets:\n  {SECRET}: null\nresources:\n  memory: 512Mi\n"
CODE = f"""
import hashlib


class Model:
    def __init__(self, **kwargs):
        self._secrets = kwargs["secrets"]

    def predict(self, request):
        print("was asked", request)
        if request.get("stream"):
            return (f"piece {{number}}\\n" for number in range(3))
        secret = self._secrets["{SECRET}"]
        return {{"echo": request, "sha256": hashlib.sha256(secret.encode()).hexdigest()}}
"""


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def client_of(caller, model):
    return InferenceClient(api_key=caller.api_key, base_url_override=f"{caller.url}/models/{model.id}")


def set_secret(caller, team, value):
    caller.api.post_teams_secrets(team_id=team.id, request=UpsertSecretRequest(name=SECRET, value=value))


def model_of(acme, name, team):
    found = acme.admin.api.get_models(params=GetModelsParams(name=name)).models
    return one(model for model in found if model.team_name == team.name)


def refused(status, client, request=None):
    with pytest.raises(ResponseError) as caught:
        client.api.predict(env_name="production", request=PredictInput(request or {}))
    assert caught.value.status_code == status, caught.value


@pytest.fixture(scope="module")
def pushed(running_acme, tmp_path_factory):
    """One model in two teams, each with its own value of one secret."""
    acme, home = running_acme, tmp_path_factory.mktemp("home")
    folder = model_dir(home, "hasher", CONFIG, CODE)
    terminal = Terminal(acme, acme.admin, home / "admin", None, RUNNING_SECONDS_MAX)
    models = {}
    for team in (acme.team, acme.other_team):
        set_secret(acme.admin, team, f"secret of {team.name}")
        terminal("push", folder, "--team", team.name, "--wait")
        models[team.name] = model_of(acme, "hasher", team)
    return folder, terminal, models


def test_each_model_reads_the_secret_of_its_own_team(running_acme, pushed):
    _, _, models = pushed
    for team in (running_acme.team, running_acme.other_team):
        answer = client_of(running_acme.admin, models[team.name]).api.predict(
            env_name="production", request=PredictInput({"hello": team.name})
        )
        assert answer.root == {"echo": {"hello": team.name}, "sha256": sha256(f"secret of {team.name}")}


def test_truss_predict(running_acme, pushed):
    _, terminal, models = pushed
    model = models[running_acme.team.name]
    deployment = one(running_acme.admin.api.get_models_deployments(model_id=model.id).deployments)
    said = terminal("predict", "--model-deployment", deployment.id, "-d", json.dumps({"a": 1}))
    assert sha256(f"secret of {running_acme.team.name}") in said


def test_a_stream_comes_in_pieces(running_acme, pushed):
    _, _, models = pushed
    client = client_of(running_acme.admin, models[running_acme.team.name])
    answer = client.api.predict_raw(
        env_name="production", request=PredictInput({"stream": True}), accept="application/octet-stream"
    )
    assert "".join(answer.iter_text()) == "piece 0\npiece 1\npiece 2\n"
    answer.close()


def test_an_asynchronous_call_succeeds(running_acme, pushed):
    _, _, models = pushed
    client = client_of(running_acme.admin, models[running_acme.team.name])
    asked = client.api.async_predict(env_name="production", request=AsyncPredictRequest(model_input={"later": 1}))

    def done():
        status = client.api.get_async_request_status(request_id=asked.request_id).status
        assert status in ("QUEUED", "IN_PROGRESS", "SUCCEEDED"), status
        return status == "SUCCEEDED"

    eventually(done)


def test_what_it_prints_is_in_its_log(running_acme, pushed):
    _, _, models = pushed
    model = models[running_acme.team.name]
    client = client_of(running_acme.admin, model)
    client.api.predict(env_name="production", request=PredictInput({"marked": "kiwi"}))
    deployment = one(running_acme.admin.api.get_models_deployments(model_id=model.id).deployments)

    def printed():
        answer = running_acme.admin.http.get(f"/v1/models/{model.id}/deployments/{deployment.id}/logs")
        return any("kiwi" in line["message"] for line in answer.json()["logs"])

    eventually(printed)


def test_a_changed_secret_reaches_the_running_model(running_acme, pushed):
    _, _, models = pushed
    team = running_acme.team
    client = client_of(running_acme.admin, models[team.name])
    set_secret(running_acme.admin, team, "changed")

    def is_new():
        answer = client.api.predict(env_name="production", request=PredictInput({}))
        return answer.root["sha256"] == sha256("changed")

    eventually(is_new)
    set_secret(running_acme.admin, team, f"secret of {team.name}")


def test_who_may_call(running_acme, pushed):
    _, _, models = pushed
    team, model = running_acme.team, models[running_acme.team.name]
    for caller in (
        running_acme.member,
        running_acme.team_admin,
        running_acme.admin,
        running_acme.team_key("WORKSPACE_INVOKE"),
        running_acme.team_key("WORKSPACE_MANAGE_ALL"),
        running_acme.team_key("WORKSPACE_INVOKE", model_ids=[model.id]),
    ):
        client_of(caller, model).api.predict(env_name="production", request=PredictInput({}))
    refused(404, client_of(running_acme.stranger, model))
    refused(403, client_of(running_acme.team_key("WORKSPACE_EXPORT_METRICS"), model))
    other = models[running_acme.other_team.name]
    refused(404, client_of(running_acme.team_key("WORKSPACE_INVOKE"), other))
    assert team.name != running_acme.other_team.name


def test_truss_watch_changes_the_running_model(running_acme, at_running, tmp_path):
    member = running_acme.member
    folder = model_dir(tmp_path, "watched", CONFIG, CODE)
    set_secret(running_acme.admin, running_acme.team, f"secret of {running_acme.team.name}")
    code = folder / "model" / "model.py"
    with at_running(member, running_acme.team.name).started("push", folder, "--watch") as until:
        eventually(lambda: development_is_active(running_acme, "watched"), seconds_max=RUNNING_SECONDS_MAX)
        until("Watching for changes")
        code.write_text(CODE.replace('"echo"', '"parrot"'))
        until("patched successfully", written=code)
        model = model_of(running_acme, "watched", running_acme.team)

        def is_new():
            answer = client_of(member, model).api.predict_development(request=PredictInput({}))
            return "parrot" in answer.root

        eventually(is_new)


def development_is_active(acme, name):
    for model in acme.admin.api.get_models(params=GetModelsParams(name=name)).models:
        return acme.admin.api.get_models_deployments_development(model_id=model.id).status == "ACTIVE"
