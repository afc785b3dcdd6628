//! The data that metrics are made of. A key that exports metrics reads these data and nothing else of its team.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::db::deployments::read_json;
use crate::db::training_jobs;
use crate::domain::deployments::Which;
use crate::domain::serving::Settings;
use crate::domain::training_jobs::Job;
use crate::error::Error;
use crate::policy::MetricsReader;

/// How many replicas of a deployment run.
///
/// # Errors
///
/// [`Error::NotFound`] for a deployment that the model does not have.
pub fn replicas(tx: &Tx, reader: &MetricsReader, model_id: &str, which: Which) -> Result<i64, Error> {
    running(tx, reader, model_id, which)?.ok_or(Error::NotFound("deployment"))
}

/// How many replicas run of the deployment that serves an environment of a model; 0 if no deployment serves it.
///
/// # Errors
///
/// [`Error::NotFound`] for an environment that the model does not have.
pub fn replicas_in(tx: &Tx, reader: &MetricsReader, model_id: &str, environment: &str) -> Result<i64, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM model_environment
         WHERE team_id = :team_id AND model_id = :model_id AND name = :name",
    )?;
    let params = named_params! { ":team_id": reader.team().id, ":model_id": model_id, ":name": environment };
    if !query.exists(params)? {
        return Err(Error::NotFound("environment"));
    }
    Ok(running(tx, reader, model_id, Which::In(environment))?.unwrap_or_default())
}

/// The training job with this id in a project of the team.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no job of the project has.
pub fn job(tx: &Tx, reader: &MetricsReader, project_id: &str, id: &str) -> Result<Job, Error> {
    training_jobs::find_in(tx, reader.team(), project_id, id)
}

fn running(tx: &Tx, reader: &MetricsReader, model_id: &str, which: Which) -> Result<Option<i64>, Error> {
    let (id, number, environment) = which.columns();
    let mut query = tx.sql.prepare_cached(
        "SELECT status, autoscaling, backpressure
         FROM deployment
         WHERE team_id = :team_id AND model_id = :model_id
           AND (id = :id OR number = :number OR environment = :environment)",
    )?;
    let params = named_params! {
        ":team_id": reader.team().id,
        ":model_id": model_id,
        ":id": id,
        ":number": number,
        ":environment": environment,
    };
    let found = query.query_row(params, |row| {
        let settings = Settings {
            autoscaling: read_json(row, "autoscaling")?.unwrap_or_default(),
            backpressure: row.get("backpressure")?,
        };
        Ok(settings.active_replicas(row.get("status")?))
    });
    Ok(found.optional()?)
}
