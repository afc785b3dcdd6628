//! Carries out what was committed: takes deployments from their push to being active, one step at a time.
//!
//! What is to be done stands in the database as a status, so a stop or a crash loses nothing: the next start picks up
//! what is under way. Until models are really run, a deployment is built by reading its archive: one that cannot be read
//! ends in `BUILD_FAILED`, and its log says why. Archives are read outside of any transaction.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::db::deployments::Deployment;
use crate::db::deployments::patches::{self, Synced};
use crate::db::deployments::progress::{self, Content, Step};
use crate::db::{Db, Moment};
use crate::error::Error;
use crate::model::serving::{Level, Status};

mod archive;
mod patched;

pub use archive::{Broken, Limits};

/// How often it looks for commits, and how long it waits after a failure of ours.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
const PAUSES_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Works until told to stop. `moment` is the clock.
pub fn run(db: &Db, moment: impl Fn() -> Moment, stopped: impl Fn() -> bool) {
    let mut seen = None;
    while !stopped() {
        let now = db.commits();
        if seen == Some(now) {
            std::thread::sleep(LOOKS_EVERY);
            continue;
        }
        seen = Some(now);
        if let Err(cause) = work(db, &moment, &stopped) {
            tracing::error!(?cause, "deployments do not move");
            seen = None;
            wait(PAUSES_AFTER_FAILURE, &stopped);
        }
    }
}

fn wait(long: Duration, stopped: &impl Fn() -> bool) {
    let looks = long.as_millis() / LOOKS_EVERY.as_millis();
    for _ in 0..looks {
        if stopped() {
            return;
        }
        std::thread::sleep(LOOKS_EVERY);
    }
}

/// Takes everything that is under way to where it comes to rest.
pub fn work(db: &Db, moment: &impl Fn() -> Moment, stopped: &impl Fn() -> bool) -> Result<(), Error> {
    loop {
        let under_way = db.read(moment(), progress::under_way)?;
        if under_way.is_empty() {
            return Ok(());
        }
        for deployment in under_way {
            if stopped() {
                return Ok(());
            }
            take_on(db, moment, deployment)?;
        }
    }
}

fn take_on(db: &Db, moment: &impl Fn() -> Moment, deployment: Deployment) -> Result<(), Error> {
    let step = match deployment.status {
        Status::Building => build(db, moment, &deployment)?,
        Status::Deploying => on(Status::LoadingModel, "deployed; loading the model"),
        Status::LoadingModel => on(Status::Active, "active"),
        Status::WakingUp => on(Status::Active, "awake"),
        Status::Deactivating => on(Status::Inactive, "inactive"),
        Status::Updating => match db.read(moment(), |tx| patches::synced(tx, &deployment))? {
            Some(synced) => return patch(db, moment, deployment, synced),
            None => on(Status::Active, "up to date"),
        },
        Status::DeployFailed
        | Status::Active
        | Status::Unhealthy
        | Status::BuildFailed
        | Status::BuildStopped
        | Status::Inactive
        | Status::Failed
        | Status::ScaledToZero => return Ok(()), // at rest
    };
    db.write_blocking(moment(), move |tx| progress::advance(tx, &deployment, &step))
}

fn on(status: Status, told: &str) -> Step {
    Step { status, level: Level::Info, told: told.to_owned(), content: None }
}

fn failed(told: String) -> Step {
    Step { status: Status::BuildFailed, level: Level::Error, told, content: None }
}

fn build(db: &Db, moment: &impl Fn() -> Moment, deployment: &Deployment) -> Result<Step, Error> {
    if deployment.s3_key.is_none() {
        let told = "built from its configuration alone: no archive was uploaded";
        return Ok(on(Status::Deploying, told));
    }
    let Some(archive) = db.read(moment(), |tx| progress::archive(tx, deployment))? else {
        return Ok(failed("the archive is gone".to_owned()));
    };
    Ok(match inspect(&archive.path(db.directory())) {
        Ok(content) => Step { content: Some(content), ..on(Status::Deploying, "built: the archive is whole") },
        Err(Broken::Content(why)) => failed(format!("cannot be built: {why}")),
        Err(Broken::Disk(cause)) => failed(format!("cannot be built: the archive cannot be read: {}", cause.kind())),
    })
}

fn inspect(path: &Path) -> Result<Content, Broken> {
    archive::inspect(File::open(path)?, Limits::default())
}

/// Brings synced patches into the archive. The deployment stays under way until none is left.
fn patch(db: &Db, moment: &impl Fn() -> Moment, deployment: Deployment, synced: Synced) -> Result<(), Error> {
    let archive = db.read(moment(), |tx| progress::archive(tx, &deployment))?;
    let archive = archive.ok_or_else(|| Broken::Content("the archive is gone".to_owned()));
    match archive.and_then(|archive| patched::write(db.directory(), &archive, &synced.changes)) {
        Ok(patched) => {
            let archive = patched.archive.clone();
            let applied = db.write_blocking(moment(), move |tx| patches::applied(tx, &deployment, &synced, &archive));
            let settled = patched.settle().map_err(|cause| Error::Internal(format!("a patched archive: {cause}")));
            applied.and(settled)
        }
        Err(broken) => {
            let step = Step { status: Status::Failed, ..failed(format!("cannot be patched: {broken}")) };
            db.write_blocking(moment(), move |tx| progress::advance(tx, &deployment, &step))
        }
    }
}
