//! What processes print, on its way into the logs of their deployments.
//!
//! Lines are collected and written in batches, so that a model that prints much makes few writes. Lines beyond a rate are
//! dropped and counted, and the oldest lines of a long log are deleted.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::db::logs::{self, Size};
use crate::db::{self, Db, Now};
use crate::domain::Time;
use crate::domain::logs::{Line, Printed};
use crate::domain::serving::Level;
use crate::error::Error;

/// How many lines a second a deployment may print, and how many at once after a silence.
const LINES_PER_SECOND_MAX: f64 = 200.0;
const LINES_AT_ONCE_MAX: f64 = 2000.0;
/// Lines are written together with those of this time.
const WRITES_EVERY: Duration = Duration::from_millis(200);
/// The lines of one write, and those of all deployments that wait for one.
const LINES_PER_WRITE_MAX: usize = 1000;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// What is kept of a log. When it is longer, a tenth is deleted.
const KEPT_LINES_MAX: i64 = 20_000;
const KEPT_BYTES_MAX: i64 = 16 << 20;

/// The lines that wait to be written.
#[derive(Default)]
pub struct Journal {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    by_deployment: HashMap<String, Deployment>,
    bytes: usize,
    is_closed: bool,
}

/// The lines of one deployment.
struct Deployment {
    lines: Vec<Line>,
    /// How many lines it may print at once now.
    allowance: f64,
    last: Instant,
    dropped: u64,
}

impl Journal {
    /// Takes a line that a replica has printed.
    pub fn take(&self, deployment_id: &str, replica_id: &str, at: Time, text: &str) {
        let Printed { level, message, request_id } = Printed::read(text);
        self.add(deployment_id, Line { at, level, message, replica: Some(replica_id.to_owned()), request_id });
    }

    /// Takes a line about a deployment.
    pub fn tell(&self, deployment_id: &str, at: Time, level: Level, message: &str) {
        let Printed { message, .. } = Printed::read(message);
        self.add(deployment_id, Line { at, level, message, replica: None, request_id: None });
    }

    fn add(&self, deployment_id: &str, line: Line) {
        if line.message.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let is_full = waiting.bytes >= WAITING_BYTES_MAX;
        let bytes = line.message.len();
        let deployment = waiting.by_deployment.entry(deployment_id.to_owned()).or_insert_with(Deployment::new);
        if is_full || !deployment.may_print(Instant::now()) {
            deployment.dropped += 1;
            return;
        }
        deployment.lines.push(line);
        waiting.bytes += bytes;
        drop(waiting);
        self.changed.notify_one();
    }

    /// Writes lines until the journal is closed. The calling thread belongs to it.
    pub fn keep_written(&self, db: &Db, now: impl Fn() -> Now) {
        let mut sizes: HashMap<String, Size> = HashMap::new();
        db::thread_parks();
        loop {
            let (batch, is_closed) = self.wait();
            for (deployment_id, lines) in batch {
                if let Err(cause) = write(db, &now, &mut sizes, &deployment_id, lines) {
                    tracing::warn!(deployment_id, ?cause, "printed lines are lost");
                }
            }
            sizes.retain(|_, size| size.lines > 0);
            if is_closed {
                return;
            }
            std::thread::sleep(WRITES_EVERY);
        }
    }

    /// Ends [`Journal::keep_written`] after the lines that wait.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for lines. Takes some of each deployment, and tells whether the journal is closed and empty.
    fn wait(&self) -> (Vec<(String, Vec<Line>)>, bool) {
        let mut waiting = self.lock();
        while waiting.bytes == 0 && !waiting.is_closed {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let now = Instant::now();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (id, deployment) in &mut waiting.by_deployment {
            let count = deployment.lines.len().min(LINES_PER_WRITE_MAX);
            let mut lines: Vec<Line> = deployment.lines.drain(..count).collect();
            bytes += lines.iter().map(|line| line.message.len()).sum::<usize>();
            if deployment.dropped > 0 && deployment.lines.is_empty() {
                lines.push(deployment.told_of_dropped(lines.last()));
            }
            if !lines.is_empty() {
                batch.push((id.clone(), lines));
            }
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        waiting.by_deployment.retain(|_, deployment| !deployment.is_rested(now));
        let is_closed = waiting.is_closed && waiting.bytes == 0;
        (batch, is_closed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deployment {
    fn new() -> Deployment {
        Deployment { lines: Vec::new(), allowance: LINES_AT_ONCE_MAX, last: Instant::now(), dropped: 0 }
    }

    fn may_print(&mut self, now: Instant) -> bool {
        self.refill(now);
        let may = self.allowance >= 1.0;
        if may {
            self.allowance -= 1.0;
        }
        may
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.last).as_secs_f64();
        self.allowance = (self.allowance + seconds * LINES_PER_SECOND_MAX).min(LINES_AT_ONCE_MAX);
        self.last = now;
    }

    /// Whether nothing waits and it may print as much as a new one.
    fn is_rested(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.lines.is_empty() && self.dropped == 0 && self.allowance >= LINES_AT_ONCE_MAX
    }

    fn told_of_dropped(&mut self, last: Option<&Line>) -> Line {
        let dropped = std::mem::take(&mut self.dropped);
        let message = format!(
            "{dropped} lines were dropped: a deployment may print {LINES_PER_SECOND_MAX} lines a second to its log"
        );
        let at = last.map_or(Time(0), |line| line.at);
        Line { at, level: Level::Warning, message, replica: None, request_id: None }
    }
}

/// Writes the lines of a deployment, and deletes the oldest lines of a log that has become too long.
fn write(
    db: &Db,
    now: &impl Fn() -> Now,
    sizes: &mut HashMap<String, Size>,
    deployment_id: &str,
    lines: Vec<Line>,
) -> Result<(), Error> {
    let known = sizes.get(deployment_id).copied();
    let id = deployment_id.to_owned();
    let size = db.write_blocking(now(), move |tx| {
        let bytes = lines.iter().map(|line| line.message.len() as i64).sum::<i64>();
        logs::append_printed(tx, &id, &lines)?;
        let size = match known {
            Some(Size { lines: before, bytes: bytes_before }) => {
                Size { lines: before + lines.len() as i64, bytes: bytes_before + bytes }
            }
            None => logs::size(tx, &id)?,
        };
        if size.lines > KEPT_LINES_MAX || size.bytes > KEPT_BYTES_MAX {
            return logs::delete_oldest(tx, &id, size.lines / 10 + 1);
        }
        Ok(size)
    })?;
    sizes.insert(deployment_id.to_owned(), size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(journal: &Journal) -> Vec<(String, usize)> {
        let (batch, _) = journal.wait();
        batch.into_iter().map(|(id, lines)| (id, lines.len())).collect()
    }

    #[test]
    fn a_deployment_that_prints_too_much_loses_lines_and_says_so() {
        let journal = Journal::default();
        for number in 0..10_000 {
            journal.take("chatty", "r", Time(number), "line");
        }
        journal.take("quiet", "r", Time(1), "one line");
        let mut first = taken(&journal);
        first.sort();
        assert_eq!(first, [("chatty".to_owned(), LINES_PER_WRITE_MAX), ("quiet".to_owned(), 1)]);
        let mut rest = 0;
        let mut told = false;
        while !told {
            let (batch, _) = journal.wait();
            for (_, lines) in &batch {
                told |= lines.iter().any(|line| line.message.contains("were dropped"));
                rest += lines.len();
            }
        }
        assert!(rest < 3 * LINES_AT_ONCE_MAX as usize, "{rest}");
    }

    #[test]
    fn a_closed_journal_ends_once_it_is_empty() {
        let journal = Journal::default();
        journal.take("d", "r", Time(1), "line");
        journal.take("d", "r", Time(1), "");
        journal.close();
        let (batch, is_closed) = journal.wait();
        assert_eq!((batch.len(), is_closed), (1, true));
    }
}
