//! People on the wire.

use serde::{Deserialize, Serialize};

use crate::db::users::{OrgMember, RemainingKey, Removed, TeamOfUser};
use crate::model;
use crate::policy::OrgRole;
use crate::wire::Role;

/// A person, or what a key that is no person's goes by: it has no address and no role.
#[derive(Serialize)]
pub struct User<'a> {
    user_id: &'a str,
    email: Option<&'a str>,
    name: &'a str,
    workspace_name: &'a str,
    role: Option<&'static str>,
}

impl<'a> User<'a> {
    pub fn of(member: &'a OrgMember, organization_name: &'a str) -> User<'a> {
        User::new(&member.user, member.role, organization_name)
    }

    pub fn new(user: &'a model::User, role: OrgRole, organization_name: &'a str) -> User<'a> {
        User {
            user_id: user.id.as_str(),
            email: Some(&user.email),
            name: &user.name,
            workspace_name: organization_name,
            role: Some(role.as_str()),
        }
    }

    pub fn service(prefix: &'a str, name: &'a str, organization_name: &'a str) -> User<'a> {
        User { user_id: prefix, email: None, name, workspace_name: organization_name, role: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    pub name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    pub role: Option<Role>,
}

#[derive(Serialize)]
pub struct UserTombstone<'a> {
    user_id: &'a str,
    deleted: bool,
    revoked_api_keys: &'a [String],
    remaining_team_api_keys: Vec<Remaining<'a>>,
}

/// A key that a removed person made; without a team it manages the team keys of the organization.
#[derive(Serialize)]
struct Remaining<'a> {
    prefix: &'a str,
    name: Option<&'a str>,
    team_id: Option<&'a str>,
}

impl<'a> UserTombstone<'a> {
    pub fn new(user_id: &'a str, removed: &'a Removed) -> UserTombstone<'a> {
        let remaining = |key: &'a RemainingKey| Remaining {
            prefix: &key.prefix,
            name: key.name.as_deref(),
            team_id: key.team_id.as_ref().map(model::TeamId::as_str),
        };
        UserTombstone {
            user_id,
            deleted: true,
            revoked_api_keys: &removed.revoked_prefixes,
            remaining_team_api_keys: removed.remaining.iter().map(remaining).collect(),
        }
    }
}

/// A team that a person is in.
#[derive(Serialize)]
pub struct UserTeam<'a> {
    team_id: &'a str,
    team_name: &'a str,
    role: &'static str,
    via: &'static str,
}

impl<'a> From<&'a TeamOfUser> for UserTeam<'a> {
    fn from(team: &'a TeamOfUser) -> UserTeam<'a> {
        UserTeam {
            team_id: team.team_id.as_str(),
            team_name: &team.team_name,
            role: team.role.as_str(),
            via: team.via.as_str(),
        }
    }
}
