//! The audit log: one entry for each act, written in the same transaction as the act and never changed.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::Value;

use crate::db::Tx;
use crate::domain::audit::Entry;
use crate::domain::{Client, OrgId, Page, Team, Time, UserId};
use crate::error::Error;
use crate::policy::{Caller, Credential, InOrg, Operator, Who};

/// An act. `data` is Baseten's `event_data` without its `event_type` (SDK model `AuditLogEvent…`).
#[derive(Debug)]
pub struct Event {
    pub event_type: &'static str,
    pub data: serde_json::Value,
}

impl Event {
    pub fn new(event_type: &'static str, data: serde_json::Value) -> Event {
        Event { event_type, data }
    }
}

/// Who did it, as the audit log stores it.
#[derive(Debug)]
pub enum Actor<'a> {
    Caller(&'a Caller),
    /// A person who has no key yet: they accept an invitation.
    User(&'a UserId),
    Operator(&'a Operator),
    /// An unknown person.
    Nobody,
}

/// Writes an entry for an act on a team, or on the organization if `team` is `None`.
pub fn record(tx: &Tx, actor: Actor<'_>, org_id: &OrgId, team: Option<&Team>, event: Event) -> Result<(), Error> {
    record_text(tx, actor, org_id, team, event.event_type, &event.data.to_string())
}

/// Writes an entry to the audit log, with event data that is JSON text already, for example written by SQL.
pub(super) fn record_text(
    tx: &Tx,
    actor: Actor<'_>,
    org_id: &OrgId,
    team: Option<&Team>,
    event_type: &str,
    event_data: &str,
) -> Result<(), Error> {
    let (actor_type, user_id, prefix, source) = match actor {
        Actor::Caller(caller) => match &caller.who {
            Who::Person(person) => match person.credential {
                Credential::Session => ("USER", Some(person.user_id.as_str()), None, "UI"),
                Credential::Key | Credential::Nothing => {
                    ("USER", Some(person.user_id.as_str()), Some(person.prefix.as_str()), "API")
                }
            },
            Who::TeamKey(key) => ("API_KEY", None, Some(key.prefix.as_str()), "API"),
            Who::KeyManager { prefix } => ("API_KEY", None, Some(prefix.as_str()), "API"),
        },
        Actor::User(user_id) => ("USER", Some(user_id.as_str()), None, "API"),
        Actor::Operator(_) => ("BASETEN_SYSTEM", None, None, "SYSTEM"),
        Actor::Nobody => ("BASETEN_SYSTEM", None, None, "API"),
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO audit (org_id, created_at, event_type, event_data, team_id, team_name, actor_type,
                                actor_user_id, actor_email, actor_prefix, actor_key_name, source, client_name,
                                client_version)
             VALUES (:org_id, :now, :event_type, :event_data, :team_id, :team_name, :actor_type,
                     :user_id, (SELECT email FROM user WHERE id = :user_id),
                     :prefix, (SELECT name FROM api_key WHERE prefix = :prefix), :source, :client_name,
                     :client_version)",
        )?
        .execute(named_params! {
            ":org_id": org_id,
            ":now": tx.now,
            ":event_type": event_type,
            ":event_data": event_data,
            ":team_id": team.map(|team| &team.id),
            ":team_name": team.map(|team| &team.name),
            ":actor_type": actor_type,
            ":user_id": user_id,
            ":prefix": prefix,
            ":source": source,
            ":client_name": tx.client().map(Client::name),
            ":client_version": tx.client().and_then(Client::version),
        })?;
    Ok(())
}

/// Selects entries. An empty list selects all.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    pub about: Option<About<'a>>,
    /// A part of any value of the data, or of the names of the event, the team and the actor. ASCII case is ignored.
    pub search: Option<&'a str>,
    /// `None`: all.
    pub event_types: Option<Vec<&'static str>>,
    pub user_ids: Vec<&'a str>,
    pub team_ids: Vec<&'a str>,
    pub deployment_ids: Vec<&'a str>,
    pub chain_deployment_ids: Vec<&'a str>,
    pub environment_names: Vec<&'a str>,
    pub sources: Vec<&'a str>,
    /// From this time, included.
    pub start: Option<Time>,
    /// To this time, excluded.
    pub end: Option<Time>,
}

/// How many entries are read for one page of a filtered list.
const ENTRIES_READ_MAX: i64 = 10_000;

impl Filter<'_> {
    /// Whether the filter leaves entries out, so that many entries may be read to find few.
    fn is_narrow(&self) -> bool {
        let lists = [
            &self.user_ids,
            &self.team_ids,
            &self.deployment_ids,
            &self.chain_deployment_ids,
            &self.environment_names,
            &self.sources,
        ];
        self.about.is_some()
            || self.search.is_some()
            || self.event_types.is_some()
            || self.start.is_some()
            || self.end.is_some()
            || lists.iter().any(|list| !list.is_empty())
    }
}

/// The resource that all entries must be about.
#[derive(Clone, Copy, Debug)]
pub enum About<'a> {
    Model(&'a str),
    Chain(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    NewestFirst,
    OldestFirst,
}

impl Direction {
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::NewestFirst => "DESC",
            Direction::OldestFirst => "ASC",
        }
    }

    pub fn parse(name: &str) -> Option<Direction> {
        [Direction::NewestFirst, Direction::OldestFirst].into_iter().find(|direction| direction.as_str() == name)
    }
}

/// Where the next page begins.
#[derive(Clone, Copy, Debug)]
pub struct AuditCursor {
    pub direction: Direction,
    /// The id of the last entry of the previous page. `None` for the first page.
    pub after: Option<i64>,
}

/// A page of the organization's entries, in the order in which they were written. Their times do not change the order.
pub fn list(
    tx: &Tx,
    org: &InOrg,
    filter: &Filter,
    cursor: AuditCursor,
    items_max: usize,
) -> Result<Page<Entry>, Error> {
    let (model_id, chain_id) = match filter.about {
        None => (None, None),
        Some(About::Model(id)) => (Some(id), None),
        Some(About::Chain(id)) => (None, Some(id)),
    };
    let (sql, first) = match cursor.direction {
        Direction::NewestFirst => (NEWEST_FIRST, i64::MAX),
        Direction::OldestFirst => (OLDEST_FIRST, 0),
    };
    let last_read = if filter.is_narrow() { last_read(tx, org, cursor)? } else { None };
    let mut query = tx.sql.prepare_cached(sql)?;
    let rows = query.query_map(
        named_params! {
            ":org_id": org.org_id(),
            ":after": cursor.after.unwrap_or(first),
            ":last_read": last_read,
            ":model_id": model_id,
            ":chain_id": chain_id,
            ":search": filter.search.map(str::to_ascii_lowercase),
            ":event_types": filter.event_types.as_deref().map(json),
            ":user_ids": any_of(&filter.user_ids),
            ":team_ids": any_of(&filter.team_ids),
            ":deployment_ids": any_of(&filter.deployment_ids),
            ":chain_deployment_ids": any_of(&filter.chain_deployment_ids),
            ":environment_names": any_of(&filter.environment_names),
            ":sources": any_of(&filter.sources),
            ":start": filter.start,
            ":end": filter.end,
            ":rows_max": items_max as i64 + 1,
        },
        from_row,
    )?;
    let mut items: Vec<Entry> = rows.collect::<Result<_, _>>()?;
    let others = items.len() > items_max;
    items.truncate(items_max);
    let next = items.last().filter(|_| others).map(|last| last.id).or(last_read);
    Ok(Page { items, next: next.map(|id| id.to_string()) })
}

/// The last entry that may be read for a page of a filtered list. The page may then hold fewer items than requested, or
/// none, and the next page begins after this entry.
fn last_read(tx: &Tx, org: &InOrg, cursor: AuditCursor) -> Result<Option<i64>, Error> {
    let (sql, first) = match cursor.direction {
        Direction::NewestFirst => (
            "SELECT id FROM audit WHERE org_id = :org_id AND id < :after ORDER BY id DESC LIMIT 1 OFFSET :skipped",
            i64::MAX,
        ),
        Direction::OldestFirst => {
            ("SELECT id FROM audit WHERE org_id = :org_id AND id > :after ORDER BY id ASC LIMIT 1 OFFSET :skipped", 0)
        }
    };
    let mut query = tx.sql.prepare_cached(sql)?;
    let id = query.query_row(
        named_params! {
            ":org_id": org.org_id(), ":after": cursor.after.unwrap_or(first), ":skipped": ENTRIES_READ_MAX - 1,
        },
        |row| row.get("id"),
    );
    Ok(id.optional()?)
}

/// The query for entries, for both orders.
macro_rules! entries {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT id, created_at, event_type, event_data, team_id, team_name, source,
                    CASE WHEN actor_type = 'USER' AND NOT EXISTS (
                        SELECT 1 FROM org_member
                        WHERE org_member.org_id = audit.org_id AND org_member.user_id = audit.actor_user_id
                    ) THEN 'TOMBSTONE_USER' ELSE actor_type END AS actor_type,
                    actor_email, actor_prefix, actor_key_name, client_name, client_version
             FROM audit
             WHERE org_id = :org_id AND ",
            $after,
            "  AND (:model_id IS NULL OR event_data ->> 'model_id' = :model_id)
               AND (:chain_id IS NULL OR event_data ->> 'chain_id' = :chain_id)
               AND (:event_types IS NULL OR event_type IN (SELECT value FROM json_each(:event_types)))
               AND (:user_ids IS NULL OR actor_user_id IN (SELECT value FROM json_each(:user_ids)))
               AND (:team_ids IS NULL OR team_id IN (SELECT value FROM json_each(:team_ids)))
               AND (:deployment_ids IS NULL
                    OR event_data ->> 'deployment_id' IN (SELECT value FROM json_each(:deployment_ids)))
               AND (:chain_deployment_ids IS NULL
                    OR event_data ->> 'chain_deployment_id' IN (SELECT value FROM json_each(:chain_deployment_ids)))
               AND (:environment_names IS NULL
                    OR event_data ->> 'environment_name' IN (SELECT value FROM json_each(:environment_names)))
               AND (:sources IS NULL OR source IN (SELECT value FROM json_each(:sources)))
               AND (:start IS NULL OR created_at >= :start)
               AND (:end IS NULL OR created_at < :end)
               AND (:search IS NULL
                    OR instr(lower(concat_ws(char(10), event_type, team_name, actor_email, actor_prefix,
                                             actor_key_name)), :search)
                    OR EXISTS (SELECT 1 FROM json_tree(event_data) WHERE instr(lower(atom), :search)))
             ORDER BY ",
            $order,
            " LIMIT :rows_max",
        )
    };
}

const NEWEST_FIRST: &str = entries!("id < :after AND (:last_read IS NULL OR id >= :last_read)", "id DESC");
const OLDEST_FIRST: &str = entries!("id > :after AND (:last_read IS NULL OR id <= :last_read)", "id ASC");

/// A list of a filter as SQL takes it: null for an empty list, which selects all.
fn any_of(wanted: &[&str]) -> Option<String> {
    (!wanted.is_empty()).then(|| json(wanted))
}

fn json(items: &[&str]) -> String {
    Value::from_iter(items.iter().copied()).to_string()
}

fn from_row(row: &Row) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get("id")?,
        created_at: row.get("created_at")?,
        event_type: row.get("event_type")?,
        event_data: row.get("event_data")?,
        team: row.get::<_, Option<String>>("team_id")?.zip(row.get("team_name")?),
        source: row.get("source")?,
        actor_type: row.get("actor_type")?,
        actor_email: row.get("actor_email")?,
        actor_prefix: row.get("actor_prefix")?,
        actor_key_name: row.get("actor_key_name")?,
        client_name: row.get("client_name")?,
        client_version: row.get("client_version")?,
    })
}

/// The sources that an act can have.
pub const SOURCES: [&str; 5] = ["UI", "API", "MCP", "SYSTEM", "OTHER"];

/// The groups of event types by which the log can be filtered. These are Baseten's groups, extended by the event types
/// that only Guildhall has.
#[rustfmt::skip]
const GROUPS: &[(&str, &[&str])] = &[
    ("DEPLOYED", &["MODEL_DEPLOYED", "MODEL_DEPLOYMENT_RETRIED", "CHAIN_DEPLOYED"]),
    ("PROMOTED", &["MODEL_DEPLOYMENT_PROMOTED", "MODEL_PROMOTION_CONTROL_ACTION", "CHAIN_DEPLOYMENT_PROMOTED"]),
    ("ACTIVATED_DEACTIVATED", &[
        "MODEL_DEPLOYMENT_ACTIVATED", "MODEL_DEPLOYMENT_DEACTIVATED",
        "CHAIN_DEPLOYMENT_ACTIVATED", "CHAIN_DEPLOYMENT_DEACTIVATED",
    ]),
    ("AUTOSCALING_SETTINGS", &[
        "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED", "CHAINLET_AUTOSCALING_SETTINGS_CHANGED",
    ]),
    ("REQUEST_BACKPRESSURE_SETTINGS", &["MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED"]),
    ("INSTANCE_TYPE_CHANGED", &["MODEL_DEPLOYMENT_INSTANCE_TYPE_CHANGED", "CHAINLET_INSTANCE_TYPE_CHANGED"]),
    ("ENVIRONMENT_SETTINGS", &[
        "ENVIRONMENT_CREATED", "ENVIRONMENT_UPDATED", "ENVIRONMENT_DELETED",
        "CHAIN_ENVIRONMENT_CREATED", "CHAIN_ENVIRONMENT_UPDATED",
        "ENVIRONMENT_GROUP_CREATED", "ENVIRONMENT_GROUP_UPDATED", "ENVIRONMENT_GROUP_DELETED",
    ]),
    ("REPLICA_TERMINATED", &["REPLICA_TERMINATED"]),
    ("DELETED", &[
        "MODEL_DELETED", "MODEL_DEPLOYMENT_DELETED", "CHAIN_DELETED", "CHAIN_DEPLOYMENT_DELETED",
        "TRAINING_PROJECT_DELETED", "TEAM_DELETED",
    ]),
    ("METADATA", &[
        "MODEL_RENAMED", "TRAINING_PROJECT_CREATED", "TRAINING_PROJECT_UPDATED", "TEAM_CREATED", "TEAM_UPDATED",
        "ORGANIZATION_CREATED", "ORGANIZATION_UPDATED", "TEAMS_ENABLED", "TEAMS_DISABLED", "FIXTURES_LOADED",
    ]),
    ("SECRETS", &["SECRET_UPDATED", "SECRET_DELETED", "SECRETS_DISCARDED"]),
    ("API_KEYS", &["API_KEY_CREATED", "API_KEY_ROTATED", "API_KEY_DELETED", "CREDENTIAL_ISSUED_BY_OPERATOR"]),
    ("GATEWAY", &[]),
    ("CODE", &[]),
    ("WEBHOOK_SIGNING_SECRETS", &[]),
    ("USER_MANAGEMENT", &[
        "USER_INVITED", "INVITATION_RESENT", "INVITATION_REVOKED", "USER_JOINED_ORGANIZATION", "USER_UPDATED",
        "USER_ROLE_UPDATED", "USER_TEAM_ROLE_UPDATED", "TEAM_MEMBER_ADDED", "TEAM_MEMBER_REMOVED", "USER_REMOVED",
        "PASSWORD_RESET", "SIGN_IN_FAILED", "SESSION_REVOKED",
    ]),
    ("DIRECTORY_GROUP_MANAGEMENT", &[]),
    ("SSH", &[]),
];

/// The event types of a group. `None` if there is no group of this name.
pub fn event_types(group: &str) -> Option<&'static [&'static str]> {
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, event_types)| *event_types)
}

/// The names of the groups.
pub fn groups() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name)
}
