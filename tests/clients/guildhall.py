"""A running Guildhall, and the people in it as the clients meet them.

Whoever appears here carries Baseten's own SDK, unmodified: `api` is its generated client, `http` the
httpx client underneath, for the few routes that are ours and the SDK does not know.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import pytest
from baseten.client import ManagementClient
from baseten.client.managementapi import (
    CreateAPIKeyRequest,
    CreatedModelDeployment,
    CreateModelDeploymentRequest,
    CreateModelRequest,
    DeploymentArchivePayload,
    DeploymentArchiveSource,
    GetModelsParams,
    ModelArchiveSource,
    ResponseError,
)
from blake3 import blake3

BINARY = Path(os.environ.get("GUILDHALL_BIN", Path(__file__).parents[2] / "target/release/guildhall")).absolute()

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30

CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    501: "NOT_IMPLEMENTED",
}


class Guildhall:
    """`guildhall demo` on a free port, with a data directory of its own. Models run only if `runner` is "on"."""

    def __init__(self, data: Path, *options: str, runner: str = "off"):
        self.data = data
        self.process = subprocess.Popen(
            [BINARY, "demo", "--listen", "127.0.0.1:0", "--data", data, "-o", "json", "--runner", runner, *options],
            # uv stands beside the Python that runs the tests.
            env=os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            announced = json.loads(self._first_line())
            self.url = announced["url"]
            self.organizations = {org["name"]: Organization(self, org) for org in announced["organizations"]}
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _first_line(self) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS_MAX)
        line = self.process.stdout.readline() if ready else ""
        assert line, f"no line from the server within {START_SECONDS_MAX} s; it left with {self.process.poll()}"
        return line

    def caller(self, api_key: str) -> "Caller":
        return Caller(self.url, api_key)

    def new_organization(self, name: str) -> "Caller":
        """Its first admin. The command line makes it beside the running server."""
        made = subprocess.run(
            [BINARY, "organization", "create", name, "--email", "founder@elsewhere.example", "--name", "Founder"]
            + ["--teams", "--data", self.data, "-o", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS_MAX,
        )
        assert made.returncode == 0, made.stderr
        return self.caller(json.loads(made.stdout)["api_key"])

    def stop(self) -> None:
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=STOP_SECONDS_MAX)
        assert self.process.returncode == 0, "asked to stop, the server ends well"
        assert rest == "", "with -o json stdout carries one line and nothing else"


class Caller:
    """Whoever holds this key."""

    def __init__(self, url: str, api_key: str):
        self.url = url
        self.api_key = api_key
        # A key's prefix is the text before its first dot.
        self.prefix = api_key.split(".")[0]

    @cached_property
    def client(self) -> ManagementClient:
        return ManagementClient(api_key=self.api_key, base_url_override=self.url)

    @property
    def api(self):
        return self.client.api

    @property
    def http(self):
        return self.client.http_client

    @property
    def known_as(self) -> str:
        """How the audit log names who acted."""
        return self.prefix

    def make_key(self, category: str, **fields) -> "Caller":
        made = self.api.post_api_keys(request=CreateAPIKeyRequest(type=category, **fields))
        return Caller(self.url, made.api_key)

    def make_model(self, name: str, team: "Team | None" = None, s3_key=None, **payload) -> CreatedModelDeployment:
        """With its first deployment: of its configuration alone, unless something was uploaded."""
        payload = DeploymentArchivePayload(**{"config": {"model_name": name}} | payload)
        source = ModelArchiveSource(name=name, deployment=payload, kind="model_archive", s3_key=s3_key)
        request = CreateModelRequest(source=source)
        if team is None:
            return self.api.post_models(request=request)
        return self.api.post_teams_models(team_id=team.id, request=request)

    def make_deployment(self, model_id: str, s3_key=None, **payload) -> CreatedModelDeployment:
        payload = DeploymentArchivePayload(**{"config": {}} | payload)
        source = DeploymentArchiveSource(deployment=payload, kind="model_archive", s3_key=s3_key)
        request = CreateModelDeploymentRequest(source=source)
        return self.api.post_models_deployments(model_id=model_id, request=request)


class Person(Caller):
    def __init__(self, url: str, said: dict):
        super().__init__(url, said["api_key"])
        self.user_id, self.email, self.name, self.role = (said[k] for k in ("user_id", "email", "name", "role"))
        self.teams = {team["team_id"]: team["role"] for team in said["teams"]}

    @property
    def known_as(self) -> str:
        return self.email

    def is_org_admin(self) -> bool:
        return self.role == "ADMIN"

    def leads(self, team: "Team") -> bool:
        """By membership, not because an organization admin leads every team."""
        return not self.is_org_admin() and self.teams.get(team.id) == "ADMIN"

    def works_in(self, team: "Team") -> bool:
        return not self.is_org_admin() and self.teams.get(team.id) == "MEMBER"

    def is_strange_to(self, team: "Team") -> bool:
        return not self.is_org_admin() and team.id not in self.teams


class Team:
    def __init__(self, url: str, said: dict):
        self.id, self.name, self.default = said["team_id"], said["name"], said["default"]
        self.keys = {key["type"]: Caller(url, key["api_key"]) for key in said["api_keys"]}


class Organization:
    """One organization of the demo.

    The tests speak of `team`, one beside the default team, and of four people: `admin` of the
    organization, `team_admin` and `member` of that team, and a `stranger` to it.
    """

    def __init__(self, guildhall: Guildhall, said: dict):
        self.guildhall = guildhall
        self.id, self.name = said["org_id"], said["name"]
        self.people = [Person(guildhall.url, person) for person in said["people"]]
        self.teams = [Team(guildhall.url, team) for team in said["teams"]]

    @property
    def default_team(self) -> Team:
        return one(team for team in self.teams if team.default)

    @cached_property
    def team(self) -> Team:
        def has_all(team: Team) -> bool:
            tests = (Person.leads, Person.works_in, Person.is_strange_to)
            return all(any(test(person, team) for person in self.people) for test in tests)

        return first(team for team in self.teams if not team.default and has_all(team))

    @property
    def other_team(self) -> Team:
        """Neither `team` nor the default team."""
        return first(team for team in self.teams if not team.default and team is not self.team)

    @property
    def admin(self) -> Person:
        return first(person for person in self.people if person.is_org_admin())

    @property
    def team_admin(self) -> Person:
        return first(person for person in self.people if person.leads(self.team))

    @property
    def member(self) -> Person:
        return first(person for person in self.people if person.works_in(self.team))

    @property
    def stranger(self) -> Person:
        return first(person for person in self.people if person.is_strange_to(self.team))

    @property
    def teamless(self) -> Person:
        return first(person for person in self.people if not person.is_org_admin() and not person.teams)

    def stored(self, content: bytes) -> bytes:
        """What stands on the disk under the name of this content."""
        name = blake3(content).hexdigest()
        return (self.guildhall.data / "archives" / name[:2] / name).read_bytes()

    def team_key(self, category: str, **fields) -> Caller:
        """A new key of `team`."""
        return self.admin.make_key(category, team_id=self.team.id, **fields)

    def teams_of(self, caller: Caller) -> list[Team]:
        seen = {team.id for team in caller.api.get_teams().teams}
        return [team for team in self.teams if team.id in seen]

    def log(self, **filters) -> list[dict]:
        """Entries of the audit log, oldest first, with the fields that are ours."""
        answer = self.admin.http.get("/v1/audit_logs", params={"limit": 200, "direction": "ASC"} | filters)
        assert answer.status_code == 200 and not answer.json()["pagination"]["has_more"], answer.text
        return answer.json()["items"]

    def acts_on(self, thing_id: str) -> list[tuple[str, str, str]]:
        """What was done with it, by whom and in which team, oldest first."""
        return [(entry["event_type"], actor(entry), entry["team_name"]) for entry in self.log(search=thing_id)]

    @contextmanager
    def acts(self):
        """What is done meanwhile, by whom and in which team, oldest first. Whatever is written, an upload too, is there."""

        def newest(limit: int) -> list[dict]:
            return self.admin.http.get("/v1/audit_logs", params={"limit": limit}).json()["items"]

        [before] = newest(1)
        done = []
        yield done
        since = takewhile(lambda entry: entry != before, newest(100))
        done += [(entry["event_type"], actor(entry), entry["team_name"]) for entry in since][::-1]

    @contextmanager
    def unchanged(self):
        with self.acts() as acts:
            yield
        assert acts == []

    def deployments(self, name: str) -> dict[str, list[tuple[str, str]]]:
        """Of the models of this name, by team and oldest first: how each is called and who pushed it."""
        held = {}
        for model in self.admin.api.get_models(params=GetModelsParams(name=name)).models:
            deployments = self.admin.api.get_models_deployments(model_id=model.id).deployments
            pushed = self._pushed("MODEL_DEPLOYED", "deployment", model)
            assert model.team_name not in held, "a name is one model in a team"
            held[model.team_name] = [pushed[found.id] for found in sorted(deployments, key=creation)]
            assert [name for name, _ in held[model.team_name]] == [d.name for d in sorted(deployments, key=creation)]
        return held

    def chain_deployments(self, name: str) -> dict[str, list[tuple[str, str]]]:
        """The same of Chains."""
        held = {}
        for chain in self.admin.api.get_chains().chains:
            if chain.name == name:
                deployments = self.admin.api.get_chains_deployments(chain_id=chain.id).deployments
                pushed = self._pushed("CHAIN_DEPLOYED", "chain_deployment", chain)
                assert chain.team_name not in held, "a name is one Chain in a team"
                held[chain.team_name] = [pushed[found.id] for found in sorted(deployments, key=creation)]
        return held

    def _pushed(self, event: str, what: str, owner) -> dict[str, tuple[str, str]]:
        """By id: what the audit log says how each was called when it was pushed, and who pushed it."""
        return {
            entry["event_data"][f"{what}_id"]: (entry["event_data"][f"{what}_name"], actor(entry))
            for entry in self.log(search=owner.id)
            if entry["event_type"] == event and entry["team_name"] == owner.team_name
        }

    def without_default_team(self) -> Person:
        """The member, made a stranger to the default team if they were in it."""
        membership = f"/v1/teams/{self.default_team.id}/members/{self.member.user_id}"
        assert self.admin.http.delete(membership).status_code in (200, 404)
        return self.member


def creation(thing):
    return thing.created_at


def actor(entry: dict) -> str:
    return entry["actor"]["email"] or entry["actor"]["api_key_prefix"]


def refusal(status: int, call: Callable, **arguments) -> str:
    """The message of a call that must fail with this status, in the shape that every error has."""
    with pytest.raises(ResponseError) as caught:
        call(**arguments)
    assert caught.value.status_code == status, str(caught.value)
    error = json.loads(caught.value.body)
    assert error["code"] == CODES[status]
    assert isinstance(error["message"], str) and error["message"]
    return error["message"]


def first(items):
    found = next(iter(items), None)
    assert found is not None, "the demo has one"
    return found


def one(items):
    items = list(items)
    assert len(items) == 1, items
    return items[0]
