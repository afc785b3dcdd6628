//! Members of a team.

use crate::domain::api_keys::MadeKey;
use crate::domain::{TeamRole, Time, User};

#[derive(Debug)]
pub struct Member {
    pub user: User,
    pub role: TeamRole,
    pub via: Via,
    /// When the person joined the team. For an organization admin without a membership, when the person joined the
    /// organization.
    pub created_at: Time,
}

/// The reason why a person has a role in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// An explicit membership.
    Team,
    /// The person is an admin of the organization.
    Organization,
}

impl Via {
    const ALL: [Via; 2] = [Via::Team, Via::Organization];

    pub const fn as_str(self) -> &'static str {
        match self {
            Via::Team => "TEAM",
            Via::Organization => "ORGANIZATION",
        }
    }

    pub fn parse(name: &str) -> Option<Via> {
        Via::ALL.into_iter().find(|via| via.as_str() == name)
    }
}

/// Whether a list also shows organization admins who have no explicit membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implicit {
    Show,
    LeaveOut,
}

/// A member after a change of role, with the active keys of the team that the member made.
#[derive(Debug)]
pub struct RoleUpdated {
    pub member: Member,
    /// `None` if the member lost no role.
    pub remaining: Option<Vec<MadeKey>>,
}
