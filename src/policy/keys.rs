//! Who may see, make, replace and revoke API keys.
//!
//! A personal key is its owner's alone; a team's keys are made by whoever has the row "Create team API keys" there; a key
//! that manages keys is made by an organization admin in person. No key makes one of its own kind: a team's key makes
//! none at all, and a key that manages keys makes team keys alone.

use crate::domain::api_keys::KeyKind;
use crate::domain::{Team, TeamId, Time, UserId};
use crate::error::Error;
use crate::policy::{Caller, InTeam, Operator, OrgAct, OrgRole, TeamAct, Who};

/// Proof that the caller's key may make keys of some kind: a person's or a managing key, never a team's.
#[derive(Clone, Copy, Debug)]
pub struct KeyMaker<'a> {
    caller: &'a Caller,
}

/// Proof that the caller may do with keys of this kind what its route asks.
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

    /// Whether whoever replaces a team's key could also grant it restricted environments.
    pub fn may_grant(&self) -> bool {
        let grants = |team| self.caller.in_team(team, TeamAct::CreateRestrictedEnvironments).is_ok();
        self.kind.team().is_some_and(grants)
    }
}

/// Until when a new key works. It is made only here, and no key is made without one.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    ends_at: Option<Time>,
}

impl Lifetime {
    /// `None`: until it is revoked.
    pub fn ends_at(self) -> Option<Time> {
        self.ends_at
    }

    /// Of a key that somebody gets by a proof that ends then, such as the key that they sent; a password or an
    /// invitation's link does not end.
    pub fn of_proof(ends_at: Option<Time>) -> Lifetime {
        Lifetime { ends_at }
    }

    /// Of a key that the operator issues.
    pub fn by_operator(_: &Operator) -> Lifetime {
        Lifetime { ends_at: None }
    }
}

/// Which keys of the organization a caller sees.
#[derive(Clone, Debug)]
pub enum KeysSeen<'a> {
    All,
    /// A person's own, and those of these teams.
    OwnAndOf(&'a UserId, Vec<&'a TeamId>),
    /// Those of every team, and the one that was sent.
    OfTeamsAnd(&'a str),
    /// The one that was sent.
    Itself(&'a str),
}

impl KeysSeen<'_> {
    /// Whether a key of the caller's organization is among them.
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
    /// A key that ends makes and replaces none that lasts longer: else whoever finds it has found it for ever.
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

    /// A team's key manages no keys, whatever it asks about.
    pub fn as_key_maker(&self) -> Result<KeyMaker<'_>, Error> {
        match &self.who {
            Who::Person(_) | Who::KeyManager { .. } => Ok(KeyMaker { caller: self }),
            Who::TeamKey(_) => Err(Error::Forbidden(
                "a team's API key manages no keys: send a personal key or one that manages keys".to_owned(),
            )),
        }
    }

    /// Any key may end itself; whoever may make such a key may end it, and an organization admin any person's.
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

    /// Whoever may make keys of this team, whatever they can do.
    pub fn in_team(&self, team: &'a Team) -> Result<InTeam<'a>, Error> {
        self.caller.in_team(team, TeamAct::CreateApiKeys)
    }

    /// The same for the default team, where none is named.
    pub fn in_default_team(&self, team: &'a Team) -> Result<InTeam<'a>, Error> {
        self.caller.in_default_team(team, TeamAct::CreateApiKeys)
    }

    /// Whoever may make and replace keys of this kind.
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
