//! Decides the next step of a deployment.

use super::inspect::RULES;
use super::{Deployment, Error, Level, Part, Status, Step, Synced, Task, Tx, archive_readings, patches, progress};
use crate::db::archive_readings::{ATTEMPTS_MAX, Reading};

const NO_ARCHIVE: &str = "no archive was uploaded, so it can be neither patched nor downloaded";

pub enum Plan {
    /// Nothing is to be done.
    Rest,
    Step(Box<Deployment>, Step),
    GiveUpPatches {
        deployment: Box<Deployment>,
        synced: Synced,
        why: String,
    },
    /// A long task. `attempts` counts the earlier attempts that never ended.
    Task {
        task: Task,
        attempts: i64,
    },
}

/// Decides the next step of the deployment with this id. A deployment that does not exist has nothing to do.
pub fn plan(tx: &Tx, id: &str, part: Part) -> Result<Plan, Error> {
    let Some(deployment) = progress::find(tx, id)? else { return Ok(Plan::Rest) };
    let step = match deployment.status {
        Status::Building => return build(tx, deployment, part),
        Status::Updating => return update(tx, deployment, part),
        _ if part == Part::OfArchives => return Ok(Plan::Rest),
        Status::Deploying => to(Status::LoadingModel, "deployed; loading the model"),
        Status::LoadingModel if deployment.s3_key.is_none() => to(Status::Active, &format!("active: {NO_ARCHIVE}")),
        Status::LoadingModel => to(Status::Active, "active"),
        Status::WakingUp => to(Status::Active, "awake"),
        Status::Deactivating => to(Status::Inactive, "inactive"),
        Status::DeployFailed
        | Status::Active
        | Status::Unhealthy
        | Status::BuildFailed
        | Status::BuildStopped
        | Status::Inactive
        | Status::Failed
        | Status::ScaledToZero => return Ok(Plan::Rest),
    };
    Ok(Plan::Step(Box::new(deployment), step))
}

fn build(tx: &Tx, deployment: Deployment, part: Part) -> Result<Plan, Error> {
    if part == Part::OfArchives && (deployment.s3_key.is_none() || deployment.truss_hash.is_some()) {
        return Ok(Plan::Rest);
    }
    if deployment.s3_key.is_none() {
        let step = to(Status::Deploying, &format!("built from its configuration alone: {NO_ARCHIVE}"));
        return Ok(Plan::Step(Box::new(deployment), step));
    }
    let Some(archive) = progress::archive(tx, &deployment)? else {
        let step = failed("the upload that it was made of is gone: push it again".to_owned());
        return Ok(Plan::Step(Box::new(deployment), step));
    };
    let step = match archive_readings::find(tx, &archive, RULES)? {
        Reading::Done { truss_hash } if part == Part::OfArchives => {
            Step { truss_hash: Some(truss_hash), ..to(Status::Building, "the archive is whole: builds") }
        }
        Reading::Done { truss_hash } => {
            Step { truss_hash: Some(truss_hash), ..to(Status::Deploying, "built: the archive is whole") }
        }
        Reading::Failed { why } => failed(format!("cannot be built: {why}")),
        Reading::Open { attempts } if attempts >= ATTEMPTS_MAX => failed(format!(
            "cannot be built: the server ended {attempts} times while it read the archive, so it is not read again: push \
             another"
        )),
        Reading::Open { attempts } => return Ok(Plan::Task { task: Task::read(archive), attempts }),
    };
    Ok(Plan::Step(Box::new(deployment), step))
}

fn update(tx: &Tx, deployment: Deployment, part: Part) -> Result<Plan, Error> {
    let Some(synced) = patches::synced(tx, &deployment)? else {
        if part == Part::OfArchives {
            return Ok(Plan::Rest);
        }
        return Ok(Plan::Step(Box::new(deployment), to(Status::Active, "up to date")));
    };
    let deployment = Box::new(deployment);
    let attempts = synced.attempts;
    if attempts >= ATTEMPTS_MAX {
        let why =
            format!("the server ended {attempts} times while it brought the patches into the archive: push it again");
        return Ok(Plan::GiveUpPatches { deployment, synced, why });
    }
    match progress::archive(tx, &deployment)? {
        None => {
            let why = "the upload that it was made of is gone: push it again".to_owned();
            Ok(Plan::GiveUpPatches { deployment, synced, why })
        }
        Some(archive) => Ok(Plan::Task { task: Task::patch(deployment, archive, synced), attempts }),
    }
}

fn to(status: Status, message: &str) -> Step {
    Step { status, level: Level::Info, message: message.to_owned(), truss_hash: None }
}

fn failed(message: String) -> Step {
    Step { status: Status::BuildFailed, level: Level::Error, message, truss_hash: None }
}
