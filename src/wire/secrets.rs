//! Secrets on the wire.

use serde::{Deserialize, Serialize};

use crate::domain::{Time, secrets};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpsertSecret {
    pub name: String,
    pub value: String,
}

#[derive(Serialize)]
pub struct Secret<'a> {
    id: &'a str,
    created_at: Time,
    name: &'a str,
    team_name: &'a str,
}

impl<'a> Secret<'a> {
    pub fn new(secret: &secrets::Secret<'a>, team_name: &'a str) -> Secret<'a> {
        Secret { id: secret.id, created_at: secret.created_at, name: secret.name, team_name }
    }
}

#[derive(Serialize)]
pub struct SecretTombstone<'a> {
    pub name: &'a str,
}
