//! Who reads metrics. The tables have no row for it. Everyone who may view what a team has reads its metrics. A key of
//! category `WORKSPACE_EXPORT_METRICS` reads the metrics of its own team, and nothing else of it (decision 13).

use crate::domain::Team;
use crate::error::Error;
use crate::policy::{Caller, Standing, TeamAct, TeamKey, Who};

/// The subject of the metrics that are requested. A key that is narrowed to models reads only the metrics of its
/// models.
#[derive(Clone, Copy, Debug)]
pub enum Measured<'m> {
    /// The model with this id.
    Model(&'m str),
    /// Something that belongs to no model.
    NoModel,
}

/// Proof that the caller may read the metrics of the resource that its route names.
///
/// It does not implement [`Reader`](crate::policy::Reader), because a key that exports metrics reads nothing else.
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
    /// The models that the caller's key is narrowed to. `None`: every model of the team.
    models: Option<&'a [String]>,
}

impl Caller {
    /// Proves that the caller may read these metrics of the team.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the caller does not see the team. [`Error::Forbidden`] if the caller may not view the
    /// team and has no key that exports these metrics.
    pub fn to_read_metrics<'a>(&'a self, team: &'a Team, of: Measured<'_>) -> Result<MetricsReader<'a>, Error> {
        if let Who::TeamKey(key) = &self.who
            && self.standing_in(team) == Some(Standing::ExportMetrics)
        {
            key.reads_metrics_of(of)?;
        }
        self.to_export_metrics(team)
    }

    /// Proves that the caller may read metrics of the team: of the models that its key is narrowed to, or of all.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::to_read_metrics`], except that a key that is narrowed to models is not refused.
    pub fn to_export_metrics<'a>(&'a self, team: &'a Team) -> Result<MetricsReader<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        let models = match &self.who {
            Who::TeamKey(key) if standing == Standing::ExportMetrics => key.models.as_deref(),
            Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => {
                self.in_team(team, TeamAct::View)?;
                None
            }
        };
        Ok(MetricsReader { team, models })
    }

    /// The teams whose metrics the caller may export.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that belongs to no person and may export none.
    pub fn to_export_all_metrics<'a>(&'a self, teams: &'a [Team]) -> Result<Vec<MetricsReader<'a>>, Error> {
        self.in_each(teams, |team| self.to_export_metrics(team))
    }
}

impl<'a> MetricsReader<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
    }

    /// Whether the caller may read the metrics of this model of the team.
    pub fn reads_model(&self, id: &str) -> bool {
        self.models.is_none_or(|models| models.iter().any(|model| model == id))
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

/// The models that a key is narrowed to, in words. An empty list means that all of them are deleted, not that every
/// model is allowed.
pub(super) fn named(models: &[String]) -> String {
    match models {
        [] => "models that are all deleted".to_owned(),
        [only] => format!("the model {only}"),
        several => format!("the models {}", several.join(", ")),
    }
}
