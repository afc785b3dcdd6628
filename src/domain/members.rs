//! Members of a team.

use crate::domain::api_keys::MadeKey;
use crate::domain::{TeamRole, Time, User};

#[derive(Debug)]
pub struct Member {
    pub user: User,
    pub role: TeamRole,
    pub via: Via,
    /// When they joined the team, or the organization where that is what makes them an admin here.
    pub created_at: Time,
}

/// By what somebody is in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A membership of their own.
    Team,
    /// They are an admin of the organization.
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

/// Whether a list also shows the organization admins who are no members by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implicit {
    Show,
    LeaveOut,
}

/// What a member has become, and the keys of the team that they made and that go on working.
#[derive(Debug)]
pub struct RoleUpdated {
    pub member: Member,
    /// `None` where no role was taken.
    pub remaining: Option<Vec<MadeKey>>,
}
