//! API keys on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Category;
use crate::domain::api_keys::{self, Holder, Key, Rotated};
use crate::domain::{EnvironmentName, KeyName, TeamId, Time, User};
use crate::token::PlainKey;
use crate::wire::schemas::Listed;

/// A Baseten category for routes, which Guildhall does not have. No key of this category exists or can be made.
pub const ROUTES: &str = "ROUTES";

/// Makes an API key. Baseten's `CreateAPIKeyRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CreateAPIKeyRequest")]
pub struct CreateApiKey {
    pub name: Option<String>,
    #[schemars(with = "Category")]
    pub r#type: String,
    pub model_ids: Option<Vec<String>>,
    pub team_id: Option<String>,
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<String>,
    pub environments: Option<Vec<String>>,
}

/// Replaces an API key. The old key continues to work for `overlap_seconds`. Guildhall's own `RotateAPIKeyRequest`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RotateAPIKeyRequest")]
pub struct RotateApiKey {
    pub overlap_seconds: Option<i64>,
}

/// A new API key. Only this reply shows it. Baseten's `APIKeyV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "APIKey")]
pub struct NewApiKey<'a> {
    api_key: &'a str,
}

impl<'a> From<&'a PlainKey> for NewApiKey<'a> {
    fn from(key: &'a PlainKey) -> NewApiKey<'a> {
        NewApiKey { api_key: key.reveal() }
    }
}

/// The key that replaces another, and when the old one stops working. Guildhall's own `RotatedAPIKey`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RotatedAPIKey")]
pub struct RotatedApiKey<'a> {
    api_key: &'a str,
    prefix: &'a str,
    replaces: &'a str,
    old_expires_at: Time,
    grants_not_carried_over: &'a [String],
}

impl<'a> RotatedApiKey<'a> {
    pub fn new(rotated: &'a Rotated, replaces: &'a str) -> RotatedApiKey<'a> {
        let Rotated { key, old_expires_at, grants_not_carried_over } = rotated;
        RotatedApiKey {
            api_key: key.reveal(),
            prefix: key.prefix(),
            replaces,
            old_expires_at: *old_expires_at,
            grants_not_carried_over,
        }
    }
}

/// An API key without its text. Baseten's `APIKeyInfoV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "APIKeyInfo")]
pub struct ApiKey<'a> {
    prefix: &'a str,
    name: Option<&'a str>,
    #[schemars(with = "Category")]
    r#type: &'static str,
    model_ids: Option<&'a [String]>,
    environments: Option<Vec<&'a str>>,
    team_name: Option<&'a str>,
    created_at: Time,
    last_used_at: Option<Time>,
    owner: Option<Owner<'a>>,
    expires_at: Option<Time>,
    /// Lists contain only keys that are not revoked.
    revoked_at: Option<Time>,
}

impl Listed for ApiKey<'_> {
    const SCHEMA: &'static str = "APIKeys";
    const FIELD: &'static str = "keys";
}

/// The person who holds a personal key. Baseten's `APIKeyOwnerV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "APIKeyOwner")]
struct Owner<'a> {
    user_id: &'a str,
    email: &'a str,
    name: &'a str,
}

impl<'a> From<&'a Key> for ApiKey<'a> {
    fn from(key: &'a Key) -> ApiKey<'a> {
        ApiKey {
            prefix: &key.prefix,
            name: key.name.as_ref().map(KeyName::as_str),
            r#type: key.kind().category().as_str(),
            model_ids: key.model_ids.as_deref(),
            environments: key.environments.as_ref().map(|names| names.iter().map(EnvironmentName::as_str).collect()),
            team_name: key.kind().team().map(|team| team.name.as_str()),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            owner: match &key.holder {
                Holder::Person(owner) => Some(Owner::from(owner)),
                Holder::Team(..) | Holder::Organization => None,
            },
            expires_at: key.expires_at,
            revoked_at: None,
        }
    }
}

/// An active key that a person made, and that continues to work without that person. Without a team, it manages the
/// team keys of the organization. Guildhall's own `RemainingTeamAPIKey`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RemainingTeamAPIKey")]
pub struct MadeKey<'a> {
    prefix: &'a str,
    name: Option<&'a str>,
    #[schemars(with = "Category")]
    r#type: &'static str,
    team_id: Option<&'a str>,
    made_by: &'a str,
}

impl MadeKey<'_> {
    pub fn all(keys: &[api_keys::MadeKey]) -> Vec<MadeKey<'_>> {
        keys.iter().map(MadeKey::from).collect()
    }
}

impl<'a> From<&'a api_keys::MadeKey> for MadeKey<'a> {
    fn from(key: &'a api_keys::MadeKey) -> MadeKey<'a> {
        MadeKey {
            prefix: &key.prefix,
            name: key.name.as_deref(),
            r#type: key.category.as_str(),
            team_id: key.team_id.as_ref().map(TeamId::as_str),
            made_by: &key.made_by,
        }
    }
}

impl<'a> From<&'a User> for Owner<'a> {
    fn from(user: &'a User) -> Owner<'a> {
        Owner { user_id: user.id.as_str(), email: &user.email, name: &user.name }
    }
}

/// The prefix of a key that was revoked. Baseten's `APIKeyTombstoneV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "APIKeyTombstone")]
pub struct ApiKeyTombstone<'a> {
    pub prefix: &'a str,
}
