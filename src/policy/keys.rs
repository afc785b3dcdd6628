//! Who may see, make, replace and revoke API keys.
//!
//! A personal key is made and replaced only by its owner. A team's keys are made by those who have the row "Create team
//! API keys" in the team. A key that manages keys is made only by an organization admin in person. No key makes a key
//! of its own kind, unless it is a personal key: a team's key makes no keys, and a key that manages keys makes only
//! team keys.

use crate::domain::api_keys::KeyKind;
use crate::domain::{Team, TeamId, Time, UserId};
use crate::error::Error;
use crate::policy::{Caller, InTeam, Operator, OrgAct, OrgRole, TeamAct, Who};

/// Proof that the caller's key may make keys of some kind. The key is a personal key or one that manages keys, never a
/// team's key.
#[derive(Clone, Copy, Debug)]
pub struct KeyMaker<'a> {
    caller: &'a Caller,
}

/// Proof that the caller may do what its route asks with keys of this kind.
#[derive(Clone, Copy, Debug)]
pub struct OverKeys<'a> {
    caller: &'a Caller,
    kind: KeyKind<'a>,
}

impl<'a> OverKeys<'a> {
    pub fn caller(&self) -> &'a Caller {
        self.caller
    }

    pub fn kind(&self) -> KeyKind<'a> {
        self.kind
    }

    /// Whether the caller could also grant restricted environments to the new key of a team.
    pub fn may_grant(&self) -> bool {
        let grants = |team| self.caller.in_team(team, TeamAct::CreateRestrictedEnvironments).is_ok();
        self.kind.team().is_some_and(grants)
    }
}

/// The time at which a new key expires. Only this module makes it, and no key is made without it.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    ends_at: Option<Time>,
}

impl Lifetime {
    /// When the key expires. `None`: it lasts until it is revoked.
    pub fn ends_at(self) -> Option<Time> {
        self.ends_at
    }

    /// For a key that is issued on a proof that ends at `ends_at`, such as another key. A password and the link of an
    /// invitation do not end.
    pub fn of_proof(ends_at: Option<Time>) -> Lifetime {
        Lifetime { ends_at }
    }

    /// For a key that the operator issues.
    pub fn by_operator(_: &Operator) -> Lifetime {
        Lifetime { ends_at: None }
    }
}

/// Which keys of the organization a caller sees.
#[derive(Clone, Debug)]
pub enum KeysSeen<'a> {
    All,
    /// The person's own keys, and those of these teams.
    OwnAndOf(&'a UserId, Vec<&'a TeamId>),
    /// The keys of every team, and the key that was sent.
    OfTeamsAnd(&'a str),
    /// Only the key that was sent.
    Itself(&'a str),
}

impl KeysSeen<'_> {
    /// Whether the caller sees this key of its organization.
    pub fn holds(&self, prefix: &str, kind: KeyKind<'_>) -> bool {
        match self {
            KeysSeen::All => true,
            KeysSeen::OwnAndOf(user_id, teams) => match kind {
                KeyKind::Personal(owner) => owner == *user_id,
                KeyKind::Team(_, team) => teams.contains(&&team.id),
                KeyKind::ManageApiKeys => false,
            },
            KeysSeen::OfTeamsAnd(own) => prefix == *own || kind.team().is_some(),
            KeysSeen::Itself(own) => prefix == *own,
        }
    }
}

impl Caller {
    /// The lifetime of a new key. A key that expires makes and replaces no key that lasts longer. Otherwise a key that
    /// was stolen could be extended forever.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if the key that was sent expires and `asked` is later, or asks for no end.
    pub fn lifetime(&self, asked: Option<Time>) -> Result<Lifetime, Error> {
        match (self.key_ends_at, asked) {
            (Some(own), Some(other)) if other <= own => Ok(Lifetime { ends_at: asked }),
            (None, _) => Ok(Lifetime { ends_at: asked }),
            (Some(own), _) => Err(Error::Forbidden(format!(
                "the key that was sent ends at {own}, and makes no key that lasts longer: give an `expires_at` until then, \
                 or send a key that does not end"
            ))),
        }
    }

    pub fn keys_seen(&self) -> KeysSeen<'_> {
        match &self.who {
            Who::Person(person) if person.role == OrgRole::Admin => KeysSeen::All,
            Who::Person(person) => {
                KeysSeen::OwnAndOf(&person.user_id, person.teams.iter().map(|(team_id, _)| team_id).collect())
            }
            Who::KeyManager { prefix } => KeysSeen::OfTeamsAnd(prefix),
            Who::TeamKey(key) => KeysSeen::Itself(&key.prefix),
        }
    }

    /// Proves that the caller's key may make keys.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a team's key: it manages no keys.
    pub fn as_key_maker(&self) -> Result<KeyMaker<'_>, Error> {
        match &self.who {
            Who::Person(_) | Who::KeyManager { .. } => Ok(KeyMaker { caller: self }),
            Who::TeamKey(_) => Err(Error::Forbidden(
                "a team's API key manages no keys: send a personal key or one that manages keys".to_owned(),
            )),
        }
    }

    /// Proves that the caller may revoke this key. Any key may revoke itself. Callers who may make a key of this kind
    /// may revoke it, and an organization admin may revoke any person's key.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a team's key that does not revoke itself, for a caller who may not manage the members
    /// of the organization and revokes another person's key, and where [`KeyMaker::over`] refuses.
    pub fn to_revoke<'a>(&'a self, prefix: &str, kind: KeyKind<'a>) -> Result<OverKeys<'a>, Error> {
        let proof = OverKeys { caller: self, kind };
        if prefix == self.prefix() {
            return Ok(proof);
        }
        let maker = self.as_key_maker()?;
        match kind {
            KeyKind::Personal(owner) if !self.is_person(owner.as_str()) => {
                self.in_org(OrgAct::ManageMembers).map(|_| proof)
            }
            KeyKind::Personal(_) | KeyKind::Team(..) | KeyKind::ManageApiKeys => maker.over(kind),
        }
    }
}

impl<'a> KeyMaker<'a> {
    pub fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// Proves that the caller may make keys of this team, of any category.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_team`].
    pub fn in_team(&self, team: &'a Team) -> Result<InTeam<'a>, Error> {
        self.caller.in_team(team, TeamAct::CreateApiKeys)
    }

    /// Proves that the caller may make keys of the default team, for a route that names no team.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_default_team`].
    pub fn in_default_team(&self, team: &'a Team) -> Result<InTeam<'a>, Error> {
        self.caller.in_default_team(team, TeamAct::CreateApiKeys)
    }

    /// Proves that the caller may make and replace keys of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for another person's personal key, and for a key that manages keys if the caller is no
    /// organization admin. For a team's key, those of [`Caller::in_team`].
    pub fn over(&self, kind: KeyKind<'a>) -> Result<OverKeys<'a>, Error> {
        match kind {
            KeyKind::Personal(owner) if self.caller.is_person(owner.as_str()) => {}
            KeyKind::Personal(_) => {
                return Err(Error::Forbidden("a personal API key is made and replaced by its owner alone".to_owned()));
            }
            KeyKind::Team(_, team) => drop(self.in_team(team)?),
            KeyKind::ManageApiKeys => drop(self.caller.in_org(OrgAct::ManageMembers)?),
        }
        Ok(OverKeys { caller: self.caller, kind })
    }
}
