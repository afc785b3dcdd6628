//! Long tasks: reading an archive, and applying patches to one. While a task runs, it uses the database only to read
//! the changes of patches.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::archive::{ArchiveError, Limits};
use super::inspect::{Inspected, RULES, inspect};
use super::patched::{self, Changes, Patched};
use super::{Archive, Db, Deployment, Error, Now, Synced, Tx, archive_readings, patches, progress};
use crate::db::archives::UNFINISHED;
use crate::db::deployments::patches::{Applied, FileChange};
use crate::domain::Time;

/// The subject of a task or a failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Archive([u8; 32]),
    Deployment(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Archive(hash) => write!(f, "archive {}", blake3::Hash::from(*hash).to_hex()),
            Subject::Deployment(id) => write!(f, "deployment {id}"),
        }
    }
}

#[derive(Clone)]
pub struct Task {
    work: Arc<Work>,
    is_alone: bool,
    stop: Arc<AtomicBool>,
}

enum Work {
    Read(Archive),
    Patch { deployment: Box<Deployment>, archive: Archive, synced: Synced },
}

pub struct Done {
    pub subject: Subject,
    pub outcome: Outcome,
}

pub enum Outcome {
    Read(Result<Box<Inspected>, String>),
    Patched(Result<Box<Patched>, String>),
    /// A fault of this installation.
    Ours(String),
    /// The task was stopped.
    Stopped,
}

impl Task {
    fn new(work: Work) -> Task {
        Task { work: Arc::new(work), is_alone: false, stop: Arc::default() }
    }

    pub fn read(archive: Archive) -> Task {
        Task::new(Work::Read(archive))
    }

    pub fn patch(deployment: Box<Deployment>, archive: Archive, synced: Synced) -> Task {
        Task::new(Work::Patch { deployment, archive, synced })
    }

    pub fn alone(self) -> Task {
        Task { is_alone: true, ..self }
    }

    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub fn subject(&self) -> Subject {
        match &*self.work {
            Work::Read(archive) => Subject::Archive(archive.hash),
            Work::Patch { deployment, .. } => Subject::Deployment(deployment.id.clone()),
        }
    }

    /// Ends the task early, because the server stops or nothing waits for the result.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether a deployment still waits for the result.
    pub fn is_wanted(&self, tx: &Tx) -> Result<bool, Error> {
        match &*self.work {
            Work::Read(archive) => archive_readings::is_wanted(tx, &archive.hash),
            Work::Patch { deployment, .. } => progress::is_updating(tx, &deployment.id),
        }
    }

    /// Records the attempt.
    pub fn record(&self, tx: &Tx) -> Result<(), Error> {
        match &*self.work {
            Work::Read(archive) => archive_readings::begin(tx, archive, RULES),
            Work::Patch { deployment, .. } => patches::begin_attempt(tx, &deployment.id),
        }
    }

    pub fn run(&self, db: &Db) -> Done {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.outcome(db)));
        let outcome = outcome.unwrap_or_else(|_| self.failed("a fault of this installation".to_owned()));
        Done { subject: self.subject(), outcome }
    }

    fn outcome(&self, db: &Db) -> Outcome {
        let stop = &*self.stop;
        let outcome = match &*self.work {
            Work::Read(archive) => {
                let found = inspect(&archive.path(db.directory()), Limits::default(), stop);
                found.map(|inspected| Outcome::Read(Ok(Box::new(inspected))))
            }
            Work::Patch { deployment, archive, synced } => {
                patch(db, deployment, archive, synced, stop).map(|patched| Outcome::Patched(Ok(Box::new(patched))))
            }
        };
        match outcome {
            Ok(outcome) => outcome,
            Err(_) if stop.load(Ordering::Relaxed) => Outcome::Stopped,
            Err(ArchiveError::Ours(cause)) => Outcome::Ours(cause.to_string()),
            Err(ArchiveError::Content(why)) => self.failed(why),
        }
    }

    fn failed(&self, why: String) -> Outcome {
        match &*self.work {
            Work::Read(_) => Outcome::Read(Err(why)),
            Work::Patch { .. } => Outcome::Patched(Err(why)),
        }
    }

    /// Stores the outcome. An attempt that was stopped or met a fault of this installation is not counted.
    pub fn end(&self, tx: &Tx, outcome: Outcome) -> Result<(), Error> {
        match (&*self.work, outcome) {
            (Work::Read(archive), Outcome::Read(found)) => {
                let found = found.as_ref().map(|inspected| &inspected.content).map_err(String::as_str);
                archive_readings::end(tx, &archive.hash, found)
            }
            (Work::Patch { deployment, synced, .. }, Outcome::Patched(Ok(patched))) => {
                let Patched { placed, inspected } = &*patched;
                let Inspected { config, raw_config, .. } = inspected;
                let applied = Applied { archive: &placed.archive, config, raw_config };
                patches::applied(tx, deployment, synced, &applied)
            }
            (Work::Patch { deployment, synced, .. }, Outcome::Patched(Err(why))) => {
                super::progress::fail_patches(tx, deployment, synced, &why)
            }
            (Work::Read(archive), _) => archive_readings::give_back(tx, archive),
            (Work::Patch { deployment, .. }, _) => patches::give_back_attempt(tx, &deployment.id),
        }
    }
}

fn patch(
    db: &Db,
    deployment: &Deployment,
    archive: &Archive,
    synced: &Synced,
    stop: &AtomicBool,
) -> Result<Patched, ArchiveError> {
    let folder = db.directory().join(UNFINISHED);
    db.archives().make_folder(&folder)?;
    let temp = folder.join(format!("patched-{}", deployment.id));
    let changes = Stored { db, deployment_id: &deployment.id, numbers: &synced.numbers };
    patched::write(db.archives(), Path::new(&temp), archive, &changes, stop)
}

/// Patches that are stored in the database.
struct Stored<'a> {
    db: &'a Db,
    deployment_id: &'a str,
    numbers: &'a [i64],
}

impl Changes for Stored<'_> {
    fn numbers(&self) -> &[i64] {
        self.numbers
    }

    fn of(&self, number: i64) -> Result<Vec<FileChange>, ArchiveError> {
        // The time and the seed are not used, because nothing is written.
        let now = Now { time: Time(0), seed: [0; 32] };
        let read = self.db.read(now, |tx| patches::changes(tx, self.deployment_id, number));
        read.map_err(|cause| match cause {
            Error::Internal(why) => ArchiveError::Ours(std::io::Error::other(why)),
            cause => ArchiveError::Content(format!("a patch cannot be read: {cause}")),
        })
    }
}
