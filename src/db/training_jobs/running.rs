//! What the trainer reads and writes: jobs of all teams that are deployed or run. The trainer acts for no caller, so
//! these functions take no proof of access and make no entry in the audit log; its actions are in the log of the job.

use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::training_jobs::{find_in, queue};
use crate::db::{Db, Tx, logs, secrets, teams, uploads};
use crate::domain::serving::Level;
use crate::domain::training::JobStatus;
use crate::domain::training_jobs::{Job, Sample};
use crate::domain::{Archive, SecretName, SecretValue, Team, Time};
use crate::error::Error;

/// How many deployed jobs of one team are listed at most.
const WAITING_OF_TEAM_MAX: i64 = 8;
/// How many samples of a job are kept. Beyond it, the oldest are removed.
const SAMPLES_MAX: i64 = 10_000;

/// A deployed job that does not run yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: String,
    pub project_id: String,
    pub team_id: String,
}

/// All that is needed to run a job.
#[derive(Debug)]
pub struct Order {
    pub team: Team,
    pub job: Job,
    /// What the job was pushed with, as JSON.
    pub spec: String,
    /// The archives in the order of the push. `None` for one that is not there any more.
    pub archives: Vec<Option<Archive>>,
    /// How often the job was begun before.
    pub attempts: i64,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Ending {
    Completed,
    /// It could not be started, for this reason.
    DeployFailed(String),
    /// It failed while it ran, for this reason.
    Failed(String),
}

/// Deployed jobs that do not run, a limited number of each team, the oldest first in each. Teams take turns.
pub fn waiting(tx: &Tx) -> Result<Vec<Waiting>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, project_id, team_id
         FROM (
             SELECT id, project_id, team_id, created_at,
                    row_number() OVER (PARTITION BY team_id ORDER BY priority DESC, created_at, id) AS turn
             FROM training_job
             WHERE status = 'TRAINING_JOB_DEPLOYING'
         )
         WHERE turn <= :turns_max
         ORDER BY turn, created_at, id",
    )?;
    let rows = query.query_map(named_params! { ":turns_max": WAITING_OF_TEAM_MAX }, |row| {
        Ok(Waiting { id: row.get("id")?, project_id: row.get("project_id")?, team_id: row.get("team_id")? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The status of a job; `None` if it was deleted.
pub fn status(tx: &Tx, job_id: &str) -> Result<Option<JobStatus>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT status FROM training_job WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": job_id }, |row| row.get("status")).optional()?)
}

/// Whether there is a training job of this id.
pub fn exists(tx: &Tx, job_id: &str) -> Result<bool, Error> {
    status(tx, job_id).map(|status| status.is_some())
}

/// Whether there is a training project of this id.
pub fn project_exists(tx: &Tx, project_id: &str) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM training_project WHERE id = :id)")?;
    Ok(query.query_row(named_params! { ":id": project_id }, |row| row.get(0))?)
}

/// All that is needed to run this job.
///
/// # Errors
///
/// [`Error::NotFound`] if the job was deleted.
pub fn order(tx: &Tx, waiting: &Waiting) -> Result<Order, Error> {
    let team = teams::find(tx, &waiting.team_id)?;
    let job = find_in(tx, &team, &waiting.project_id, &waiting.id)?;
    let (spec, attempts) = {
        let mut query = tx.sql.prepare_cached("SELECT spec, attempts FROM training_job WHERE id = :id")?;
        query.query_row(named_params! { ":id": job.id }, |row| Ok((row.get("spec")?, row.get("attempts")?)))?
    };
    let mut query = tx.sql.prepare_cached(
        "SELECT s3_key
         FROM training_job_artifact
         WHERE job_id = :id
         ORDER BY place",
    )?;
    let s3_keys = query.query_map(named_params! { ":id": job.id }, |row| row.get::<_, String>("s3_key"))?;
    let s3_keys = s3_keys.collect::<Result<Vec<_>, _>>()?;
    let archives = s3_keys.iter().map(|s3_key| uploads::find(tx, s3_key)).collect::<Result<_, _>>()?;
    Ok(Order { team, job, spec, archives, attempts })
}

/// The value of a secret of the job's team; `None` if the team has no such secret or its value is lost.
pub fn secret(tx: &Tx, team: &Team, name: &str) -> Result<Option<SecretValue>, Error> {
    SecretName::parse(name).map_or(Ok(None), |name| secrets::value(tx, team, &name))
}

/// Records that a deployed job is begun.
pub fn begin(tx: &Tx, job_id: &str) -> Result<(), Error> {
    tx.frees_space()?;
    tx.sql
        .prepare_cached("UPDATE training_job SET attempts = attempts + 1 WHERE id = :id")?
        .execute(named_params! { ":id": job_id })?;
    Ok(())
}

/// Records that a job has begun for nothing, because the server stops.
pub fn give_back(tx: &Tx, job_id: &str) -> Result<(), Error> {
    tx.frees_space()?;
    tx.sql
        .prepare_cached("UPDATE training_job SET attempts = max(attempts - 1, 0) WHERE id = :id")?
        .execute(named_params! { ":id": job_id })?;
    Ok(())
}

/// Records that the processes of a job run. Returns whether the job is still wanted.
pub fn run(tx: &Tx, job_id: &str) -> Result<bool, Error> {
    tx.frees_space()?;
    if status(tx, job_id)? != Some(JobStatus::Deploying) {
        return Ok(false);
    }
    queue::enter(tx, job_id, JobStatus::Running)?;
    logs::append_to_job(tx, job_id, Level::Info, "Runs.")?;
    Ok(true)
}

/// Ends a job that is deployed or runs, and gives its GPUs to the next jobs of the queue. A job that was stopped or
/// deleted meanwhile stays as it is.
pub fn end(tx: &Tx, job_id: &str, ending: &Ending) -> Result<(), Error> {
    tx.frees_space()?;
    if !matches!(status(tx, job_id)?, Some(JobStatus::Deploying | JobStatus::Running)) {
        return Ok(());
    }
    let (status, level, told, why) = match ending {
        Ending::Completed => (JobStatus::Completed, Level::Info, "Completed.".to_owned(), None),
        Ending::DeployFailed(why) => (JobStatus::DeployFailed, Level::Error, format!("Not started: {why}"), Some(why)),
        Ending::Failed(why) => (JobStatus::Failed, Level::Error, format!("Failed: {why}"), Some(why)),
    };
    queue::enter(tx, job_id, status)?;
    tx.sql
        .prepare_cached("UPDATE training_job SET error_message = :why WHERE id = :id")?
        .execute(named_params! { ":why": why, ":id": job_id })?;
    logs::append_to_job(tx, job_id, level, &told)?;
    let (team_id, gpu_type) = {
        let mut query = tx.sql.prepare_cached("SELECT team_id, gpu_type FROM training_job WHERE id = :id")?;
        query.query_row(named_params! { ":id": job_id }, |row| {
            Ok((row.get::<_, String>("team_id")?, row.get("gpu_type")?))
        })?
    };
    queue::release(tx, &teams::find(tx, &team_id)?, gpu_type)
}

/// Ends every job that ran when an earlier server ended: its processes ended with that server.
pub fn end_abandoned(tx: &Tx) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id
         FROM training_job
         WHERE status = 'TRAINING_JOB_RUNNING'
         ORDER BY created_at, id",
    )?;
    let ids = query.query_map([], |row| row.get::<_, String>("id"))?.collect::<Result<Vec<_>, _>>()?;
    let why = "the server was restarted while the job ran: recreate the job".to_owned();
    ids.iter().try_for_each(|id| end(tx, id, &Ending::Failed(why.clone())))
}

// ---- the log ----

/// Adds lines to the log of a job. Lines of a job that was deleted are dropped.
pub fn append_lines(tx: &Tx, job_id: &str, lines: &[(Level, String)]) -> Result<(), Error> {
    if exists(tx, job_id)? {
        lines.iter().try_for_each(|(level, message)| logs::append_to_job(tx, job_id, *level, message))?;
    }
    Ok(())
}

/// Removes all but the last lines of the log of a job.
pub fn trim_log(tx: &Tx, job_id: &str, lines_max: usize) -> Result<(), Error> {
    tx.frees_space()?;
    tx.sql
        .prepare_cached(
            "DELETE FROM training_job_log
             WHERE job_id = :job_id
               AND at <= (
                   SELECT at FROM training_job_log WHERE job_id = :job_id ORDER BY at DESC LIMIT 1 OFFSET :lines_max
               )",
        )?
        .execute(named_params! { ":job_id": job_id, ":lines_max": lines_max as i64 })?;
    Ok(())
}

// ---- metrics ----

/// Stores what the processes of a job took. The oldest samples are removed where there are too many.
pub fn add_sample(tx: &Tx, job_id: &str, sample: Sample) -> Result<(), Error> {
    if !exists(tx, job_id)? {
        return Ok(());
    }
    tx.sql
        .prepare_cached(
            "INSERT INTO training_job_sample (job_id, at, millicpu, memory_bytes, disk_bytes)
             VALUES (:job_id, :at, :millicpu, :memory_bytes, :disk_bytes)
             ON CONFLICT (job_id, at) DO NOTHING",
        )?
        .execute(named_params! {
            ":job_id": job_id,
            ":at": sample.at,
            ":millicpu": sample.millicpu as i64,
            ":memory_bytes": sample.memory_bytes as i64,
            ":disk_bytes": sample.disk_bytes as i64,
        })?;
    tx.sql
        .prepare_cached(
            "DELETE FROM training_job_sample
             WHERE job_id = :job_id
               AND at <= (
                   SELECT at FROM training_job_sample WHERE job_id = :job_id ORDER BY at DESC LIMIT 1 OFFSET :kept_max
               )",
        )?
        .execute(named_params! { ":job_id": job_id, ":kept_max": SAMPLES_MAX })?;
    Ok(())
}

/// The samples of a job between two times. The caller of this function has proved access to its team.
pub fn samples(tx: &Tx, job: &Job, start: Time, end: Time) -> Result<Vec<Sample>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT at, millicpu, memory_bytes, disk_bytes
         FROM training_job_sample
         WHERE job_id = :job_id AND at BETWEEN :start AND :end
         ORDER BY at",
    )?;
    let rows = query.query_map(named_params! { ":job_id": job.id, ":start": start, ":end": end }, |row| {
        Ok(Sample {
            at: row.get("at")?,
            millicpu: row.get::<_, i64>("millicpu")? as u64,
            memory_bytes: row.get::<_, i64>("memory_bytes")? as u64,
            disk_bytes: row.get::<_, i64>("disk_bytes")? as u64,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Db {
    /// Declares that deployed training jobs are run from now on.
    pub fn attach_trainer(&self) {
        self.quotas().has_trainer.store(true, Ordering::Relaxed);
    }
}

impl Tx<'_> {
    /// Whether deployed training jobs are run.
    pub(in crate::db) fn has_trainer(&self) -> bool {
        self.quotas.has_trainer.load(Ordering::Relaxed)
    }
}
