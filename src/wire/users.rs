//! People on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::mail::Delivery;
use crate::domain::password_resets::{Done, NewLink};
use crate::domain::users::{OrgMember, Removed, RoleUpdated, TeamOfUser};
use crate::domain::{self, OrgRole, Time};
use crate::token::PlainKey;
use crate::wire::Role;
use crate::wire::api_keys::MadeKey;
use crate::wire::schemas::Listed;

/// A person, or the identity of a key that belongs to no person: it has no address and no role. Baseten's `UserInfoV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "UserInfo")]
pub struct User<'a> {
    user_id: &'a str,
    email: Option<&'a str>,
    name: &'a str,
    workspace_name: &'a str,
    #[schemars(with = "Option<Role>")]
    role: Option<&'static str>,
}

impl Listed for User<'_> {
    const SCHEMA: &'static str = "Users";
}

impl<'a> User<'a> {
    pub fn of(member: &'a OrgMember, organization_name: &'a str) -> User<'a> {
        User::new(&member.user, member.role, organization_name)
    }

    pub fn new(user: &'a domain::User, role: OrgRole, organization_name: &'a str) -> User<'a> {
        User {
            user_id: user.id.as_str(),
            email: Some(&user.email),
            name: &user.name,
            workspace_name: organization_name,
            role: Some(role.as_str()),
        }
    }

    /// For a person who is in no organization or in several, so that no single organization can be shown.
    fn of_no_organization(user: &'a domain::User) -> User<'a> {
        User { user_id: user.id.as_str(), email: Some(&user.email), name: &user.name, workspace_name: "", role: None }
    }

    pub fn service(prefix: &'a str, name: &'a str, organization_name: &'a str) -> User<'a> {
        User { user_id: prefix, email: None, name, workspace_name: organization_name, role: None }
    }
}

/// Changes the caller's name. Guildhall's own `UpdateMeRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateMeRequest")]
pub struct UpdateMe {
    #[schemars(required)]
    pub name: Option<String>,
}

/// Changes a person's role in the organization. Guildhall's own `UpdateUserRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateUserRequest")]
pub struct UpdateUser {
    #[schemars(required)]
    pub role: Option<Role>,
}

/// A person whose role was changed. If the person lost a role, also the active team keys that the person made.
/// Guildhall's own `UpdatedUser`.
#[derive(JsonSchema, Serialize)]
pub struct UpdatedUser<'a> {
    #[serde(flatten)]
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<MadeKey>")]
    remaining_team_api_keys: Option<Vec<MadeKey<'a>>>,
}

impl<'a> UpdatedUser<'a> {
    pub fn new(updated: &'a RoleUpdated, organization_name: &'a str) -> UpdatedUser<'a> {
        UpdatedUser {
            user: User::of(&updated.member, organization_name),
            remaining_team_api_keys: updated.remaining.as_deref().map(MadeKey::all),
        }
    }
}

/// A person who was removed, with the keys that were revoked and the keys that remain active. Guildhall's own
/// `UserTombstone`.
#[derive(JsonSchema, Serialize)]
pub struct UserTombstone<'a> {
    user_id: &'a str,
    deleted: bool,
    revoked_api_keys: &'a [String],
    remaining_team_api_keys: Vec<MadeKey<'a>>,
}

impl<'a> UserTombstone<'a> {
    pub fn new(user_id: &'a str, removed: &'a Removed) -> UserTombstone<'a> {
        UserTombstone {
            user_id,
            deleted: true,
            revoked_api_keys: &removed.revoked_prefixes,
            remaining_team_api_keys: MadeKey::all(&removed.remaining),
        }
    }
}

/// A one-time link with which a person sets a password. Only the reply that makes the link shows it. Guildhall's own
/// `PasswordReset`.
#[derive(JsonSchema, Serialize)]
pub struct PasswordReset<'a> {
    user_id: &'a str,
    mail: &'static str,
    reset_url: Option<String>,
    expires_at: Time,
}

impl<'a> PasswordReset<'a> {
    /// `reset_url` is only for whoever should have it, if no mail was sent.
    pub fn new(link: &'a NewLink, mail: &Delivery, reset_url: Option<String>) -> PasswordReset<'a> {
        PasswordReset { user_id: link.user.id.as_str(), mail: mail.as_str(), reset_url, expires_at: link.expires_at }
    }
}

/// Sets a password with a one-time link. With `api_key_name`, it also makes a personal key. Guildhall's own
/// `SetPasswordRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SetPasswordRequest")]
pub struct SetPassword {
    pub token: String,
    pub password: String,
    pub api_key_name: Option<String>,
}

/// The person who set a password, with the key that was made. Guildhall's own `PasswordSet`.
#[derive(JsonSchema, Serialize)]
pub struct PasswordSet<'a> {
    #[serde(flatten)]
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

impl<'a> From<&'a Done> for PasswordSet<'a> {
    fn from(done: &'a Done) -> PasswordSet<'a> {
        let user = match &done.member {
            Some((member, organization_name)) => User::of(member, organization_name),
            None => User::of_no_organization(&done.user),
        };
        PasswordSet { user, api_key: done.key.as_ref().map(PlainKey::reveal) }
    }
}

/// Makes a link with which a person sets a password, for the operator. Guildhall's own `IssuePasswordResetRequest`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IssuePasswordResetRequest")]
pub struct IssuePasswordReset {
    pub email: String,
}

/// A link with which a person sets a password, as the command line reads it.
#[derive(Deserialize)]
pub struct IssuedPasswordReset {
    pub reset_url: String,
    pub expires_at: String,
}

/// Makes a personal key for a person of an organization, for the operator. Guildhall's own `IssueAPIKeyRequest`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IssueAPIKeyRequest")]
pub struct IssueApiKey {
    pub organization: String,
    pub email: String,
    pub name: Option<String>,
}

/// A personal key that the operator made. Guildhall's own `IssuedAPIKey`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "IssuedAPIKey")]
pub struct IssuedApiKey<'a> {
    pub org_id: &'a str,
    pub user_id: &'a str,
    pub prefix: &'a str,
    pub api_key: &'a str,
}

/// A team of a person, and the reason why the person is in it. Guildhall's own `UserTeam`.
#[derive(JsonSchema, Serialize)]
pub struct UserTeam<'a> {
    team_id: &'a str,
    team_name: &'a str,
    #[schemars(with = "Role")]
    role: &'static str,
    #[schemars(extend("enum" = ["TEAM", "ORGANIZATION"]))]
    via: &'static str,
}

impl Listed for UserTeam<'_> {
    const SCHEMA: &'static str = "UserTeams";
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
