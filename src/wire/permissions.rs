//! Permissions on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Category;
use crate::policy::tables::{self, Row, Table};
use crate::wire::Role;

/// The permission tables. Guildhall's own `Permissions`.
#[derive(JsonSchema, Serialize)]
pub struct Permissions {
    organization: Acts,
    team: Acts,
    team_api_keys: Acts,
}

/// A permission table: its columns, and a row for each act. Guildhall's own `PermissionTable`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PermissionTable")]
struct Acts {
    roles: Vec<&'static str>,
    acts: Vec<Act>,
}

/// An act, and the columns that may do it. Guildhall's own `PermissionRow`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PermissionRow")]
struct Act {
    act: &'static str,
    title: &'static str,
    allowed: Vec<&'static str>,
}

impl Permissions {
    pub fn of_this_server() -> Permissions {
        Permissions {
            organization: Acts::from(tables::organization()),
            team: Acts::from(tables::team()),
            team_api_keys: Acts::from(tables::team_api_keys()),
        }
    }
}

impl From<Table> for Acts {
    fn from(table: Table) -> Acts {
        Acts { roles: table.roles, acts: table.rows.into_iter().map(Act::from).collect() }
    }
}

impl From<Row> for Act {
    fn from(row: Row) -> Act {
        Act { act: row.act, title: row.wording, allowed: row.allowed }
    }
}

/// Whether somebody may do something, and why. Guildhall's own `Explanation`.
#[derive(JsonSchema, Serialize)]
pub struct Explanation<'a> {
    pub allowed: bool,
    pub act: &'a str,
    pub subject: Subject<'a>,
    pub team_id: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub because: &'a [String],
}

/// A person or a key, with the roles or the category that decide. A role is null where there is none. Guildhall's own
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
    /// In the team that was asked about.
    #[schemars(with = "Option<Role>")]
    pub team_role: Option<&'static str>,
    /// Of a key.
    #[schemars(with = "Option<Category>")]
    pub category: Option<&'static str>,
}
