//! Builds deployments on threads of their own, in turns between teams.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::entry::{Build, Failure};
use super::{Lifecycle, Report};
use crate::db::{deployments, progress, serving};
use crate::domain::serving::{Level, Status};
use crate::error::Error;
use crate::runner::builds::{self, Built, Source};
use crate::runner::python::Watch;

/// How many builds run at the same time. A team has one.
const BUILDS_MAX: usize = 4;
const OUR_FAULT: &str = "cannot be built by a fault of this installation, which its log explains";

/// How a build ended.
pub enum BuildEnd {
    Done(Box<Built>),
    /// An error that the team can fix.
    Failed(String),
    /// This machine lacks something.
    Machine(String),
    /// A fault of this installation.
    Ours(String),
    Stopped,
}

impl Lifecycle<'_> {
    /// Starts builds of deployments that lack one, first those of the teams that were served longest ago. A deployment
    /// during whose build the server ended before is built alone.
    pub(super) fn begin_builds(&mut self) {
        let now = std::time::Instant::now();
        let mut waiting: Vec<_> = self
            .entries
            .values()
            .filter(|entry| entry.lacks_build() && !entry.is_paused(now))
            .map(|entry| {
                let kept = &entry.kept;
                let place = self.turns.place(&kept.org_id, &kept.team_id);
                (place, kept.deployment.created_at.0, kept.deployment.id.clone())
            })
            .collect();
        waiting.sort();
        for (_, _, id) in waiting {
            let Some(entry) = self.entries.get(&id) else { continue };
            let running = || self.entries.values().filter(|other| other.build.is_some());
            let is_suspected = |attempts: i64| attempts > 0;
            let is_full = running().count() >= BUILDS_MAX
                || running().any(|other| is_suspected(other.kept.start_attempts))
                || is_suspected(entry.kept.start_attempts) && running().next().is_some();
            if is_full {
                return;
            }
            if running().any(|other| other.kept.team_id == entry.kept.team_id) {
                continue;
            }
            self.turns.serve(&entry.kept.org_id, &entry.kept.team_id);
            if let Err(cause) = self.begin_build(&id) {
                self.postpone(&id, &format!("{cause:?}"));
            }
        }
    }

    fn begin_build(&mut self, id: &str) -> Result<(), Error> {
        let Some(source) = self.source(id)? else { return Ok(()) };
        let (deployment_id, build_id) = (id.to_owned(), new_id());
        self.write({
            let id = deployment_id.clone();
            move |tx| serving::begin_attempt(tx, &id)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let build = Build { id: build_id.clone(), stop: Arc::clone(&stop) };
        let (machine, tell) = (Arc::clone(self.machine), self.tell.clone());
        let journal = Arc::clone(&self.journal);
        let now = self.now;
        let work = move || {
            let log = |line: &str| journal.tell(&deployment_id, now().time, Level::Info, line);
            let watch = Watch { stop: &stop, log: &log };
            let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                builds::build(&machine, &deployment_id, &build_id, source, watch)
            }));
            let end = match built {
                Ok(Ok(built)) => BuildEnd::Done(Box::new(built)),
                Ok(Err(failure)) => BuildEnd::from(failure),
                Err(_) => BuildEnd::Failed(OUR_FAULT.to_owned()),
            };
            tell.send(Report::Built { deployment_id, build_id, end });
        };
        std::thread::Builder::new()
            .name("build".to_owned())
            .spawn(work)
            .map_err(|cause| Error::Internal(format!("cannot start a build: {cause}")))?;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.build = Some(build);
        }
        Ok(())
    }

    /// What a deployment is to be built from now.
    pub(super) fn source(&self, id: &str) -> Result<Option<Source>, Error> {
        let directory = self.db.directory();
        self.read(|tx| {
            let Some(deployment) = progress::find(tx, id)? else { return Ok(None) };
            let archive = progress::archive(tx, &deployment)?.map(|archive| archive.path(directory));
            let config = deployments::config(tx, &deployment)?.parsed;
            Ok(Some(Source { archive, config }))
        })
    }

    /// Takes over the end of a build. One whose deployment was pushed again meanwhile is forgotten.
    pub(super) fn end_build(&mut self, id: &str, build_id: &str, end: BuildEnd) {
        let current = self.source(id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.build.as_ref().is_none_or(|build| build.id != build_id) {
            return;
        }
        entry.build = None;
        self.touched.insert(id.to_owned());
        let ended = {
            let id = id.to_owned();
            self.write(move |tx| serving::end_attempt(tx, &id))
        };
        if let Err(cause) = ended {
            tracing::warn!(id, ?cause, "the end of an attempt is not recorded");
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.kept.start_attempts = 0;
        match end {
            BuildEnd::Done(built) => {
                if current.is_ok_and(|current| current.as_ref() == Some(&built.source)) {
                    entry.pause = None;
                    self.take_build(id, Arc::from(built));
                }
            }
            BuildEnd::Failed(why) | BuildEnd::Machine(why) if entry.is_updating() => self.refuse_patch(id, &why),
            BuildEnd::Failed(why) => entry.failure = Some(failed(entry.status(), why)),
            BuildEnd::Machine(why) => entry.failure = Some(lacking(entry.status(), why)),
            BuildEnd::Ours(why) => self.postpone(id, &why),
            BuildEnd::Stopped => {}
        }
    }
}

fn failed(status: Status, why: String) -> Failure {
    match status {
        Status::Building => Failure { status: Status::BuildFailed, why: format!("cannot be built: {why}") },
        _ => Failure { status: Status::Failed, why: format!("cannot be built again: {why}") },
    }
}

/// The failure of a deployment for which this machine lacks something.
pub(super) fn lacking(status: Status, why: String) -> Failure {
    match status {
        Status::Building | Status::Deploying | Status::LoadingModel => {
            Failure { status: Status::DeployFailed, why: format!("cannot be deployed: {why}") }
        }
        _ => Failure { status: Status::Failed, why: format!("cannot be started: {why}") },
    }
}

/// An id for a build or a replica: random, and part of the name of a folder.
pub(super) fn new_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}
