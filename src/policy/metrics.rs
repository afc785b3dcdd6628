//! Who reads metrics. No row of the tables says it: whoever may view what a team has reads its metrics, and so does a key
//! of category `WORKSPACE_EXPORT_METRICS`, in its own team and nothing else of it (decision 13).

use crate::domain::Team;
use crate::error::Error;
use crate::policy::{Caller, Standing, TeamAct, TeamKey, Who};

/// What metrics are asked for: a key narrowed to models reads those of its models alone.
#[derive(Clone, Copy, Debug)]
pub enum Measured<'m> {
    /// The model of this id.
    Model(&'m str),
    /// Something that belongs to no model.
    NoModel,
}

/// Proof that the caller may read the metrics of what its route names.
///
/// It is no [`Reader`](crate::policy::Reader): a key that exports metrics reads nothing else.
///
/// ```compile_fail,E0277
/// use guildhall::db::{Tx, deployments};
/// use guildhall::error::Error;
/// use guildhall::policy::MetricsReader;
///
/// fn list(tx: &Tx, reader: &MetricsReader) -> Result<(), Error> {
///     deployments::list(tx, reader, "model", None).map(drop)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MetricsReader<'a> {
    team: &'a Team,
}

impl Caller {
    /// Whoever may read the metrics of this in the team.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a team that the caller does not see, [`Error::Forbidden`] for who neither views the team nor
    /// holds a key that exports these metrics.
    pub fn to_read_metrics<'a>(&'a self, team: &'a Team, of: Measured<'_>) -> Result<MetricsReader<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        match &self.who {
            Who::TeamKey(key) if standing == Standing::ExportMetrics => key.reads_metrics_of(of)?,
            Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => drop(self.in_team(team, TeamAct::View)?),
        }
        Ok(MetricsReader { team })
    }
}

impl<'a> MetricsReader<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
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
