"""Which team `truss train push` goes to: each of the ways in which truss comes by it."""

import pytest
from baseten.client.managementapi import UpsertTrainingProject, UpsertTrainingProjectRequest

from truss_cli import ASKED_FOR_A_TEAM, offered_to, training_config


@pytest.fixture
def config(tmp_path, request):
    """For a project named for its test."""
    return training_config(tmp_path, request.node.originalname.removeprefix("test_"))


@pytest.fixture
def name(config):
    return config.parent.name


def there_already(acme, name, *teams):
    project = UpsertTrainingProjectRequest(training_project=UpsertTrainingProject(name=name))
    for team in teams:
        acme.admin.api.post_teams_training_projects(team_id=team.id, request=project)


def jobs(acme, name):
    """Of the projects of this name, by team: who made their latest job, none if they have none."""
    held = {}
    for project in acme.admin.api.get_training_projects().training_projects:
        if project.name == name:
            assert project.team_name not in held, "a name is one project in a team"
            made = [
                (by, team)
                for event, by, team in acme.acts_on(project.latest_job.id if project.latest_job else "no job")
                if event == "TRAINING_JOB_CREATED"
            ]
            assert all(team == project.team_name for _, team in made)
            held[project.team_name] = [by for by, _ in made]
    return held


def test_the_team_that_is_named(busy_acme, at, config, name):
    lead = busy_acme.team_admin
    at(lead, team=busy_acme.other_team.name)("train", "push", config, "--team", busy_acme.team.name)
    assert jobs(busy_acme, name) == {busy_acme.team.name: [lead.email]}


@pytest.mark.parametrize("who", ["admin", "stranger"])
def test_a_team_that_is_not_there_for_them(busy_acme, at, config, name, who):
    caller = getattr(busy_acme, who)
    team = "No such team" if who == "admin" else busy_acme.team.name
    with busy_acme.unchanged():
        said = at(caller).leaves_with(1, "train", "push", config, "--team", team)
    assert f"Team '{team}' does not exist. Available teams: {offered_to(busy_acme, caller)}" in said


def test_the_team_in_trussrc(busy_acme, at, config, name):
    lead = busy_acme.team_admin
    at(lead, team=busy_acme.other_team.name)("train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.other_team.name: [lead.email]}


def test_the_only_team_of_the_caller(busy_acme, at, config, name):
    there_already(busy_acme, name, busy_acme.other_team)
    at(busy_acme.member)("train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.other_team.name: [], busy_acme.team.name: [busy_acme.member.email]}


def test_the_one_team_that_has_the_name(busy_acme, at, config, name):
    lead = busy_acme.team_admin
    there_already(busy_acme, name, busy_acme.other_team)
    at(lead)("train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.other_team.name: [lead.email]}


def test_ambiguous(busy_acme, at, config, name):
    lead, both = busy_acme.team_admin, (busy_acme.team, busy_acme.other_team)
    there_already(busy_acme, name, *both)
    with busy_acme.unchanged():
        said = at(lead).leaves_with(2, "train", "push", config)
    assert f"{ASKED_FOR_A_TEAM}{offered_to(busy_acme, lead)})" in said
    assert jobs(busy_acme, name) == {team.name: [] for team in both}
    choices = sorted(team.name for team in both)
    at(lead).choosing(busy_acme.team.name, choices, "train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.team.name: [lead.email], busy_acme.other_team.name: []}


def test_who_is_in_no_team_is_told_so(busy_acme, at, config, name):
    with busy_acme.unchanged():
        said = at(busy_acme.teamless).leaves_with(1, "train", "push", config)
    assert f'the default team, "{busy_acme.default_team.name}", and you are not in it' in said
    assert jobs(busy_acme, name) == {}


def test_a_team_key_goes_to_its_team(busy_acme, at, config, name):
    key = busy_acme.team.keys["WORKSPACE_MANAGE_ALL"]
    there_already(busy_acme, name, busy_acme.other_team)
    at(key)("train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.other_team.name: [], busy_acme.team.name: [key.prefix]}


def test_a_later_push_finds_the_project_it_made(busy_acme, at, config, name):
    lead = busy_acme.team_admin
    at(lead)("train", "push", config, "--team", busy_acme.other_team.name)
    first = busy_acme.log(search=name)
    at(lead)("train", "push", config)
    assert jobs(busy_acme, name) == {busy_acme.other_team.name: [lead.email]}
    later = busy_acme.log(search=name)[len(first) :]
    assert [entry["event_type"] for entry in later] == ["TRAINING_PROJECT_UPDATED", "TRAINING_JOB_CREATED"]
