//! What the runner reads and writes: deployments of all teams that wait for a next step. The runner acts for no caller,
//! so these functions take no proof of access and make no entry in the audit log; its actions are in the log of the
//! deployment.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::deployments::patches::{self, Synced};
use crate::db::deployments::{from_row, select};
use crate::db::environments::promotion;
use crate::db::{Tx, chains, logs, uploads};
use crate::domain::deployments::Deployment;
use crate::domain::serving::{Level, Status};
use crate::domain::{Archive, OrgId, TeamId};
use crate::error::Error;

/// How many deployments are listed at most: of one organization those that need a quick step, and of one team those
/// that need an archive to be read.
const STEPS_MAX: i64 = 32;
const READINGS_MAX: i64 = 32;

/// Which steps the runner takes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All: nothing runs, so that a deployment is active once its archive was read.
    All,
    /// Those on archives. The lifecycle takes the others.
    OfArchives,
}

/// A deployment that waits for its next step.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: String,
    pub org_id: OrgId,
    pub team_id: TeamId,
    /// Whether the step may need to read or write an archive, which takes long.
    pub is_slow: bool,
}

/// Lists deployments that wait for their next step. Quick steps take turns between organizations and slow steps between
/// teams, the oldest first in each. The list is bounded, so its cost does not grow with the queue. `rules` is the
/// version of the archive reader. Only columns whose values are always readable are read: an error in one deployment
/// must not hide the others.
///
/// While models run, the lifecycle takes the steps that are no work on an archive, so they are not listed.
pub fn waiting(tx: &Tx, rules: i64, part: Part) -> Result<Vec<Waiting>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, org_id, team_id, is_slow
         FROM (
             SELECT id, org_id, team_id, is_slow, created_at,
                    row_number() OVER (
                        PARTITION BY org_id, is_slow, CASE WHEN is_slow THEN team_id END
                        ORDER BY created_at, id
                    ) AS turn
             FROM (
                 SELECT id, org_id, team_id, created_at,
                        CASE status
                            WHEN 'UPDATING' THEN 1
                            WHEN 'BUILDING' THEN s3_key IS NOT NULL AND NOT EXISTS (
                                SELECT 1
                                FROM upload JOIN archive_reading ON archive_reading.hash = upload.hash
                                WHERE upload.s3_key = deployment.s3_key
                                  AND rules = :rules
                                  AND (truss_hash IS NOT NULL OR failure IS NOT NULL)
                            )
                            ELSE 0
                        END AS is_slow
                 FROM deployment
                 WHERE status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP')
                   AND (:takes_all
                        OR status = 'BUILDING' AND s3_key IS NOT NULL AND truss_hash IS NULL
                        OR status = 'UPDATING' AND EXISTS (
                            SELECT 1 FROM deployment_patch WHERE deployment_id = deployment.id AND is_synced = 1
                        ))
             )
         )
         WHERE turn <= CASE WHEN is_slow THEN :readings_max ELSE :steps_max END
         ORDER BY turn, created_at, id",
    )?;
    let parameters = named_params! {
        ":rules": rules,
        ":readings_max": READINGS_MAX,
        ":steps_max": STEPS_MAX,
        ":takes_all": part == Part::All,
    };
    let rows = query.query_map(parameters, |row| {
        Ok(Waiting {
            id: row.get("id")?,
            org_id: row.get("org_id")?,
            team_id: row.get("team_id")?,
            is_slow: row.get("is_slow")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the deployment still waits for patches to be written into its archive.
pub fn is_updating(tx: &Tx, id: &str) -> Result<bool, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM deployment WHERE id = :id AND status = 'UPDATING')")?;
    Ok(query.query_row(named_params! { ":id": id }, |row| row.get(0))?)
}

/// The deployment with this id, of any team.
pub fn find(tx: &Tx, id: &str) -> Result<Option<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE id = :id"))?;
    Ok(query.query_row(named_params! { ":id": id }, from_row).optional()?)
}

/// The archive that a deployment was made from; `None` if it was made from a configuration alone.
pub fn archive(tx: &Tx, deployment: &Deployment) -> Result<Option<Archive>, Error> {
    match &deployment.s3_key {
        Some(s3_key) => uploads::find(tx, s3_key),
        None => Ok(None),
    }
}

/// The outcome of a step.
#[derive(Clone, Debug)]
pub struct Step {
    pub status: Status,
    pub level: Level,
    pub message: String,
    /// The hash of the contents that were read from the archive.
    pub truss_hash: Option<String>,
}

/// Records one step of a deployment, unless the deployment has changed since it was read. A deployment that becomes
/// active takes over the environment that it is a candidate for; one that fails stops being a candidate.
pub fn advance(tx: &Tx, seen: &Deployment, step: &Step) -> Result<(), Error> {
    let mut advance = tx.sql.prepare_cached(
        "UPDATE deployment
         SET status = :status, updated_at = :now, truss_hash = coalesce(:truss_hash, truss_hash)
         WHERE id = :id AND status = :seen AND s3_key IS :s3_key
         RETURNING candidate_for",
    )?;
    let advanced = advance.query_row(
        named_params! {
            ":status": step.status,
            ":now": tx.now,
            ":truss_hash": step.truss_hash,
            ":id": seen.id,
            ":seen": seen.status,
            ":s3_key": seen.s3_key,
        },
        |_| Ok(()),
    );
    if advanced.optional()?.is_none() {
        return Ok(());
    }
    logs::append(tx, &seen.id, step.level, &step.message)?;
    let Some(now) = find(tx, &seen.id)? else { return Ok(()) };
    chains::promotion::follow(tx, &now)?;
    promotion::follow(tx, &now)
}

/// Records that the patches cannot be applied: they are deleted, and the deployment fails.
pub fn fail_patches(tx: &Tx, seen: &Deployment, synced: &Synced, why: &str) -> Result<(), Error> {
    patches::forget(tx, &seen.id, synced)?;
    let message = format!("cannot be patched: {why}");
    advance(tx, seen, &Step { status: Status::Failed, level: Level::Error, message, truss_hash: None })
}

/// Ends a deployment whose next step cannot be taken, whatever the cause. Only columns whose values are always readable
/// are used. The deployment takes over no environment, and neither does its Chain.
pub fn give_up(tx: &Tx, id: &str, why: &str) -> Result<(), Error> {
    let mut end = tx.sql.prepare_cached(
        "UPDATE deployment
         SET status = CASE status
                 WHEN 'BUILDING' THEN 'BUILD_FAILED'
                 WHEN 'DEPLOYING' THEN 'DEPLOY_FAILED'
                 WHEN 'LOADING_MODEL' THEN 'DEPLOY_FAILED'
                 ELSE 'FAILED'
             END,
             candidate_for = NULL, cleanup = NULL, updated_at = :now
         WHERE id = :id
           AND status IN ('BUILDING', 'DEPLOYING', 'LOADING_MODEL', 'UPDATING', 'DEACTIVATING', 'WAKING_UP')",
    )?;
    if end.execute(named_params! { ":now": tx.now, ":id": id })? == 0 {
        return Ok(());
    }
    tx.sql
        .prepare_cached(
            "UPDATE chain_deployment
             SET candidate_for = NULL, cleanup = NULL
             WHERE id = (SELECT chain_deployment_id FROM chainlet WHERE deployment_id = :id)",
        )?
        .execute(named_params! { ":id": id })?;
    logs::append(tx, id, Level::Error, why)
}
