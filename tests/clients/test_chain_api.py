"""Chains over REST, by Baseten's SDK. Truss's own client deploys them, as the SDK cannot."""

import pytest
from baseten.client.managementapi import (
    ChainletEnvironmentAutoscalingSettingsUpdate,
    ChainletEnvironmentInstanceTypeUpdate,
    ChainletEnvironmentSettingsRequest,
    CreateChainEnvironmentRequest,
    GetChainsDeploymentsChainletsLogsParams,
    PromoteToChainEnvironmentRequest,
    UpdateAutoscalingSettings,
    UpdateChainEnvironmentRequest,
    UpdateChainletEnvironmentAutoscalingSettingsRequest,
    UpdateChainletEnvironmentInstanceTypeRequest,
    UpdatePromotionSettings,
)

from guildhall import one, refusal
from truss_cli import eventually, model_dir
from truss_client import CHAINLETS, Client, refused


class Chain:
    """One that a caller deployed to a team, and what the SDK says of it to them."""

    def __init__(self, acme, caller, team, name, folder):
        self.client, self.api, self.team, self.name = Client(acme, caller, folder), caller.api, team, name
        first = self.client.deploy_chain(name, team)
        self.id, self.first = first.chain_id, first.chain_deployment_id
        self.until_active(self.first)

    def deploy(self, **more):
        """A further deployment of it, once that is active."""
        made = self.client.deploy_chain(self.name, self.team, **more).chain_deployment_id
        self.until_active(made)
        return made

    def deployment(self, deployment_id):
        return self.api.get_chains_deployments_chain_deployment_id(**self.ids(deployment_id))

    def ids(self, deployment_id):
        return {"chain_id": self.id, "chain_deployment_id": deployment_id}

    def environment(self, name):
        return self.api.get_chains_environments_env_name(chain_id=self.id, env_name=name)

    def promote(self, deployment_id, environment):
        request = PromoteToChainEnvironmentRequest(deployment_id=deployment_id)
        return self.api.post_chains_environments_promote(chain_id=self.id, env_name=environment, request=request)

    def until_active(self, deployment_id):
        self.until(deployment_id, "ACTIVE")

    def until(self, deployment_id, status):
        eventually(lambda: self.deployment(deployment_id).status == status, lambda: self.deployment(deployment_id))


@pytest.fixture
def chain(busy_acme, tmp_path, request):
    """Of the member, in `team`, named for its test."""
    name, folder = request.node.name.removeprefix("test_").replace("_", "-"), model_dir(tmp_path, "a-chainlet")
    return Chain(busy_acme, busy_acme.member, busy_acme.team, name, folder)


def of_chainlet(deployment, name):
    return one(chainlet for chainlet in deployment.chainlets if chainlet.name == name)


def test_it_is_its_team_s(busy_acme, chain):
    member, lead, stranger = busy_acme.member, busy_acme.team_admin, busy_acme.stranger
    shown = member.api.get_chains_chain_id(chain_id=chain.id)
    assert (shown.name, shown.team_name, shown.deployments_count) == (chain.name, chain.team.name, 1)
    for caller in (member, lead, busy_acme.admin, chain.team.keys["WORKSPACE_MANAGE_ALL"]):
        assert shown in caller.api.get_chains().chains
    assert chain.id not in {listed.id for listed in stranger.api.get_chains().chains}
    staging = CreateChainEnvironmentRequest(name="staging")
    promote = PromoteToChainEnvironmentRequest(deployment_id=chain.first)
    with busy_acme.unchanged():
        for call, arguments in (
            (stranger.api.get_chains_chain_id, {}),
            (stranger.api.get_chains_deployments, {}),
            (stranger.api.get_chains_environments, {}),
            (stranger.api.post_chains_environments, {"request": staging}),
            (stranger.api.post_chains_environments_promote, {"env_name": "production", "request": promote}),
            (stranger.api.get_chains_deployments_chain_deployment_id, {"chain_deployment_id": chain.first}),
            (stranger.api.post_chains_deployments_deactivate, {"chain_deployment_id": chain.first}),
            (stranger.api.delete_chains_deployments, {"chain_deployment_id": chain.first}),
            (stranger.api.delete_chains, {}),
        ):
            refusal(404, call, chain_id=chain.id, **arguments)
        invoker = chain.team.keys["WORKSPACE_INVOKE"].api
        refusal(403, invoker.post_chains_environments, chain_id=chain.id, request=staging)
        refusal(403, invoker.delete_chains, chain_id=chain.id)


def test_nobody_else_deploys_to_it(busy_acme, chain):
    strangers = Client(busy_acme, busy_acme.stranger, chain.client.folder)
    uploaded = [strangers.upload() for _ in CHAINLETS]
    with busy_acme.unchanged():
        deploy = strangers.deploy_chain_outright
        assert "no such Chain" in refused(deploy, uploaded, chain_id=chain.id)
        assert "no such team" in refused(deploy, uploaded, chain_name=chain.name, team_id=chain.team.id)
        assert "no such team" in refused(deploy, uploaded, chain_name="new", team_id=chain.team.id, is_draft=True)
    assert busy_acme.chain_deployments(chain.name) == {chain.team.name: [("deployment-1", busy_acme.member.email)]}
    assert busy_acme.chain_deployments("new") == {}


def test_what_is_refused_leaves_nothing_behind(busy_acme, chain):
    """Also when only the last chainlet is amiss."""
    lead, team, name = busy_acme.team_admin, chain.team, f"{chain.name}-new"
    theirs, ours = (Client(busy_acme, caller, chain.client.folder) for caller in (lead, busy_acme.member))
    of_lead = theirs.upload()
    uploaded = [ours.upload() for _ in CHAINLETS]
    with busy_acme.unchanged():
        assert "no such upload" in refused(ours.deploy_chain, name, team, s3_keys=[uploaded[0], of_lead])
        said = refused(ours.deploy_chain, name, team, s3_keys=uploaded, secrets=["unset"])
        assert f'names `unset`, and team "{team.name}" has no secret of that name' in said
        draft = {"chain_name": chain.name, "team_id": team.id, "is_draft": True}
        assert "no such upload" in refused(ours.deploy_chain_outright, [of_lead, uploaded[0]], **draft)
        missing = {"chain_id": chain.id, "environment": "nosuch"}
        assert "no such environment" in refused(ours.deploy_chain_outright, uploaded, **missing)
    assert busy_acme.chain_deployments(name) == {}
    ours.deploy_chain(name, team, s3_keys=uploaded)
    assert busy_acme.chain_deployments(name) == {team.name: [("deployment-1", busy_acme.member.email)]}


def test_one_deployment_is_being_developed(busy_acme, chain):
    """A further push for development takes it over, and it serves no environment."""
    draft = chain.deploy(is_draft=True)
    assert chain.deploy(is_draft=True) == draft
    assert [known["id"] for known in chain.client.api.get_chain_deployments(chain.id) if known["is_draft"]] == [draft]
    assert chain.deployment(draft).environment is None
    assert chain.environment("production").current_deployment.id == chain.first
    who = busy_acme.member.email
    assert busy_acme.chain_deployments(chain.name) == {chain.team.name: [("deployment-1", who), ("development", who)]}


def test_chainlets_are_no_models(busy_acme, chain):
    member = busy_acme.member
    draft = chain.deploy(is_draft=True)
    truss = chain.client.api
    names = {model["name"] for model in truss.models()["models"]}
    assert not any(name.startswith(tuple(CHAINLETS)) for name in names)
    assert not any(model.name.startswith(tuple(CHAINLETS)) for model in member.api.get_models().models)
    oracles = [chainlet["oracle"] for chainlet in truss.get_chainlets_by_deployment_id(draft)]
    found = {model["id"] for model in truss.get_models_for_watch(team_id=chain.team.id, chainlets_only=True)["models"]}
    assert {oracle["id"] for oracle in oracles} <= found
    with busy_acme.unchanged():
        for oracle in oracles:
            said = refusal(409, member.api.delete_models, model_id=oracle["id"])
            assert f'is a chainlet of the Chain "{chain.name}"' in said
            assert "is a chainlet" in refusal(409, member.make_deployment, model_id=oracle["id"])
    assert chain.deployment(draft).status == "ACTIVE"


def test_environments_are_made_changed_and_promoted_to(busy_acme, chain):
    member, api = busy_acme.member, chain.api
    second = chain.deploy()
    with busy_acme.acts() as acts:
        settings = ChainletEnvironmentSettingsRequest(
            chainlet_name="RandInt",
            autoscaling_settings=UpdateAutoscalingSettings(max_replica=3),
            instance_type_id="1x2",
        )
        request = CreateChainEnvironmentRequest(name="staging", chainlet_settings=[settings])
        made = api.post_chains_environments(chain_id=chain.id, request=request)
        update = UpdateChainEnvironmentRequest(
            promotion_settings=UpdatePromotionSettings(promotion_cleanup_strategy="KEEP")
        )
        assert api.patch_chains_environments(chain_id=chain.id, env_name="staging", request=update).ok
        promoted = chain.promote(second, "staging")
    done = ("CHAIN_ENVIRONMENT_CREATED", "CHAIN_ENVIRONMENT_UPDATED", "CHAIN_DEPLOYMENT_PROMOTED")
    assert acts == [(what, member.email, chain.team.name) for what in done]
    assert (made.name, made.chain_id, made.current_deployment) == ("staging", chain.id, None)
    assert [(s.chainlet_name, s.autoscaling_settings.max_replica) for s in made.chainlet_settings] == [("RandInt", 3)]
    assert promoted.id == second
    eventually(lambda: (current := chain.environment("staging").current_deployment) and current.id == second)
    shown = chain.environment("staging")
    assert shown.promotion_settings.promotion_cleanup_strategy == "KEEP"
    assert of_chainlet(chain.deployment(second), "RandInt").autoscaling_settings.max_replica == 3
    listed = api.get_chains_environments(chain_id=chain.id).environments
    assert {e.name: e.current_deployment and e.current_deployment.id for e in listed} == {
        "production": chain.first,
        "staging": second,
    }
    third = chain.deploy()
    chain.promote(third, "production")
    eventually(lambda: chain.environment("production").current_deployment.id == third)
    chain.until(chain.first, "SCALED_TO_ZERO")
    with busy_acme.unchanged():
        refusal(409, api.post_chains_environments, chain_id=chain.id, request=request)
        request = PromoteToChainEnvironmentRequest(deployment_id=second)
        missing = {"chain_id": chain.id, "env_name": "nosuch", "request": request}
        refusal(404, api.post_chains_environments_promote, **missing)


def test_chainlets_of_an_environment_have_settings(busy_acme, chain):
    member, production = busy_acme.member, {"chain_id": chain.id, "env_name": "production"}
    scaling = ChainletEnvironmentAutoscalingSettingsUpdate(
        chainlet_name="RandInt", autoscaling_settings=UpdateAutoscalingSettings(max_replica=5)
    )
    sizing = ChainletEnvironmentInstanceTypeUpdate(chainlet_name="RandInt", instance_type_id="4x16")
    with busy_acme.acts() as acts:
        request = UpdateChainletEnvironmentAutoscalingSettingsRequest(updates=[scaling])
        chain.api.patch_chains_environments_chainlet_settings_autoscaling_settings(**production, request=request)
        scaled = chain.deployment(chain.first)
        request = UpdateChainletEnvironmentInstanceTypeRequest(updates=[sizing])
        sized = chain.api.post_chains_environments_chainlet_settings_instance_types_update(
            **production, request=request
        )
    done = ("CHAINLET_AUTOSCALING_SETTINGS_CHANGED", "CHAINLET_INSTANCE_TYPE_CHANGED")
    assert acts == [(what, member.email, chain.team.name) for what in done]
    replicas = {chainlet.name: chainlet.autoscaling_settings.max_replica for chainlet in scaled.chainlets}
    assert replicas == {"HelloWorld": 1, "RandInt": 5}
    assert sized.requires_redeployment and sized.chain_deployment is not None
    eventually(lambda: chain.environment("production").current_deployment.id == sized.chain_deployment.id)
    now = chain.environment("production").current_deployment
    assert {c.name: (c.instance_type_name, c.autoscaling_settings.max_replica) for c in now.chainlets} == {
        "HelloWorld": ("1x2", 1),
        "RandInt": ("4x16", 5),
    }


def test_deployments_are_switched_off_and_deleted(busy_acme, chain):
    member = busy_acme.member
    second = chain.deploy()
    of_chain = {
        chainlet["oracle"]["id"]
        for deployment in (chain.first, second)
        for chainlet in chain.client.api.get_chainlets_by_deployment_id(deployment)
    }
    listed = chain.api.get_chains_deployments(chain_id=chain.id).deployments
    assert {deployment.id for deployment in listed} == {chain.first, second}
    with busy_acme.acts() as acts:
        assert chain.api.post_chains_deployments_deactivate(**chain.ids(second)).success
        chain.until(second, "INACTIVE")
        assert chain.api.delete_chains_deployments(**chain.ids(second)).deleted
        refusal(404, chain.api.get_chains_deployments_chain_deployment_id, **chain.ids(second))
        gone = chain.api.delete_chains(chain_id=chain.id)
        assert (gone.id, gone.deleted) == (chain.id, True)
    done = ("CHAIN_DEPLOYMENT_DEACTIVATED", "CHAIN_DEPLOYMENT_DELETED", "CHAIN_DELETED")
    assert acts == [(what, member.email, chain.team.name) for what in done]
    for caller in (busy_acme.admin, member):
        refusal(404, caller.api.get_chains_chain_id, chain_id=chain.id)
        assert chain.id not in {listed.id for listed in caller.api.get_chains().chains}
    left = chain.client.api.get_models_for_watch(team_id=chain.team.id, chainlets_only=True)["models"]
    assert not {model["id"] for model in left} & of_chain, "its chainlets went with it"
    # And its name is free.
    chain.client.deploy_chain(chain.name, chain.team)
    assert busy_acme.chain_deployments(chain.name) == {chain.team.name: [("deployment-1", member.email)]}


def test_chainlets_have_logs(busy_acme, chain):
    chainlet = of_chainlet(chain.deployment(chain.first), "RandInt")
    ids = chain.ids(chain.first) | {"chainlet_id": chainlet.id}
    logs = chain.api.get_chains_deployments_chainlets_logs(**ids).logs
    assert any("built: the archive is whole" in line.message for line in logs)
    params = GetChainsDeploymentsChainletsLogsParams(min_level="ERROR")
    assert chain.api.get_chains_deployments_chainlets_logs(**ids, params=params).logs == []
    refusal(404, busy_acme.stranger.api.get_chains_deployments_chainlets_logs, **ids)
    other = ids | {"chainlet_id": "nosuch"}
    refusal(404, chain.api.get_chains_deployments_chainlets_logs, **other)


def test_the_audit_log_of_a_chain_is_its_own(busy_acme, chain):
    chain.client.deploy_chain(f"{chain.name}-2", chain.team)
    key = chain.team.keys["WORKSPACE_MANAGE_ALL"]
    key.api.post_chains_environments(chain_id=chain.id, request=CreateChainEnvironmentRequest(name="staging"))
    listed = busy_acme.admin.api.get_chains_audit_logs(chain_id=chain.id).items
    who = [(e.event_type, e.actor.email or e.actor.api_key_prefix, e.event_data.chain_id) for e in listed]
    assert who == [
        ("CHAIN_ENVIRONMENT_CREATED", key.prefix, chain.id),
        ("CHAIN_DEPLOYED", busy_acme.member.email, chain.id),
    ]
    refusal(403, busy_acme.team_admin.api.get_chains_audit_logs, chain_id=chain.id)
