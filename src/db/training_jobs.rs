//! Training jobs of a project: their specification and their status.
//!
//! A job waits in the queue of its team and GPU type until the team's ceiling has room for it; then it is deployed. The
//! trainer, if one is attached, runs deployed jobs (`running`). Without a trainer a deployed job only holds its GPUs
//! until a user stops it, and its log says so.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, logs, resources, uploads};
use crate::domain::serving::Level;
use crate::domain::training::{Compute, JobStatus, NewJob, Priority};
use crate::domain::training_jobs::{Change, CheckpointSync, Filter, Job, Order, Project};
use crate::domain::uploads::Purpose;
use crate::domain::{ResourceName, Team};
use crate::error::Error;
use crate::policy::InTeam;

pub mod checkpoints;
pub mod queue;
pub mod running;

/// Builds the query for complete jobs. The argument is the SQL from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT training_job.id, training_job.project_id, training_project.name AS project_name, training_job.name,
                    training_job.status, training_job.priority, training_job.availability, training_job.nodes,
                    training_job.cpus, training_job.memory_mib, training_job.gpu_type, training_job.gpu_count,
                    user.email, training_job.error_message, training_job.created_at, training_job.updated_at,
                    coalesce(json_extract(training_job.spec, '$.runtime.checkpointing_config.enabled'), 0)
                        AS keeps_checkpoints
             FROM training_job
             JOIN training_project ON training_project.id = training_job.project_id
             LEFT JOIN user ON user.id = training_job.created_by ",
            $rest
        )
    };
}

/// The jobs of these teams that match the filter.
pub fn search(tx: &Tx, teams: &[InTeam], filter: &Filter) -> Result<Vec<Job>, Error> {
    let sql = match filter.order {
        Order::OldestFirst => select!(
            "WHERE training_job.team_id IN (SELECT value FROM json_each(:team_ids))
               AND (:project_id IS NULL OR training_job.project_id = :project_id)
               AND (:job_id IS NULL OR training_job.id = :job_id)
               AND (:statuses IS NULL OR training_job.status IN (SELECT value FROM json_each(:statuses)))
             ORDER BY training_job.created_at, training_job.rowid"
        ),
        Order::NewestFirst => select!(
            "WHERE training_job.team_id IN (SELECT value FROM json_each(:team_ids))
               AND (:project_id IS NULL OR training_job.project_id = :project_id)
               AND (:job_id IS NULL OR training_job.id = :job_id)
               AND (:statuses IS NULL OR training_job.status IN (SELECT value FROM json_each(:statuses)))
             ORDER BY training_job.created_at DESC, training_job.rowid DESC"
        ),
    };
    let statuses = filter.statuses.as_deref();
    let statuses = statuses.map(|list| Value::from_iter(list.iter().map(|status| status.as_str())).to_string());
    let mut query = tx.sql.prepare_cached(sql)?;
    let params = named_params! {
        ":team_ids": resources::ids(teams),
        ":project_id": filter.project_id,
        ":job_id": filter.job_id,
        ":statuses": statuses,
    };
    let rows = query.query_map(params, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest job of each project of these teams, by project id.
pub fn latest(tx: &Tx, teams: &[InTeam]) -> Result<HashMap<String, Job>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE training_job.rowid IN (
             SELECT (
                 SELECT max(rowid)
                 FROM training_job AS job
                 WHERE job.org_id = project.org_id AND job.team_id = project.team_id AND job.project_id = project.id
             )
             FROM training_project AS project
             WHERE project.team_id IN (SELECT value FROM json_each(:team_ids))
         )
         ORDER BY training_job.rowid"
    ))?;
    let rows = query.query_map(named_params! { ":team_ids": resources::ids(teams) }, from_row)?;
    Ok(rows.map(|job| job.map(|job| (job.project.id.clone(), job))).collect::<Result<_, _>>()?)
}

/// The job with this id in a project of the team.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no job of the project has.
pub fn find(tx: &Tx, team: &InTeam, project_id: &str, id: &str) -> Result<Job, Error> {
    find_in(tx, team.team(), project_id, id)
}

/// The job with this id in a project of this team, whose access has been proved.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no job of the project has.
pub(super) fn find_in(tx: &Tx, team: &Team, project_id: &str, id: &str) -> Result<Job, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE training_job.team_id = :team_id
           AND training_job.project_id = :project_id
           AND training_job.id = :id"
    ))?;
    let params = named_params! { ":team_id": team.id, ":project_id": project_id, ":id": id };
    query.query_row(params, from_row).optional()?.ok_or(Error::NotFound("training job"))
}

/// Whether the team has a job of this id.
pub fn exists(tx: &Tx, team: &InTeam, id: &str) -> Result<bool, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM training_job WHERE team_id = :team_id AND id = :id)")?;
    Ok(query.query_row(named_params! { ":team_id": team.team().id, ":id": id }, |row| row.get(0))?)
}

/// The specification that a job was pushed with, as JSON.
pub fn spec(tx: &Tx, team: &InTeam, job: &Job) -> Result<String, Error> {
    let mut query = tx.sql.prepare_cached("SELECT spec FROM training_job WHERE team_id = :team_id AND id = :id")?;
    Ok(query.query_row(named_params! { ":team_id": team.team().id, ":id": job.id }, |row| row.get("spec"))?)
}

/// The keys of the uploads that a job was pushed with, in their order.
pub fn artifacts(tx: &Tx, team: &InTeam, job_id: &str) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT training_job_artifact.s3_key
         FROM training_job_artifact
         JOIN training_job ON training_job.id = training_job_artifact.job_id
         WHERE training_job.team_id = :team_id AND training_job.id = :id
         ORDER BY training_job_artifact.place",
    )?;
    let rows = query.query_map(named_params! { ":team_id": team.team().id, ":id": job_id }, |row| row.get("s3_key"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Creates a job from uploads that the caller made for training. An upload that was made for a deployment cannot be
/// used.
///
/// # Errors
///
/// [`Error::NotFound`] for an upload that does not exist, was not made for training or was made by another caller.
pub fn create(tx: &Tx, team: &InTeam, project_id: &str, new: &NewJob, s3_keys: &[String]) -> Result<Job, Error> {
    for s3_key in s3_keys {
        uploads::take(tx, team, Purpose::Training, s3_key)?;
    }
    insert(tx, team, project_id, new, s3_keys)
}

/// Creates a job in the project of an earlier job and from the same uploads, whoever made these.
pub fn recreate(tx: &Tx, team: &InTeam, before: &Job, new: &NewJob) -> Result<Job, Error> {
    let s3_keys = artifacts(tx, team, &before.id)?;
    insert(tx, team, &before.project.id, new, &s3_keys)
}

/// Changes a job that waits in the queue.
///
/// # Errors
///
/// [`Error::Conflict`] for a job that does not wait any more.
pub fn update(tx: &Tx, team: &InTeam, job: &Job, change: &Change) -> Result<Job, Error> {
    if change.priority.is_none() && change.availability.is_none() {
        return Ok(job.clone());
    }
    if job.status != JobStatus::Pending {
        return Err(Error::conflict(format!(
            "only a job that is {} can be changed, and this one is {}",
            JobStatus::Pending.as_str(),
            job.status.as_str()
        )));
    }
    tx.sql
        .prepare_cached(
            "UPDATE training_job
             SET priority = coalesce(:priority, priority), availability = coalesce(:availability, availability),
                 updated_at = :now
             WHERE team_id = :team_id AND id = :id",
        )?
        .execute(named_params! {
            ":priority": change.priority.map(Priority::get),
            ":availability": change.availability,
            ":now": tx.now,
            ":team_id": team.team().id,
            ":id": job.id,
        })?;
    record(tx, team, "TRAINING_JOB_UPDATED", job)?;
    queue::release(tx, team.team(), job.compute.gpu_type())?;
    find(tx, team, &job.project.id, &job.id)
}

/// Stops a job that has not ended, and gives its GPUs to the next jobs of the queue.
///
/// # Errors
///
/// [`Error::Conflict`] for a job that has ended.
pub fn stop(tx: &Tx, team: &InTeam, job: &Job) -> Result<Job, Error> {
    tx.frees_space()?;
    if job.status.has_ended() {
        return Err(Error::conflict(format!("the job has ended already: it is {}", job.status.as_str())));
    }
    queue::enter(tx, &job.id, JobStatus::Stopped)?;
    logs::append_to_job(tx, &job.id, Level::Info, "Stopped.")?;
    record(tx, team, "TRAINING_JOB_STOPPED", job)?;
    queue::release(tx, team.team(), job.compute.gpu_type())?;
    find(tx, team, &job.project.id, &job.id)
}

/// Deletes a job. A job that has not ended is stopped first.
pub fn delete(tx: &Tx, team: &InTeam, job: &Job) -> Result<(), Error> {
    if !job.status.has_ended() {
        stop(tx, team, job)?;
    }
    tx.sql
        .prepare_cached("DELETE FROM training_job WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": job.id })?;
    record(tx, team, "TRAINING_JOB_DELETED", job)
}

fn insert(tx: &Tx, team: &InTeam, project_id: &str, new: &NewJob, s3_keys: &[String]) -> Result<Job, Error> {
    let id = tx.id();
    let Team { id: team_id, org_id, .. } = team.team();
    tx.sql
        .prepare_cached(
            "INSERT INTO training_job (id, org_id, team_id, project_id, name, status, priority, availability, nodes,
                                       cpus, memory_mib, gpu_type, gpu_count, spec, created_by, created_at,
                                       updated_at)
             VALUES (:id, :org_id, :team_id, :project_id, :name, :status, :priority, :availability, :nodes,
                     :cpus, :memory_mib, :gpu_type, :gpu_count, :spec, :created_by, :now,
                     :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": org_id,
            ":team_id": team_id,
            ":project_id": project_id,
            ":name": new.name.as_ref().map(ResourceName::as_str),
            ":status": JobStatus::Pending,
            ":priority": new.priority.get(),
            ":availability": new.compute.availability,
            ":nodes": new.compute.nodes,
            ":cpus": new.compute.cpus,
            ":memory_mib": new.compute.memory_mib,
            ":gpu_type": new.compute.gpu_type(),
            ":gpu_count": new.compute.gpus.map_or(0, |(_, count)| count),
            ":spec": new.spec,
            ":created_by": team.caller().author(),
            ":now": tx.now,
        })?;
    let mut insert_artifact = tx.sql.prepare_cached(
        "INSERT INTO training_job_artifact (job_id, place, s3_key)
         VALUES (:job_id, :place, :s3_key)",
    )?;
    for (place, s3_key) in s3_keys.iter().enumerate() {
        insert_artifact.execute(named_params! { ":job_id": id, ":place": place as i64, ":s3_key": s3_key })?;
    }
    queue::enter(tx, &id, JobStatus::Pending)?;
    queue::release(tx, team.team(), new.compute.gpu_type())?;
    let job = find(tx, team, project_id, &id)?;
    if job.status == JobStatus::Pending {
        queue::say_why(tx, team.team(), &job)?;
    }
    record(tx, team, "TRAINING_JOB_CREATED", &job)?;
    Ok(job)
}

fn from_row(row: &Row) -> rusqlite::Result<Job> {
    let gpu_count = row.get("gpu_count")?;
    let gpu_type: Option<_> = row.get("gpu_type")?;
    let status = row.get("status")?;
    Ok(Job {
        id: row.get("id")?,
        project: Project { id: row.get("project_id")?, name: row.get("project_name")? },
        name: row.get("name")?,
        status,
        priority: row.get("priority")?,
        compute: Compute {
            nodes: row.get("nodes")?,
            cpus: row.get("cpus")?,
            memory_mib: row.get("memory_mib")?,
            gpus: gpu_type.map(|gpu_type| (gpu_type, gpu_count)),
            availability: row.get("availability")?,
        },
        user_email: row.get("email")?,
        error_message: row.get("error_message")?,
        checkpoint_sync: if row.get("keeps_checkpoints")? { sync(status) } else { None },
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn sync(status: JobStatus) -> Option<CheckpointSync> {
    match status {
        JobStatus::Running => Some(CheckpointSync::Syncing),
        JobStatus::Completed | JobStatus::Failed | JobStatus::Stopped => Some(CheckpointSync::Completed),
        JobStatus::Pending
        | JobStatus::Created
        | JobStatus::Queued
        | JobStatus::Deploying
        | JobStatus::DeployFailed => None,
    }
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, job: &Job) -> Result<(), Error> {
    let data = json!({
        "training_job_id": job.id,
        "training_job_name": job.name,
        "training_project_id": job.project.id,
        "training_project_name": job.project.name,
    });
    let team_of_job = team.team();
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(team.caller()), &team_of_job.org_id, Some(team_of_job), event)
}
