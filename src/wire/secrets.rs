//! Secrets on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Time, secrets};
use crate::wire::schemas::Listed;

/// Creates a secret, or sets a new value for the secret with this name. Baseten's `UpsertSecretRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpsertSecretRequest")]
pub struct UpsertSecret {
    pub name: String,
    pub value: String,
}

/// A secret without its value, which is never shown. Baseten's `SecretV1`.
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

/// The name of a secret that was deleted. Baseten's `SecretTombstoneV1`.
#[derive(JsonSchema, Serialize)]
pub struct SecretTombstone<'a> {
    pub name: &'a str,
}
