"""Which team `truss push` and `truss watch` go to: each of the ways in which truss comes by it.

Each test ends with what the server then holds, in which team, and who it says did it.
"""

import re

import pytest

from truss_cli import ASKED_FOR_A_TEAM, model_dir, offered_to

NO_TEAM = "there is no team in which you may deploy: ask a team admin to add you to one"


@pytest.fixture
def folder(tmp_path, request):
    """A model named for its test."""
    return model_dir(tmp_path, re.sub("[^a-z]+", "-", request.node.name.lower()).strip("-"))


def there_already(caller, name, *teams):
    """A model of that name in these teams, made by the caller."""
    for team in teams:
        caller.make_model(name, team)


def test_the_team_that_is_named(busy_acme, at, folder):
    lead = busy_acme.team_admin
    assert len(busy_acme.teams_of(lead)) == 2
    at(lead)("push", folder, "--publish", "--team", busy_acme.team.name)
    assert busy_acme.deployments(folder.name) == {busy_acme.team.name: [("deployment-1", lead.email)]}


def test_a_team_that_is_not_there(busy_acme, at, folder):
    with busy_acme.unchanged():
        said = at(busy_acme.admin).leaves_with(1, "push", folder, "--team", "No such team")
    assert f"Team 'No such team' does not exist. Available teams: {offered_to(busy_acme, busy_acme.admin)}" in said
    assert busy_acme.deployments(folder.name) == {}


def test_a_team_of_others_is_not_there_either(busy_acme, at, folder):
    stranger, team = busy_acme.stranger, busy_acme.team
    with busy_acme.unchanged():
        said = at(stranger).leaves_with(1, "push", folder, "--team", team.name)
    assert f"Team '{team.name}' does not exist. Available teams: {offered_to(busy_acme, stranger)}" in said
    assert busy_acme.deployments(folder.name) == {}


def test_the_team_in_trussrc(busy_acme, at, folder):
    lead = busy_acme.team_admin
    at(lead, team=busy_acme.other_team.name)("push", folder)
    assert busy_acme.deployments(folder.name) == {busy_acme.other_team.name: [("deployment-1", lead.email)]}


def test_a_team_in_trussrc_that_is_not_there(busy_acme, at, folder):
    lead = busy_acme.team_admin
    with busy_acme.unchanged():
        said = at(lead, team="Gone").leaves_with(1, "push", folder)
    assert f"Team 'Gone' does not exist. Available teams: {offered_to(busy_acme, lead)}" in said


def test_the_named_team_goes_before_the_one_in_trussrc(busy_acme, at, folder):
    lead = busy_acme.team_admin
    at(lead, team=busy_acme.other_team.name)("push", folder, "--team", busy_acme.team.name)
    assert busy_acme.deployments(folder.name) == {busy_acme.team.name: [("deployment-1", lead.email)]}


def test_the_only_team_of_the_caller(busy_acme, at, folder):
    member = busy_acme.member
    assert busy_acme.teams_of(member) == [busy_acme.team]
    at(member)("push", folder)
    assert busy_acme.deployments(folder.name) == {busy_acme.team.name: [("deployment-1", member.email)]}


def test_the_only_team_although_another_has_the_name(busy_acme, at, folder):
    admin, member = busy_acme.admin, busy_acme.member
    there_already(admin, folder.name, busy_acme.other_team)
    at(member)("push", folder)
    assert busy_acme.deployments(folder.name) == {
        busy_acme.other_team.name: [("deployment-1", admin.email)],
        busy_acme.team.name: [("deployment-1", member.email)],
    }


def test_the_one_team_that_has_the_name(busy_acme, at, folder):
    admin, lead = busy_acme.admin, busy_acme.team_admin
    there_already(admin, folder.name, busy_acme.other_team)
    at(lead)("push", folder)
    assert busy_acme.deployments(folder.name) == {
        busy_acme.other_team.name: [("deployment-1", admin.email), ("deployment-2", lead.email)]
    }


def test_the_one_team_of_the_caller_s_that_has_the_name(busy_acme, at, folder):
    """Another has it too, out of the caller's sight."""
    admin, lead = busy_acme.admin, busy_acme.team_admin
    hidden = busy_acme.default_team
    assert hidden not in busy_acme.teams_of(lead)
    there_already(admin, folder.name, hidden, busy_acme.team)
    at(lead)("push", folder)
    assert busy_acme.deployments(folder.name) == {
        hidden.name: [("deployment-1", admin.email)],
        busy_acme.team.name: [("deployment-1", admin.email), ("deployment-2", lead.email)],
    }


@pytest.mark.parametrize("held_by", ["two teams", "no team"])
def test_ambiguous_without_a_terminal(busy_acme, at, folder, held_by):
    if held_by == "two teams":
        there_already(busy_acme.admin, folder.name, busy_acme.team, busy_acme.other_team)
    lead = busy_acme.team_admin
    with busy_acme.unchanged():
        said = at(lead).leaves_with(2, "push", folder)
    assert f"{ASKED_FOR_A_TEAM}{offered_to(busy_acme, lead)})" in said


def test_ambiguous_on_a_terminal(busy_acme, at, folder):
    admin, there = busy_acme.admin, (busy_acme.team, busy_acme.other_team)
    there_already(admin, folder.name, *there)
    default = busy_acme.default_team.name
    others = sorted(team.name for team in busy_acme.teams if not team.default)
    at(admin).choosing(busy_acme.team.name, [f"{default} (default)", *others], "push", folder)
    assert busy_acme.deployments(folder.name) == {
        busy_acme.other_team.name: [("deployment-1", admin.email)],
        busy_acme.team.name: [("deployment-1", admin.email), ("deployment-2", admin.email)],
    }


def test_a_new_name_on_a_terminal(busy_acme, at, folder):
    lead = busy_acme.team_admin
    choices = sorted(team.name for team in busy_acme.teams_of(lead))
    at(lead).choosing(choices[-1], choices, "push", folder)
    assert busy_acme.deployments(folder.name) == {choices[-1]: [("deployment-1", lead.email)]}


def test_who_is_in_no_team_is_told_so(busy_acme, at, folder):
    nobody = busy_acme.teamless
    with busy_acme.unchanged():
        said = at(nobody).leaves_with(1, "push", folder)
        assert NO_TEAM in said
        said = at(nobody).leaves_with(1, "push", folder, "--team", busy_acme.team.name)
        assert f"Team '{busy_acme.team.name}' does not exist. Available teams: none" in said
    assert busy_acme.deployments(folder.name) == {}


def test_a_team_key_goes_to_its_team(busy_acme, at, folder):
    key = busy_acme.team.keys["WORKSPACE_MANAGE_ALL"]
    there_already(busy_acme.admin, folder.name, busy_acme.other_team)
    at(key)("push", folder)
    assert busy_acme.deployments(folder.name) == {
        busy_acme.other_team.name: [("deployment-1", busy_acme.admin.email)],
        busy_acme.team.name: [("deployment-1", key.prefix)],
    }
    with busy_acme.unchanged():
        said = at(key).leaves_with(1, "push", folder, "--team", busy_acme.other_team.name)
    assert f"Available teams: {busy_acme.team.name}" in said


@pytest.mark.parametrize("category", ["WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"])
def test_a_key_that_deploys_nothing_is_told_so(busy_acme, at, folder, category):
    with busy_acme.unchanged():
        said = at(busy_acme.team.keys[category]).leaves_with(1, "push", folder)
    assert f'a key of category {category} does not include "Deploy' in said
    assert busy_acme.deployments(folder.name) == {}


def test_the_same_name_in_two_teams(busy_acme, at, folder):
    lead, both = busy_acme.team_admin, (busy_acme.team, busy_acme.other_team)
    for team in both:
        at(lead)("push", folder, "--team", team.name)
    assert busy_acme.deployments(folder.name) == {team.name: [("deployment-1", lead.email)] for team in both}
    at(lead)("push", folder, "--team", both[0].name, "--deployment-name", "second")
    assert busy_acme.deployments(folder.name) == {
        both[0].name: [("deployment-1", lead.email), ("second", lead.email)],
        both[1].name: [("deployment-1", lead.email)],
    }


def test_moving_is_pushing_to_another_team_and_deleting(busy_acme, at, folder):
    """Then its name stands for the one that is left."""
    lead, team, other = busy_acme.team_admin, busy_acme.team, busy_acme.other_team
    moved = lead.make_model(folder.name, team).model
    at(lead)("push", folder, "--team", other.name)
    lead.api.delete_models(model_id=moved.id)
    at(lead)("push", folder)
    assert busy_acme.deployments(folder.name) == {
        other.name: [("deployment-1", lead.email), ("deployment-2", lead.email)]
    }
