//! The data that metrics are made of. A key that exports metrics reads these data and nothing else of its team.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::Tx;
use crate::db::deployments::read_json;
use crate::db::training_jobs;
use crate::domain::deployments::Which;
use crate::domain::latencies::Latencies;
use crate::domain::metrics::{Calls, Exported, Measurements, Minute, Period, ReplicasFrom, Total};
use crate::domain::serving::Settings;
use crate::domain::training_jobs::Job;
use crate::error::Error;
use crate::policy::MetricsReader;

/// How many rows one export reads at most.
const EXPORTED_MAX: i64 = 2000;

/// The calls and the replicas of a deployment in a period.
///
/// # Errors
///
/// [`Error::NotFound`] for a deployment that the model does not have.
pub fn of_deployment(
    tx: &Tx,
    reader: &MetricsReader,
    model_id: &str,
    which: Which,
    period: &Period,
) -> Result<Measurements, Error> {
    let running = running(tx, reader, model_id, which)?.ok_or(Error::NotFound("deployment"))?;
    let mut query = tx.sql.prepare_cached(
        "SELECT minute, successes, client_errors, server_errors, milliseconds, latencies
         FROM deployment_minute
         WHERE deployment_id = :deployment_id AND minute BETWEEN :first AND :last
         ORDER BY minute",
    )?;
    let (first, last) = period.minutes();
    let params = named_params! { ":deployment_id": running.deployment_id, ":first": first, ":last": last };
    let minutes = query.query_map(params, minute_from_row)?.collect::<Result<_, _>>()?;
    measured(tx, Some(running), period, minutes)
}

/// The calls of an environment in a period, whichever deployments served it, and the replicas of the deployment that
/// serves it now.
///
/// # Errors
///
/// [`Error::NotFound`] for an environment that the model does not have.
pub fn of_environment(
    tx: &Tx,
    reader: &MetricsReader,
    model_id: &str,
    environment: &str,
    period: &Period,
) -> Result<Measurements, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM model_environment
         WHERE team_id = :team_id AND model_id = :model_id AND name = :name",
    )?;
    let params = named_params! { ":team_id": reader.team().id, ":model_id": model_id, ":name": environment };
    if !query.exists(params)? {
        return Err(Error::NotFound("environment"));
    }
    let mut query = tx.sql.prepare_cached(
        "SELECT minute, successes, client_errors, server_errors, milliseconds, latencies
         FROM deployment_minute
         WHERE model_id = :model_id AND environment = :environment AND minute BETWEEN :first AND :last
         ORDER BY minute",
    )?;
    let (first, last) = period.minutes();
    let params = named_params! {
        ":model_id": model_id,
        ":environment": environment,
        ":first": first,
        ":last": last,
    };
    let minutes = query.query_map(params, minute_from_row)?.collect::<Result<_, _>>()?;
    measured(tx, running(tx, reader, model_id, Which::In(environment))?, period, minutes)
}

/// What the deployments of these teams export to collectors, at most 2,000 of them. A key that is narrowed to models
/// exports only theirs.
pub fn exported(tx: &Tx, readers: &[MetricsReader]) -> Result<Vec<Exported>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT deployment.id, deployment.model_id, model.name AS model_name, deployment.environment,
                deployment.status, deployment.autoscaling, deployment.backpressure, deployment.replicas
         FROM deployment JOIN model ON model.id = deployment.model_id
         WHERE deployment.org_id = :org_id AND deployment.team_id = :team_id
         ORDER BY deployment.org_id, deployment.team_id, deployment.model_id, deployment.id
         LIMIT :rows_max",
    )?;
    let mut exported = Vec::new();
    for reader in readers {
        let params = named_params! {
            ":org_id": reader.team().org_id,
            ":team_id": reader.team().id,
            ":rows_max": EXPORTED_MAX,
        };
        let mut rows = query.query(params)?;
        while let Some(row) = rows.next()? {
            let model_id: String = row.get("model_id")?;
            if !reader.reads_model(&model_id) {
                continue;
            }
            let running = running_from_row(row)?;
            exported.push(Exported {
                model_id,
                model_name: row.get("model_name")?,
                environment: row.get("environment")?,
                replicas: replicas_now(tx, &running)?,
                totals: totals(tx, &running.deployment_id)?,
                deployment_id: running.deployment_id,
            });
        }
    }
    Ok(exported)
}

fn totals(tx: &Tx, deployment_id: &str) -> Result<Vec<Total>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT environment, status, is_async, requests, milliseconds, latencies
         FROM deployment_total
         WHERE deployment_id = :deployment_id
         ORDER BY environment, status, is_async",
    )?;
    let rows = query.query_map(named_params! { ":deployment_id": deployment_id }, |row| {
        Ok(Total {
            environment: row.get("environment")?,
            status: row.get("status")?,
            is_async: row.get("is_async")?,
            requests: row.get("requests")?,
            milliseconds: row.get("milliseconds")?,
            latencies: Latencies::of_bytes(row.get_ref("latencies")?.as_blob()?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The training job with this id in a project of the team.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no job of the project has.
pub fn job(tx: &Tx, reader: &MetricsReader, project_id: &str, id: &str) -> Result<Job, Error> {
    training_jobs::find_in(tx, reader.team(), project_id, id)
}

/// A deployment, and how many replicas its settings ask for in its status.
struct Running {
    deployment_id: String,
    replicas_of_status: i64,
}

fn running(tx: &Tx, reader: &MetricsReader, model_id: &str, which: Which) -> Result<Option<Running>, Error> {
    let (id, number, environment) = which.columns();
    let mut query = tx.sql.prepare_cached(
        "SELECT id, status, autoscaling, backpressure, replicas
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
    Ok(query.query_row(params, running_from_row).optional()?)
}

fn running_from_row(row: &Row) -> rusqlite::Result<Running> {
    let settings = Settings {
        autoscaling: read_json(row, "autoscaling")?.unwrap_or_default(),
        backpressure: row.get("backpressure")?,
    };
    let status = row.get("status")?;
    let replicas: Option<i64> = row.get("replicas")?;
    let replicas_of_status = replicas.unwrap_or_else(|| settings.active_replicas(status));
    Ok(Running { deployment_id: row.get("id")?, replicas_of_status })
}

fn measured(tx: &Tx, running: Option<Running>, period: &Period, minutes: Vec<Minute>) -> Result<Measurements, Error> {
    let Some(running) = running else { return Ok(Measurements { replicas_now: 0, replicas: Vec::new(), minutes }) };
    let mut query = tx.sql.prepare_cached(
        "SELECT at, replicas
         FROM replica_count
         WHERE deployment_id = :deployment_id AND at <= :end
           AND at >= (SELECT ifnull(max(at), 0) FROM replica_count WHERE deployment_id = :deployment_id AND at <= :start)
         ORDER BY at",
    )?;
    let params = named_params! {
        ":deployment_id": running.deployment_id,
        ":start": period.start,
        ":end": period.end,
    };
    let rows =
        query.query_map(params, |row| Ok(ReplicasFrom { at: row.get("at")?, replicas: row.get("replicas")? }))?;
    let replicas = rows.collect::<Result<_, _>>()?;
    Ok(Measurements { replicas_now: replicas_now(tx, &running)?, replicas, minutes })
}

/// How many replicas run. Where models do not run, nothing is counted, and the settings tell how many there would be.
fn replicas_now(tx: &Tx, running: &Running) -> Result<i64, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT replicas FROM replica_count WHERE deployment_id = :deployment_id ORDER BY at DESC LIMIT 1",
    )?;
    let params = named_params! { ":deployment_id": running.deployment_id };
    let counted = query.query_row(params, |row| row.get("replicas")).optional()?;
    Ok(counted.unwrap_or(running.replicas_of_status))
}

fn minute_from_row(row: &Row) -> rusqlite::Result<Minute> {
    Ok(Minute {
        minute: row.get("minute")?,
        calls: Calls {
            successes: row.get("successes")?,
            client_errors: row.get("client_errors")?,
            server_errors: row.get("server_errors")?,
            milliseconds: row.get("milliseconds")?,
            latencies: Latencies::of_bytes(row.get_ref("latencies")?.as_blob()?),
        },
    })
}
