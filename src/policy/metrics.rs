//! Who reads metrics. No row of the tables says it: whoever may view what a team has reads its metrics, and so does a key
//! of category `WORKSPACE_EXPORT_METRICS`, in its own team and nothing else of it (decision 13).

use crate::domain::Team;
use crate::error::Error;
use crate::policy::{Caller, InTeam, Standing, TeamAct, TeamKey, Who};

/// What metrics are of, which is all that a key narrowed to models asks about.
#[derive(Clone, Copy, Debug)]
pub enum Measured<'m> {
    /// What runs of the model of this id.
    Model(&'m str),
    /// What is of no model.
    NoModel,
}

impl Caller {
    /// Whoever may read the metrics of this in the team.
    pub fn in_team_to_read_metrics<'a>(&'a self, team: &'a Team, of: Measured<'_>) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        match &self.who {
            Who::TeamKey(key) if standing == Standing::ExportMetrics => {
                key.reads_metrics_of(of)?;
                Ok(InTeam { caller: self, team })
            }
            Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => self.in_team(team, TeamAct::View),
        }
    }
}

impl TeamKey {
    fn reads_metrics_of(&self, of: Measured<'_>) -> Result<(), Error> {
        let Some(models) = &self.models else { return Ok(()) };
        match of {
            Measured::Model(id) if models.iter().any(|model| model == id) => Ok(()),
            Measured::Model(_) | Measured::NoModel => Err(Error::Forbidden(format!(
                "this key is narrowed to {} and reads the metrics of nothing else",
                named(models)
            ))),
        }
    }
}

/// The models that a key is narrowed to, in words. None are left of them once all are deleted: that is never all.
pub(super) fn named(models: &[String]) -> String {
    match models {
        [] => "models that are all deleted".to_owned(),
        [only] => format!("the model {only}"),
        several => format!("the models {}", several.join(", ")),
    }
}
