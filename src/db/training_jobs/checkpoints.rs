//! Checkpoints that training jobs keep, and the files of these and of the caches of projects.
//!
//! The files are on the disk; the trainer stores here what it found there, so that no request reads folders.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::Tx;
use crate::db::training_jobs::running;
use crate::domain::training_jobs::{Checkpoint, Job, StoredFile};
use crate::error::Error;
use crate::policy::InTeam;

/// A part of a list of files, and how many there are in all.
pub struct Page {
    pub files: Vec<StoredFile>,
    pub total: u64,
}

/// The checkpoints of a job of the team, oldest first.
pub fn list(tx: &Tx, team: &InTeam, job: &Job) -> Result<Vec<Checkpoint>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name, kind, base_model, lora_adapter_config, size_bytes, created_at
         FROM training_checkpoint
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id)
         ORDER BY training_checkpoint.created_at, training_checkpoint.name",
    )?;
    let rows = query.query_map(named_params! { ":team_id": team.team().id, ":job_id": job.id }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The files of the checkpoints of a job of the team, in the order of their paths, from `offset` on.
pub fn files(tx: &Tx, team: &InTeam, job: &Job, offset: i64, count: i64) -> Result<Page, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT path, size_bytes, modified_at, 0 AS permissions
         FROM training_checkpoint_file
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id)
         ORDER BY path
         LIMIT :count OFFSET :offset",
    )?;
    let (team_id, job_id) = (&team.team().id, &job.id);
    let params = named_params! { ":team_id": team_id, ":job_id": job_id, ":count": count, ":offset": offset };
    let files = query.query_map(params, file_from_row)?.collect::<Result<_, _>>()?;
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*)
         FROM training_checkpoint_file
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id)",
    )?;
    let total: i64 = query.query_row(named_params! { ":team_id": team_id, ":job_id": job_id }, |row| row.get(0))?;
    Ok(Page { files, total: total as u64 })
}

/// Whether a job of the team has a file of this path in its checkpoints.
pub fn has_file(tx: &Tx, team: &InTeam, job_id: &str, path: &str) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM training_checkpoint_file
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id) AND path = :path",
    )?;
    let params = named_params! { ":team_id": team.team().id, ":job_id": job_id, ":path": path };
    Ok(query.exists(params)?)
}

/// The files in the cache of a project of the team when its last job ended.
pub fn cached(tx: &Tx, team: &InTeam, project_id: &str) -> Result<Vec<StoredFile>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT path, size_bytes, modified_at, permissions
         FROM training_cache_file
         WHERE project_id = (SELECT id FROM training_project WHERE team_id = :team_id AND id = :project_id)
         ORDER BY path",
    )?;
    let params = named_params! { ":team_id": team.team().id, ":project_id": project_id };
    let files = query.query_map(params, file_from_row)?.collect::<Result<_, _>>()?;
    Ok(files)
}

/// The name of the newest checkpoint of the job; `None` if it has none. `team_id` bounds the job to a team.
pub fn latest_of_job(tx: &Tx, team_id: &str, job_id: &str) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name
         FROM training_checkpoint
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id)
         ORDER BY created_at DESC, name DESC
         LIMIT 1",
    )?;
    let found = query.query_row(named_params! { ":team_id": team_id, ":job_id": job_id }, |row| row.get(0));
    Ok(found.optional()?)
}

/// The newest checkpoint of a project of the team: the id of its job, and its name.
pub fn latest_of_project(tx: &Tx, team_id: &str, project_name: &str) -> Result<Option<(String, String)>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT job_id, training_checkpoint.name
         FROM training_checkpoint
         JOIN training_job ON training_job.id = training_checkpoint.job_id
         JOIN training_project ON training_project.id = training_job.project_id
         WHERE training_project.team_id = :team_id AND training_project.name = :project_name
         ORDER BY training_checkpoint.created_at DESC, training_checkpoint.name DESC
         LIMIT 1",
    )?;
    let params = named_params! { ":team_id": team_id, ":project_name": project_name };
    Ok(query.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Whether a job of the team has a checkpoint of this name.
pub fn exists(tx: &Tx, team_id: &str, job_id: &str, name: &str) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM training_checkpoint
         WHERE job_id = (SELECT id FROM training_job WHERE team_id = :team_id AND id = :job_id) AND name = :name",
    )?;
    Ok(query.exists(named_params! { ":team_id": team_id, ":job_id": job_id, ":name": name })?)
}

/// Stores what was found in the checkpoint folder of a job, in place of what was found before.
pub fn replace(tx: &Tx, job_id: &str, checkpoints: &[Checkpoint], files: &[StoredFile]) -> Result<(), Error> {
    if !running::exists(tx, job_id)? {
        return Ok(());
    }
    for table in [
        "DELETE FROM training_checkpoint WHERE job_id = :id",
        "DELETE FROM training_checkpoint_file WHERE job_id = :id",
    ] {
        tx.sql.prepare_cached(table)?.execute(named_params! { ":id": job_id })?;
    }
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO training_checkpoint (job_id, name, kind, base_model, lora_adapter_config, size_bytes, created_at)
         VALUES (:job_id, :name, :kind, :base_model, :lora_adapter_config, :size_bytes, :created_at)",
    )?;
    for checkpoint in checkpoints {
        insert.execute(named_params! {
            ":job_id": job_id,
            ":name": checkpoint.name,
            ":kind": checkpoint.kind,
            ":base_model": checkpoint.base_model,
            ":lora_adapter_config": checkpoint.lora_adapter_config,
            ":size_bytes": checkpoint.size_bytes as i64,
            ":created_at": checkpoint.created_at,
        })?;
    }
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO training_checkpoint_file (job_id, path, size_bytes, modified_at)
         VALUES (:job_id, :path, :size_bytes, :modified_at)",
    )?;
    for file in files {
        insert.execute(named_params! {
            ":job_id": job_id,
            ":path": file.path,
            ":size_bytes": file.size_bytes as i64,
            ":modified_at": file.modified_at,
        })?;
    }
    Ok(())
}

/// Stores what was found in the cache of a project, in place of what was found before.
pub fn replace_cached(tx: &Tx, project_id: &str, files: &[StoredFile]) -> Result<(), Error> {
    if !running::project_exists(tx, project_id)? {
        return Ok(());
    }
    tx.sql
        .prepare_cached("DELETE FROM training_cache_file WHERE project_id = :project_id")?
        .execute(named_params! { ":project_id": project_id })?;
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO training_cache_file (project_id, path, size_bytes, modified_at, permissions)
         VALUES (:project_id, :path, :size_bytes, :modified_at, :permissions)",
    )?;
    for file in files {
        insert.execute(named_params! {
            ":project_id": project_id,
            ":path": file.path,
            ":size_bytes": file.size_bytes as i64,
            ":modified_at": file.modified_at,
            ":permissions": file.permissions,
        })?;
    }
    Ok(())
}

fn from_row(row: &Row) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint {
        name: row.get("name")?,
        kind: row.get("kind")?,
        base_model: row.get("base_model")?,
        lora_adapter_config: row.get("lora_adapter_config")?,
        size_bytes: row.get::<_, i64>("size_bytes")? as u64,
        created_at: row.get("created_at")?,
    })
}

fn file_from_row(row: &Row) -> rusqlite::Result<StoredFile> {
    Ok(StoredFile {
        path: row.get("path")?,
        size_bytes: row.get::<_, i64>("size_bytes")? as u64,
        modified_at: row.get("modified_at")?,
        permissions: row.get("permissions")?,
    })
}
