//! People as members of an organization.

use crate::domain::api_keys::MadeKey;
use crate::domain::members::Via;
use crate::domain::{OrgRole, TeamId, TeamRole, User};

/// A person as a member of one organization.
#[derive(Clone, Debug)]
pub struct OrgMember {
    pub user: User,
    pub role: OrgRole,
}

/// A team that a person is in.
#[derive(Debug)]
pub struct TeamOfUser {
    pub team_id: TeamId,
    pub team_name: String,
    pub role: TeamRole,
    pub via: Via,
    /// What teams are listed by.
    pub team_name_key: String,
}

/// What a person has become, and the keys that they made and that go on working.
#[derive(Debug)]
pub struct RoleUpdated {
    pub member: OrgMember,
    /// `None` where no role was taken.
    pub remaining: Option<Vec<MadeKey>>,
}

/// What the removal of a person did to keys, and what it left.
#[derive(Debug)]
pub struct Removed {
    pub revoked_prefixes: Vec<String>,
    /// The keys that they made and that go on working.
    pub remaining: Vec<MadeKey>,
}
