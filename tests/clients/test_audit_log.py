"""The audit log: who did what, for organization admins."""

import time

import pytest
from baseten.client.managementapi import (
    AuditLogEventApiKeyCreated,
    AuditLogEventApiKeyDeleted,
    AuditLogEventModelDeleted,
    AuditLogEventSecretDeleted,
    AuditLogEventSecretUpdated,
    GetAuditLogsParams,
    UpsertSecretRequest,
)

from guildhall import first, refusal


def entries(acme, **filters):
    filters.setdefault("limit", 200)
    return acme.admin.api.get_audit_logs(params=GetAuditLogsParams(**filters)).items


class Acts:
    """What some people did just now, oldest first."""

    def __init__(self, acme):
        team = acme.team
        self.before_millis = int(time.time() * 1000)
        time.sleep(0.01)
        secret = UpsertSecretRequest(name="kite_token", value="x")
        self.secret = acme.member.api.post_teams_secrets(team_id=team.id, request=secret)
        self.key = acme.team_admin.make_key("WORKSPACE_MANAGE_ALL", name="kite-robot", team_id=team.id)
        self.key.api.delete_teams_secrets(team_id=team.id, secret_name="kite_token")
        acme.admin.api.delete_api_keys(api_key_prefix=self.key.prefix)
        self.model = first(acme.member.api.get_teams_models(team_id=team.id).models)
        acme.member.api.delete_models(model_id=self.model.id)
        self.expected = [
            ("SECRET_UPDATED", acme.member.email),
            ("API_KEY_CREATED", acme.team_admin.email),
            ("SECRET_DELETED", None),
            ("API_KEY_DELETED", acme.admin.email),
            ("MODEL_DELETED", acme.member.email),
        ]

    def entries(self, acme, **filters):
        """Of these acts, oldest first."""
        return entries(acme, start_epoch_millis=self.before_millis, direction="ASC", **filters)


@pytest.fixture
def acts(fresh_acme):
    return Acts(fresh_acme)


def shown(entries):
    return [(entry.event_type, entry.actor.email) for entry in entries]


def test_entries_follow_the_acts(fresh_acme, acts):
    found = acts.entries(fresh_acme)
    assert shown(found) == acts.expected
    times = [entry.created for entry in found]
    assert times == sorted(times)
    assert len({entry.id for entry in found}) == len(found)
    assert {entry.source for entry in found} == {"API"}

    by_key = found[2].actor
    assert (by_key.type, by_key.api_key_prefix, by_key.api_key_name) == ("API_KEY", acts.key.prefix, "kite-robot")
    assert found[0].actor.type == "USER"


def test_entries_tell_what_was_done(fresh_acme, acts):
    """In the SDK's own shapes: it takes what it cannot read as a bare dictionary."""
    secret_set, key_made, secret_deleted, key_deleted, model_deleted = [
        entry.event_data for entry in acts.entries(fresh_acme)
    ]
    assert isinstance(secret_set, AuditLogEventSecretUpdated)
    assert (secret_set.secret_id, secret_set.secret_name) == (acts.secret.id, "kite_token")
    assert isinstance(key_made, AuditLogEventApiKeyCreated)
    assert (key_made.prefix, key_made.api_key_type) == (acts.key.prefix, "CREATOR_SERVICE_ACCOUNT")
    assert isinstance(secret_deleted, AuditLogEventSecretDeleted)
    assert secret_deleted.secret_id == acts.secret.id
    assert isinstance(key_deleted, AuditLogEventApiKeyDeleted)
    assert (key_deleted.prefix, key_deleted.api_key_id) == (acts.key.prefix, key_made.api_key_id)
    assert isinstance(model_deleted, AuditLogEventModelDeleted)
    assert (model_deleted.model_id, model_deleted.model_name) == (acts.model.id, acts.model.name)


def test_the_newest_comes_first_unless_asked(fresh_acme, acts):
    newest = entries(fresh_acme, limit=5)
    assert shown(newest) == acts.expected[::-1]
    assert entries(fresh_acme, start_epoch_millis=acts.before_millis) == newest
    assert len(fresh_acme.admin.api.get_audit_logs().items) <= 20


def test_entries_are_filtered(fresh_acme, acts):
    secrets = acts.entries(fresh_acme, event_type_groups=["SECRETS"])
    assert [entry.event_type for entry in secrets] == ["SECRET_UPDATED", "SECRET_DELETED"]
    keys_or_secrets = acts.entries(fresh_acme, event_type_groups=["SECRETS", "API_KEYS"])
    assert shown(keys_or_secrets) == acts.expected[:4]
    by_member = acts.entries(fresh_acme, user_ids=[fresh_acme.member.user_id])
    assert shown(by_member) == [acts.expected[0], acts.expected[4]]
    assert shown(acts.entries(fresh_acme, search="KITE_TOK")) == [acts.expected[0], acts.expected[2]]
    assert shown(acts.entries(fresh_acme, search=acts.model.id)) == [acts.expected[4]]
    assert shown(acts.entries(fresh_acme, sources=["API", "UI"])) == acts.expected
    assert acts.entries(fresh_acme, sources=["MCP"]) == []
    assert acts.entries(fresh_acme, event_type_groups=["SSH"]) == []
    earlier = entries(fresh_acme, end_epoch_millis=acts.before_millis)
    assert not {entry.id for entry in earlier} & {entry.id for entry in acts.entries(fresh_acme)}


def test_entries_name_their_team(fresh_acme, acts):
    """The team is ours to tell, and to ask for."""

    def of(team):
        params = {"team_ids": [team.id], "start_epoch_millis": acts.before_millis, "direction": "ASC"}
        return fresh_acme.admin.http.get("/v1/audit_logs", params=params).json()["items"]

    assert [entry["event_type"] for entry in of(fresh_acme.team)] == [event for event, _ in acts.expected]
    assert {(entry["team_id"], entry["team_name"]) for entry in of(fresh_acme.team)} == {
        (fresh_acme.team.id, fresh_acme.team.name)
    }
    assert of(fresh_acme.other_team) == []


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_pages_join_to_the_whole_log(fresh_acme, acts, direction):
    seen, cursor = [], None
    while True:
        params = GetAuditLogsParams(limit=2, direction=direction, start_epoch_millis=acts.before_millis, cursor=cursor)
        page = fresh_acme.admin.api.get_audit_logs(params=params)
        assert 1 <= len(page.items) <= 2
        seen += page.items
        cursor = page.pagination.cursor
        assert page.pagination.has_more == (cursor is not None)
        if cursor is None:
            break
    assert shown(seen) == (acts.expected if direction == "ASC" else acts.expected[::-1])


def test_what_is_refused_leaves_no_entry(fresh_acme):
    team, invoker = fresh_acme.team, fresh_acme.team_key("WORKSPACE_INVOKE")
    before = entries(fresh_acme)
    good, bad = UpsertSecretRequest(name="intruder", value="x"), UpsertSecretRequest(name="", value="x")
    refusal(404, fresh_acme.stranger.api.post_teams_secrets, team_id=team.id, request=good)
    refusal(400, fresh_acme.member.api.post_teams_secrets, team_id=team.id, request=bad)
    refusal(403, invoker.api.post_teams_secrets, team_id=team.id, request=good)
    assert entries(fresh_acme) == before


def test_only_organization_admins_read_it(acme):
    for caller in (acme.team_admin, acme.member, acme.stranger):
        refusal(403, caller.api.get_audit_logs)
    for team in acme.teams:
        for key in team.keys.values():
            refusal(403, key.api.get_audit_logs)


def test_another_organization_has_its_own(fresh_acme, acts):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    theirs = {entry.id for entry in founder.api.get_audit_logs(params=GetAuditLogsParams(limit=200)).items}
    assert not theirs & {entry.id for entry in entries(fresh_acme)}
