//! The writer: the only thread that writes to the database. It commits writes in groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rusqlite::Connection;

use crate::db::commits::Commits;
use crate::db::directory::Directory;
use crate::db::quotas::{self, Desk, Quotas};
use crate::db::storage::{self, lacks_space, of_storage};
use crate::db::{Now, Tx};
use crate::domain::Time;
use crate::error::Error;
use crate::seal::Sealer;

const GROUP_MAX: usize = 512;
/// The savepoint in which each job runs.
pub(super) const SAVEPOINT: &str = "job";
/// After this time without a write, the WAL is truncated if it is too long.
const IDLE: Duration = Duration::from_secs(1);

/// A queued write. It runs in a savepoint and is answered after the commit of its group.
pub(super) type Job = Box<dyn FnOnce(&Writer) -> (Verdict, Answer) + Send>;
/// Called after the commit with the outcome of the whole group.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

#[derive(PartialEq)]
pub(super) enum Verdict {
    Keep,
    Undo,
}

pub(super) fn job<T: Send + 'static>(
    now: Now,
    work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    answer: impl FnOnce(Result<T, Error>) + Send + 'static,
) -> Job {
    Box::new(move |writer| {
        let tx = writer.tx(now);
        let outcome = catch_unwind(AssertUnwindSafe(|| quotas::settled(&tx, &writer.desk, work)))
            .unwrap_or_else(|_| Err(Error::Defect("a write panicked".to_owned())))
            .map_err(|cause| of_storage(&writer.sql, cause));
        let verdict = if outcome.is_ok() { Verdict::Keep } else { Verdict::Undo };
        let answer: Answer = Box::new(move |committed| answer(outcome.and_then(|done| committed.map(|()| done))));
        (verdict, answer)
    })
}

pub(super) struct Writer {
    pub sql: Connection,
    pub sealer: Arc<Sealer>,
    pub commits: Arc<Commits>,
    pub quotas: Arc<Quotas>,
    pub found_ended_at: Arc<AtomicI64>,
    pub desk: Desk,
    pub path: PathBuf,
    /// The locked data directory. It is the last field, so that the lock is released last.
    pub _directory: Directory,
}

impl Writer {
    fn tx(&self, now: Now) -> Tx<'_> {
        let Writer { sql, sealer, found_ended_at, quotas, desk, .. } = self;
        Tx::new(sql, sealer, found_ended_at, quotas, Some(desk), now)
    }

    /// Commits groups of writes until the queue is closed. The writes that arrive during one fsync form the next group.
    pub fn run(self, jobs: &mpsc::Receiver<Job>) {
        while let Some(first) = self.next(jobs) {
            let group = std::iter::once(first).chain(std::iter::from_fn(|| jobs.try_recv().ok())).take(GROUP_MAX);
            let mut answers = Vec::new();
            let committed = self.commit(group, &mut answers);
            self.commits.announce();
            for answer in answers {
                answer(committed.as_ref().copied().map_err(repeat));
            }
        }
        let _ = self.sql.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"); // otherwise the next start replays the WAL
    }

    /// Waits for a job. While there is none, a WAL that a reader outside this process has kept from being reset is
    /// truncated.
    fn next(&self, jobs: &mpsc::Receiver<Job>) -> Option<Job> {
        while storage::log_bytes(&self.path) > storage::LOG_BYTES_MAX {
            match jobs.recv_timeout(IDLE) {
                Ok(job) => return Some(job),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => storage::truncate_log(&self.sql),
            }
        }
        jobs.recv().ok()
    }

    /// Runs the jobs in one transaction and commits it: all of them become durable or none.
    fn commit(&self, group: impl Iterator<Item = Job>, answers: &mut Vec<Answer>) -> Result<(), Error> {
        self.desk.space.look(&self.sql)?;
        self.sql.execute_batch("BEGIN IMMEDIATE").map_err(|cause| of_storage(&self.sql, cause.into()))?;
        let done = self.run_each(group, answers).and_then(|()| self.desk.write_down(&self.sql));
        let done = done.and_then(|()| Ok(self.sql.execute_batch("COMMIT")?));
        let done = done.map_err(|cause| of_storage(&self.sql, cause));
        if done.is_err() {
            self.desk.forget_usage();
        }
        if done.is_err() && !self.sql.is_autocommit() {
            let _ = self.sql.execute_batch("ROLLBACK"); // if this fails, closing the connection rolls it back
        }
        done
    }

    /// Runs each job in its own savepoint, so that a refused job leaves no changes.
    fn run_each(&self, group: impl Iterator<Item = Job>, answers: &mut Vec<Answer>) -> Result<(), Error> {
        for job in group {
            self.sql.prepare_cached("SAVEPOINT job")?.execute([])?;
            let (verdict, answer) = job(self);
            answers.push(answer);
            self.end_savepoint(&verdict)?;
            if let Some(now) = self.desk.refused_at() {
                self.note_refusal(now)?;
            }
        }
        Ok(())
    }

    fn end_savepoint(&self, verdict: &Verdict) -> Result<(), Error> {
        if self.sql.is_autocommit() {
            // SQLite itself rolled back the whole transaction: the disk is full or failing.
            let is_full = lacks_space(&self.sql) || storage::is_disk_full(&self.path);
            let failed = || Error::Internal("the disk failed, and SQLite rolled back".to_owned());
            return Err(if is_full { Error::StorageFull } else { failed() });
        }
        if *verdict == Verdict::Undo {
            self.sql.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        self.sql.prepare_cached("RELEASE job")?.execute([])?;
        Ok(())
    }

    /// Records that a quota refused a write. The refused write itself is undone, so the record is a write of its own.
    fn note_refusal(&self, now: Time) -> Result<(), Error> {
        self.sql.prepare_cached("SAVEPOINT job")?.execute([])?;
        let tx = self.tx(Now { time: now, seed: [0; 32] });
        let noted = quotas::settled(&tx, &self.desk, |tx| quotas::note_refusal(tx, &self.desk));
        self.end_savepoint(if noted.is_ok() { &Verdict::Keep } else { &Verdict::Undo })
    }
}

/// Repeats the error of a failed commit for each job of the group.
fn repeat(error: &Error) -> Error {
    match error {
        Error::StorageFull => Error::StorageFull,
        other => Error::Internal(format!("{other:?}")),
    }
}
