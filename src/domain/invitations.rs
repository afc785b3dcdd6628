//! Invitations into an organization.

use crate::domain::mail::Delivery;
use crate::domain::{OrgRole, Organization, Team, TeamRole, Time, User, UserId};
use crate::token::PlainKey;

#[derive(Debug)]
pub struct Invitation {
    pub id: String,
    /// The normalized address.
    pub email: String,
    pub role: OrgRole,
    /// The teams of the invitation that still exist.
    pub teams: Vec<InvitedTeam>,
    pub status: Status,
    pub created_at: Time,
    pub expires_at: Time,
    pub invited_by: UserId,
    pub inviter_email: String,
    /// How far the mail with the link has come.
    pub mail: Delivery,
}

/// A team of an invitation, and the role that the invited person gets in it.
#[derive(Debug)]
pub struct InvitedTeam {
    pub team: Team,
    pub role: TeamRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Accepted,
    Expired,
    Revoked,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::Pending, Status::Accepted, Status::Expired, Status::Revoked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Accepted => "ACCEPTED",
            Status::Expired => "EXPIRED",
            Status::Revoked => "REVOKED",
        }
    }

    pub fn parse(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

#[derive(Debug)]
pub struct Accepted {
    pub user: User,
    pub role: OrgRole,
    pub organization: Organization,
    pub invited_teams: Vec<InvitedTeam>,
    pub key: Option<PlainKey>,
}
