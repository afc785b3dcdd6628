//! Invitations on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Time;
use crate::domain::invitations::{self, Accepted, InvitedTeam};
use crate::token::PlainKey;
use crate::wire::Role;
use crate::wire::organizations::Organization;
use crate::wire::schemas::Listed;
use crate::wire::users::User;

/// An invitation to the organization, and to teams of it. Guildhall's own `Invitation`.
#[derive(JsonSchema, Serialize)]
pub struct Invitation<'a> {
    id: &'a str,
    email: &'a str,
    #[schemars(with = "Role")]
    role: &'static str,
    teams: Vec<Team<'a>>,
    #[schemars(extend("enum" = ["PENDING", "ACCEPTED", "EXPIRED", "REVOKED"]))]
    status: &'static str,
    created_at: Time,
    expires_at: Time,
    invited_by: Inviter<'a>,
    #[schemars(extend("enum" = ["NOT_CONFIGURED", "QUEUED", "SENT", "FAILED"]))]
    mail: &'static str,
    /// What the mail server said about an attempt that failed.
    mail_problem: Option<&'a str>,
    accept_url: Option<String>,
}

impl Listed for Invitation<'_> {
    const SCHEMA: &'static str = "Invitations";
}

/// The person who invited. Guildhall's own `InvitedBy`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "InvitedBy")]
struct Inviter<'a> {
    user_id: &'a str,
    email: &'a str,
}

/// A team of an invitation. Guildhall's own `InvitedTeam`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "InvitedTeam")]
struct Team<'a> {
    team_id: &'a str,
    team_name: &'a str,
    #[schemars(with = "Role")]
    role: &'static str,
}

impl<'a> Invitation<'a> {
    /// `accept_url` is only in the reply that makes the link.
    pub fn new(invitation: &'a invitations::Invitation, accept_url: Option<String>) -> Invitation<'a> {
        Invitation {
            id: &invitation.id,
            email: &invitation.email,
            role: invitation.role.as_str(),
            teams: invitation.teams.iter().map(Team::from).collect(),
            status: invitation.status.as_str(),
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            invited_by: Inviter { user_id: invitation.invited_by.as_str(), email: &invitation.inviter_email },
            mail: invitation.mail.as_str(),
            mail_problem: invitation.mail.problem(),
            accept_url,
        }
    }
}

impl<'a> From<&'a InvitedTeam> for Team<'a> {
    fn from(invited: &'a InvitedTeam) -> Team<'a> {
        Team { team_id: invited.team.id.as_str(), team_name: &invited.team.name, role: invited.role.as_str() }
    }
}

/// Invites a person. Roles have no default: an invitation must state them. Guildhall's own `CreateInvitationRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CreateInvitationRequest")]
pub struct CreateInvitation {
    pub email: String,
    pub role: Role,
    pub teams: Option<Vec<CreateInvitationTeam>>,
}

/// A team to invite to, and the role there. Guildhall's own `InviteTeam`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InviteTeam")]
pub struct CreateInvitationTeam {
    pub team_id: String,
    pub role: Role,
}

/// Accepts an invitation by its token. Guildhall's own `AcceptInvitationRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcceptInvitationRequest")]
pub struct AcceptInvitation {
    pub token: String,
    pub name: Option<String>,
    pub password: Option<String>,
    pub api_key_name: Option<String>,
}

/// The result of accepting an invitation. Guildhall's own `AcceptedInvitation`.
#[derive(JsonSchema, Serialize)]
pub struct AcceptedInvitation<'a> {
    user: User<'a>,
    organization: Organization<'a>,
    teams: Vec<Team<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

impl<'a> From<&'a Accepted> for AcceptedInvitation<'a> {
    fn from(accepted: &'a Accepted) -> AcceptedInvitation<'a> {
        AcceptedInvitation {
            user: User::new(&accepted.user, accepted.role, &accepted.organization.name),
            organization: Organization::from(&accepted.organization),
            teams: accepted.invited_teams.iter().map(Team::from).collect(),
            api_key: accepted.key.as_ref().map(PlainKey::reveal),
        }
    }
}
