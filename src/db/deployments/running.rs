//! Acts on an existing deployment: activate, deactivate, retry, configure and copy it.

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

/// Whether an act changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Changed,
    AsItWas,
}

/// Activates a deployment. A deployment that runs or starts already is not changed.
///
/// # Errors
///
/// [`Error::Conflict`] for a deployment that has failed.
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

/// Deactivates a deployment, even if it is not active yet.
pub fn deactivate(tx: &Tx, changeable: &Changeable) -> Result<Done, Error> {
    tx.frees_space()?;
    let done = switch_off(tx, &changeable.deployment)?;
    changeable.record(tx, "MODEL_DEPLOYMENT_DEACTIVATED", json!({}))?;
    Ok(done)
}

/// Builds a failed deployment again. For a deployment that has not failed, returns the reason why it is not retried.
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

/// Starts a deployment that is off or asleep. Does nothing for any other deployment.
pub(in crate::db) fn wake(tx: &Tx, deployment: &Deployment) -> Result<(), Error> {
    match deployment.status.phase() {
        Phase::Asleep => change_status(tx, deployment, Status::WakingUp, "wakes up"),
        Phase::Off => change_status(tx, deployment, Status::Deploying, "is being activated"),
        Phase::Starting | Phase::Serving | Phase::Failed => Ok(()),
    }
}

/// Deactivates a deployment. Does nothing for a deployment that is off or has failed.
pub(in crate::db) fn switch_off(tx: &Tx, deployment: &Deployment) -> Result<Done, Error> {
    match deployment.status.phase() {
        Phase::Off | Phase::Failed => Ok(Done::AsItWas),
        Phase::Starting | Phase::Serving | Phase::Asleep => {
            change_status(tx, deployment, Status::Deactivating, "is being deactivated").map(|()| Done::Changed)
        }
    }
}

/// Stores a new status, and writes `told` to the deployment's log.
pub(in crate::db) fn change_status(tx: &Tx, deployment: &Deployment, status: Status, told: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE deployment SET status = :status, updated_at = :now WHERE id = :id")?
        .execute(named_params! { ":status": status, ":now": tx.now, ":id": deployment.id })?;
    logs::append(tx, &deployment.id, Level::Info, told)
}

/// Stores the settings of a deployment.
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

/// Changes the settings of a deployment that serves no environment. The audit log gets an entry only for settings that
/// differ from the previous ones.
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

/// Creates a published copy of a deployment, with the same archive. Returns the id of the copy.
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
