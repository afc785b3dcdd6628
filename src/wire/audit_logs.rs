//! The audit log on the wire.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{Time, audit};
use crate::wire::schemas::Listed;

/// An entry of the audit log. Baseten's `AuditLogEntryV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AuditLogEntry")]
pub struct Entry<'a> {
    id: String,
    created: Time,
    event_type: &'a str,
    event_data: Map<String, Value>,
    #[schemars(extend("enum" = ["UI", "API", "MCP", "SYSTEM", "OTHER"]))]
    source: &'a str,
    actor: Actor<'a>,
    client_name: Option<&'a str>,
    client_version: Option<&'a str>,
    client_session_id: Option<&'a str>,
    team_id: Option<&'a str>,
    team_name: Option<&'a str>,
}

impl Listed for Entry<'_> {
    const SCHEMA: &'static str = "AuditLog";
}

/// Who caused an entry of the audit log. Baseten's `AuditLogActorV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AuditLogActor")]
struct Actor<'a> {
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["USER", "API_KEY", "BASETEN_SYSTEM", "TOMBSTONE_USER"]))]
    kind: &'a str,
    email: Option<&'a str>,
    api_key_prefix: Option<&'a str>,
    api_key_name: Option<&'a str>,
}

impl<'a> From<&'a audit::Entry> for Entry<'a> {
    fn from(entry: &'a audit::Entry) -> Entry<'a> {
        Entry {
            id: entry.id.to_string(),
            created: entry.created_at,
            event_type: &entry.event_type,
            event_data: event_data(entry),
            source: &entry.source,
            actor: Actor {
                kind: &entry.actor_type,
                email: entry.actor_email.as_deref(),
                api_key_prefix: entry.actor_prefix.as_deref(),
                api_key_name: entry.actor_key_name.as_deref(),
            },
            client_name: entry.client_name.as_deref(),
            client_version: entry.client_version.as_deref(),
            client_session_id: None,
            team_id: entry.team.as_ref().map(|(id, _)| id.as_str()),
            team_name: entry.team.as_ref().map(|(_, name)| name.as_str()),
        }
    }
}

/// The data of an event. It repeats the type of the event, because clients use it to choose the shape of the data.
fn event_data(entry: &audit::Entry) -> Map<String, Value> {
    let mut data: Map<String, Value> =
        serde_json::from_str(&entry.event_data).expect("every event was written as an object");
    data.insert("event_type".to_owned(), Value::from(entry.event_type.as_str()));
    data
}
