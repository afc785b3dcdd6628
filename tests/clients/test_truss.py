"""Truss: its command line as a person runs it, and its own Python client."""

import pytest
from truss.remote.baseten.api import BasetenApi
from truss.remote.baseten.auth import ApiKeyCredential, AuthService
from truss.remote.baseten.custom_types import APIKeyCategory
from truss.remote.baseten.error import ApiError
from truss_train.definitions import Image, TrainingJob, TrainingProject

from guildhall import one
from truss_cli import KNOWN_URL, log_in, truss


def local(acme):
    """Truss takes names, not addresses, for its GraphQL."""
    return acme.guildhall.url.replace("127.0.0.1", "localhost")


def api(acme, caller, url=None):
    return BasetenApi(url or local(acme), AuthService(ApiKeyCredential(api_key=caller.api_key)))


def test_whoami_from_the_environment(acme, tmp_path):
    """Truss then says `Bearer`."""
    who = truss(
        tmp_path,
        "whoami",
        BASETEN_TRUSS_AUTH_REMOTE_URL=local(acme),
        BASETEN_TRUSS_AUTH_API_KEY=acme.member.api_key,
    )
    assert who.returncode == 0, who.stdout + who.stderr
    assert who.stdout.strip() == f"acme\\{acme.member.email}"


def test_whoami_from_the_file(acme, tmp_path):
    """Truss then says `Api-Key`."""
    log_in(tmp_path, local(acme), acme.admin)
    who = truss(tmp_path, "whoami")
    assert who.returncode == 0, who.stdout + who.stderr
    assert who.stdout.strip() == f"acme\\{acme.admin.email}"


def test_whoami_lists_the_teams_on_request(acme, tmp_path):
    log_in(tmp_path, KNOWN_URL, acme.member)
    who = truss(tmp_path, "whoami", "--show-oidc", http_proxy=acme.guildhall.url)
    assert who.returncode == 0, who.stdout + who.stderr
    assert f"acme\\{acme.member.email}" in who.stdout
    assert acme.id in who.stdout and acme.team.id in who.stdout and acme.team.name in who.stdout


def test_whoami_with_a_key_that_does_not_work(acme, tmp_path):
    """Refused inside GraphQL, so that truss shows the sentence and not a bare status."""
    who = truss(
        tmp_path,
        "whoami",
        BASETEN_TRUSS_AUTH_REMOTE_URL=local(acme),
        BASETEN_TRUSS_AUTH_API_KEY="guild_aaaaaaaa." + "a" * 38,
    )
    assert who.returncode == 1
    assert "ApiError" in who.stdout and "HTTPError" not in who.stdout
    assert "acme" not in who.stdout


def test_teams_are_those_of_the_caller(acme):
    for caller in (acme.admin, acme.team_admin, acme.member, acme.stranger, acme.team.keys["WORKSPACE_MANAGE_ALL"]):
        teams = api(acme, caller).get_teams()
        over_rest = {team.name: (team.id, team.default) for team in caller.api.get_teams().teams}
        assert {name: (team.id, team.default) for name, team in teams.items()} == over_rest
    assert set(api(acme, acme.admin).get_teams()) == {team.name for team in acme.teams}
    assert set(api(acme, acme.team.keys["WORKSPACE_MANAGE_ALL"]).get_teams()) == {acme.team.name}


def test_the_organization_is_the_same_over_graphql(acme):
    for caller in (acme.admin, acme.stranger):
        assert api(acme, caller).get_organization_id() == acme.id


def test_graphql_refuses_in_its_own_way(acme):
    nobody = acme.guildhall.caller("guild_aaaaaaaa." + "a" * 38)
    with pytest.raises(ApiError):
        api(acme, nobody).get_teams()
    broken = api(acme, acme.member)
    for query in ('{ teams(name: "a"b") { id } }', "{", "", "{ teams { id no_such_field } }", "{ no_such_root }"):
        with pytest.raises(ApiError):
            broken._post_graphql_query(query)


def test_rest_through_the_server_as_proxy(fresh_acme, monkeypatch):
    """Secrets, keys and training projects as `truss loops` and `truss train` ask for them."""
    monkeypatch.setenv("http_proxy", fresh_acme.guildhall.url)
    team = fresh_acme.team
    client = api(fresh_acme, fresh_acme.team_admin, KNOWN_URL)
    assert client.rest_api_url == "http://api.localhost:8000"
    name = one(team_name for team_name, found in client.get_teams().items() if found.id == team.id)
    assert name == team.name

    made = client.upsert_team_secret(team.id, f"truss-team-{team.id}-exec-api-key", "x")
    assert made in client.get_team_secrets(team.id)["secrets"]
    assert made in client.get_all_secrets()["secrets"]
    key = client.create_api_key(APIKeyCategory.WORKSPACE_MANAGE_ALL, "exec", team.id)["api_key"]
    project = TrainingProject(name="kites", team_name=team.name, job=TrainingJob(image=Image(base_image="python")))
    project = client.upsert_training_project(project, team.id)
    assert project in client.list_training_projects()

    monkeypatch.delenv("http_proxy")
    member = fresh_acme.member.api
    assert made["id"] in {secret.id for secret in member.get_teams_secrets(team_id=team.id).secrets}
    assert project["id"] in {listed.id for listed in member.get_training_projects().training_projects}
    assert fresh_acme.guildhall.caller(key).api.get_teams().teams[0].id == team.id
