//! Patches of a development deployment, as `truss watch` creates them. They are staged as a sequence. After a sync the
//! runner applies them to the archive.

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

/// How many patches of a deployment can wait. Then the model must be pushed again.
const PATCHES_MAX: i64 = 1000;

/// A change of one file of the archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    /// In base 64. `None` removes the file.
    pub content: Option<String>,
}

/// The content that runs, and the content after all staged patches.
#[derive(Debug)]
pub struct State {
    pub running: Option<Content>,
    pub pending: Option<Content>,
    /// Whether patches were applied to the content that runs since it was pushed.
    pub is_patched: bool,
}

/// The content that runs and the content after all staged patches.
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

/// The content hash that the last staged patch leads to.
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

/// The error for a deployment whose running content is unknown.
///
/// [`Error::NotFound`] if it has no archive, [`Error::Unavailable`] while it is being built, and else
/// [`Error::Conflict`]. Only the content of a deployment that is being built becomes known later.
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

/// A patch: the content that it starts from, the content that it leads to, and the changes between them.
#[derive(Debug)]
pub struct Patch {
    pub prev_hash: String,
    pub next: Content,
    /// The configuration after the patch.
    pub config: Map<String, Value>,
    pub changes: Vec<FileChange>,
}

/// Stages a patch.
///
/// # Errors
///
/// [`Error::Invalid`] if the new configuration names secrets that a push could not name. [`Error::Conflict`] for a
/// published deployment, for a patch that does not start from the content of the last staged patch (or, without one,
/// from the content that runs), and if too many patches are staged. If the running content is unknown, the error is
/// that of [`why_unknown`].
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

/// The hash of the content that a signature describes. It covers each path, and for a file also the hash of its
/// content. Paths are sorted by their parts.
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

/// The result of a sync.
#[derive(Debug)]
pub enum Verdict {
    Synced,
    /// The reason why the model must be pushed again.
    NeedsFullDeploy(String),
}

/// Makes the runner apply all staged patches to the running deployment.
///
/// # Errors
///
/// [`Error::Conflict`] for a published deployment. [`Error::Unavailable`] while the deployment starts.
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

/// Patches that were synced and are not in the archive yet, in order.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The numbers of the patches. Their changes are read one patch at a time, because together they may be large.
    pub numbers: Vec<i64>,
    /// How often applying them was started and did not end.
    pub attempts: i64,
    /// The content after the last of the patches.
    pub last: Content,
}

/// The patches of a deployment that were synced and are not in the archive yet. `None` if there are none.
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

/// The file changes of one patch.
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

/// Records that the runner starts to apply the synced patches.
pub fn begin_attempt(tx: &Tx, deployment_id: &str) -> Result<(), Error> {
    change_attempts(tx, deployment_id, 1)
}

/// Records that applying the synced patches ended without a result, because the server stops or because of an internal
/// error. The attempt does not count.
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

/// The content of the archive after the patches.
pub struct Applied<'a> {
    pub archive: &'a Archive,
    pub config: &'a Map<String, Value>,
    pub raw_config: &'a str,
}

/// Records that the archive now holds the patches. The previous upload remains for other deployments that use it.
///
/// Does nothing if the deployment was pushed again meanwhile.
pub fn applied(tx: &Tx, seen: &Deployment, synced: &Synced, applied: &Applied) -> Result<(), Error> {
    let Some(before) = &seen.s3_key else { return Ok(()) };
    let is_as_seen: bool = tx
        .sql
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM deployment WHERE id = :id AND s3_key = :s3_key)")?
        .query_row(named_params! { ":id": seen.id, ":s3_key": before }, |row| row.get(0))?;
    if !is_as_seen {
        return Ok(()); // the deployment was pushed again meanwhile
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

/// Deletes these patches and the earlier ones of the deployment.
pub(in crate::db) fn forget(tx: &Tx, deployment_id: &str, synced: &Synced) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM deployment_patch WHERE deployment_id = :id AND number <= :number")?
        .execute(named_params! { ":id": deployment_id, ":number": synced.numbers.last() })?;
    Ok(())
}
