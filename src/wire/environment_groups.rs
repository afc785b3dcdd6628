//! Restricted environments on the wire, where they are called environment groups.

use serde::{Deserialize, Serialize};

use crate::db::environment_groups::{Access, Group};
use crate::domain::{Team, User};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironmentGroup {
    pub name: String,
    pub manage_access: ManageAccess,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironmentGroup {
    pub manage_access: Option<ManageAccess>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManageAccess {
    pub is_restricted: bool,
    pub user_ids: Option<Vec<String>>,
    pub api_key_prefixes: Option<Vec<String>>,
}

#[derive(Serialize)]
pub struct EnvironmentGroup<'a> {
    name: &'a str,
    team_id: &'a str,
    team_name: &'a str,
    manage_access: Shown<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    is_restricted: bool,
    users: Vec<Manager<'a>>,
    api_key_prefixes: &'a [String],
}

#[derive(Serialize)]
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

#[derive(Serialize)]
pub struct EnvironmentGroupTombstone<'a> {
    pub name: &'a str,
    pub team_id: &'a str,
    pub deleted: bool,
}
