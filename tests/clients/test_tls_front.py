"""Behind a front that ends TLS: links lead to it, and boto3 and what stands for the Go clients upload through it."""

import json
import os

import boto3
import httpx
import pytest
from botocore.config import Config
from guildhall import Guildhall
from tls_front import TlsFront

MIB = 1 << 20


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    front = TlsFront(tmp_path_factory.mktemp("front"))
    yield front
    front.close()


@pytest.fixture(scope="module")
def acme(front, tmp_path_factory):
    """An organization that is reached by the front."""
    guildhall = Guildhall(tmp_path_factory.mktemp("behind") / "data", "--public-url", front.url, "--s3-hosts")
    front.serve(guildhall.url)
    yield guildhall.organizations["acme"]
    guildhall.stop()


def through(front, caller, user_agent="python"):
    headers = {"authorization": f"Bearer {caller.api_key}", "user-agent": user_agent}
    context = httpx.create_ssl_context(verify=str(front.ca))
    return httpx.Client(base_url=front.url, headers=headers, verify=context)


@pytest.mark.parametrize("size", [1 << 10, 20 * MIB], ids=["1 KiB", "20 MiB in parts"])
def test_boto3_uploads_by_what_it_is_given(acme, front, tmp_path, monkeypatch, size):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(front.ca))
    granted = through(front, acme.member).get("/v1/blobs/credentials/model").json()
    assert granted["creds"]["endpoint_url"] == front.url
    content = os.urandom(size)
    (tmp_path / "archive.tgz").write_bytes(content)
    s3 = boto3.resource("s3", **granted["creds"]).meta.client
    s3.upload_file(str(tmp_path / "archive.tgz"), granted["s3_bucket"], granted["s3_key"])
    assert acme.stored(content) == content


@pytest.mark.parametrize("size", [1 << 10, 20 * MIB], ids=["1 KiB", "20 MiB in parts"])
def test_who_sends_to_s3s_own_host_arrives_too(acme, front, tmp_path, size):
    """As the Go clients do: no endpoint, the bucket in the host, and a proxy that takes S3's hosts."""
    asked = {"name": "gopher", "team_id": acme.team.id, "deployment": {"config": {}}}
    prepared = through(front, acme.member, "baseten-cli/0.4").post("/v1/prepare_model_upload", json=asked).json()
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    proxied = Config(
        proxies={"https": f"http://127.0.0.1:{front.port}"},
        s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    )
    s3 = boto3.client(
        "s3",
        **{name: prepared["creds"][name] for name in names},
        region_name=prepared["s3_region"],
        config=proxied,
        verify=str(front.ca),
    )
    content = os.urandom(size)
    (tmp_path / "archive.tgz").write_bytes(content)
    s3.upload_file(str(tmp_path / "archive.tgz"), prepared["s3_bucket"], prepared["s3_key"])
    assert acme.stored(content) == content
    source = {"kind": "model_archive", "name": f"gopher-{size}", "deployment": {"config": {}}, "s3_key": prepared["s3_key"]}
    made = through(front, acme.member).post(f"/v1/teams/{acme.team.id}/models", content=json.dumps({"source": source}))
    assert made.status_code == 200, made.text
    model, deployment = made.json()["model"]["id"], made.json()["deployment"]["id"]
    link = through(front, acme.member).get(f"/v1/models/{model}/deployments/{deployment}/download").json()
    assert link["download_url"].startswith(f"{front.url}/downloads/")
    context = httpx.create_ssl_context(verify=str(front.ca))
    assert httpx.get(link["download_url"], verify=context).content == content
