//! API keys without their text, and the terms of new keys.

use crate::domain::{Category, EnvironmentName, KeyName, OrgId, Team, TeamCategory, TeamId, Time, User, UserId};
use crate::error::Error;
use crate::token::PlainKey;

/// An active key without its text.
#[derive(Debug)]
pub struct Key {
    pub prefix: String,
    pub org_id: OrgId,
    pub holder: Holder,
    pub name: Option<KeyName>,
    /// The models that the key is narrowed to. `None`: every model of the team. Empty once all of these models are
    /// deleted.
    pub model_ids: Option<Vec<String>>,
    /// The environments that the key is narrowed to. `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
    pub expires_at: Option<Time>,
    /// The prefix of the key that replaced this one. This key works until it expires.
    pub replaced_by: Option<String>,
}

/// The holder of a key.
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

/// The kind of a key. It decides who may make, replace and revoke the key.
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

/// How long a replaced key continues to work beside the new one.
#[derive(Clone, Copy, Debug)]
pub struct Overlap {
    pub(crate) seconds: i64,
}

impl Overlap {
    /// None, an hour, a day or a week.
    const SECONDS: [i64; 4] = [0, 3600, 86_400, 604_800];

    /// Reads an overlap in seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] unless the overlap is none, an hour, a day or a week.
    pub fn of_seconds(seconds: i64) -> Result<Overlap, Error> {
        match Overlap::SECONDS.contains(&seconds) {
            true => Ok(Overlap { seconds }),
            false => Err(Error::field("overlap_seconds", "must be 0, 3600, 86400 or 604800")),
        }
    }
}

/// The terms of a new key, besides its kind.
#[derive(Debug)]
pub struct Terms {
    pub name: Option<KeyName>,
    /// The models that the key is narrowed to. `None`: every model of the team, including future ones.
    pub model_ids: Option<Vec<String>>,
    /// The environments that the key is narrowed to. `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    pub expires_at: Option<Time>,
}

/// The result of a rotation.
#[derive(Debug)]
pub struct Rotated {
    pub key: PlainKey,
    /// When the old key expires or has expired.
    pub old_expires_at: Time,
    /// The names of restricted environments that the old key was granted and the new key is not.
    pub grants_not_carried_over: Vec<String>,
}

/// Whether the keys that a person made are kept when that person loses a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatedKeys {
    Keep,
    Revoke,
}

/// An active key that belongs to no person, with its author.
#[derive(Debug)]
pub struct MadeKey {
    pub prefix: String,
    pub name: Option<String>,
    pub category: Category,
    /// `None`: the key manages the team keys of the organization.
    pub team_id: Option<TeamId>,
    /// The author: a person's id or the prefix of a key.
    pub made_by: String,
}
