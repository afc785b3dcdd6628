"""Pushing models with truss and fetching them back. To which team is tried in `test_push_teams.py`."""

import json
import os
import tarfile

import pytest
from baseten.client.managementapi import GetModelsParams
from blake3 import blake3

from guildhall import one
from truss_cli import eventually, model_dir


def only(acme, name):
    """The one model of that name."""
    return one(acme.admin.api.get_models(params=GetModelsParams(name=name)).models)


def where(acme, model):
    """Of each deployment: its status and the environment it serves."""
    deployments = acme.admin.api.get_models_deployments(model_id=model.id).deployments
    return {deployment.name: (deployment.status, deployment.environment) for deployment in deployments}


def until_where(acme, model, wanted):
    eventually(lambda: where(acme, model) == wanted, lambda: f"{where(acme, model)}, never {wanted}")


def ids(model, deployment_id=None):
    return ("--model-id", model.id, "--deployment-id", deployment_id or model.production_deployment_id)


def pushing(caller, team, *more):
    """What each push that is taken leaves in the audit log."""
    also = [(event, caller.email, team.name) for event in (*more, "MODEL_DEPLOYED")]
    return [("ARCHIVE_UPLOADED", caller.email, None), *also]


@pytest.fixture
def member(busy_acme):
    """Their pushes go to `team`: they have no other."""
    return busy_acme.member


def test_the_first_is_production_and_a_later_one_is_not(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "first-light")
    with busy_acme.acts() as acts:
        said = at(member)("push", folder, "--publish", "--wait", "--labels", '{"owner": "kites"}')
    assert "Deployment succeeded." in said
    assert acts == pushing(member, busy_acme.team)
    model = only(busy_acme, "first-light")
    assert f"http://model-{model.id}.api.localhost:8000" in said
    production = busy_acme.admin.api.get_models_deployments_production(model_id=model.id)
    assert (production.name, production.status, production.labels) == ("deployment-1", "ACTIVE", {"owner": "kites"})

    at(member)("push", folder, "--deployment-name", "second", "--wait")
    assert where(busy_acme, model) == {"deployment-1": ("ACTIVE", "production"), "second": ("ACTIVE", None)}
    again = only(busy_acme, "first-light")
    assert (again.id, again.production_deployment_id) == (model.id, production.id)


def test_promote_takes_over_production(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "climber")
    model = member.make_model("climber", busy_acme.team).model
    until_where(busy_acme, model, {"deployment-1": ("ACTIVE", "production")})
    with busy_acme.acts() as acts:
        at(member)("push", folder, "--promote", "--wait")
    assert acts == pushing(member, busy_acme.team)
    taken_over = {"deployment-1": ("SCALED_TO_ZERO", None), "deployment-2": ("ACTIVE", "production")}
    until_where(busy_acme, model, taken_over)

    at(member)("push", folder, "--promote", "--preserve-previous-production-deployment")
    kept = {"deployment-2": ("ACTIVE", None), "deployment-3": ("ACTIVE", "production")}
    until_where(busy_acme, model, taken_over | kept)


def test_an_environment_is_made_by_a_push_to_it(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "stager")
    with busy_acme.acts() as acts:
        at(member)("push", folder, "--environment", "staging", "--wait")
    assert acts == pushing(member, busy_acme.team, "ENVIRONMENT_CREATED")
    model = only(busy_acme, "stager")
    environments = busy_acme.admin.api.get_models_environments(model_id=model.id).environments
    assert [(e.name, e.current_deployment and e.current_deployment.name) for e in environments] == [
        ("production", None),
        ("staging", "deployment-1"),
    ]
    with busy_acme.acts() as acts:
        at(member)("push", folder, "--environment", "staging")
    assert acts == pushing(member, busy_acme.team), "the second finds it"
    moved = {"deployment-1": ("SCALED_TO_ZERO", None), "deployment-2": ("ACTIVE", "staging")}
    until_where(busy_acme, model, moved)


def test_a_restricted_environment_takes_pushes_of_those_on_its_list(busy_acme, at, member, tmp_path):
    team, lead, folder = busy_acme.team, busy_acme.team_admin, model_dir(tmp_path, "guarded")
    group = {"name": "guarded", "manage_access": {"is_restricted": True, "user_ids": []}}
    made = lead.http.post(f"/v1/teams/{team.id}/environment_groups", json=group)
    assert made.status_code == 200, made.text
    with busy_acme.acts() as acts:
        said = at(member).leaves_with(1, "push", folder, "--environment", "guarded")
    assert f'the environment "guarded" of team "{team.name}" is restricted and you are not on its list' in said
    assert acts == [("ARCHIVE_UPLOADED", member.email, None)]
    assert busy_acme.deployments("guarded") == {}

    at(lead)("push", folder, "--team", team.name, "--environment", "guarded")
    at(member)("push", folder)
    both = {"deployment-1": ("ACTIVE", "guarded"), "deployment-2": ("ACTIVE", "production")}
    until_where(busy_acme, only(busy_acme, "guarded"), both)


def test_a_broken_archive_fails_and_its_log_says_why(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "hollow", code=None)
    assert "BUILD_FAILED" in at(member).leaves_with(1, "push", folder, "--wait")
    model = only(busy_acme, "hollow")
    assert where(busy_acme, model) == {"deployment-1": ("BUILD_FAILED", "production")}
    deployment = one(busy_acme.admin.api.get_models_deployments(model_id=model.id).deployments)
    assert "it has no model/model.py" in at(member)("model-logs", *ids(model, deployment.id))


def test_logs_are_filtered(busy_acme, at, member):
    model = member.make_model("talker", busy_acme.team).model
    until_where(busy_acme, model, {"deployment-1": ("ACTIVE", "production")})
    built = "built from its configuration alone"
    everything = at(member)("model-logs", *ids(model))
    assert everything.index(built) < everything.index(": active"), "oldest first"
    assert at(member)("model-logs", *ids(model), "--min-level", "error") == ""
    found = at(member)("model-logs", *ids(model), "--search-pattern", "configuration alone", "--since", "10m")
    assert built in found and ": active" not in found
    hidden = at(busy_acme.stranger).leaves_with(1, "model-logs", *ids(model))
    assert "no such model" in hidden and built not in hidden


def test_what_was_pushed_comes_back(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "boomerang")
    (folder / "weights.bin").write_bytes(os.urandom(17 << 20))  # in three parts, the last a short one
    (folder / "data").mkdir()
    (folder / "data" / "Größe ö.txt").write_text("unusual name\n")
    at(member)("push", folder, "--wait")
    model = only(busy_acme, "boomerang")

    at(member)("download", *ids(model), "--out-dir", tmp_path / "back")
    assert files(tmp_path / "back") == files(folder)

    archive = tmp_path / "archive.tar"
    at(member)("download", *ids(model), "--out-file", archive)
    uploaded = one(busy_acme.log(search=blake3(archive.read_bytes()).hexdigest()))
    assert (uploaded["event_type"], uploaded["event_data"]["bytes"]) == ("ARCHIVE_UPLOADED", archive.stat().st_size)
    with tarfile.open(archive) as tar:
        assert set(tar.getnames()) == set(files(folder))

    config = at(member).run("model-config", *ids(model))
    assert config.stdout == (folder / "config.yaml").read_text(), config.stderr

    for command in (("download", *ids(model), "--out-file", tmp_path / "stolen"), ("model-config", *ids(model))):
        assert "no such model" in at(busy_acme.stranger).leaves_with(1, *command)
    assert not (tmp_path / "stolen").exists()


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_json_tells_a_program_what_came_of_it(busy_acme, at, member, tmp_path):
    folder = model_dir(tmp_path, "scripted")
    said = json.loads(at(member).run("push", folder, "--output", "json", "--wait").stdout)
    model = only(busy_acme, "scripted")
    assert (said["model_id"], said["model_version_id"]) == (model.id, model.production_deployment_id)
    assert said["deployment"]["status"] == "ACTIVE"
    assert said["predict_url"].startswith(f"http://model-{model.id}.api.localhost:8000/")
    refused = json.loads(at(busy_acme.teamless).run("push", folder, "--output", "json").stdout)
    assert refused["error"]["error_code"] == "FORBIDDEN"


def test_a_download_that_was_ruled_out(busy_acme, at, member, tmp_path):
    at(member)("push", model_dir(tmp_path, "sealed"), "--disable-truss-download")
    model = only(busy_acme, "sealed")
    until_where(busy_acme, model, {"deployment-1": ("ACTIVE", "production")})
    said = at(member).leaves_with(1, "download", *ids(model), "--out-file", tmp_path / "archive.tar")
    assert 'model "sealed" was made with downloads of its archives switched off' in said
    assert not (tmp_path / "archive.tar").exists()
