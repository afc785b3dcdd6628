//! Health on the wire.

use schemars::JsonSchema;
use serde::Serialize;

#[derive(JsonSchema, Serialize)]
pub struct Health {
    pub status: &'static str,
}
