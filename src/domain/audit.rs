//! Entries of the audit log.

use crate::domain::Time;

/// An entry of the audit log, as it is read.
#[derive(Debug)]
pub struct Entry {
    pub id: i64,
    pub created_at: Time,
    pub event_type: String,
    /// A JSON object.
    pub event_data: String,
    /// The team at that time, by id and name. `None` if the entry concerns the whole organization.
    pub team: Option<(String, String)>,
    pub source: String,
    /// `TOMBSTONE_USER` if the person is no longer a member.
    pub actor_type: String,
    pub actor_email: Option<String>,
    /// The prefix of the key that was used. It is set for a person too.
    pub actor_prefix: Option<String>,
    pub actor_key_name: Option<String>,
    pub client_name: Option<String>,
    pub client_version: Option<String>,
}
