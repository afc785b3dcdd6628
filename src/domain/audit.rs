//! Entries of the audit log.

use crate::domain::Time;

/// An entry as it is read.
#[derive(Debug)]
pub struct Entry {
    pub id: i64,
    pub created_at: Time,
    pub event_type: String,
    /// An object, as JSON.
    pub event_data: String,
    /// The team by id and name, as it was; nothing for what concerns the whole organization.
    pub team: Option<(String, String)>,
    pub source: String,
    /// `TOMBSTONE_USER` where the person is no member any more.
    pub actor_type: String,
    pub actor_email: Option<String>,
    /// Of a person too: by which of their keys.
    pub actor_prefix: Option<String>,
    pub actor_key_name: Option<String>,
    pub client_name: Option<String>,
    pub client_version: Option<String>,
}
