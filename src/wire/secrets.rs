//! Secrets on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Time, secrets};
use crate::wire::schemas::Listed;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpsertSecretRequest")]
pub struct UpsertSecret {
    pub name: String,
    pub value: String,
}

#[derive(JsonSchema, Serialize)]
pub struct Secret<'a> {
    id: &'a str,
    created_at: Time,
    name: &'a str,
    team_name: &'a str,
}

impl Listed for Secret<'_> {
    const SCHEMA: &'static str = "Secrets";
    const FIELD: &'static str = "secrets";
}

impl<'a> Secret<'a> {
    pub fn new(secret: &secrets::Secret<'a>, team_name: &'a str) -> Secret<'a> {
        Secret { id: secret.id, created_at: secret.created_at, name: secret.name, team_name }
    }
}

#[derive(JsonSchema, Serialize)]
pub struct SecretTombstone<'a> {
    pub name: &'a str,
}
