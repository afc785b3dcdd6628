"""Pushing, watching and fetching models back: truss's command line as a person runs it, and the SDK beside it.

The server is truss's proxy here, so that `api.localhost` needs no name service and any port will do.
"""

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from baseten.client.managementapi import (
    CreateEnvironmentRequest,
    CreateModelDeploymentRequest,
    CreateModelRequest,
    DeploymentArchivePayload,
    DeploymentArchiveSource,
    ModelArchiveSource,
    PrepareModelUploadRequest,
    PromoteToEnvironmentRequest,
)

from conftest import serve
from test_truss import KNOWN_URL, TRUSS, log_in, truss

CODE = "class Model:\n    def predict(self, x):\n        return x\n"
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def acme(tmp_path_factory):
    """An organization that all tests here push to, each under a name of its own."""
    yield from serve(tmp_path_factory.mktemp("pushed") / "data")


def model_dir(home, name, config="", code=CODE):
    folder = home / name
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model_name: {name}  # kept\npython_version: py311\n{config}")
    (folder / "model" / "__init__.py").write_text("")
    if code:
        (folder / "model" / "model.py").write_text(code)
    return folder


@pytest.fixture
def at(acme, tmp_path):
    """Runs truss as the given caller, an admin of the organization if nobody else is."""

    def run(*arguments, caller=None):
        log_in(tmp_path, KNOWN_URL, caller or acme.admin)
        return truss(tmp_path, *arguments, http_proxy=acme.guildhall.url)

    return run


def done(ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def only(acme, name, team):
    found = [model for model in acme.admin.api.get_models().models if model.name == name and model.team_name == team.name]
    assert len(found) == 1, found
    return found[0]


def test_a_push_goes_to_the_team_that_is_named_and_a_later_one_to_the_same_model(acme, at, tmp_path):
    folder = model_dir(tmp_path, "first-light")
    done(at("push", folder, "--team", acme.team.name, "--wait"))
    model = only(acme, "first-light", acme.team)
    production = acme.admin.api.get_models_deployments_production(model_id=model.id)
    assert (production.status, production.name, production.is_production) == ("ACTIVE", "deployment-1", True)
    done(at("push", folder, "--deployment-name", "second", "--wait"))
    again = only(acme, "first-light", acme.team)
    assert (again.id, again.deployments_count) == (model.id, 2)
    assert again.production_deployment_id == production.id


def test_promote_takes_over_production(acme, at, tmp_path):
    folder = model_dir(tmp_path, "climber")
    done(at("push", folder, "--team", acme.team.name, "--wait"))
    done(at("push", folder, "--promote", "--wait"))
    model = only(acme, "climber", acme.team)
    deployments = acme.admin.api.get_models_deployments(model_id=model.id).deployments
    assert {d.name: (d.status, d.environment) for d in deployments} == {
        "deployment-1": ("SCALED_TO_ZERO", None),
        "deployment-2": ("ACTIVE", "production"),
    }


def test_an_environment_is_made_by_a_push_to_it(acme, at, tmp_path):
    folder = model_dir(tmp_path, "stager")
    done(at("push", folder, "--team", acme.team.name, "--environment", "staging", "--wait"))
    model = only(acme, "stager", acme.team)
    environments = acme.admin.api.get_models_environments(model_id=model.id).environments
    assert [(e.name, e.current_deployment and e.current_deployment.status) for e in environments] == [
        ("production", None),
        ("staging", "ACTIVE"),
    ]


def test_a_member_needs_no_team_named_and_a_stranger_cannot_name_it(acme, at, tmp_path):
    folder = model_dir(tmp_path, "homing")
    only_team_key = acme.team.keys["WORKSPACE_MANAGE_ALL"]
    done(at("push", folder, "--wait", caller=only_team_key))
    only(acme, "homing", acme.team)
    refused = at("push", folder, "--team", acme.team.name, caller=acme.stranger)
    assert refused.returncode != 0
    assert "does not exist" in refused.stdout + refused.stderr


def test_the_same_name_in_two_teams_is_two_models(acme, at, tmp_path):
    folder = model_dir(tmp_path, "twins")
    for team in (acme.team, acme.other_team):
        done(at("push", folder, "--team", team.name, "--wait"))
    assert only(acme, "twins", acme.team).id != only(acme, "twins", acme.other_team).id


def test_a_broken_archive_fails_and_its_log_says_why(acme, at, tmp_path):
    folder = model_dir(tmp_path, "hollow", code=None)
    pushed = at("push", folder, "--team", acme.team.name, "--wait")
    assert pushed.returncode != 0 and "BUILD_FAILED" in pushed.stdout + pushed.stderr
    model = only(acme, "hollow", acme.team)
    [deployment] = acme.admin.api.get_models_deployments(model_id=model.id).deployments
    logs = done(at("model-logs", "--model-id", model.id, "--deployment-id", deployment.id))
    assert "it has no model/model.py" in logs


def test_a_secret_of_another_team_is_told_at_push(acme, at, tmp_path):
    folder = model_dir(tmp_path, "secretive", config="secrets:\n  push_only_here: null\n")
    pushed = at("push", folder, "--team", acme.team.name)
    assert pushed.returncode != 0
    assert "push_only_here" in pushed.stdout and acme.team.name in pushed.stdout


def test_what_was_pushed_comes_back(acme, at, tmp_path):
    folder = model_dir(tmp_path, "boomerang")
    (folder / "weights.bin").write_bytes(os.urandom(9 << 20))  # beyond one part
    done(at("push", folder, "--team", acme.team.name, "--wait"))
    model = only(acme, "boomerang", acme.team)
    ids = ["--model-id", model.id, "--deployment-id", model.production_deployment_id]
    done(at("download", *ids, "--out-dir", tmp_path / "back"))
    for path in ("model/model.py", "weights.bin"):
        assert (tmp_path / "back" / path).read_bytes() == (folder / path).read_bytes()
    assert done(at("model-config", *ids)).strip() == (folder / "config.yaml").read_text().strip()


@contextmanager
def watching(acme, home, folder, log):
    log_in(home, KNOWN_URL, acme.admin)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BASETEN_")} | {
        "HOME": str(home),
        "USER_TRUSSRC_PATH": str(home / ".trussrc"),
        "TRUSS_NO_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "http_proxy": acme.guildhall.url,
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            [TRUSS, "push", folder, "--watch", "--team", acme.team.name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def until(log: Path, words: str, times=1):
    end = time.monotonic() + SECONDS_MAX
    while log.read_text().count(words) < times:
        assert time.monotonic() < end, f"never {words!r}: {log.read_text()}"
        time.sleep(0.2)


def test_watch_patches_what_runs_one_change_behind_the_other(acme, at, tmp_path):
    folder, log = model_dir(tmp_path, "watched"), tmp_path / "log"
    with watching(acme, tmp_path, folder, log):
        until(log, "Watching for changes")
        (folder / "model" / "model.py").write_text(CODE + "# one\n")
        until(log, "patched successfully")
        with (folder / "config.yaml").open("a") as config:
            config.write("environment_variables:\n  A: b\n")
        until(log, "patched successfully", times=2)
    model = only(acme, "watched", acme.team)
    end = time.monotonic() + SECONDS_MAX
    while (deployment := acme.admin.api.get_models_deployments_development(model_id=model.id)).status != "ACTIVE":
        assert time.monotonic() < end, deployment
        time.sleep(0.1)
    done(at("download", "--model-id", model.id, "--deployment-id", deployment.id, "--out-dir", tmp_path / "back"))
    assert (tmp_path / "back" / "model" / "model.py").read_text() == CODE + "# one\n"
    assert (tmp_path / "back" / "config.yaml").read_text().endswith("A: b\n")


def test_the_sdk_pushes_promotes_and_reads(acme):
    api = acme.admin.api
    payload = DeploymentArchivePayload(config={"model_name": "by-sdk"}, raw_config="model_name: by-sdk\n")
    dry = api.post_prepare_model_upload(
        request=PrepareModelUploadRequest(name="by-sdk", team_id=acme.team.id, deployment=payload, dry_run=True)
    )
    assert (dry.creds, dry.s3_key) == (None, None)
    made = api.post_models(
        request=CreateModelRequest(source=ModelArchiveSource(name="by-sdk", deployment=payload, kind="model_archive"))
    )
    model_id = made.model.id
    assert made.deployment.is_production
    staging = api.post_models_environments(model_id=model_id, request=CreateEnvironmentRequest(name="staging"))
    assert (staging.name, staging.instance_type.name) == ("staging", "1x2")
    second = api.post_models_deployments(
        model_id=model_id,
        request=CreateModelDeploymentRequest(source=DeploymentArchiveSource(deployment=payload, kind="model_archive")),
    ).deployment
    promoted = api.post_models_environments_promote(
        model_id=model_id, env_name="staging", request=PromoteToEnvironmentRequest(deployment_id=second.id)
    )
    assert promoted.environment == "staging"
    end = time.monotonic() + SECONDS_MAX
    while api.get_models_deployments_deployment_id(model_id=model_id, deployment_id=second.id).status != "ACTIVE":
        assert time.monotonic() < end
        time.sleep(0.1)
    logs = api.get_models_deployments_logs(model_id=model_id, deployment_id=second.id).logs
    assert any("active" in line.message for line in logs)
    config = api.get_models_deployments_config(model_id=model_id, deployment_id=second.id)
    assert config.raw_config == "model_name: by-sdk\n"
    metrics = api.get_models_deployments_metrics(model_id=model_id, deployment_id=second.id)
    assert metrics.metric_descriptors[0].name == "baseten_replicas_active"
    assert api.delete_models_environments(model_id=model_id, env_name="staging").deleted
