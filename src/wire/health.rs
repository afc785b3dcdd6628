//! Health on the wire.

use schemars::JsonSchema;
use serde::Serialize;

/// Says that the server works. Guildhall's own `Health`.
#[derive(JsonSchema, Serialize)]
pub struct Health {
    pub status: &'static str,
}
