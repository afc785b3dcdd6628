//! The queue of each team and GPU type: which job leaves it next, and which jobs kept another one waiting.
//!
//! Jobs are ordered by priority, then by age. No job overtakes the first one while that waits for GPUs, because a large
//! job would otherwise wait for ever. Only a job that needs more GPUs than the ceiling is passed over. A ceiling
//! applies to spot capacity too.

use rusqlite::named_params;
use serde_json::{Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::training_jobs::{find, search};
use crate::db::{Tx, logs, training_capacity};
use crate::domain::serving::Level;
use crate::domain::training::{GpuType, JobStatus};
use crate::domain::training_capacity::Capacity;
use crate::domain::training_jobs::{Filter, Job, JobEvent, OtherJob, QueueContext};
use crate::domain::{Team, Time};
use crate::error::Error;
use crate::policy::{InOrg, InTeam};

/// Sets the status of a job and records the time of the change.
pub(super) fn enter(tx: &Tx, job_id: &str, status: JobStatus) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE training_job
             SET status = :status, updated_at = :now
             WHERE id = :id",
        )?
        .execute(named_params! { ":status": status, ":now": tx.now, ":id": job_id })?;
    tx.sql
        .prepare_cached(
            "INSERT INTO training_job_event (job_id, at, status)
             VALUES (:id, :now, :status)",
        )?
        .execute(named_params! { ":status": status, ":now": tx.now, ":id": job_id })?;
    Ok(())
}

/// Deploys the waiting jobs that the ceiling has room for. Call it whenever the free GPUs, the ceiling or the queue
/// have changed.
pub(in crate::db) fn release(tx: &Tx, team: &Team, gpu_type: Option<GpuType>) -> Result<(), Error> {
    let capacity = capacity(tx, team, gpu_type)?;
    let mut free_gpus = capacity.as_ref().map(Capacity::free_gpus);
    for waiting in pending(tx, team, gpu_type)? {
        if capacity.as_ref().is_some_and(|capacity| waiting.gpus > capacity.max_gpus) {
            continue;
        }
        if free_gpus.is_some_and(|free_gpus| waiting.gpus > free_gpus) {
            break;
        }
        if deploy_or_fail(tx, &waiting)? {
            free_gpus = free_gpus.map(|free_gpus| free_gpus - waiting.gpus);
        }
    }
    Ok(())
}

/// Deploys a job, and returns whether it was deployed. An error that would occur again ends the job: it must fail
/// neither the jobs behind it nor the write that started the queue.
fn deploy_or_fail(tx: &Tx, waiting: &Waiting) -> Result<bool, Error> {
    match tx.attempt(|| deploy(tx, waiting))? {
        Ok(()) => Ok(true),
        Err(cause) if cause.would_recur() => {
            tracing::error!(training_job = waiting.id, ?cause, "a training job cannot be deployed");
            enter(tx, &waiting.id, JobStatus::DeployFailed).map(|()| false)
        }
        Err(cause) => Err(cause),
    }
}

/// Deploys the waiting jobs of every GPU type that the ceilings have room for: for a team whose project was deleted
/// with all its jobs.
pub(in crate::db) fn release_all(tx: &Tx, team: &Team) -> Result<(), Error> {
    GpuType::ALL.iter().try_for_each(|gpu_type| release(tx, team, Some(*gpu_type)))
}

/// Writes to the log of a waiting job what it waits for.
pub(super) fn say_why(tx: &Tx, team: &Team, job: &Job) -> Result<(), Error> {
    let Some(capacity) = capacity(tx, team, job.compute.gpu_type())? else { return Ok(()) };
    let why = format!(
        "Waiting: this job asks for {} {gpu}, and the ceiling of team \"{}\" is {} {gpu}, of which {} are held. \
         Jobs of a higher priority come first, then older ones.",
        job.compute.gpu_count(),
        team.name,
        capacity.max_gpus,
        capacity.held_gpus(),
        gpu = capacity.gpu_type.as_str(),
    );
    logs::append_to_job(tx, &job.id, Level::Info, &why)
}

/// The ceiling for jobs with this GPU type; `None` for jobs without GPUs, or where the team has no ceiling.
fn capacity(tx: &Tx, team: &Team, gpu_type: Option<GpuType>) -> Result<Option<Capacity>, Error> {
    gpu_type.map_or(Ok(None), |gpu_type| training_capacity::find(tx, team, gpu_type))
}

struct Waiting {
    id: String,
    gpu_type: Option<GpuType>,
    gpus: i64,
}

fn pending(tx: &Tx, team: &Team, gpu_type: Option<GpuType>) -> Result<Vec<Waiting>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, gpu_type, gpus
         FROM training_job
         WHERE team_id = :team_id AND gpu_type IS :gpu_type AND status = 'TRAINING_JOB_PENDING'
         ORDER BY priority DESC, created_at, rowid",
    )?;
    let rows = query.query_map(named_params! { ":team_id": team.id, ":gpu_type": gpu_type }, |row| {
        Ok(Waiting { id: row.get("id")?, gpu_type: row.get("gpu_type")?, gpus: row.get("gpus")? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn deploy(tx: &Tx, job: &Waiting) -> Result<(), Error> {
    enter(tx, &job.id, JobStatus::Created)?;
    enter(tx, &job.id, JobStatus::Deploying)?;
    if tx.has_trainer() {
        return logs::append_to_job(tx, &job.id, Level::Info, "Waits for the trainer.");
    }
    let held = match job.gpu_type {
        Some(gpu_type) => format!("holds its {} {} until it is stopped", job.gpus, gpu_type.as_str()),
        None => "stays as it is until it is stopped".to_owned(),
    };
    let line = format!("No trainer is attached to this installation: nothing of this job runs, and it {held}.");
    logs::append_to_job(tx, &job.id, Level::Info, &line)
}

/// Sets the ceiling of the team for a GPU type, and deploys the waiting jobs that it has room for.
pub fn set_capacity(tx: &Tx, org: &InOrg, team: &Team, gpu_type: GpuType, max_gpus: i64) -> Result<Capacity, Error> {
    training_capacity::write(tx, team, gpu_type, max_gpus)?;
    let data = json!({ "gpu_type": gpu_type.as_str(), "max_gpus": max_gpus });
    let event = Event::new("TRAINING_CAPACITY_UPDATED", data);
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), Some(team), event)?;
    release(tx, team, Some(gpu_type))?;
    Ok(training_capacity::find(tx, team, gpu_type)?.expect("the ceiling was just set"))
}

/// What the queue looked like for a job of one of these teams: the jobs that held GPUs, the jobs ahead of it, and their
/// events while it waited.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no job of these teams has.
pub fn context(tx: &Tx, teams: &[InTeam], job_id: &str) -> Result<QueueContext, Error> {
    let (team, job) = in_some_team(tx, teams, job_id)?;
    let others = others(tx, team, &job)?;
    let (pending, active): (Vec<_>, Vec<_>) = others.into_iter().partition(|other| other.status == JobStatus::Pending);
    let pending_ahead: Vec<_> = pending.into_iter().filter(|other| other.job.priority >= job.priority).collect();
    let released_at = released_at(tx, &job)?;
    let until = released_at.unwrap_or(tx.now);
    let ids = active.iter().chain(&pending_ahead).map(|other| &other.job).chain([&job]).map(|job| job.id.as_str());
    Ok(QueueContext {
        released_at,
        capacity: capacity(tx, team.team(), job.compute.gpu_type())?,
        events: events(tx, &Value::from_iter(ids).to_string(), job.created_at, until)?,
        active,
        pending_ahead,
        until,
        job,
    })
}

fn in_some_team<'a, 't>(tx: &Tx, teams: &'a [InTeam<'t>], job_id: &str) -> Result<(&'a InTeam<'t>, Job), Error> {
    let filter = Filter { job_id: Some(job_id.to_owned()), ..Filter::default() };
    for team in teams {
        if let Some(job) = search(tx, std::slice::from_ref(team), &filter)?.pop() {
            return Ok((team, job));
        }
    }
    Err(Error::NotFound("training job"))
}

/// The other jobs of the same team and GPU type that had not ended when this job was created, oldest first.
fn others(tx: &Tx, team: &InTeam, job: &Job) -> Result<Vec<OtherJob>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT training_job.project_id, training_job.id, training_job_event.status, training_job_event.at
         FROM training_job
         JOIN training_job_event ON training_job_event.number = (
             SELECT max(number)
             FROM training_job_event
             WHERE job_id = training_job.id
               AND number < (SELECT min(number) FROM training_job_event WHERE job_id = :id)
         )
         WHERE training_job.team_id = :team_id AND training_job.gpu_type IS :gpu_type
         ORDER BY training_job.rowid",
    )?;
    let params = named_params! { ":id": job.id, ":team_id": team.team().id, ":gpu_type": job.compute.gpu_type() };
    let mut rows = query.query(params)?;
    let mut others = Vec::new();
    while let Some(row) = rows.next()? {
        let status: JobStatus = row.get("status")?;
        if !status.has_ended() {
            let (project_id, id): (String, String) = (row.get("project_id")?, row.get("id")?);
            others.push(OtherJob { job: find(tx, team, &project_id, &id)?, status, since: row.get("at")? });
        }
    }
    Ok(others)
}

fn released_at(tx: &Tx, job: &Job) -> Result<Option<Time>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT min(at)
         FROM training_job_event
         WHERE job_id = :id AND status = 'TRAINING_JOB_CREATED'",
    )?;
    Ok(query.query_row(named_params! { ":id": job.id }, |row| row.get(0))?)
}

/// The events of these jobs between these times, in order.
fn events(tx: &Tx, job_ids: &str, since: Time, until: Time) -> Result<Vec<JobEvent>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT training_job_event.job_id, training_job.name, training_job_event.status, training_job_event.at
         FROM training_job_event JOIN training_job ON training_job.id = training_job_event.job_id
         WHERE training_job_event.job_id IN (SELECT value FROM json_each(:job_ids))
           AND training_job_event.at BETWEEN :since AND :until
         ORDER BY training_job_event.number",
    )?;
    let params = named_params! { ":job_ids": job_ids, ":since": since, ":until": until };
    let rows = query.query_map(params, |row| {
        Ok(JobEvent {
            job_id: row.get("job_id")?,
            job_name: row.get("name")?,
            status: row.get("status")?,
            at: row.get("at")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
