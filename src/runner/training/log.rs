//! The log of a running job: lines are gathered and stored together, and the oldest are removed beyond a limit.

use std::sync::{Mutex, PoisonError};

use super::Site;
use crate::db::training_jobs::running;
use crate::domain::logs::Printed;
use crate::domain::serving::Level;
use crate::error::Error;

/// How many lines of a job are kept, and how many more may be there before the oldest are removed.
const LINES_MAX: usize = 20_000;
const LINES_EXCESS_MAX: usize = 2_000;
/// How many bytes wait to be stored. Lines beyond it are counted and dropped.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Lines that wait to be stored.
#[derive(Default)]
pub struct Log {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<(Level, String)>,
    bytes: usize,
    dropped: usize,
    /// How many lines were stored since the log was last trimmed.
    stored: usize,
}

impl Log {
    /// Takes a line that a process printed.
    pub fn print(&self, line: &str) {
        let Printed { level, message, .. } = Printed::read(line);
        self.add(level, message);
    }

    /// Adds a line of our own.
    pub fn add(&self, level: Level, message: String) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes + message.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += message.len() + 1;
        waiting.lines.push((level, message));
    }

    /// Stores the lines that wait. If the team's quota has no room for them, they are lost and the job goes on.
    pub fn store(&self, site: Site, job_id: &str) {
        let (lines, is_to_trim) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut lines = std::mem::take(&mut waiting.lines);
            if waiting.dropped > 0 {
                lines.push((
                    Level::Warning,
                    format!("{} lines were printed too fast and are left out.", waiting.dropped),
                ));
            }
            (waiting.bytes, waiting.dropped) = (0, 0);
            waiting.stored += lines.len();
            let is_to_trim = waiting.stored > LINES_EXCESS_MAX;
            if is_to_trim {
                waiting.stored = 0;
            }
            (lines, is_to_trim)
        };
        if lines.is_empty() {
            return;
        }
        let id = job_id.to_owned();
        match site.write(move |tx| running::append_lines(tx, &id, &lines)) {
            Ok(()) => {}
            Err(Error::QuotaExceeded(_) | Error::StorageFull) => {
                tracing::warn!(training_job = job_id, "lines of its log are left out: there is no room for them");
            }
            Err(cause) => tracing::error!(training_job = job_id, ?cause, "lines of its log are not stored"),
        }
        let id = job_id.to_owned();
        if is_to_trim && let Err(cause) = site.write(move |tx| running::trim_log(tx, &id, LINES_MAX)) {
            tracing::error!(training_job = job_id, ?cause, "its log is not trimmed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::logs::MESSAGE_BYTES_MAX;

    #[test]
    fn what_waits_is_bounded() {
        let log = Log::default();
        (0..2000).for_each(|_| log.print(&"é".repeat(MESSAGE_BYTES_MAX)));
        let waiting = log.waiting.lock().unwrap();
        assert!(waiting.bytes <= WAITING_BYTES_MAX + 200 && waiting.dropped > 1000);
        assert!(waiting.lines[0].1.len() <= MESSAGE_BYTES_MAX);
    }
}
