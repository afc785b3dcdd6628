//! All JSON shapes of requests and replies. The names are Baseten's (SDK 0.13.1), and no other module has them. The
//! README lists the names that are Guildhall's own.
//!
//! Replies borrow what they show and are serialized directly to bytes. A body with a closed shape is refused if it has
//! an unknown field, and the refusal names the field. Otherwise a misspelled restriction would be taken for no
//! restriction.

use std::marker::PhantomData;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{OrgRole, TeamRole};
use crate::error::Error;

pub mod api_keys;
pub mod async_requests;
pub mod audit_logs;
pub mod billing;
pub mod chains;
pub mod deployments;
pub mod environment_groups;
pub mod environments;
pub mod fixtures;
pub mod graphql;
pub mod health;
pub mod instance_types;
pub mod invitations;
pub mod members;
pub mod metrics;
mod misfit;
pub mod model_apis;
pub mod models;
pub mod openai;
pub mod organizations;
pub mod permissions;
pub mod processes;
pub mod python;
pub mod quotas;
pub mod schemas;
pub mod secrets;
pub mod sessions;
pub mod settings;
mod strict;
pub mod teams;
pub mod training_capacity;
pub mod training_jobs;
pub mod training_projects;
pub mod tree;
pub mod uploads;
pub mod users;
pub mod yaml;

use schemas::Listed;
use strict::Strict;

/// Reads a body as a shape.
///
/// # Errors
///
/// [`Error::Invalid`] if the body does not fit the shape, continues after its end, or is nested deeper than 128 levels.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = read("the body", &mut reader)?;
    reader.end().map_err(|cause| Error::Invalid(format!("the body goes on after its end: {cause}")))?;
    Ok(parsed)
}

/// Reads JSON as a shape. `whole` is the name of the whole text in refusals.
///
/// # Errors
///
/// [`Error::Invalid`] that names the field that does not fit, or `whole` if there is no such field.
pub fn read<'de, T: Deserialize<'de>>(
    whole: &str,
    from: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, Error> {
    serde_path_to_error::deserialize(Strict(from)).map_err(|cause| misfit::refusal(whole, cause.path(), cause.inner()))
}

/// A refusal: what was wrong, and what to do. Guildhall's own `Error`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Error")]
pub struct Refusal {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schemas::Object>")]
    details: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    /// Only for an internal error: the id of the request, under which the log has the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl Refusal {
    pub fn of_request(error: &Error, request_id: &str) -> Refusal {
        let is_ours = matches!(error, Error::Internal(_));
        Refusal { request_id: is_ours.then(|| request_id.to_owned()), ..Refusal::new(error) }
    }

    pub fn new(error: &Error) -> Refusal {
        let (details, retry_after) = (details(error), error.retry_after_seconds());
        Refusal { code: error.status().1, message: error.to_string(), details, retry_after, request_id: None }
    }
}

/// The details of a refusal, if it has any: what causes a conflict, or how much of a quota is used and allowed.
pub fn details(error: &Error) -> Option<serde_json::Value> {
    match error {
        Error::Conflict(conflict) => conflict.details.clone(),
        Error::QuotaExceeded(quota) => Some(serde_json::json!({
            "team_id": quota.team_id,
            "name": quota.name,
            "used": quota.used,
            "allowed": quota.allowed,
            "unit": quota.unit,
        })),
        _ => None,
    }
}

/// A refusal in the form that callers of a model expect.
#[derive(Serialize)]
pub struct InferenceRefusal<'a> {
    pub error: &'a str,
}

/// An object without fields.
#[derive(Serialize)]
pub struct Empty {}

/// A refusal in the form of OAuth 2.0.
#[derive(Serialize)]
pub struct OAuthRefusal<'a> {
    pub error: &'a str,
    pub error_description: &'a str,
}

/// The message of a refusal, as a client reads it.
#[derive(Deserialize)]
pub struct Refused {
    pub message: String,
}

/// What was deleted. Baseten's `ModelTombstoneV1`.
#[derive(JsonSchema, Serialize)]
pub struct Tombstone<'a> {
    id: &'a str,
    deleted: bool,
}

impl<'a> Tombstone<'a> {
    pub fn of(id: &'a str) -> Tombstone<'a> {
        Tombstone { id, deleted: true }
    }
}

/// The two roles, in the organization and in a team. Guildhall's own `Role`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
pub enum Role {
    #[serde(rename = "ADMIN")]
    Admin,
    #[serde(rename = "MEMBER")]
    Member,
}

impl Role {
    pub fn in_organization(self) -> OrgRole {
        match self {
            Role::Admin => OrgRole::Admin,
            Role::Member => OrgRole::Member,
        }
    }

    pub fn in_team(self) -> TeamRole {
        match self {
            Role::Admin => TeamRole::Admin,
            Role::Member => TeamRole::Member,
        }
    }
}

/// A page of a list: `{"items":[…],"pagination":{"has_more":…,"cursor":…}}`.
#[derive(Serialize)]
pub struct Items<T> {
    items: Vec<T>,
    pagination: Pagination,
}

/// Whether more items follow a page, and the cursor that asks for them. Baseten's `PaginationResponseV1`.
#[derive(JsonSchema, Serialize)]
struct Pagination {
    has_more: bool,
    cursor: Option<String>,
}

impl<T> Items<T> {
    /// `next` is the place in the list `list` after which the next page begins. `None` on the last page.
    pub fn of(list: &str, items: Vec<T>, next: Option<&str>) -> Items<T> {
        let cursor = next.map(|place| cursor(list, place));
        Items { items, pagination: Pagination { has_more: cursor.is_some(), cursor } }
    }
}

/// A value as one line of JSON.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("shapes of ours always serialize");
    line.push(b'\n');
    line
}

/// The texts that an object of JSON has under these names, in the order of the names.
pub fn texts(object: &str, names: &[&str]) -> Vec<String> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(object) else { return Vec::new() };
    names.iter().filter_map(|name| fields.get(*name)?.as_str().map(str::to_owned)).collect()
}

/// The cursor that asks for the part of a list after a place.
pub fn cursor(list: &str, place: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{list}:{place}"))
}

/// The place that a cursor of this list contains. `None` if this list has not issued the cursor.
pub fn read_cursor(list: &str, cursor: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(list)?.strip_prefix(':').map(str::to_owned)
}

/// A list that is written item by item, each while the database still has its row: `{"secrets":[…]}`.
pub struct List<T> {
    body: Vec<u8>,
    is_empty: bool,
    items: PhantomData<T>,
}

impl<T: Listed> List<T> {
    pub fn begin() -> List<T> {
        let body = format!("{{\"{}\":[", T::FIELD).into_bytes();
        List { body, is_empty: true, items: PhantomData }
    }

    pub fn push(&mut self, item: &impl Serialize) {
        if !self.is_empty {
            self.body.push(b',');
        }
        self.is_empty = false;
        serde_json::to_writer(&mut self.body, item).expect("shapes of ours always serialize");
    }

    pub fn end(mut self) -> Vec<u8> {
        self.body.extend_from_slice(b"]}");
        self.body
    }
}
