//! Restricted environments on the wire, where they are called environment groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::environment_groups::{Access, Group};
use crate::domain::{Team, User};
use crate::wire::schemas::Listed;

/// Creates an environment of a team, and sets who may change its deployments. Guildhall's own
/// `CreateEnvironmentGroupRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CreateEnvironmentGroupRequest")]
pub struct CreateEnvironmentGroup {
    pub name: String,
    pub manage_access: ManageAccess,
}

/// Changes who may change the deployments of an environment. Baseten's `UpdateEnvironmentGroupRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateEnvironmentGroupRequest")]
pub struct UpdateEnvironmentGroup {
    pub manage_access: Option<ManageAccess>,
}

/// Whether an environment is restricted, and who may change it. Baseten's `UpdateEnvironmentGroupManageAccessV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateEnvironmentGroupManageAccess")]
pub struct ManageAccess {
    pub is_restricted: bool,
    pub user_ids: Option<Vec<String>>,
    pub api_key_prefixes: Option<Vec<String>>,
}

/// An environment of a team. It covers all models and Chains of the team. Baseten's `EnvironmentGroupV1`.
#[derive(JsonSchema, Serialize)]
pub struct EnvironmentGroup<'a> {
    name: &'a str,
    team_id: &'a str,
    team_name: &'a str,
    manage_access: Shown<'a>,
}

impl Listed for EnvironmentGroup<'_> {
    const SCHEMA: &'static str = "EnvironmentGroups";
}

/// Whether an environment is restricted, and who may change it. Baseten's `EnvironmentGroupManageAccessV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "EnvironmentGroupManageAccess")]
struct Shown<'a> {
    is_restricted: bool,
    users: Vec<Manager<'a>>,
    api_key_prefixes: &'a [String],
}

/// A person who may change the deployments of a restricted environment. Baseten's `EnvironmentGroupUserV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "EnvironmentGroupUser")]
struct Manager<'a> {
    user_id: &'a str,
    email: &'a str,
    name: &'a str,
}

impl<'a> EnvironmentGroup<'a> {
    pub fn new(group: &'a Group, team: &'a Team) -> EnvironmentGroup<'a> {
        let manage_access = match &group.access {
            None => Shown { is_restricted: false, users: Vec::new(), api_key_prefixes: &[] },
            Some(Access { users, api_key_prefixes }) => {
                Shown { is_restricted: true, users: users.iter().map(Manager::from).collect(), api_key_prefixes }
            }
        };
        EnvironmentGroup { name: group.name.as_str(), team_id: team.id.as_str(), team_name: &team.name, manage_access }
    }
}

impl<'a> From<&'a User> for Manager<'a> {
    fn from(user: &'a User) -> Manager<'a> {
        Manager { user_id: user.id.as_str(), email: &user.email, name: &user.name }
    }
}

/// An environment of a team that was deleted. Guildhall's own `EnvironmentGroupTombstone`.
#[derive(JsonSchema, Serialize)]
pub struct EnvironmentGroupTombstone<'a> {
    pub name: &'a str,
    pub team_id: &'a str,
    pub deleted: bool,
}
