//! Who may deploy in a team, and who may change an environment of it.
//!
//! The row "Deploy models, Chains, and training projects" says who deploys. A key that is narrowed to environments
//! changes only these environments. A restricted environment is changed only by team admins and by those on its list.

use crate::domain::{EnvironmentName, Team, UserId};
use crate::error::Error;
use crate::policy::{Caller, InTeam, Reader, Standing, TeamAct, TeamKey, Who, reader, refusal};

/// Proof that the caller may deploy in the team, perhaps only into some environments.
///
/// Its holder may read, and may ask for the next proof: [`Deployer::in_team`] for an act that touches no environment,
/// [`Deployer::in_environment`] for an act that touches one. A `Deployer` cannot be used in place of either:
///
/// ```compile_fail,E0308
/// use guildhall::db::{Tx, models};
/// use guildhall::error::Error;
/// use guildhall::policy::Deployer;
///
/// // A key that is narrowed to one environment would delete the model with all of its environments.
/// fn delete(tx: &Tx, deployer: &Deployer) -> Result<(), Error> {
///     models::delete(tx, deployer, "model")
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deployer<'a> {
    caller: &'a Caller,
    team: &'a Team,
}

/// Proof that the caller may change one environment of the team: deploy into it, promote, scale, configure.
///
/// The verbs that write to an environment take its name from this proof, so a proof for one cannot be used to write to
/// another.
///
/// ```compile_fail,E0308
/// use guildhall::db::{Tx, environments};
/// use guildhall::domain::models::Model;
/// use guildhall::error::Error;
/// use guildhall::policy::Deployer;
///
/// // Nobody has asked yet whether the environment is restricted.
/// fn delete(tx: &Tx, deployer: &Deployer, model: &Model) -> Result<(), Error> {
///     environments::delete(tx, deployer, model)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct InEnvironment<'a> {
    caller: &'a Caller,
    team: &'a Team,
    name: EnvironmentName,
}

/// The teams in which a caller may deploy, perhaps only into some environments. There is at least one.
#[derive(Clone, Debug)]
pub struct Deployers<'a> {
    teams: Vec<Deployer<'a>>,
}

/// Who may change a restricted environment besides the admins of its team.
#[derive(Clone, Debug, Default)]
pub struct Restriction {
    pub users: Vec<UserId>,
    pub api_key_prefixes: Vec<String>,
}

impl Caller {
    /// Proves that the caller may deploy in the team, perhaps only into some environments.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the caller does not see the team, [`Error::Forbidden`] if the caller may not deploy in
    /// it.
    pub fn to_deploy<'a>(&'a self, team: &'a Team) -> Result<Deployer<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        if !TeamAct::Deploy.allowed_to(standing) {
            return Err(refusal(standing, TeamAct::Deploy));
        }
        Ok(Deployer { caller: self, team })
    }

    /// The teams in which the caller may deploy, perhaps only into some environments.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if there is no such team.
    pub fn to_deploy_in_any<'a>(&'a self, teams: &'a [Team]) -> Result<Deployers<'a>, Error> {
        let teams = self.in_each(teams, |team| self.to_deploy(team))?;
        if teams.is_empty() { Err(nowhere()) } else { Ok(Deployers { teams }) }
    }

    /// Proves that the caller may change this environment of the team. `restriction` is the restriction of that
    /// environment; `None`: it is not restricted.
    ///
    /// A restriction does not affect reads, logs, metrics and inference.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::to_deploy`], and [`Error::Forbidden`] if the key is narrowed to other environments, or if the
    /// environment is restricted and the caller is not on its list.
    pub(super) fn in_environment<'a>(
        &'a self,
        team: &'a Team,
        name: EnvironmentName,
        restriction: Option<&Restriction>,
    ) -> Result<InEnvironment<'a>, Error> {
        self.to_deploy(team)?;
        if let Who::TeamKey(key) = &self.who {
            key.reaches(&name)?;
        }
        match restriction {
            Some(restriction) if !self.is_granted(team, restriction) => Err(Error::Forbidden(format!(
                "the environment \"{}\" of team \"{}\" is restricted and you are not on its list: ask a team admin",
                name.as_str(),
                team.name
            ))),
            Some(_) | None => Ok(InEnvironment { caller: self, team, name }),
        }
    }

    fn is_granted(&self, team: &Team, restriction: &Restriction) -> bool {
        match &self.who {
            Who::Person(person) => {
                self.standing_in(team) == Some(Standing::Admin) || restriction.users.contains(&person.user_id)
            }
            Who::TeamKey(key) => restriction.api_key_prefixes.contains(&key.prefix),
            Who::KeyManager { .. } => false,
        }
    }
}

impl TeamKey {
    fn reaches(&self, environment: &EnvironmentName) -> Result<(), Error> {
        match &self.environments {
            Some(names) if !names.contains(environment) => Err(super::narrowed(names)),
            Some(_) | None => Ok(()),
        }
    }
}

impl<'a> Deployer<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
    }

    pub fn caller(&self) -> &'a Caller {
        self.caller
    }

    /// Proves that the caller may deploy everywhere in the team. Acts that touch no environment need this proof.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that is narrowed to environments.
    pub fn in_team(&self) -> Result<InTeam<'a>, Error> {
        self.caller.in_team(self.team, TeamAct::Deploy)
    }

    /// Proves that the caller may change this environment of the team. `restriction` is the restriction of that
    /// environment; `None`: it is not restricted.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if the key is narrowed to other environments, or if the environment is restricted and the
    /// caller is not on its list.
    pub fn in_environment(
        &self,
        name: EnvironmentName,
        restriction: Option<&Restriction>,
    ) -> Result<InEnvironment<'a>, Error> {
        self.caller.in_environment(self.team, name, restriction)
    }
}

impl<'a> InEnvironment<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
    }

    pub fn caller(&self) -> &'a Caller {
        self.caller
    }

    pub fn name(&self) -> &EnvironmentName {
        &self.name
    }
}

impl<'a> Deployers<'a> {
    pub fn iter(&self) -> impl Iterator<Item = &Deployer<'a>> {
        self.teams.iter()
    }

    pub fn caller(&self) -> &'a Caller {
        self.teams[0].caller
    }

    /// The team with this id. Without an id: the only team there is, or else that of [`Deployers::own`].
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the id is not that of one of these teams, [`Error::Forbidden`] if a team must be named.
    pub fn target(&self, team_id: Option<&str>) -> Result<&Deployer<'a>, Error> {
        let named = |id: &str| self.iter().find(|deployer| deployer.team.id.as_str() == id);
        match (team_id, self.teams.as_slice()) {
            (Some(id), _) => named(id).ok_or(Error::NotFound("team")),
            (None, [only]) => Ok(only),
            (None, _) => self.own(),
        }
    }

    /// The team of a route that names none: a team key's own team, otherwise the default team (decision 11).
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a person who may not deploy in the default team.
    pub fn own(&self) -> Result<&Deployer<'a>, Error> {
        let is_own = |deployer: &&Deployer| match &self.caller().who {
            Who::TeamKey(key) => key.team_id == deployer.team.id,
            Who::Person(_) | Who::KeyManager { .. } => deployer.team.is_default,
        };
        self.iter().find(is_own).ok_or_else(|| {
            Error::Forbidden(
                "you may not deploy in the default team: name a team in which you may, or ask a team admin to add you \
                 to one"
                    .to_owned(),
            )
        })
    }
}

impl reader::Sealed for Deployer<'_> {}

impl Reader for Deployer<'_> {
    fn team(&self) -> &Team {
        self.team
    }

    fn caller(&self) -> &Caller {
        self.caller
    }
}

impl reader::Sealed for InEnvironment<'_> {}

impl Reader for InEnvironment<'_> {
    fn team(&self) -> &Team {
        self.team
    }

    fn caller(&self) -> &Caller {
        self.caller
    }
}

/// The refusal of a caller who may not deploy in any team.
pub fn nowhere() -> Error {
    Error::Forbidden("there is no team in which you may deploy: ask a team admin to add you to one".to_owned())
}
