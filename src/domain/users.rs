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

/// A team of a person.
#[derive(Debug)]
pub struct TeamOfUser {
    pub team_id: TeamId,
    pub team_name: String,
    pub role: TeamRole,
    pub via: Via,
    /// The sort key of the team in lists.
    pub team_name_key: String,
}

/// A person after a change of role, with the active keys that the person made.
#[derive(Debug)]
pub struct RoleUpdated {
    pub member: OrgMember,
    /// `None` if the person lost no role.
    pub remaining: Option<Vec<MadeKey>>,
}

/// The result of removing a person: the revoked keys, and the keys that remain.
#[derive(Debug)]
pub struct Removed {
    pub revoked_prefixes: Vec<String>,
    /// The active keys that the person made.
    pub remaining: Vec<MadeKey>,
}
