//! Patches of a development deployment, as `truss watch` makes them: staged in a row one behind the other, and brought into
//! the archive by the runner once they are synced.

use rusqlite::{OptionalExtension as _, named_params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::db::deployments::{Changeable, check_secrets, write_json};
use crate::db::{Tx, deployments, logs, uploads};
use crate::domain::Archive;
use crate::domain::deployments::{Content, Deployment};
use crate::domain::serving::{Level, Phase, Status};
use crate::error::Error;
use crate::token;

/// How many patches wait at most; then it must be pushed again.
const PATCHES_MAX: i64 = 1000;

/// A change of one file of the archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    /// In base 64; `None` removes the file.
    pub content: Option<String>,
}

/// What runs, and what is staged on top of it.
#[derive(Debug)]
pub struct State {
    pub running: Option<Content>,
    pub pending: Option<Content>,
    /// Whether what runs holds patches, or is as it was pushed.
    pub is_patched: bool,
}

pub fn state(tx: &Tx, deployment: &Deployment) -> Result<State, Error> {
    let running = match (&deployment.truss_hash, deployments::signature(tx, deployment)?) {
        (Some(hash), Some(signature)) => Some(Content { hash: hash.clone(), signature }),
        _ => None,
    };
    let mut query = tx.sql.prepare_cached(
        "SELECT hash, signature
         FROM deployment_patch
         WHERE deployment_id = :id
         ORDER BY number DESC
         LIMIT 1",
    )?;
    let pending = query.query_row(named_params! { ":id": deployment.id }, |row| {
        Ok(Content { hash: row.get("hash")?, signature: row.get("signature")? })
    });
    Ok(State { running, pending: pending.optional()?, is_patched: deployment.is_patched })
}

/// The hash of what the last patch that waits leads to.
fn last_hash(tx: &Tx, deployment: &Deployment) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT hash
         FROM deployment_patch
         WHERE deployment_id = :id
         ORDER BY number DESC
         LIMIT 1",
    )?;
    Ok(query.query_row(named_params! { ":id": deployment.id }, |row| row.get("hash")).optional()?)
}

/// Why it is not known what a deployment runs. Only one that is being built will be known.
pub fn why_unknown(deployment: &Deployment) -> Error {
    if deployment.s3_key.is_none() {
        let what = "archive: none was uploaded for this deployment, so it cannot be patched; push it with its archive";
        return Error::NotFound(what);
    }
    match deployment.status.phase() {
        Phase::Starting => Error::Unavailable("the deployment is not built yet: try again"),
        Phase::Serving | Phase::Asleep | Phase::Off | Phase::Failed => Error::conflict(format!(
            "the deployment is {}, and it is not known what it runs: push it again",
            deployment.status
        )),
    }
}

/// A patch: what it starts from, what it leads to, and how.
#[derive(Debug)]
pub struct Patch {
    pub prev_hash: String,
    pub next: Content,
    /// The configuration that it leads to.
    pub config: Map<String, Value>,
    pub changes: Vec<FileChange>,
}

/// Keeps a patch. It must start from where the one before led, and name no secret that could not have been pushed.
pub fn stage(tx: &Tx, changeable: &Changeable, patch: &Patch) -> Result<(), Error> {
    let deployment = &changeable.deployment;
    check_secrets(tx, changeable.reader(), &patch.config, changeable.model.provided_secrets())?;
    refuse_published(deployment)?;
    let running = deployment.truss_hash.clone().ok_or_else(|| why_unknown(deployment))?;
    if last_hash(tx, deployment)?.unwrap_or(running) != patch.prev_hash {
        return Err(Error::conflict(
            "the patch does not start from what is deployed or staged here: ask for the state again",
        ));
    }
    let number: i64 = tx
        .sql
        .prepare_cached("SELECT 1 + coalesce(max(number), 0) FROM deployment_patch WHERE deployment_id = :id")?
        .query_row(named_params! { ":id": deployment.id }, |row| row.get(0))?;
    if number > PATCHES_MAX {
        return Err(Error::conflict("too many patches wait: push the model again"));
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO deployment_patch (deployment_id, number, operations, hash, signature)
             VALUES (:id, :number, :operations, :hash, :signature)",
        )?
        .execute(named_params! {
            ":id": deployment.id,
            ":number": number,
            ":operations": write_json(&patch.changes),
            ":hash": patch.next.hash,
            ":signature": patch.next.signature,
        })?;
    changeable.record(tx, "MODEL_DEPLOYMENT_PATCH_STAGED", json!({ "hash": patch.next.hash }))
}

/// The hash of what a signature describes: each path in the order of its parts, and what it holds if it is a file.
pub fn hash_of(signature: &Value) -> String {
    let hashes = signature["content_hashes_by_path"].as_object();
    let mut paths: Vec<(&String, &Value)> = hashes.into_iter().flatten().collect();
    paths.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    let mut hasher = blake3::Hasher::new();
    for (path, hash) in paths {
        hasher.update(blake3::hash(path.as_bytes()).as_bytes());
        if let Some(bytes) = hash.as_str().and_then(token::bytes_of_hex) {
            hasher.update(&bytes);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// What came of a sync.
#[derive(Debug)]
pub enum Verdict {
    Synced,
    /// Why it must be pushed again.
    NeedsFullDeploy(String),
}

/// Lets the runner bring everything that is staged into the running deployment.
pub fn sync(tx: &Tx, changeable: &Changeable) -> Result<Verdict, Error> {
    let deployment = &changeable.deployment;
    refuse_published(deployment)?;
    let verdict = match deployment.status.phase() {
        Phase::Starting => return Err(Error::Unavailable("the deployment is not active yet: try again")),
        Phase::Off | Phase::Failed => Verdict::NeedsFullDeploy(format!("the deployment is {}", deployment.status)),
        Phase::Serving | Phase::Asleep => {
            if deployment.s3_key.is_none() {
                Verdict::NeedsFullDeploy("the deployment has no archive".to_owned())
            } else {
                begin(tx, deployment)?;
                Verdict::Synced
            }
        }
    };
    changeable.record(tx, "MODEL_DEPLOYMENT_PATCHES_SYNCED", json!({}))?;
    Ok(verdict)
}

fn begin(tx: &Tx, deployment: &Deployment) -> Result<(), Error> {
    let synced = tx
        .sql
        .prepare_cached("UPDATE deployment_patch SET is_synced = 1 WHERE deployment_id = :id AND is_synced = 0")?
        .execute(named_params! { ":id": deployment.id })?;
    if synced == 0 {
        return Ok(());
    }
    tx.sql
        .prepare_cached("UPDATE deployment SET status = :status, updated_at = :now WHERE id = :id")?
        .execute(named_params! { ":status": Status::Updating, ":now": tx.now, ":id": deployment.id })?;
    logs::append(tx, &deployment.id, Level::Info, &told(synced))
}

fn told(patches: usize) -> String {
    if patches == 1 { "brings in a patch".to_owned() } else { format!("brings in {patches} patches") }
}

fn refuse_published(deployment: &Deployment) -> Result<(), Error> {
    if deployment.is_development() {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "deployment \"{}\" is published: only the development deployment can be patched",
        deployment.name
    )))
}

// ---- for the runner ----

/// Patches that were synced and that the archive does not hold yet, one behind the other.
#[derive(Clone, Debug)]
pub struct Synced {
    /// Of the patches. What they change is read one at a time: all of them may be large.
    pub numbers: Vec<i64>,
    /// How often it was begun to bring them in, without an end.
    pub attempts: i64,
    /// Where the last leads to.
    pub last: Content,
}

pub fn synced(tx: &Tx, deployment: &Deployment) -> Result<Option<Synced>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT number, attempts
         FROM deployment_patch
         WHERE deployment_id = :id AND is_synced = 1
         ORDER BY number",
    )?;
    let rows = query
        .query_map(named_params! { ":id": deployment.id }, |row| Ok((row.get("number")?, row.get("attempts")?)))?;
    let rows: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
    let Some((last, _)) = rows.last() else { return Ok(None) };
    let mut query = tx.sql.prepare_cached(
        "SELECT hash, signature
         FROM deployment_patch
         WHERE deployment_id = :id AND number = :number",
    )?;
    let last = query.query_row(named_params! { ":id": deployment.id, ":number": last }, |row| {
        Ok(Content { hash: row.get("hash")?, signature: row.get("signature")? })
    })?;
    let attempts = rows.iter().map(|(_, attempts)| *attempts).max().unwrap_or_default();
    Ok(Some(Synced { numbers: rows.into_iter().map(|(number, _)| number).collect(), attempts, last }))
}

/// What one patch changes.
pub fn changes(tx: &Tx, deployment_id: &str, number: i64) -> Result<Vec<FileChange>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT operations
         FROM deployment_patch
         WHERE deployment_id = :id AND number = :number",
    )?;
    let params = named_params! { ":id": deployment_id, ":number": number };
    let found = query.query_row(params, |row| super::read_json(row, "operations")).optional()?;
    Ok(found.flatten().unwrap_or_default())
}

/// Records that it is begun to bring in what is synced.
pub fn begin_attempt(tx: &Tx, deployment_id: &str) -> Result<(), Error> {
    change_attempts(tx, deployment_id, 1)
}

/// Records that this ended without a result: the server stops, or something of ours failed.
pub fn give_back_attempt(tx: &Tx, deployment_id: &str) -> Result<(), Error> {
    change_attempts(tx, deployment_id, -1)
}

fn change_attempts(tx: &Tx, deployment_id: &str, by: i64) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE deployment_patch
             SET attempts = max(0, attempts + :by)
             WHERE deployment_id = :id AND is_synced = 1",
        )?
        .execute(named_params! { ":by": by, ":id": deployment_id })?;
    Ok(())
}

/// What the archive holds once patches are in it.
pub struct Applied<'a> {
    pub archive: &'a Archive,
    pub config: &'a Map<String, Value>,
    pub raw_config: &'a str,
}

/// The archive holds the patches now. The upload that it was before stays with the deployments that use it.
pub fn applied(tx: &Tx, seen: &Deployment, synced: &Synced, applied: &Applied) -> Result<(), Error> {
    let Some(before) = &seen.s3_key else { return Ok(()) };
    let is_as_seen: bool = tx
        .sql
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM deployment WHERE id = :id AND s3_key = :s3_key)")?
        .query_row(named_params! { ":id": seen.id, ":s3_key": before }, |row| row.get(0))?;
    if !is_as_seen {
        return Ok(()); // it was pushed again meanwhile
    }
    let s3_key = uploads::succeed(tx, before, applied.archive)?;
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET s3_key = :s3_key, truss_hash = :hash, truss_signature = :signature, is_patched = 1, config = :config,
                 raw_config = :raw_config, updated_at = :now
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":s3_key": s3_key,
            ":hash": synced.last.hash,
            ":signature": synced.last.signature,
            ":config": write_json(applied.config),
            ":raw_config": applied.raw_config,
            ":now": tx.now,
            ":id": seen.id,
        })?;
    forget(tx, &seen.id, synced)?;
    logs::append(tx, &seen.id, Level::Info, "the archive holds the patches")
}

pub(in crate::db) fn forget(tx: &Tx, deployment_id: &str, synced: &Synced) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM deployment_patch WHERE deployment_id = :id AND number <= :number")?
        .execute(named_params! { ":id": deployment_id, ":number": synced.numbers.last() })?;
    Ok(())
}
