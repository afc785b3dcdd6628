//! What training jobs log.

use rusqlite::named_params;
use serde_json::Value;

use crate::db::Tx;
use crate::db::training_jobs::Job;
use crate::error::Error;
use crate::model::Time;
use crate::policy::InTeam;

pub use crate::model::training::Level;

/// A line of a log.
#[derive(Debug)]
pub struct Line {
    pub at: Time,
    pub level: Level,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    OldestFirst,
    NewestFirst,
}

/// Which lines are asked for. Both ends are within.
#[derive(Debug)]
pub struct Window {
    pub start: Time,
    pub end: Time,
    pub direction: Direction,
    pub lines_max: i64,
    pub min_level: Option<Level>,
}

/// The lines of a job of the team.
pub fn list(tx: &Tx, team: &InTeam, job: &Job, window: &Window) -> Result<Vec<Line>, Error> {
    let sql = match window.direction {
        Direction::OldestFirst => {
            "SELECT training_job_log.at, training_job_log.level, training_job_log.message
             FROM training_job_log JOIN training_job ON training_job.id = training_job_log.job_id
             WHERE training_job.team_id = :team_id AND training_job.id = :id
               AND training_job_log.at BETWEEN :start AND :end
               AND training_job_log.level IN (SELECT value FROM json_each(:levels))
             ORDER BY training_job_log.at
             LIMIT :lines_max"
        }
        Direction::NewestFirst => {
            "SELECT training_job_log.at, training_job_log.level, training_job_log.message
             FROM training_job_log JOIN training_job ON training_job.id = training_job_log.job_id
             WHERE training_job.team_id = :team_id AND training_job.id = :id
               AND training_job_log.at BETWEEN :start AND :end
               AND training_job_log.level IN (SELECT value FROM json_each(:levels))
             ORDER BY training_job_log.at DESC
             LIMIT :lines_max"
        }
    };
    let levels = window.min_level.unwrap_or(Level::Debug).and_above();
    let mut query = tx.sql.prepare_cached(sql)?;
    let params = named_params! {
        ":team_id": team.team().id,
        ":id": job.id,
        ":start": window.start,
        ":end": window.end,
        ":levels": Value::from_iter(levels.map(Level::as_str)).to_string(),
        ":lines_max": window.lines_max,
    };
    let rows = query.query_map(params, |row| {
        Ok(Line { at: row.get("at")?, level: row.get("level")?, message: row.get("message")? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a line, at least a millisecond behind the one before.
pub(super) fn append(tx: &Tx, job_id: &str, level: Level, message: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO training_job_log (job_id, at, level, message)
             VALUES (:job_id, max(:now, coalesce((SELECT max(at) + 1 FROM training_job_log WHERE job_id = :job_id), 0)),
                     :level, :message)",
        )?
        .execute(named_params! { ":job_id": job_id, ":now": tx.now, ":level": level, ":message": message })?;
    Ok(())
}
