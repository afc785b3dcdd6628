//! What the lifecycle of models reads and writes: the deployments that it keeps running, their replicas, and the attempts to start
//! them. Like the rest of the runner it acts for no caller, so these functions take no proof of access.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::deployments::{Changeable, from_row};
use crate::db::progress::{self, Step};
use crate::db::{Tx, logs};
use crate::domain::deployments::Deployment;
use crate::domain::serving::{Level, Status};
use crate::domain::{OrgId, TeamId};
use crate::error::Error;

/// How often a deployment is built or started if each attempt ends with the server.
const ATTEMPTS_MAX: i64 = 2;

/// A deployment that the lifecycle keeps in the state that its status says.
#[derive(Clone, Debug)]
pub struct Kept {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub deployment: Deployment,
    /// How long it may take to become active.
    pub timeout_minutes: Option<i64>,
    /// How often building it began and did not end, because the server ended meanwhile.
    pub start_attempts: i64,
    /// Whether its archive is read or patched first.
    pub waits_for_archive: bool,
    /// The deployment of the Chain that a chainlet belongs to.
    pub chain_deployment_id: Option<String>,
    /// The environment that it serves.
    pub chain_environment: Option<String>,
}

impl Kept {
    /// The environment that calls of this deployment belong to.
    pub fn environment(&self) -> Option<&str> {
        self.deployment.environment.as_deref().or(self.chain_environment.as_deref())
    }
}

/// A chainlet's place in its Chain.
#[derive(Clone, Debug)]
pub struct InChain {
    pub chain_id: String,
    pub chain_deployment_id: String,
    /// The chainlets of the Chain's deployment.
    pub chainlets: Vec<Sibling>,
}

/// A chainlet of the same deployment of a Chain.
#[derive(Clone, Debug)]
pub struct Sibling {
    pub name: String,
    pub model_id: String,
    pub deployment_id: String,
}

/// The deployments that are kept, the oldest first. A row that cannot be read is left out, so that it hides no other.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn kept(tx: &Tx) -> Result<Vec<Kept>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, model_id, name, number, status, environment, candidate_for, cleanup, labels, instance_type,
                autoscaling, backpressure, s3_key, truss_hash, replicas, is_patched, created_at, org_id, team_id,
                timeout_minutes,
                start_attempts,
                CASE status
                    WHEN 'BUILDING' THEN s3_key IS NOT NULL AND truss_hash IS NULL
                    WHEN 'UPDATING' THEN EXISTS (
                        SELECT 1 FROM deployment_patch WHERE deployment_id = deployment.id AND is_synced = 1
                    )
                    ELSE 0
                END AS waits_for_archive,
                (SELECT chain_deployment_id FROM chainlet WHERE deployment_id = deployment.id) AS chain_deployment_id,
                (SELECT chain_deployment.environment
                 FROM chainlet JOIN chain_deployment ON chain_deployment.id = chainlet.chain_deployment_id
                 WHERE chainlet.deployment_id = deployment.id) AS chain_environment
         FROM deployment INDEXED BY deployment_kept
         WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'ACTIVE', 'UNHEALTHY', 'UPDATING', 'SCALED_TO_ZERO',
                          'WAKING_UP', 'DEACTIVATING')
         ORDER BY created_at, id",
    )?;
    let rows = query.query_map([], |row| Ok(kept_from_row(row)))?;
    let mut kept = Vec::new();
    for row in rows {
        match row? {
            Ok(one) => kept.push(one),
            Err(cause) => tracing::error!(?cause, "a deployment cannot be read"),
        }
    }
    Ok(kept)
}

fn kept_from_row(row: &Row) -> rusqlite::Result<Kept> {
    Ok(Kept {
        org_id: row.get("org_id")?,
        team_id: row.get("team_id")?,
        deployment: from_row(row)?,
        timeout_minutes: row.get("timeout_minutes")?,
        start_attempts: row.get("start_attempts")?,
        waits_for_archive: row.get("waits_for_archive")?,
        chain_deployment_id: row.get("chain_deployment_id")?,
        chain_environment: row.get("chain_environment")?,
    })
}

/// The Chain that a deployment is a chainlet of.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn chain_of(tx: &Tx, deployment_id: &str) -> Result<Option<InChain>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chain_deployment.id, chain_deployment.chain_id
         FROM chainlet JOIN chain_deployment ON chain_deployment.id = chainlet.chain_deployment_id
         WHERE chainlet.deployment_id = :deployment_id",
    )?;
    let found = query.query_row(named_params! { ":deployment_id": deployment_id }, |row| {
        Ok((row.get::<_, String>("id")?, row.get::<_, String>("chain_id")?))
    });
    let Some((chain_deployment_id, chain_id)) = found.optional()? else { return Ok(None) };
    let mut query = tx.sql.prepare_cached(
        "SELECT name, model_id, deployment_id
         FROM chainlet
         WHERE chain_deployment_id = :id
         ORDER BY place",
    )?;
    let chainlets = query.query_map(named_params! { ":id": chain_deployment_id }, |row| {
        Ok(Sibling { name: row.get("name")?, model_id: row.get("model_id")?, deployment_id: row.get("deployment_id")? })
    })?;
    let chainlets = chainlets.collect::<Result<_, _>>()?;
    Ok(Some(InChain { chain_id, chain_deployment_id, chainlets }))
}

/// Prepares the rows for a server that runs models. What served before is woken up, because no process of an earlier
/// server is left. What was begun twice and never ended has failed: it is not begun a third time.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn begin(tx: &Tx) -> Result<(), Error> {
    forget_replicas(tx)?;
    tx.sql.execute("UPDATE deployment SET replicas = 0", [])?;
    for one in kept(tx)? {
        let deployment = &one.deployment;
        let attempts = one.start_attempts;
        let step = match deployment.status {
            _ if attempts >= ATTEMPTS_MAX => {
                end_attempt(tx, &deployment.id)?;
                let message = format!(
                    "the server ended {attempts} times while it built or started this, so it is not tried again: retry it, \
                     or push again"
                );
                Step { status: Status::Failed, level: Level::Error, message, truss_hash: None }
            }
            Status::Active | Status::Unhealthy => told(Status::WakingUp, "the server was started again: wakes up"),
            Status::LoadingModel => told(Status::Deploying, "the server was started again: is deployed again"),
            Status::Updating if !one.waits_for_archive => {
                told(Status::WakingUp, "the server was started again: wakes up")
            }
            Status::Building
            | Status::Deploying
            | Status::DeployFailed
            | Status::BuildFailed
            | Status::BuildStopped
            | Status::Deactivating
            | Status::Inactive
            | Status::Failed
            | Status::Updating
            | Status::ScaledToZero
            | Status::WakingUp => continue,
        };
        progress::advance(tx, deployment, &step)?;
    }
    Ok(())
}

fn told(status: Status, message: &str) -> Step {
    Step { status, level: Level::Info, message: message.to_owned(), truss_hash: None }
}

/// Records that the server stops in order: no replica is left, and no attempt of these deployments was broken off.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn end(tx: &Tx, ids: &[String]) -> Result<(), Error> {
    forget_replicas(tx)?;
    tx.sql.execute("UPDATE deployment SET replicas = 0 WHERE replicas > 0", [])?;
    ids.iter().try_for_each(|id| end_attempt(tx, id))
}

/// Prepares the rows for a server that does not run models: how many replicas run is no longer known.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn rest(tx: &Tx) -> Result<(), Error> {
    forget_replicas(tx)?;
    tx.sql.execute(
        "UPDATE deployment SET replicas = NULL, start_attempts = 0 WHERE replicas IS NOT NULL OR start_attempts > 0",
        [],
    )?;
    Ok(())
}

fn forget_replicas(tx: &Tx) -> Result<(), Error> {
    tx.sql.execute("DELETE FROM replica", [])?;
    Ok(())
}

/// Takes a deployment to a status, if its status is still one of `from`. Returns whether it was.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn advance(tx: &Tx, id: &str, from: &[Status], step: &Step) -> Result<bool, Error> {
    let Some(seen) = progress::find(tx, id)?.filter(|seen| from.contains(&seen.status)) else { return Ok(false) };
    progress::advance(tx, &seen, step)?;
    Ok(true)
}

/// Writes a line of the runner into the log of a deployment, if there is still one with this id.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn tell(tx: &Tx, id: &str, level: Level, message: &str) -> Result<(), Error> {
    match progress::find(tx, id)? {
        Some(_) => logs::append(tx, id, level, message),
        None => Ok(()),
    }
}

/// Records that a deployment is being built or started.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn begin_attempt(tx: &Tx, id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE deployment SET start_attempts = start_attempts + 1 WHERE id = :id")?
        .execute(named_params! { ":id": id })?;
    Ok(())
}

/// Records that building or starting a deployment ended, however it ended.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn end_attempt(tx: &Tx, id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE deployment SET start_attempts = 0 WHERE id = :id")?
        .execute(named_params! { ":id": id })?;
    Ok(())
}

/// Records a replica that serves. A deployment that is gone gets none.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn add_replica(tx: &Tx, deployment_id: &str, replica_id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO replica (id, org_id, team_id, deployment_id, started_at)
             SELECT :replica_id, org_id, team_id, id, :now
             FROM deployment
             WHERE id = :deployment_id",
        )?
        .execute(named_params! { ":replica_id": replica_id, ":deployment_id": deployment_id, ":now": tx.now })?;
    count_replicas(tx, deployment_id)
}

/// Records that a replica no longer serves.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn remove_replica(tx: &Tx, deployment_id: &str, replica_id: &str) -> Result<(), Error> {
    tx.sql.prepare_cached("DELETE FROM replica WHERE id = :id")?.execute(named_params! { ":id": replica_id })?;
    count_replicas(tx, deployment_id)
}

fn count_replicas(tx: &Tx, deployment_id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET replicas = (SELECT count(*) FROM replica WHERE deployment_id = :id)
             WHERE id = :id",
        )?
        .execute(named_params! { ":id": deployment_id })?;
    Ok(())
}

/// Terminates a replica of a deployment. Another is started in its place.
///
/// # Errors
///
/// [`Error::NotFound`] for a replica that does not serve.
pub fn terminate(tx: &Tx, changeable: &Changeable, replica_id: &str) -> Result<(), Error> {
    let terminated = tx
        .sql
        .prepare_cached("UPDATE replica SET is_unwanted = 1 WHERE id = :id AND deployment_id = :deployment_id")?
        .execute(named_params! { ":id": replica_id, ":deployment_id": changeable.deployment().id })?;
    if terminated == 0 {
        return Err(Error::NotFound("replica"));
    }
    changeable.record(tx, "MODEL_DEPLOYMENT_REPLICA_TERMINATED", json!({ "replica_id": replica_id }))
}

/// The replicas that somebody has terminated and that have not ended yet, each with its deployment.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn unwanted_replicas(tx: &Tx) -> Result<Vec<(String, String)>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT deployment_id, id FROM replica WHERE is_unwanted = 1 ORDER BY id")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
