//! The audit log: one entry for each thing done, in the transaction that did it, never changed afterwards.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;
use crate::model::{OrgId, Team, UserId};
use crate::policy::{Caller, Operator, Who};

/// What was done. `data` is Baseten's `event_data` without its `event_type` (SDK model `AuditLogEvent…`).
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

/// Who did it, as the log keeps it.
#[derive(Debug)]
pub enum Actor<'a> {
    Caller(&'a Caller),
    /// A person who has no key yet: whoever accepts an invitation.
    User(&'a UserId),
    Operator(&'a Operator),
}

/// Notes what was done, to a team or (`None`) to the organization.
pub fn record(tx: &Tx, actor: Actor<'_>, org_id: &OrgId, team: Option<&Team>, event: Event) -> Result<(), Error> {
    record_text(tx, actor, org_id, team, event.event_type, &event.data.to_string())
}

/// The same for an event whose data SQL has written.
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
            Who::Person(person) => ("USER", Some(person.user_id.as_str()), Some(person.prefix.as_str()), "API"),
            Who::TeamKey(key) => ("API_KEY", None, Some(key.prefix.as_str()), "API"),
            Who::KeyManager { prefix } => ("API_KEY", None, Some(prefix.as_str()), "API"),
        },
        Actor::User(user_id) => ("USER", Some(user_id.as_str()), None, "API"),
        Actor::Operator(_) => ("BASETEN_SYSTEM", None, None, "SYSTEM"),
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO audit (org_id, created_at, event_type, event_data, team_id, team_name, actor_type,
                                actor_user_id, actor_email, actor_prefix, actor_key_name, source)
             VALUES (:org_id, :now, :event_type, :event_data, :team_id, :team_name, :actor_type,
                     :user_id, (SELECT email FROM user WHERE id = :user_id),
                     :prefix, (SELECT name FROM api_key WHERE prefix = :prefix), :source)",
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
        })?;
    Ok(())
}
