//! What the runner reads and writes: deployments on their way, of whatever team. It acts for nobody, so it takes no proof
//! and leaves no entry in the audit log; what it does stands in the deployment's own log.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::deployments::{Deployment, from_row, select};
use crate::db::environments::promotion;
use crate::db::{Tx, chains, logs, uploads};
use crate::error::Error;
use crate::model::Archive;
use crate::model::serving::{Level, Status};

/// Everything that waits for its next step, the oldest first.
pub fn under_way(tx: &Tx) -> Result<Vec<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP')
         ORDER BY created_at, id"
    ))?;
    let rows = query.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The archive that a deployment was made of.
pub fn archive(tx: &Tx, deployment: &Deployment) -> Result<Option<Archive>, Error> {
    match &deployment.s3_key {
        Some(s3_key) => uploads::find(tx, s3_key),
        None => Ok(None),
    }
}

/// What came of a step.
#[derive(Debug)]
pub struct Step {
    pub status: Status,
    pub level: Level,
    pub told: String,
    /// What the archive turned out to hold.
    pub content: Option<Content>,
}

/// An archive's content, as `truss watch` compares it.
#[derive(Clone, Debug)]
pub struct Content {
    pub hash: String,
    pub signature: String,
}

/// Takes a deployment one step on, unless somebody changed it meanwhile. What becomes active takes over the environment
/// that it waits for; what fails waits no longer.
pub fn advance(tx: &Tx, seen: &Deployment, step: &Step) -> Result<(), Error> {
    let content = step.content.as_ref();
    let mut advance = tx.sql.prepare_cached(
        "UPDATE deployment
         SET status = :status, updated_at = :now,
             truss_hash = coalesce(:hash, truss_hash), truss_signature = coalesce(:signature, truss_signature)
         WHERE id = :id AND status = :seen AND s3_key IS :s3_key
         RETURNING candidate_for",
    )?;
    let advanced = advance.query_row(
        named_params! {
            ":status": step.status,
            ":now": tx.now,
            ":hash": content.map(|content| &content.hash),
            ":signature": content.map(|content| &content.signature),
            ":id": seen.id,
            ":seen": seen.status,
            ":s3_key": seen.s3_key,
        },
        |_| Ok(()),
    );
    if advanced.optional()?.is_none() {
        return Ok(());
    }
    logs::append(tx, &seen.id, step.level, &step.told)?;
    let now = reread(tx, &seen.id)?;
    chains::promotion::follow(tx, &now)?;
    match (step.status, &now.candidate_for) {
        (Status::Active, Some(_)) => promotion::settle(tx, &now),
        (Status::BuildFailed | Status::DeployFailed | Status::Failed | Status::Inactive, Some(environment)) => {
            promotion::drop_candidate(tx, &now.model_id, environment)?;
            let told = format!("does not take over the environment \"{environment}\"");
            logs::append(tx, &now.id, Level::Warning, &told)
        }
        _ => Ok(()),
    }
}

fn reread(tx: &Tx, id: &str) -> Result<Deployment, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE id = :id"))?;
    Ok(query.query_row(named_params! { ":id": id }, from_row)?)
}
