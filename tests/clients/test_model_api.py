"""Models and their deployments over REST, by Baseten's SDK: what the CLI, Terraform and programs call."""

import asyncio
import tarfile
import urllib.request

import boto3
import pytest
from baseten.client import AsyncManagementClient
from baseten.client.managementapi import (
    CreateDeploymentPatchRequest,
    CreateEnvironmentRequest,
    CreateModelRequest,
    DeploymentArchivePayload,
    DeploymentPatchOpConfig,
    DeploymentPatchOpModelCode,
    DeploymentPatchPoint,
    GetDeploymentLogsRequest,
    GetModelsDeploymentsLogsParams,
    GetModelsDeploymentsMetricsParams,
    GetModelsParams,
    GetTeamsModelsParams,
    ModelArchiveSource,
    PrepareModelUploadRequest,
    PromoteToEnvironmentRequest,
    SyncDeploymentPatchesRequest,
    UpdateAutoscalingSettings,
    UpdateDeploymentRequest,
    UpdateEnvironmentRequest,
    UpdateModelRequest,
)
from blake3 import blake3

from guildhall import one, refusal
from truss_cli import eventually, model_dir


def of(deployment):
    return {"model_id": deployment.model_id, "deployment_id": deployment.id}


def status(api, deployment):
    return api.get_models_deployments_deployment_id(**of(deployment)).status


def until_status(api, deployment, wanted):
    eventually(lambda: status(api, deployment) == wanted, lambda: f"{status(api, deployment)}, never {wanted}")


def serving(api, model_id):
    """The names of the deployments that serve each environment."""
    environments = api.get_models_environments(model_id=model_id).environments
    return {e.name: e.current_deployment and e.current_deployment.name for e in environments}


@pytest.fixture
def archive(tmp_path):
    path, folder = tmp_path / "packed.tar", model_dir(tmp_path, "packed")
    with tarfile.open(path, "w") as tar:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            tar.add(file, file.relative_to(folder))
    return path


def prepare(caller, config=None, **fields):
    payload = DeploymentArchivePayload(config=config or {"model_name": "prepared"})
    return caller.api.post_prepare_model_upload(request=PrepareModelUploadRequest(deployment=payload, **fields))


def upload(caller, content, **prepared):
    """The SDK leaves the sending to its caller, who knows the address."""
    granted = prepare(caller, **prepared)
    s3 = boto3.client("s3", endpoint_url=caller.url, **granted.creds.model_dump())
    s3.put_object(Bucket=granted.s3_bucket, Key=granted.s3_key, Body=content)
    return granted.s3_key


class TestPreparing:
    """`prepare_model_upload` says whether a push would do, and hands out credentials for its archive."""

    def test_a_dry_run_hands_out_nothing(self, busy_acme):
        with busy_acme.unchanged():
            dry = prepare(busy_acme.member, name="prepared", team_id=busy_acme.team.id, dry_run=True)
        assert (dry.creds, dry.s3_bucket, dry.s3_key, dry.s3_region) == (None, None, None, None)

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_who_may_not_push_is_refused(self, busy_acme, dry_run):
        team, model = busy_acme.team, busy_acme.admin.make_model(f"not-theirs-{dry_run}", busy_acme.team).model
        with busy_acme.unchanged():
            for refused in ({"name": "prepared", "team_id": team.id}, {"model_id": model.id}):
                refusal(404, prepare, caller=busy_acme.stranger, dry_run=dry_run, **refused)
            for nobody in (busy_acme.teamless, team.keys["WORKSPACE_INVOKE"]):
                refusal(403, prepare, caller=nobody, name="prepared", dry_run=dry_run)

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_secret_that_the_team_has_not_is_told(self, busy_acme, dry_run):
        asked = {"name": "prepared", "team_id": busy_acme.team.id, "dry_run": dry_run}
        config = {"secrets": {"prepared_nowhere": None}}
        said = refusal(400, prepare, caller=busy_acme.member, config=config, **asked)
        assert "prepared_nowhere" in said and busy_acme.team.name in said

    def test_what_is_uploaded_with_them_is_deployed(self, busy_acme, archive):
        member, team = busy_acme.member, busy_acme.team
        s3_key = upload(member, archive.read_bytes(), name="prepared", team_id=team.id)
        made = member.make_model("prepared", team, s3_key=s3_key)
        until_status(member.api, made.deployment, "ACTIVE")
        assert busy_acme.deployments("prepared") == {team.name: [("deployment-1", member.email)]}

        link = member.api.get_models_deployments_download(**of(made.deployment)).download_url
        with urllib.request.urlopen(link) as answer:
            assert answer.read() == archive.read_bytes()
        refusal(404, busy_acme.stranger.api.get_models_deployments_download, **of(made.deployment))

        s3_key = upload(member, b"no archive", model_id=made.model.id)
        broken = member.make_deployment(made.model.id, s3_key=s3_key).deployment
        until_status(member.api, broken, "BUILD_FAILED")


def leading_to(running, operation, **changed):
    """The patch that goes from there to what is changed."""
    point = DeploymentPatchPoint(**running.model_dump(exclude={"hash"}) | changed)
    return CreateDeploymentPatchRequest(prev_patch_hash=running.hash, next_patch_point=point, patch_ops=[operation])


def running_hash(caller, draft):
    return caller.api.get_models_deployments_patches_state(**of(draft)).running_patch_point.hash


class TestPatching:
    """What `truss watch` does over GraphQL, other clients do over REST."""

    @pytest.fixture
    def draft(self, busy_acme, archive, request):
        """A development deployment with an archive."""
        member, name = busy_acme.member, request.node.name.replace("_", "-")
        s3_key = upload(member, archive.read_bytes(), name=name, team_id=busy_acme.team.id)
        draft = member.make_model(name, busy_acme.team, s3_key=s3_key, is_development=True).deployment
        until_status(member.api, draft, "ACTIVE")
        return draft

    def test_is_staged_and_synced(self, busy_acme, draft):
        member, code = busy_acme.member, "# patched\n"
        running = member.api.get_models_deployments_patches_state(**of(draft)).running_patch_point
        hashes = running.content_hashes | {"model/model.py": blake3(code.encode()).hexdigest()}
        operation = DeploymentPatchOpModelCode(type="model_code", action="UPDATE", path="model.py", content=code)
        request = leading_to(running, operation, content_hashes=hashes)
        with busy_acme.acts() as acts:
            refusal(404, busy_acme.stranger.api.post_models_deployments_patches, **of(draft), request=request)
            staged = member.api.post_models_deployments_patches(**of(draft), request=request).patch_point
            refusal(409, member.api.post_models_deployments_patches, **of(draft), request=request)
            state = member.api.get_models_deployments_patches_state(**of(draft))
            assert (state.running_patch_point, state.pending_patch_point) == (running, staged)
            synced = member.api.post_models_deployments_patches_sync(
                **of(draft), request=SyncDeploymentPatchesRequest()
            )
            assert synced.needs_full_deploy_reason is None
        done = ("MODEL_DEPLOYMENT_PATCH_STAGED", "MODEL_DEPLOYMENT_PATCHES_SYNCED")
        assert acts == [(what, member.email, busy_acme.team.name) for what in done]
        eventually(lambda: running_hash(member, draft) == staged.hash)
        until_status(member.api, draft, "ACTIVE")
        link = member.api.get_models_deployments_download(**of(draft)).download_url
        with urllib.request.urlopen(link) as answer, tarfile.open(fileobj=answer, mode="r|") as tar:
            held = {file.name: tar.extractfile(file).read() for file in tar}
        assert held["model/model.py"] == code.encode()

    def test_to_a_secret_of_another_team_is_refused(self, busy_acme, draft):
        member = busy_acme.member
        running = member.api.get_models_deployments_patches_state(**of(draft)).running_patch_point
        config = running.config + "secrets:\n  patched_nowhere: null\n"
        operation = DeploymentPatchOpConfig(type="config", config={"secrets": {"patched_nowhere": None}})
        hashes = running.content_hashes | {"config.yaml": blake3(config.encode()).hexdigest()}
        request = leading_to(running, operation, config=config, content_hashes=hashes)
        with busy_acme.unchanged():
            said = refusal(400, member.api.post_models_deployments_patches, **of(draft), request=request)
        assert "patched_nowhere" in said and busy_acme.team.name in said


class TestTeams:
    def test_without_one_a_model_is_the_default_team_s_or_the_key_s(self, busy_acme):
        admin, key = busy_acme.admin, busy_acme.team.keys["WORKSPACE_MANAGE_ALL"]
        assert admin.make_model("undirected").model.team_name == busy_acme.default_team.name
        assert key.make_model("undirected").model.team_name == busy_acme.team.name
        assert busy_acme.deployments("undirected") == {
            busy_acme.default_team.name: [("deployment-1", admin.email)],
            busy_acme.team.name: [("deployment-1", key.prefix)],
        }
        with busy_acme.unchanged():
            said = refusal(403, busy_acme.member.make_model, name="undirected-2")
        assert busy_acme.default_team.name in said

    def test_a_name_is_one_model_in_a_team(self, busy_acme):
        team, other, lead = busy_acme.team, busy_acme.other_team, busy_acme.team_admin
        ids = {each.name: lead.make_model("doubled", each).model.id for each in (team, other)}
        with busy_acme.unchanged():
            assert team.name in refusal(409, busy_acme.member.make_model, name="doubled", team=team)
        found = lead.api.get_models(params=GetModelsParams(name="doubled")).models
        assert {model.team_name: model.id for model in found} == ids
        assert one(busy_acme.member.api.get_models(params=GetModelsParams(name="doubled")).models).id == ids[team.name]
        within = lead.api.get_teams_models(team_id=other.id, params=GetTeamsModelsParams(name="doubled")).models
        assert one(within).id == ids[other.name]
        assert busy_acme.stranger.api.get_models(params=GetModelsParams(name="doubled")).models != []  # of `other`

    def test_another_s_model_is_not_there(self, busy_acme):
        made = busy_acme.member.make_model("out-of-sight", busy_acme.team)
        api, ids = busy_acme.stranger.api, of(made.deployment)
        promote = PromoteToEnvironmentRequest(deployment_id=made.deployment.id)
        staging = CreateEnvironmentRequest(name="staging")
        with busy_acme.unchanged():
            for call, arguments in (
                (api.get_models_deployments, {}),
                (api.get_models_environments, {}),
                (api.patch_models, {"request": UpdateModelRequest(name="mine-now")}),
                (api.post_models_environments, {"request": staging}),
                (api.post_models_environments_promote, {"env_name": "production", "request": promote}),
                (api.delete_models, {}),
            ):
                refusal(404, call, model_id=made.model.id, **arguments)
            for call, arguments in (
                (api.get_models_deployments_deployment_id, {}),
                (api.get_models_deployments_config, {}),
                (api.get_models_deployments_logs, {}),
                (api.get_models_deployments_metrics, {}),
                (api.patch_models_deployments, {"request": UpdateDeploymentRequest(name="mine-now")}),
                (api.post_models_deployments_deactivate, {}),
                (api.delete_models_deployments, {}),
            ):
                refusal(404, call, **ids, **arguments)


def test_deployments_are_made_renamed_stopped_started_and_deleted(busy_acme):
    member, lead, team = busy_acme.member, busy_acme.team_admin, busy_acme.team
    first = member.make_model("lifelong", team, raw_config="model_name: lifelong # kept\n")
    model_id = first.model.id
    second = lead.make_deployment(model_id, deployment_name="second", labels={"owner": "kites"}).deployment
    draft = member.make_deployment(model_id, is_development=True).deployment
    assert busy_acme.deployments("lifelong") == {
        team.name: [("deployment-1", member.email), ("second", lead.email), ("development", member.email)]
    }
    assert (second.name, second.labels, second.is_production) == ("second", {"owner": "kites"}, False)
    assert lead.api.get_models_deployments_production(model_id=model_id).id == first.deployment.id
    assert lead.api.get_models_deployments_development(model_id=model_id).id == draft.id
    config = lead.api.get_models_deployments_config(**of(first.deployment))
    assert (config.config["model_name"], config.raw_config) == ("lifelong", "model_name: lifelong # kept\n")

    until_status(lead.api, second, "ACTIVE")
    with busy_acme.acts() as acts:
        lead.api.patch_models_deployments(**of(second), request=UpdateDeploymentRequest(name="renamed"))
        assert member.api.post_models_deployments_deactivate(**of(second)).success
        until_status(lead.api, second, "INACTIVE")
        assert lead.api.post_models_deployments_activate(**of(second)).success
        until_status(lead.api, second, "ACTIVE")
        assert member.api.delete_models_deployments(**of(second)).deleted
    did = [("UPDATED", lead), ("DEACTIVATED", member), ("ACTIVATED", lead), ("DELETED", member)]
    assert acts == [(f"MODEL_DEPLOYMENT_{what}", who.email, team.name) for what, who in did]
    refusal(404, member.api.get_models_deployments_deployment_id, **of(second))
    left = member.api.get_models_deployments(model_id=model_id).deployments
    assert {deployment.id for deployment in left} == {first.deployment.id, draft.id}


def test_environments_are_made_changed_promoted_to_and_deleted(busy_acme):
    member, team = busy_acme.member, busy_acme.team
    first = member.make_model("staged", team)
    api, model_id = member.api, first.model.id
    second = member.make_deployment(model_id).deployment
    with busy_acme.acts() as acts:
        made = api.post_models_environments(model_id=model_id, request=CreateEnvironmentRequest(name="staging"))
        settings = UpdateAutoscalingSettings(min_replica=1, max_replica=3)
        update = UpdateEnvironmentRequest(autoscaling_settings=settings)
        api.patch_models_environments(model_id=model_id, env_name="staging", request=update)
        request = PromoteToEnvironmentRequest(deployment_id=second.id)
        promoted = api.post_models_environments_promote(model_id=model_id, env_name="staging", request=request)
    done = ("ENVIRONMENT_CREATED", "ENVIRONMENT_UPDATED", "MODEL_DEPLOYMENT_PROMOTED")
    assert acts == [(what, member.email, team.name) for what in done]
    assert (made.name, made.model_id, made.current_deployment) == ("staging", model_id, None)
    assert (promoted.id, promoted.environment) == (second.id, "staging")
    eventually(lambda: serving(api, model_id) == {"production": "deployment-1", "staging": "deployment-2"})
    shown = api.get_models_environments_env_name(model_id=model_id, env_name="staging")
    assert (shown.autoscaling_settings.min_replica, shown.autoscaling_settings.max_replica) == (1, 3)

    request = PromoteToEnvironmentRequest(deployment_id=second.id)
    api.post_models_environments_promote(model_id=model_id, env_name="production", request=request)
    eventually(lambda: serving(api, model_id)["production"] not in (None, "deployment-1"))
    assert api.delete_models_environments(model_id=model_id, env_name="staging").deleted
    assert set(serving(api, model_id)) == {"production"}
    with busy_acme.unchanged():
        refusal(409, api.delete_models_environments, model_id=model_id, env_name="production")
        missing = {"environment_name": "nosuch", "create_environment_if_missing": False}
        refusal(404, member.make_deployment, model_id=model_id, **missing)


def test_a_model_is_renamed_and_deleted(busy_acme):
    member, lead, team = busy_acme.member, busy_acme.team_admin, busy_acme.team
    taken, model = member.make_model("taken", team).model, member.make_model("first-name", team).model
    rename = UpdateModelRequest(name="second-name")
    with busy_acme.acts() as acts:
        assert lead.api.patch_models(model_id=model.id, request=rename).name == "second-name"
        refusal(409, lead.api.patch_models, model_id=model.id, request=UpdateModelRequest(name=taken.name))
        refusal(403, team.keys["WORKSPACE_INVOKE"].api.patch_models, model_id=model.id, request=rename)
        assert busy_acme.deployments("first-name") == {}
        assert busy_acme.deployments("second-name") == {team.name: [("deployment-1", member.email)]}
        assert member.api.delete_models(model_id=model.id).deleted
    assert acts == [("MODEL_RENAMED", lead.email, team.name), ("MODEL_DELETED", member.email, team.name)]
    refusal(404, lead.api.get_models_model_id, model_id=model.id)
    assert busy_acme.deployments("second-name") == {}


def test_logs_have_windows_levels_and_pages(busy_acme):
    api, deployment = busy_acme.member.api, busy_acme.member.make_model("logged", busy_acme.team).deployment
    until_status(api, deployment, "ACTIVE")

    def logs(**params):
        return api.get_models_deployments_logs(**of(deployment), params=GetModelsDeploymentsLogsParams(**params)).logs

    newest_first = logs()
    assert len(newest_first) >= 4 and logs(direction="asc") == newest_first[::-1]
    assert any("configuration alone" in line.message for line in newest_first)
    times = [int(line.timestamp) for line in newest_first]
    assert times == sorted(times, reverse=True)

    # Millisecond bounds hold on both sides, so a client goes on from the last line and drops what it has.
    seen, start = [], None
    while True:
        page = logs(direction="asc", limit=3, start_epoch_millis=start)
        new = [line for line in page if line not in seen]
        if not new:
            break
        seen += new
        start = int(seen[-1].timestamp) // 1_000_000
    assert seen == newest_first[::-1]
    assert logs(end_epoch_millis=times[-1] // 1_000_000 - 1) == []

    assert logs(min_level="ERROR") == []
    wanted = [line for line in newest_first if "active" in line.message]
    assert logs(includes=["active"]) == wanted and logs(search_pattern="active") == wanted
    assert logs(excludes=["active"]) == [line for line in newest_first if line not in wanted]
    posted = api.post_models_deployments_logs(**of(deployment), request=GetDeploymentLogsRequest(includes=["active"]))
    assert posted.logs == wanted
    of_environment = api.get_models_environments_logs(model_id=deployment.model_id, env_name="production").logs
    assert {line.message for line in of_environment} == {line.message for line in newest_first}


def test_metrics_tell_what_they_measure(busy_acme):
    api, deployment = busy_acme.member.api, busy_acme.member.make_model("measured", busy_acme.team).deployment
    until_status(api, deployment, "ACTIVE")
    exporter = busy_acme.team.keys["WORKSPACE_EXPORT_METRICS"].api
    for reader, mode in ((api, "CURRENT"), (api, "SERIES"), (exporter, "CURRENT")):
        params = GetModelsDeploymentsMetricsParams(mode=mode)
        metrics = reader.get_models_deployments_metrics(**of(deployment), params=params)
        assert metrics.mode == mode
        names = [descriptor.name for descriptor in metrics.metric_descriptors]
        assert "baseten_replicas_active" in names
        assert {len(step.values) for step in metrics.metric_values} == {len(names)}
        if mode == "CURRENT":
            assert one(metrics.metric_values).values[names.index("baseten_replicas_active")] == [1.0]
    refusal(403, busy_acme.team.keys["WORKSPACE_INVOKE"].api.get_models_deployments_metrics, **of(deployment))
    refusal(404, busy_acme.stranger.api.get_models_deployments_metrics, **of(deployment))


def test_the_audit_log_of_a_model_is_its_own(busy_acme):
    member, lead, team = busy_acme.member, busy_acme.team_admin, busy_acme.team
    model = member.make_model("watched-closely", team).model
    lead.make_deployment(model.id)
    member.make_model("beside-it", team)
    listed = busy_acme.admin.api.get_models_audit_logs(model_id=model.id).items
    assert [(entry.event_type, entry.actor.email, entry.event_data.model_id) for entry in listed] == [
        ("MODEL_DEPLOYED", lead.email, model.id),
        ("MODEL_DEPLOYED", member.email, model.id),
    ]
    refusal(403, lead.api.get_models_audit_logs, model_id=model.id)


def test_the_asynchronous_client_too(busy_acme):
    member, team = busy_acme.member, busy_acme.team

    async def push():
        payload = DeploymentArchivePayload(config={"model_name": "by-and-by"})
        source = ModelArchiveSource(name="by-and-by", deployment=payload, kind="model_archive")
        async with AsyncManagementClient(api_key=member.api_key, base_url_override=member.url) as client:
            made = await client.api.post_teams_models(team_id=team.id, request=CreateModelRequest(source=source))
            found = await client.api.get_models(params=GetModelsParams(name="by-and-by"))
            assert [model.id for model in found.models] == [made.model.id]
            gone = await client.api.delete_models(model_id=made.model.id)
            return gone.id

    with busy_acme.acts() as acts:
        model_id = asyncio.run(push())
    assert acts == [("MODEL_DEPLOYED", member.email, team.name), ("MODEL_DELETED", member.email, team.name)]
    refusal(404, member.api.get_models_model_id, model_id=model_id)
