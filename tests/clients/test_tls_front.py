"""Uploads by boto3 through a front that ends TLS. Over https it sends archives in chunks, their checksum behind them."""

import asyncio
import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from guildhall import Guildhall
from test_uploads import MIB, stored, upload_credentials

HOSTS = ("localhost", "guildhall-uploads.localhost")


class Front:
    """Ends TLS and passes on what comes, as it is, to the server that it is told of."""

    def __init__(self, folder):
        self.certificate = folder / "front.pem"
        self.certificate.write_bytes(self_signed())
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.socket.getsockname()[1]}"
        self.upstream = None
        self.taken = 0
        self.loop, self.stopped = asyncio.new_event_loop(), asyncio.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:  # whose end is that of all that still passes
            runner.run(self._serve())

    async def _serve(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        await asyncio.start_server(self._pass_on, sock=self.socket, ssl=context)
        await self.stopped.wait()

    async def _pass_on(self, reader, writer):
        self.taken += 1
        from_server, to_server = await asyncio.open_connection(*self.upstream)
        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join()


async def pump(reader, writer):
    try:
        while piece := await reader.read(MIB):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # whoever left has what they wanted
    finally:
        writer.close()


def self_signed() -> bytes:
    """A key and its certificate, which also stands for the authority that clients trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front of the tests")])
    now = datetime.now(UTC)
    names = [x509.DNSName(host) for host in HOSTS]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kind) + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    front = Front(tmp_path_factory.mktemp("front"))
    yield front
    front.stop()


@pytest.fixture(scope="module")
def acme(front, tmp_path_factory):
    guildhall = Guildhall(tmp_path_factory.mktemp("fronted") / "data", "--public-url", front.url)
    host, port = guildhall.url.removeprefix("http://").split(":")
    front.upstream = host, int(port)
    try:
        yield guildhall.organizations["acme"]
    finally:
        guildhall.stop()


def s3(front, granted, config=None):
    return boto3.client("s3", **granted["creds"], verify=str(front.certificate), config=config)


@pytest.mark.parametrize("size", [0, 1 << 10, 8 * MIB - 1, 20 * MIB], ids=["empty", "1 KiB", "one PUT", "in parts"])
def test_an_archive_comes_in_by_the_endpoint_that_is_given_out(front, acme, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "archive.tgz").write_bytes(content)
    granted, taken = upload_credentials(acme.member), front.taken
    assert granted["creds"]["endpoint_url"] == front.url
    s3(front, granted).upload_file(str(tmp_path / "archive.tgz"), granted["s3_bucket"], granted["s3_key"])
    assert stored(acme, content) == content
    assert front.taken > taken


def test_a_bucket_in_the_host_comes_in_too(front, acme, monkeypatch):
    names = socket.getaddrinfo
    here = dict.fromkeys(HOSTS, "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: names(here.get(host, host), *rest))
    granted, content, sent = upload_credentials(acme.member), os.urandom(1000), []
    client = s3(front, granted, Config(s3={"addressing_style": "virtual"}))
    client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    client.put_object(Bucket=granted["s3_bucket"], Key=granted["s3_key"], Body=content)
    assert [request.url for request in sent] == [
        f"{front.url.replace('localhost', 'guildhall-uploads.localhost')}/{granted['s3_key']}"
    ]
    assert sent[0].headers["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert stored(acme, content) == content
