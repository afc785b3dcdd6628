"""Nobody pushes into a team that they are not in, or with what another uploaded: truss's own client says it outright."""

import boto3
import pytest
from baseten.client.managementapi import UpsertSecretRequest
from botocore.exceptions import ClientError
from truss.remote.baseten.custom_types import BlobType

from guildhall import refusal
from truss_cli import KNOWN_URL, model_dir
from truss_client import Client, refused


@pytest.fixture
def client_of(busy_acme, tmp_path):
    folder = model_dir(tmp_path, "packed")
    return lambda caller, url=None: Client(busy_acme, caller, folder, url)


def test_a_version_of_a_model_of_another_team(busy_acme, client_of):
    stranger, team = busy_acme.stranger, busy_acme.team
    model = busy_acme.member.make_model("coveted", team).model
    theirs = client_of(stranger)
    s3_key = theirs.upload()
    with busy_acme.unchanged():
        assert "no such model" in refused(theirs.add_version, model.id, s3_key)
        refusal(404, stranger.make_deployment, model_id=model.id, s3_key=s3_key)
    assert busy_acme.deployments("coveted") == {team.name: [("deployment-1", busy_acme.member.email)]}


def test_a_model_in_another_team(busy_acme, client_of):
    stranger, team = busy_acme.stranger, busy_acme.team
    busy_acme.member.make_model("developed-there", team, is_development=True)
    theirs = client_of(stranger)
    s3_key = theirs.upload()
    with busy_acme.unchanged():
        assert "no such team" in refused(theirs.create, "intruder", s3_key, team_id=team.id)
        assert "no such team" in refused(theirs.deploy_draft, "developed-there", s3_key, team_id=team.id)
        refusal(404, stranger.make_model, name="intruder", team=team, s3_key=s3_key)
    # The name alone is not the other team's: without a team it is a model of their own.
    theirs.deploy_draft("developed-there", s3_key)
    assert busy_acme.deployments("developed-there") == {
        team.name: [("development", busy_acme.member.email)],
        busy_acme.default_team.name: [("development", stranger.email)],
    }


def test_patches_of_a_model_of_another_team(busy_acme, client_of):
    model = busy_acme.member.make_model("patched-there", busy_acme.team, is_development=True).model
    theirs = client_of(busy_acme.stranger)
    with busy_acme.unchanged():
        for call in (
            lambda: theirs.api.get_truss_watch_state(model.id),
            lambda: theirs.api.sync_draft_truss(model.id),
            lambda: theirs.api.get_model_by_id(model.id),
        ):
            assert "no such model" in refused(call)


@pytest.mark.parametrize("by", ["a team admin", "a key of the team"])
def test_an_archive_serves_who_uploaded_it(busy_acme, client_of, by):
    member, team = busy_acme.member, busy_acme.team
    other = busy_acme.team_admin if by == "a team admin" else team.keys["WORKSPACE_MANAGE_ALL"]
    name = by.replace(" ", "-")
    model = other.make_model(name, team).model
    s3_key = client_of(member).upload()
    theirs = client_of(other)
    with busy_acme.unchanged():
        assert "no such upload" in refused(theirs.add_version, model.id, s3_key)
        assert "no such upload" in refused(theirs.create, f"{name}-2", s3_key, team_id=team.id)
        assert "no such upload" in refused(theirs.deploy_draft, name, s3_key, team_id=team.id)
    same_person = member.make_key("PERSONAL", name=f"beside-{name}")
    client_of(same_person).add_version(model.id, s3_key)
    assert busy_acme.deployments(name) == {
        team.name: [("deployment-1", other.known_as), ("deployment-2", member.email)]
    }


def test_an_archive_serves_what_it_was_uploaded_for(busy_acme, client_of, monkeypatch):
    member = busy_acme.member
    monkeypatch.setenv("http_proxy", busy_acme.guildhall.url)
    granted = client_of(member, KNOWN_URL).api.get_blob_credentials(BlobType.TRAIN)
    s3(granted["creds"]).put_object(Bucket=granted["s3_bucket"], Key=granted["s3_key"], Body=b"packed")
    monkeypatch.delenv("http_proxy")
    with busy_acme.unchanged():
        said = refused(client_of(member).create, "trained", granted["s3_key"], team_id=busy_acme.team.id)
    assert "no such upload" in said


def test_upload_credentials_end_with_their_key(busy_acme, client_of):
    key = busy_acme.team_key("WORKSPACE_MANAGE_ALL", name="short-lived")
    granted = client_of(key).api.model_s3_upload_credentials()
    bucket, s3_key = granted.pop("s3_bucket"), granted.pop("s3_key")
    client = s3(granted)
    client.put_object(Bucket=bucket, Key=s3_key, Body=b"x")
    busy_acme.admin.api.delete_api_keys(api_key_prefix=key.prefix)
    with busy_acme.unchanged(), pytest.raises(ClientError) as caught:
        client.put_object(Bucket=bucket, Key=s3_key, Body=b"y")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def s3(credentials):
    return boto3.resource("s3", **credentials).meta.client


def test_a_secret_that_only_another_team_has(busy_acme, at, tmp_path):
    admin, team, other = busy_acme.admin, busy_acme.team, busy_acme.other_team
    secret = UpsertSecretRequest(name="push_only_there", value="v")
    admin.api.post_teams_secrets(team_id=other.id, request=secret)
    folder = model_dir(tmp_path, "secretive", config="secrets:\n  push_only_there: null\n")
    with busy_acme.acts() as acts:
        said = at(admin).leaves_with(1, "push", folder, "--team", team.name)
    assert f'names `push_only_there`, and team "{team.name}" has no secret of that name' in said
    assert acts == [("ARCHIVE_UPLOADED", admin.email, None)]
    at(admin)("push", folder, "--team", other.name)
    assert busy_acme.deployments("secretive") == {other.name: [("deployment-1", admin.email)]}
