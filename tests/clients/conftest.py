import os

import pytest

pytest.register_assert_rewrite("guildhall", "truss_cli", "truss_client")

from guildhall import Guildhall, Organization
from truss_cli import RUNNING_SECONDS_MAX, Terminal

# The server is on this machine: whatever proxy the environment knows is not for these tests.
for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


@pytest.fixture(scope="session")
def acme(tmp_path_factory) -> Organization:
    """The demo's organization as it was loaded. Tests that use it only read."""
    yield from serve(tmp_path_factory.mktemp("shared") / "data")


@pytest.fixture(scope="session")
def busy_acme(tmp_path_factory) -> Organization:
    """The same, for tests that add to it under names of their own and leave alone what they find."""
    yield from serve(tmp_path_factory.mktemp("busy") / "data")


@pytest.fixture
def fresh_acme(tmp_path) -> Organization:
    """The same, for one test to change as it likes."""
    yield from serve(tmp_path / "data")


@pytest.fixture(scope="module")
def running_acme(tmp_path_factory) -> Organization:
    """The same with running models. The first push of a module makes an environment, for which it needs PyPI."""
    yield from serve(tmp_path_factory.mktemp("running") / "data", runner="on")


@pytest.fixture
def at_running(running_acme, tmp_path):
    """The terminal of whoever is given, where pushes wait until models run."""
    return lambda caller, team=None: Terminal(running_acme, caller, tmp_path / caller.prefix, team, RUNNING_SECONDS_MAX)


@pytest.fixture
def at(busy_acme, tmp_path):
    """The terminal of whoever is given."""
    return lambda caller, team=None: Terminal(busy_acme, caller, tmp_path / caller.prefix, team)


def serve(data, runner="off"):
    guildhall = Guildhall(data, runner=runner)
    try:
        yield guildhall.organizations["acme"]
    finally:
        guildhall.stop()
