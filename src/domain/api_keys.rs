//! API keys: what is known of one without its text, and what a new one is given.

use crate::domain::{Category, EnvironmentName, KeyName, OrgId, Team, TeamCategory, TeamId, Time, User, UserId};
use crate::error::Error;
use crate::token::PlainKey;

/// A key that works, without its text.
#[derive(Debug)]
pub struct Key {
    pub prefix: String,
    pub org_id: OrgId,
    pub holder: Holder,
    pub name: Option<KeyName>,
    /// `None`: every model of the team. Empty once the models it was narrowed to are deleted.
    pub model_ids: Option<Vec<String>>,
    /// `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
    pub expires_at: Option<Time>,
    /// The prefix of the key that took its place; it works on until it expires.
    pub replaced_by: Option<String>,
}

/// Whose key it is.
#[derive(Debug)]
pub enum Holder {
    Person(User),
    Team(TeamCategory, Team),
    Organization,
}

impl Key {
    pub fn kind(&self) -> KeyKind<'_> {
        match &self.holder {
            Holder::Person(owner) => KeyKind::Personal(&owner.id),
            Holder::Team(category, team) => KeyKind::Team(*category, team),
            Holder::Organization => KeyKind::ManageApiKeys,
        }
    }
}

/// What decides who may make, replace and revoke a key: whose it is.
#[derive(Clone, Copy, Debug)]
pub enum KeyKind<'a> {
    Personal(&'a UserId),
    Team(TeamCategory, &'a Team),
    ManageApiKeys,
}

impl<'a> KeyKind<'a> {
    pub const fn category(&self) -> Category {
        match self {
            KeyKind::Personal(_) => Category::Personal,
            KeyKind::Team(category, _) => Category::Team(*category),
            KeyKind::ManageApiKeys => Category::ManageApiKeys,
        }
    }

    pub const fn user_id(&self) -> Option<&'a UserId> {
        match self {
            KeyKind::Personal(user_id) => Some(user_id),
            KeyKind::Team(..) | KeyKind::ManageApiKeys => None,
        }
    }

    pub const fn team(&self) -> Option<&'a Team> {
        match self {
            KeyKind::Team(_, team) => Some(team),
            KeyKind::Personal(_) | KeyKind::ManageApiKeys => None,
        }
    }
}

/// How long a replaced key works on beside the new one.
#[derive(Clone, Copy, Debug)]
pub struct Overlap {
    pub(crate) seconds: i64,
}

impl Overlap {
    /// Not at all, an hour, a day or a week.
    const SECONDS: [i64; 4] = [0, 3600, 86_400, 604_800];

    pub fn of_seconds(seconds: i64) -> Result<Overlap, Error> {
        match Overlap::SECONDS.contains(&seconds) {
            true => Ok(Overlap { seconds }),
            false => Err(Error::field("overlap_seconds", "must be 0, 3600, 86400 or 604800")),
        }
    }
}

/// What a new key is given beside its kind.
#[derive(Debug)]
pub struct Terms {
    pub name: Option<KeyName>,
    /// `None`: every model of the team, also those to come.
    pub model_ids: Option<Vec<String>>,
    /// `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    pub expires_at: Option<Time>,
}

/// What a rotation came to.
#[derive(Debug)]
pub struct Rotated {
    pub key: PlainKey,
    /// When the old key ends or has ended.
    pub old_expires_at: Time,
    /// Restricted environments that the old key was granted and the new one is not, by name.
    pub grants_not_carried_over: Vec<String>,
}

/// What becomes of the keys that somebody made who loses a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatedKeys {
    Keep,
    Revoke,
}

/// A key that works and is no person's, with whoever made it.
#[derive(Debug)]
pub struct MadeKey {
    pub prefix: String,
    pub name: Option<String>,
    pub category: Category,
    /// `None`: it manages the team keys of the organization.
    pub team_id: Option<TeamId>,
    /// A person's id or a key's prefix.
    pub made_by: String,
}
