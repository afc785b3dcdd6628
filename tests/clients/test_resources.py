"""Models, Chains and training projects belong to a team."""

import uuid

import pytest
from baseten.client.managementapi import (
    GetModelsParams,
    GetTeamsModelsParams,
    UpsertTrainingProject,
    UpsertTrainingProjectRequest,
)

from guildhall import first, one, refusal


def project(name):
    return UpsertTrainingProjectRequest(training_project=UpsertTrainingProject(name=name))


def lists(api):
    """The three un-prefixed lists."""
    return {
        "models": api.get_models().models,
        "chains": api.get_chains().chains,
        "training projects": api.get_training_projects().training_projects,
    }


def test_an_admin_sees_all_of_them(acme):
    for kind, items in lists(acme.admin.api).items():
        assert items, f"the demo has {kind}"
        assert {item.team_name for item in items} <= {team.name for team in acme.teams}
        assert len({item.id for item in items}) == len(items)


def test_a_person_sees_those_of_their_teams(acme):
    everything = lists(acme.admin.api)
    for person in acme.people:
        teams = {team.name for team in person.api.get_teams().teams}
        for kind, items in lists(person.api).items():
            theirs = {item.id for item in everything[kind] if item.team_name in teams}
            assert {item.id for item in items} == theirs, (person.email, kind)


def test_a_team_key_sees_those_of_its_team(acme):
    everything = lists(acme.admin.api)
    for team in acme.teams:
        if key := team.keys.get("WORKSPACE_MANAGE_ALL"):
            for kind, items in lists(key.api).items():
                assert {item.id for item in items} == {
                    item.id for item in everything[kind] if item.team_name == team.name
                }


def test_models_are_listed_by_team(acme):
    everything = acme.admin.api.get_models().models
    for team in acme.teams:
        theirs = acme.admin.api.get_teams_models(team_id=team.id).models
        assert {model.id for model in theirs} == {model.id for model in everything if model.team_name == team.name}
    refusal(404, acme.stranger.api.get_teams_models, team_id=acme.team.id)


def test_models_are_found_by_exact_name(acme):
    everything = acme.admin.api.get_models().models
    for name in {model.name for model in everything}:
        found = acme.admin.api.get_models(params=GetModelsParams(name=name)).models
        assert {model.id for model in found} == {model.id for model in everything if model.name == name}
    for team in acme.teams:
        for model in acme.admin.api.get_teams_models(team_id=team.id).models:
            params = GetTeamsModelsParams(name=model.name)
            assert one(acme.admin.api.get_teams_models(team_id=team.id, params=params).models) == model
    for nothing in ("no-such-model", ""):
        assert acme.admin.api.get_models(params=GetModelsParams(name=nothing)).models == []


def test_each_is_read_as_it_is_listed(acme):
    api = acme.admin.api
    for model in api.get_models().models:
        assert api.get_models_model_id(model_id=model.id) == model
    for chain in api.get_chains().chains:
        assert api.get_chains_chain_id(chain_id=chain.id) == chain
    for listed in api.get_training_projects().training_projects:
        read = api.get_training_projects_training_project_id(training_project_id=listed.id)
        assert read.training_project == listed


def test_another_team_s_are_not_there(acme):
    teams = {team.name for team in acme.stranger.api.get_teams().teams}
    out_of_sight = {
        kind: [item for item in items if item.team_name not in teams] for kind, items in lists(acme.admin.api).items()
    }
    assert out_of_sight["models"], "the demo has some in other teams"
    api = acme.stranger.api
    for model in out_of_sight["models"]:
        refusal(404, api.get_models_model_id, model_id=model.id)
        refusal(404, api.delete_models, model_id=model.id)
    for chain in out_of_sight["chains"]:
        refusal(404, api.get_chains_chain_id, chain_id=chain.id)
        refusal(404, api.delete_chains, chain_id=chain.id)
    for hidden in out_of_sight["training projects"]:
        refusal(404, api.get_training_projects_training_project_id, training_project_id=hidden.id)
        refusal(404, api.delete_training_projects, training_project_id=hidden.id)
    for model in out_of_sight["models"]:
        assert acme.admin.api.get_models_model_id(model_id=model.id) == model


def test_a_member_deletes_a_model_and_it_is_gone_for_all(fresh_acme):
    model = first(fresh_acme.member.api.get_teams_models(team_id=fresh_acme.team.id).models)
    gone = fresh_acme.member.api.delete_models(model_id=model.id)
    assert gone.id == model.id and gone.deleted
    for caller in (fresh_acme.member, fresh_acme.admin):
        refusal(404, caller.api.get_models_model_id, model_id=model.id)
        refusal(404, caller.api.delete_models, model_id=model.id)
        assert model.id not in {left.id for left in caller.api.get_models().models}


def test_a_chain_is_deleted_for_all(fresh_acme):
    chain = first(fresh_acme.admin.api.get_chains().chains)
    gone = fresh_acme.admin.api.delete_chains(chain_id=chain.id)
    assert gone.id == chain.id and gone.deleted
    for person in fresh_acme.people:
        refusal(404, person.api.get_chains_chain_id, chain_id=chain.id)
        assert chain.id not in {left.id for left in person.api.get_chains().chains}


@pytest.mark.parametrize("category", ["WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"])
def test_a_key_that_only_calls_or_measures_deletes_nothing(fresh_acme, category):
    model = first(fresh_acme.admin.api.get_teams_models(team_id=fresh_acme.team.id).models)
    key = fresh_acme.team_key(category)
    refusal(403, key.api.delete_models, model_id=model.id)
    refusal(403, key.api.post_teams_training_projects, team_id=fresh_acme.team.id, request=project("kites"))
    assert fresh_acme.member.api.get_models_model_id(model_id=model.id) == model
    names = {listed.name for listed in fresh_acme.admin.api.get_training_projects().training_projects}
    assert "kites" not in names


def test_a_training_project_is_made_once_per_team_and_name(fresh_acme):
    team, other = fresh_acme.team, fresh_acme.other_team
    name = f"kites {uuid.uuid4()}"

    def upsert(caller, team):
        return caller.api.post_teams_training_projects(team_id=team.id, request=project(name)).training_project

    made = upsert(fresh_acme.member, team)
    assert (made.name, made.team_name, made.latest_job) == (name, team.name, None)
    assert upsert(fresh_acme.team_admin, team).id == made.id
    assert upsert(fresh_acme.admin, other).id != made.id
    seen = fresh_acme.team_admin.api.get_training_projects().training_projects
    assert one(listed for listed in seen if listed.id == made.id).created_at == made.created_at

    refusal(404, fresh_acme.stranger.api.post_teams_training_projects, team_id=team.id, request=project(name))
    gone = fresh_acme.member.api.delete_training_projects(training_project_id=made.id)
    assert gone.id == made.id and gone.deleted
    refusal(404, fresh_acme.admin.api.get_training_projects_training_project_id, training_project_id=made.id)


def test_without_a_team_a_training_project_is_the_default_team_s(fresh_acme):
    made = fresh_acme.admin.api.post_training_projects(request=project("kites")).training_project
    assert made.team_name == fresh_acme.default_team.name

    key = fresh_acme.team.keys["WORKSPACE_MANAGE_ALL"]
    made = key.api.post_training_projects(request=project("kites")).training_project
    assert made.team_name == fresh_acme.team.name, "or, for a team key, its team's"

    outsider = fresh_acme.without_default_team()
    refusal(403, outsider.api.post_training_projects, request=project("intruder"))
    names = {listed.name for listed in fresh_acme.admin.api.get_training_projects().training_projects}
    assert "kites" in names and "intruder" not in names


def test_of_another_organization_there_is_nothing(fresh_acme):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    assert not any(lists(founder.api).values())
    for model in fresh_acme.admin.api.get_models().models:
        refusal(404, founder.api.get_models_model_id, model_id=model.id)
        refusal(404, founder.api.delete_models, model_id=model.id)
    for chain in fresh_acme.admin.api.get_chains().chains:
        refusal(404, founder.api.delete_chains, chain_id=chain.id)
