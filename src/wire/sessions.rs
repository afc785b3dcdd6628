//! Sessions on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Time, sessions};
use crate::wire::schemas::Listed;

/// A session of the console. Guildhall's own `Session`.
#[derive(JsonSchema, Serialize)]
pub struct Session<'a> {
    id: &'a str,
    created_at: Time,
    last_seen_at: Time,
    user_agent: &'a str,
    /// Whether the request was sent in this session.
    current: bool,
}

impl Listed for Session<'_> {
    const SCHEMA: &'static str = "Sessions";
}

impl<'a> Session<'a> {
    /// `current_id` is the id of the session in which the request was sent, if it was sent in one.
    pub fn new(session: &'a sessions::Session, current_id: Option<&str>) -> Session<'a> {
        Session {
            id: &session.id,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            user_agent: session.user_agent.as_str(),
            current: current_id == Some(&session.id),
        }
    }
}
