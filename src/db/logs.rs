//! What deployments and training jobs log.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;
use crate::model::Time;
use crate::model::serving::Level;

/// A line of a log.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Time,
    pub level: Level,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which lines are asked for. Bounds are inclusive.
#[derive(Clone, Debug)]
pub struct Filter {
    pub start: Time,
    pub end: Time,
    pub direction: Direction,
    pub lines_max: usize,
    pub min_level: Level,
    /// What all of the lines hold, without regard to case.
    pub includes: Vec<String>,
    /// What none of them holds.
    pub excludes: Vec<String>,
}

impl Filter {
    fn wants(&self, message: &str) -> bool {
        let message = message.to_lowercase();
        self.includes.iter().all(|text| message.contains(&text.to_lowercase()))
            && !self.excludes.iter().any(|text| message.contains(&text.to_lowercase()))
    }
}

/// The lines of a deployment, which its team was proved for.
pub fn list(tx: &Tx, deployment_id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let sql = match filter.direction {
        Direction::Ascending => {
            "SELECT at, level, message
             FROM deployment_log
             WHERE deployment_id = :id AND at BETWEEN :start AND :end
             ORDER BY at"
        }
        Direction::Descending => {
            "SELECT at, level, message
             FROM deployment_log
             WHERE deployment_id = :id AND at BETWEEN :start AND :end
             ORDER BY at DESC"
        }
    };
    select(tx, sql, deployment_id, filter)
}

/// The lines of a training job, which its team was proved for.
pub fn list_of_job(tx: &Tx, job_id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let sql = match filter.direction {
        Direction::Ascending => {
            "SELECT at, level, message
             FROM training_job_log
             WHERE job_id = :id AND at BETWEEN :start AND :end
             ORDER BY at"
        }
        Direction::Descending => {
            "SELECT at, level, message
             FROM training_job_log
             WHERE job_id = :id AND at BETWEEN :start AND :end
             ORDER BY at DESC"
        }
    };
    select(tx, sql, job_id, filter)
}

/// Adds a line, at least a millisecond behind the one before.
pub(super) fn append(tx: &Tx, deployment_id: &str, level: Level, message: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO deployment_log (deployment_id, at, level, message)
             SELECT :deployment_id, max(:now, 1 + coalesce(max(at), 0)), :level, :message
             FROM deployment_log
             WHERE deployment_id = :deployment_id",
        )?
        .execute(named_params! {
            ":deployment_id": deployment_id, ":now": tx.now, ":level": level, ":message": message,
        })?;
    Ok(())
}

/// The same for a training job.
pub(super) fn append_to_job(tx: &Tx, job_id: &str, level: Level, message: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO training_job_log (job_id, at, level, message)
             SELECT :job_id, max(:now, 1 + coalesce(max(at), 0)), :level, :message
             FROM training_job_log
             WHERE job_id = :job_id",
        )?
        .execute(named_params! { ":job_id": job_id, ":now": tx.now, ":level": level, ":message": message })?;
    Ok(())
}

/// The first lines that the filter wants, of those that this SQL gives.
fn select(tx: &Tx, sql: &str, id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let mut query = tx.sql.prepare_cached(sql)?;
    let mut rows = query.query(named_params! { ":id": id, ":start": filter.start, ":end": filter.end })?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        if lines.len() == filter.lines_max {
            break;
        }
        let line = Line { at: row.get("at")?, level: row.get("level")?, message: row.get("message")? };
        if filter.min_level.and_above().contains(&line.level) && filter.wants(&line.message) {
            lines.push(line);
        }
    }
    Ok(lines)
}
