"""`truss chains push` and `truss chains watch` of a Chain of two chainlets."""

import json

import pytest
from baseten.client.managementapi import CreateChainEnvironmentRequest, UpsertSecretRequest
from blake3 import blake3

from guildhall import one, refusal
from truss_cli import ASKED_FOR_A_TEAM, chain_source, eventually, model_dir, offered_to
from truss_client import CHAINLETS, Client

SUCCEEDED = "Deployment succeeded."


@pytest.fixture
def source(tmp_path, request):
    """Of a Chain named for its test."""
    return chain_source(tmp_path, request.node.originalname.removeprefix("test_").replace("_", "-"))


@pytest.fixture
def name(source):
    return source.parent.name


@pytest.fixture
def there_already(busy_acme, tmp_path):
    """Pushes a Chain of that name to these teams, as the caller."""
    folder = model_dir(tmp_path, "a-chainlet")

    def push(caller, name, *teams):
        for team in teams:
            Client(busy_acme, caller, folder).deploy_chain(name, team)

    return push


def only(acme, name):
    return one(chain for chain in acme.admin.api.get_chains().chains if chain.name == name)


def where(acme, chain):
    """Of each deployment, oldest first: its status and the environment it serves."""
    deployments = acme.admin.api.get_chains_deployments(chain_id=chain.id).deployments
    return [(d.status, d.environment) for d in sorted(deployments, key=lambda d: d.created_at)]


def until_where(acme, chain, wanted):
    eventually(lambda: where(acme, chain) == wanted, lambda: f"{where(acme, chain)}, never {wanted}")


def pushing(caller, team=None):
    """What a push leaves in the audit log: the archives of both chainlets and the source, and what is made of them."""
    uploads = [("ARCHIVE_UPLOADED", caller.known_as, None)] * 3
    return [*uploads, ("CHAIN_DEPLOYED", caller.known_as, team.name)] if team else uploads


def test_pushed_again_and_promoted(busy_acme, at, source, name):
    """The first goes to the team that is named, the others to the Chain that is there then."""
    lead, team = busy_acme.team_admin, busy_acme.team
    models = {model.id for model in busy_acme.admin.api.get_models().models}
    with busy_acme.acts() as acts:
        assert SUCCEEDED in at(lead)("chains", "push", source, "--team", team.name, "--wait")
    assert acts == pushing(lead, team)
    chain = only(busy_acme, name)
    deployment = one(lead.api.get_chains_deployments(chain_id=chain.id).deployments)
    assert [(c.name, c.status, c.active_replica_count) for c in deployment.chainlets] == [
        (chainlet, "ACTIVE", 1) for chainlet in CHAINLETS
    ]
    assert where(busy_acme, chain) == [("ACTIVE", "production")]
    assert {model.id for model in busy_acme.admin.api.get_models().models} == models, "chainlets are no models"

    with busy_acme.acts() as acts:
        at(lead)("chains", "push", source, "--deployment-name", "second", "--no-wait")
    assert acts == pushing(lead, team)
    until_where(busy_acme, chain, [("ACTIVE", "production"), ("ACTIVE", None)])

    said = at(lead)("chains", "push", source, "--promote", "--no-wait")
    assert f"http://chain-{chain.id}.api.localhost:8000/environments/production/run_remote" in said
    until_where(busy_acme, chain, [("SCALED_TO_ZERO", None), ("ACTIVE", None), ("ACTIVE", "production")])
    assert busy_acme.chain_deployments(name) == {
        team.name: [(called, lead.email) for called in ("deployment-1", "second", "deployment-3")]
    }


def test_to_an_environment(busy_acme, at, there_already, source, name):
    member, team = busy_acme.member, busy_acme.team
    with busy_acme.acts() as acts:
        said = at(member).leaves_with(1, "chains", "push", source, "--environment", "staging")
    assert "No environments exist." in said
    assert acts == pushing(member), "a new Chain has none but production"
    assert busy_acme.chain_deployments(name) == {}

    there_already(member, name, team)
    chain = only(busy_acme, name)
    with busy_acme.acts() as acts:
        said = at(member).leaves_with(1, "chains", "push", source, "--environment", "staging")
    assert "Environment `staging` does not exist." in said
    assert acts == pushing(member)
    until_where(busy_acme, chain, [("ACTIVE", "production")])

    request = CreateChainEnvironmentRequest(name="staging")
    member.api.post_chains_environments(chain_id=chain.id, request=request)
    said = at(member)("chains", "push", source, "--environment", "staging")
    assert "deployed into the staging environment" in said
    until_where(busy_acme, chain, [("ACTIVE", "production"), ("ACTIVE", "staging")])
    at(member)("chains", "push", source, "--environment", "production", "--no-wait")
    until_where(busy_acme, chain, [("SCALED_TO_ZERO", None), ("ACTIVE", "staging"), ("ACTIVE", "production")])


def test_a_restricted_environment_takes_pushes_of_those_on_its_list(busy_acme, at, there_already, source, name):
    member, lead, team = busy_acme.member, busy_acme.team_admin, busy_acme.team
    group = {"name": "kept-for-few", "manage_access": {"is_restricted": True, "user_ids": []}}
    made = lead.http.post(f"/v1/teams/{team.id}/environment_groups", json=group)
    assert made.status_code == 200, made.text
    there_already(member, name, team)
    chain = only(busy_acme, name)
    request = CreateChainEnvironmentRequest(name="kept-for-few")
    refusal(403, member.api.post_chains_environments, chain_id=chain.id, request=request)
    lead.api.post_chains_environments(chain_id=chain.id, request=request)
    with busy_acme.acts() as acts:
        said = at(member).leaves_with(1, "chains", "push", source, "--environment", "kept-for-few")
    assert f'the environment "kept-for-few" of team "{team.name}" is restricted and you are not on its list' in said
    assert acts == pushing(member)
    assert busy_acme.chain_deployments(name) == {team.name: [("deployment-1", member.email)]}


def test_a_secret_that_only_another_team_has(busy_acme, at, tmp_path):
    admin, team, other = busy_acme.admin, busy_acme.team, busy_acme.other_team
    secret = UpsertSecretRequest(name="chain_only_there", value="v")
    admin.api.post_teams_secrets(team_id=other.id, request=secret)
    more = 'remote_config = chains.RemoteConfig(assets=chains.Assets(secret_keys=["chain_only_there"]))'
    source = chain_source(tmp_path, "secretive-chain", more)
    with busy_acme.acts() as acts:
        said = at(admin).leaves_with(1, "chains", "push", source, "--team", team.name)
    assert f'names `chain_only_there`, and team "{team.name}" has no secret of that name' in said
    assert acts == pushing(admin)
    assert busy_acme.chain_deployments("secretive-chain") == {}
    at(admin)("chains", "push", source, "--team", other.name, "--no-wait")
    assert busy_acme.chain_deployments("secretive-chain") == {other.name: [("deployment-1", admin.email)]}


class TestWhichTeam:
    """Each of the ways in which truss comes by it."""

    def push(self, at, caller, source, *arguments, team=None):
        at(caller, team=team)("chains", "push", source, "--no-wait", *arguments)

    @pytest.mark.parametrize("who", ["admin", "stranger"])
    def test_one_that_is_not_there_for_them(self, busy_acme, at, source, who):
        caller = getattr(busy_acme, who)
        team = "No such team" if who == "admin" else busy_acme.team.name
        with busy_acme.unchanged():
            said = at(caller).leaves_with(1, "chains", "push", source, "--team", team)
        assert f"Team '{team}' does not exist. Available teams: {offered_to(busy_acme, caller)}" in said

    def test_in_trussrc_or_named(self, busy_acme, at, source, name):
        """What is named goes before."""
        lead, team, other = busy_acme.team_admin, busy_acme.team, busy_acme.other_team
        self.push(at, lead, source, team=other.name)
        assert busy_acme.chain_deployments(name) == {other.name: [("deployment-1", lead.email)]}
        self.push(at, lead, source, "--team", team.name, team=other.name)
        assert busy_acme.chain_deployments(name) == {
            each.name: [("deployment-1", lead.email)] for each in (team, other)
        }

    @pytest.mark.parametrize("held_by", ["two teams", "no team"])
    def test_ambiguous_without_a_terminal(self, busy_acme, at, there_already, source, name, held_by):
        name = f"{name}-{held_by[:2]}"
        if held_by == "two teams":
            there_already(busy_acme.admin, name, busy_acme.team, busy_acme.other_team)
        lead = busy_acme.team_admin
        with busy_acme.unchanged():
            said = at(lead).leaves_with(2, "chains", "push", source, "--name", name)
        assert f"{ASKED_FOR_A_TEAM}{offered_to(busy_acme, lead)})" in said

    def test_ambiguous_on_a_terminal(self, busy_acme, at, there_already, source, name):
        admin, there = busy_acme.admin, (busy_acme.team, busy_acme.other_team)
        there_already(admin, name, *there)
        others = sorted(team.name for team in busy_acme.teams if not team.default)
        choices = [f"{busy_acme.default_team.name} (default)", *others]
        at(admin).choosing(busy_acme.team.name, choices, "chains", "push", source, "--no-wait")
        assert busy_acme.chain_deployments(name) == {
            busy_acme.other_team.name: [("deployment-1", admin.email)],
            busy_acme.team.name: [("deployment-1", admin.email), ("deployment-2", admin.email)],
        }

    def test_the_one_that_has_the_name(self, busy_acme, at, there_already, source, name):
        """To the caller's knowledge: another may have it out of their sight."""
        admin, lead, hidden, team = busy_acme.admin, busy_acme.team_admin, busy_acme.default_team, busy_acme.team
        assert hidden not in busy_acme.teams_of(lead)
        there_already(admin, name, hidden, team)
        self.push(at, lead, source)
        assert busy_acme.chain_deployments(name) == {
            hidden.name: [("deployment-1", admin.email)],
            team.name: [("deployment-1", admin.email), ("deployment-2", lead.email)],
        }

    @pytest.mark.parametrize("by", ["a member", "a key"])
    def test_the_only_one(self, busy_acme, at, there_already, source, name, by):
        """Although another has the name; and a model may have it as well."""
        name, team, other = f"{name}-{by[2:]}", busy_acme.team, busy_acme.other_team
        caller = busy_acme.member if by == "a member" else team.keys["WORKSPACE_MANAGE_ALL"]
        there_already(busy_acme.admin, name, other)
        caller.make_model(name, team)
        self.push(at, caller, source, "--name", name)
        assert busy_acme.chain_deployments(name) == {
            other.name: [("deployment-1", busy_acme.admin.email)],
            team.name: [("deployment-1", caller.known_as)],
        }
        assert busy_acme.deployments(name) == {team.name: [("deployment-1", caller.known_as)]}

    def test_none(self, busy_acme, at, source, name):
        with busy_acme.unchanged():
            said = at(busy_acme.teamless).leaves_with(1, "chains", "push", source)
        assert "there is no team in which you may deploy: ask a team admin to add you to one" in said
        assert busy_acme.chain_deployments(name) == {}


class TestWatching:
    def test_patches_what_is_written(self, busy_acme, at, source, name):
        """First beside the push, then with `truss chains watch`, which finds where that left off."""
        member, team, text = busy_acme.member, busy_acme.team, source.read_text()
        watches, patched = "Watching for new changes.", "Patched Chainlet `{}`."
        with busy_acme.acts() as acts:
            with at(member).started("chains", "push", source, "--watch") as until:
                until(watches)
                source.write_text(text.replace("Hello, world!", "Good morning!"))
                until(patched.format("HelloWorld"), written=source)
                until(watches, times=2)
            with at(member).started("chains", "watch", source) as until:
                for chainlet in CHAINLETS:
                    until(f"Nothing to do for Chainlet `{chainlet}`.")
                until(watches)
                source.write_text(text.replace("randint(1", "randint(2"))
                for chainlet in CHAINLETS:
                    until(patched.format(chainlet), written=source)
        per_patch = ["MODEL_DEPLOYMENT_PATCH_STAGED", "MODEL_DEPLOYMENT_PATCHES_SYNCED"]
        assert acts[:4] == pushing(member, team)
        assert sorted(acts[4:]) == sorted((what, member.email, team.name) for what in per_patch * 4)
        assert busy_acme.chain_deployments(name) == {team.name: [("development", member.email)]}

        deployment = one(member.api.get_chains_deployments(chain_id=only(busy_acme, name).id).deployments)
        truss = Client(busy_acme, member).api
        written = blake3(source.read_bytes()).hexdigest()

        def runs(oracle_id):
            state = truss.get_truss_watch_state(oracle_id)["truss_watch_state"]["container_patch_state"]
            return json.loads(state["current_signature"])["content_hashes_by_path"]["packages/chain.py"]

        for chainlet in truss.get_chainlets_by_deployment_id(deployment.id):
            eventually(lambda oracle_id=chainlet["oracle"]["id"]: runs(oracle_id) == written)

    def test_wants_a_development_deployment(self, busy_acme, at, there_already, source, name):
        there_already(busy_acme.admin, name, busy_acme.team, busy_acme.other_team)
        lead, team = busy_acme.team_admin, busy_acme.team
        said = at(lead).leaves_with(1, "chains", "watch", source, "--team", team.name)
        assert "No development deployment was found for Chain" in said
        assert f"{ASKED_FOR_A_TEAM}" in at(lead).leaves_with(2, "chains", "watch", source)
        hidden = at(busy_acme.stranger).leaves_with(1, "chains", "watch", source, "--team", team.name)
        assert f"Team '{team.name}' does not exist." in hidden
