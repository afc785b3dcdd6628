//! What can be done to an existing deployment: switch it on and off, retry, scale and copy it.

use rusqlite::named_params;
use serde_json::json;

use crate::db::deployments::naming::Owner;
use crate::db::deployments::{Changeable, write_json};
use crate::db::{Tx, logs};
use crate::domain::deployments::Deployment;
use crate::domain::models::Model;
use crate::domain::serving::{Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InEnvironment;

/// Whether an act found anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Changed,
    AsItWas,
}

/// Switches a deployment on. One that runs already is left as it is, which is noted too.
pub fn activate(tx: &Tx, changeable: &Changeable) -> Result<Done, Error> {
    let deployment = &changeable.deployment;
    let done = match deployment.status.phase() {
        Phase::Starting | Phase::Serving => Done::AsItWas,
        Phase::Asleep | Phase::Off => {
            wake(tx, deployment)?;
            Done::Changed
        }
        Phase::Failed => {
            return Err(Error::conflict(format!(
                "deployment \"{}\" has failed ({}): retry it, or push again",
                deployment.name, deployment.status
            )));
        }
    };
    changeable.record(tx, "MODEL_DEPLOYMENT_ACTIVATED", json!({}))?;
    Ok(done)
}

/// Switches a deployment off, also one that is not active yet.
pub fn deactivate(tx: &Tx, changeable: &Changeable) -> Result<Done, Error> {
    tx.frees_space()?;
    let done = switch_off(tx, &changeable.deployment)?;
    changeable.record(tx, "MODEL_DEPLOYMENT_DEACTIVATED", json!({}))?;
    Ok(done)
}

/// Builds a failed deployment again. Answers why not, where it has not failed.
pub fn retry(tx: &Tx, changeable: &Changeable) -> Result<Option<String>, Error> {
    let deployment = &changeable.deployment;
    let reason = match deployment.status.phase() {
        Phase::Failed => {
            change_status(tx, deployment, Status::Building, "is tried again")?;
            None
        }
        Phase::Starting | Phase::Serving | Phase::Asleep | Phase::Off => {
            Some(format!("it has not failed: it is {}", deployment.status))
        }
    };
    let more = json!({ "retried": reason.is_none() });
    changeable.record(tx, "MODEL_DEPLOYMENT_RETRIED", more)?;
    Ok(reason)
}

/// Starts what is off or asleep; what runs is left alone.
pub(in crate::db) fn wake(tx: &Tx, deployment: &Deployment) -> Result<(), Error> {
    match deployment.status.phase() {
        Phase::Asleep => change_status(tx, deployment, Status::WakingUp, "wakes up"),
        Phase::Off => change_status(tx, deployment, Status::Deploying, "is being activated"),
        Phase::Starting | Phase::Serving | Phase::Failed => Ok(()),
    }
}

pub(in crate::db) fn switch_off(tx: &Tx, deployment: &Deployment) -> Result<Done, Error> {
    match deployment.status.phase() {
        Phase::Off | Phase::Failed => Ok(Done::AsItWas),
        Phase::Starting | Phase::Serving | Phase::Asleep => {
            change_status(tx, deployment, Status::Deactivating, "is being deactivated").map(|()| Done::Changed)
        }
    }
}

pub(in crate::db) fn change_status(tx: &Tx, deployment: &Deployment, status: Status, told: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE deployment SET status = :status, updated_at = :now WHERE id = :id")?
        .execute(named_params! { ":status": status, ":now": tx.now, ":id": deployment.id })?;
    logs::append(tx, &deployment.id, Level::Info, told)
}

/// What a deployment is set to, of its own or by its environment.
pub(in crate::db) fn set(tx: &Tx, id: &str, settings: &Settings) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET autoscaling = :autoscaling, backpressure = :backpressure, updated_at = :now
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":autoscaling": write_json(&settings.autoscaling),
            ":backpressure": settings.backpressure,
            ":now": tx.now,
            ":id": id,
        })?;
    Ok(())
}

/// Changes what a deployment that serves no environment is set to. What is set like that already leaves no entry.
pub(in crate::db) fn configure(tx: &Tx, changeable: &Changeable, settings: &Settings) -> Result<(), Error> {
    let deployment = &changeable.deployment;
    set(tx, &deployment.id, settings)?;
    if settings.autoscaling != deployment.settings.autoscaling {
        let mut more = json!(settings.autoscaling);
        more["schedules"] = json!(null);
        more["deployment_type"] = json!(null);
        more["previous_settings"] = json!(deployment.settings.autoscaling);
        changeable.record(tx, "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED", more)?;
    }
    if settings.backpressure != deployment.settings.backpressure {
        let more = json!({ "policy": settings.backpressure, "previous_policy": deployment.settings.backpressure });
        changeable.record(tx, "MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED", more)?;
    }
    Ok(())
}

/// A published copy of a deployment, of the same archive. Answers its id.
pub(in crate::db) fn copy(
    tx: &Tx,
    at: &InEnvironment,
    model: &Model,
    deployment: &Deployment,
    instance_type: &str,
) -> Result<String, Error> {
    let id = tx.id();
    let (number, name) = Owner::Model(&model.id).name_of_copy(tx, &deployment.name)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, config, raw_config, labels,
                                     user_env, instance_type, autoscaling, backpressure, s3_key, truss_hash,
                                     truss_signature, timeout_minutes, created_by, created_at, updated_at)
             SELECT :id, org_id, team_id, model_id, :name, :number, 'BUILDING', config, raw_config, labels,
                    user_env, :instance_type, autoscaling, backpressure, s3_key, truss_hash,
                    truss_signature, timeout_minutes, :created_by, :now, :now
             FROM deployment
             WHERE team_id = :team_id AND id = :source",
        )?
        .execute(named_params! {
            ":id": id,
            ":name": name,
            ":number": number,
            ":instance_type": instance_type,
            ":created_by": at.caller().prefix(),
            ":now": tx.now,
            ":team_id": at.team().id,
            ":source": deployment.id,
        })?;
    logs::append(tx, &id, Level::Info, &format!("made as a copy of \"{}\"", deployment.name))?;
    Ok(id)
}
