//! Permissions on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Category;
use crate::wire::Role;

/// The permission tables. Guildhall's own `Permissions`.
#[derive(JsonSchema, Serialize)]
pub struct Permissions {
    pub organization: Acts,
    pub team: Acts,
    pub team_api_keys: Acts,
}

/// A permission table: its columns, and a row for each act. Guildhall's own `PermissionTable`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PermissionTable")]
pub struct Acts {
    pub roles: Vec<&'static str>,
    pub acts: Vec<Act>,
}

/// An act, and the columns that may do it. Guildhall's own `PermissionRow`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PermissionRow")]
pub struct Act {
    pub act: &'static str,
    pub title: &'static str,
    pub allowed: Vec<&'static str>,
}

/// Whether a person or a key may do something, and why. Guildhall's own `Explanation`.
#[derive(JsonSchema, Serialize)]
pub struct Explanation<'a> {
    pub allowed: bool,
    pub act: &'a str,
    pub subject: Subject<'a>,
    pub team_id: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub because: &'a [String],
}

/// A person or a key, with the roles or the category that decide. A role is null if there is none. Guildhall's own
/// `ExplanationSubject`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ExplanationSubject")]
pub struct Subject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_prefix: Option<&'a str>,
    #[schemars(with = "Option<Role>")]
    pub organization_role: Option<&'static str>,
    /// The role in the team of the question.
    #[schemars(with = "Option<Role>")]
    pub team_role: Option<&'static str>,
    /// The category, if the subject is a key.
    #[schemars(with = "Option<Category>")]
    pub category: Option<&'static str>,
}
