import os

import pytest

pytest.register_assert_rewrite("guildhall")

from guildhall import Guildhall, Organization

# The server is on this machine: whatever proxy the environment knows is not for these tests.
for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
def acme(tmp_path_factory) -> Organization:
    """The demo's organization as it was loaded. Tests that use it only read."""
    yield from serve(tmp_path_factory.mktemp("shared") / "data")


@pytest.fixture
def fresh_acme(tmp_path) -> Organization:
    """The same, for one test to change as it likes."""
    yield from serve(tmp_path / "data")


def serve(data):
    guildhall = Guildhall(data)
    try:
        yield guildhall.organizations["acme"]
    finally:
        guildhall.stop()
