//! Who may deploy in a team at all, before it is known what that touches.

use crate::domain::{EnvironmentName, Team};
use crate::error::Error;
use crate::policy::{Caller, InTeam, Restriction, TeamAct, refusal};

/// What whoever may deploy in no team is told.
pub fn nowhere() -> Error {
    Error::Forbidden("there is no team in which you may deploy: ask a team admin to add you to one".to_owned())
}

impl Caller {
    /// Whoever may deploy in the team, if only into some environments. It is half of a proof: what is done with it asks
    /// [`InTeam::may_deploy`] about the environment that it touches.
    pub fn in_team_to_deploy<'a>(&'a self, team: &'a Team) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        if !TeamAct::Deploy.allowed_to(standing) {
            return Err(refusal(standing, TeamAct::Deploy));
        }
        Ok(InTeam { caller: self, team })
    }

    /// The teams of a list that joins all in which the caller may deploy, if only into some environments. A key that may
    /// deploy nowhere is told so.
    pub fn in_all_to_deploy<'a>(&'a self, teams: &'a [Team]) -> Result<Vec<InTeam<'a>>, Error> {
        self.in_each(teams, |team| self.in_team_to_deploy(team))
    }
}

impl InTeam<'_> {
    /// Whether the caller may deploy here: into this environment, with whoever is granted to change it while it is
    /// restricted, or (`None`) where no environment is touched.
    pub fn may_deploy(&self, environment: Option<(&EnvironmentName, Option<&Restriction>)>) -> Result<(), Error> {
        match environment {
            Some((name, restriction)) => self.caller.may_change(self.team, name, restriction),
            None => self.caller.in_team(self.team, TeamAct::Deploy).map(drop),
        }
    }
}
