//! Organizations on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain;
use crate::domain::Time;

/// An organization. Guildhall's own `OrganizationInfo`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "OrganizationInfo")]
pub struct Organization<'a> {
    org_id: &'a str,
    name: &'a str,
    created_at: Time,
    teams_enabled: bool,
}

impl<'a> From<&'a domain::Organization> for Organization<'a> {
    fn from(organization: &'a domain::Organization) -> Organization<'a> {
        Organization {
            org_id: organization.id.as_str(),
            name: &organization.name,
            created_at: organization.created_at,
            teams_enabled: organization.teams_enabled,
        }
    }
}

/// Changes the given fields of an organization. Guildhall's own `UpdateOrganizationRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateOrganizationRequest")]
pub struct UpdateOrganization {
    pub name: Option<String>,
    pub teams_enabled: Option<bool>,
}

/// Creates an organization with its first admin, for the operator. Guildhall's own `FoundOrganizationRequest`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FoundOrganizationRequest")]
pub struct FoundOrganization {
    pub name: String,
    pub email: String,
    pub user_name: String,
    pub teams_enabled: Option<bool>,
}

/// An organization that the operator created, and the first admin's key. Guildhall's own `FoundedOrganization`.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct FoundedOrganization<'a> {
    pub org_id: &'a str,
    pub user_id: &'a str,
    pub api_key: &'a str,
}
