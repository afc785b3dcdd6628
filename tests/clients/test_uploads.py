"""Uploads by boto3 as truss calls it: the credentials are all it is given."""

import os

import boto3
import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20


def upload_credentials(caller, kind="model"):
    answer = caller.http.get(f"/v1/blobs/credentials/{kind}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def client(granted):
    return boto3.resource("s3", **granted["creds"]).meta.client


@pytest.mark.parametrize("size", [0, 1 << 10, 8 * MIB, 20 * MIB], ids=["empty", "1 KiB", "8 MiB", "20 MiB in parts"])
@pytest.mark.parametrize("kind", ["model", "train"])
def test_upload_file(acme, tmp_path, kind, size):
    content = os.urandom(size)
    (tmp_path / "archive.tgz").write_bytes(content)
    granted = upload_credentials(acme.member, kind)
    client(granted).upload_file(str(tmp_path / "archive.tgz"), granted["s3_bucket"], granted["s3_key"])
    assert acme.stored(content) == content


def test_a_team_key_uploads(acme):
    granted = upload_credentials(acme.team.keys["WORKSPACE_MANAGE_ALL"])
    content = os.urandom(1000)
    client(granted).put_object(
        Bucket=granted["s3_bucket"], Key=granted["s3_key"], Body=content, ChecksumAlgorithm="SHA256"
    )
    assert acme.stored(content) == content


def test_the_credentials_do_nothing_else(acme):
    granted, other = upload_credentials(acme.member), upload_credentials(acme.admin)
    s3, bucket = client(granted), granted["s3_bucket"]
    for refused in (
        lambda: s3.put_object(Bucket=bucket, Key=other["s3_key"], Body=b"x"),
        lambda: s3.get_object(Bucket=bucket, Key=granted["s3_key"]),
        lambda: s3.delete_object(Bucket=bucket, Key=granted["s3_key"]),
        lambda: s3.list_objects_v2(Bucket=bucket),
    ):
        with pytest.raises(ClientError) as raised:
            refused()
        assert raised.value.response["Error"]["Code"] == "AccessDenied"


def in_parts(s3, granted, *parts, **checksums):
    where = {"Bucket": granted["s3_bucket"], "Key": granted["s3_key"]}
    upload = s3.create_multipart_upload(**where, **checksums)["UploadId"]
    sent = [
        s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=part, **checksums)
        for number, part in enumerate(parts, start=1)
    ]
    listed = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(sent, start=1)]
    return {**where, "UploadId": upload}, listed


def refused(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["ResponseMetadata"]["HTTPStatusCode"], raised.value.response["Error"]["Code"]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_what_is_said_of_parts_is_checked(acme, algorithm):
    granted = upload_credentials(acme.member)
    s3 = client(granted)
    parts = os.urandom(5 * MIB), os.urandom(100)
    upload, listed = in_parts(s3, granted, *parts, ChecksumAlgorithm=algorithm)
    wrong = [listed[0] | {f"Checksum{algorithm}": "AAAAAA==" if algorithm == "CRC32" else "A" * 43 + "="}, listed[1]]
    complete = s3.complete_multipart_upload
    assert refused(complete, **upload, MultipartUpload={"Parts": wrong}) == (400, "InvalidPart")
    whole = {"MultipartUpload": {"Parts": listed}}
    assert refused(complete, **upload, **whole, MpuObjectSize=7) == (400, "InvalidRequest")
    complete(**upload, **whole, MpuObjectSize=5 * MIB + 100)
    assert acme.stored(b"".join(parts)) == b"".join(parts)


def test_a_key_is_written_once(acme):
    granted = upload_credentials(acme.member)
    s3, where = client(granted), {"Bucket": granted["s3_bucket"], "Key": granted["s3_key"]}
    s3.put_object(**where, Body=b"first", IfNoneMatch="*")
    assert refused(s3.put_object, **where, Body=b"first", IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refused(s3.put_object, **where, Body=b"second") == (409, "OperationAborted")
    assert refused(s3.put_object, **where, Body=b"first", IfMatch='"x"') == (501, "NotImplemented")
    encrypted = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    assert refused(s3.put_object, **where, Body=b"first", **encrypted) == (501, "NotImplemented")
    s3.put_object(**where, Body=b"first")
