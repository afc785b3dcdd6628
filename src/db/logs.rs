//! The logs of deployments and training jobs.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::domain::Time;
use crate::domain::logs::Line;
use crate::domain::serving::Level;
use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which lines a request asks for. The time bounds are inclusive.
#[derive(Clone, Debug)]
pub struct Filter {
    pub start: Time,
    pub end: Time,
    pub direction: Direction,
    pub lines_max: usize,
    pub min_level: Level,
    /// Texts that each line must contain, ignoring case.
    pub includes: Vec<Text>,
    /// Texts that no line may contain, ignoring case.
    pub excludes: Vec<Text>,
    /// Only lines of this replica.
    pub replica: Option<String>,
    /// Only lines that were printed for this request.
    pub request_id: Option<String>,
}

/// A text to search messages for, in lower case.
#[derive(Clone, Debug)]
pub struct Text(String);

impl Text {
    /// Converts texts to search for to lower case.
    pub fn all<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<Text> {
        texts.map(|text| Text(text.to_lowercase())).collect()
    }
}

/// How many lines and bytes of a log one request reads at most.
const LINES_READ_MAX: usize = 50_000;
const BYTES_READ_MAX: usize = 32 << 20;

impl Filter {
    fn wants(&self, line: &Line) -> bool {
        if !self.min_level.and_above().contains(&line.level) {
            return false;
        }
        let is_wanted = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        if !is_wanted(&self.replica, &line.replica) || !is_wanted(&self.request_id, &line.request_id) {
            return false;
        }
        if self.includes.is_empty() && self.excludes.is_empty() {
            return true;
        }
        let message = line.message.to_lowercase();
        self.includes.iter().all(|Text(text)| message.contains(text))
            && !self.excludes.iter().any(|Text(text)| message.contains(text))
    }
}

/// The log lines of a deployment that the filter selects. The caller of this function has proved access to its team.
///
/// # Errors
///
/// [`Error::Invalid`] if too many lines must be read to find as many as the filter asks for.
pub fn list(tx: &Tx, deployment_id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let sql = match filter.direction {
        Direction::Ascending => {
            "SELECT at, level, message, replica, request_id
             FROM deployment_log
             WHERE deployment_id = :id AND at BETWEEN :start AND :end
             ORDER BY at"
        }
        Direction::Descending => {
            "SELECT at, level, message, replica, request_id
             FROM deployment_log
             WHERE deployment_id = :id AND at BETWEEN :start AND :end
             ORDER BY at DESC"
        }
    };
    select(tx, sql, deployment_id, filter)
}

/// The log lines of a training job that the filter selects. The caller of this function has proved access to its team.
///
/// # Errors
///
/// [`Error::Invalid`] if too many lines must be read to find as many as the filter asks for.
pub fn list_of_job(tx: &Tx, job_id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let sql = match filter.direction {
        Direction::Ascending => {
            "SELECT at, level, message, NULL AS replica, NULL AS request_id
             FROM training_job_log
             WHERE job_id = :id AND at BETWEEN :start AND :end
             ORDER BY at"
        }
        Direction::Descending => {
            "SELECT at, level, message, NULL AS replica, NULL AS request_id
             FROM training_job_log
             WHERE job_id = :id AND at BETWEEN :start AND :end
             ORDER BY at DESC"
        }
    };
    select(tx, sql, job_id, filter)
}

/// Adds a line to the log of a deployment, at least one millisecond after the line before it.
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

/// The size of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    pub lines: i64,
    pub bytes: i64,
}

/// The size of the log of a deployment.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn size(tx: &Tx, deployment_id: &str) -> Result<Size, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*), ifnull(sum(octet_length(message)), 0)
         FROM deployment_log
         WHERE deployment_id = :id",
    )?;
    Ok(query
        .query_row(named_params! { ":id": deployment_id }, |row| Ok(Size { lines: row.get(0)?, bytes: row.get(1)? }))?)
}

/// Adds lines that replicas of a deployment have printed, in their order. Each gets a time of its own, at least one
/// millisecond after the line before it. Does nothing for a deployment that is gone.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn append_printed(tx: &Tx, deployment_id: &str, lines: &[Line]) -> Result<(), Error> {
    let mut last = tx.sql.prepare_cached(
        "SELECT (SELECT max(at) FROM deployment_log WHERE deployment_id = deployment.id)
         FROM deployment
         WHERE id = :id",
    )?;
    let found = last.query_row(named_params! { ":id": deployment_id }, |row| row.get::<_, Option<i64>>(0));
    let Some(last) = found.optional()? else { return Ok(()) };
    let mut at = last.unwrap_or_default();
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO deployment_log (deployment_id, at, level, message, replica, request_id)
         VALUES (:deployment_id, :at, :level, :message, :replica, :request_id)",
    )?;
    for line in lines {
        at = line.at.0.max(at + 1);
        insert.execute(named_params! {
            ":deployment_id": deployment_id,
            ":at": at,
            ":level": line.level,
            ":message": line.message,
            ":replica": line.replica,
            ":request_id": line.request_id,
        })?;
    }
    Ok(())
}

/// Deletes the oldest lines of a deployment. Returns the size of what is left.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn delete_oldest(tx: &Tx, deployment_id: &str, lines: i64) -> Result<Size, Error> {
    tx.sql
        .prepare_cached(
            "DELETE FROM deployment_log
             WHERE deployment_id = :id
               AND at IN (SELECT at FROM deployment_log WHERE deployment_id = :id ORDER BY at LIMIT :lines)",
        )?
        .execute(named_params! { ":id": deployment_id, ":lines": lines })?;
    size(tx, deployment_id)
}

/// Adds a line to the log of a training job, at least one millisecond after the line before it.
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

/// The first lines of this SQL query that the filter selects.
///
/// # Errors
///
/// [`Error::Invalid`] if too many lines or bytes must be read to find as many as are asked for. A shorter answer would
/// look complete.
fn select(tx: &Tx, sql: &str, id: &str, filter: &Filter) -> Result<Vec<Line>, Error> {
    let mut query = tx.sql.prepare_cached(sql)?;
    let mut rows = query.query(named_params! { ":id": id, ":start": filter.start, ":end": filter.end })?;
    let mut lines = Vec::new();
    let (mut lines_left, mut bytes_left) = (LINES_READ_MAX, BYTES_READ_MAX);
    while lines.len() < filter.lines_max
        && let Some(row) = rows.next()?
    {
        let line = Line {
            at: row.get("at")?,
            level: row.get("level")?,
            message: row.get("message")?,
            replica: row.get("replica")?,
            request_id: row.get("request_id")?,
        };
        let left = lines_left.checked_sub(1).zip(bytes_left.checked_sub(line.message.len()));
        (lines_left, bytes_left) = left.ok_or_else(too_much)?;
        if filter.wants(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
}

fn too_much() -> Error {
    Error::field(
        "start_epoch_millis",
        &format!(
            "and `end_epoch_millis` hold more than {LINES_READ_MAX} lines to search: ask for less time or fewer lines"
        ),
    )
}
