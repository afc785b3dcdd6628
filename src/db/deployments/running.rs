//! What can be done to a deployment that is there: switched on and off, tried again, scaled, copied.

use rusqlite::named_params;
use serde_json::json;

use crate::db::deployments::naming::Owner;
use crate::db::deployments::{Deployment, Which, find, record, write_json};
use crate::db::models::Model;
use crate::db::{Tx, logs};
use crate::domain::serving::{Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InTeam;

/// Whether an act found anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Changed,
    AsItWas,
}

/// Switches a deployment on. One that runs already is left as it is, which is noted too.
pub fn activate(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment) -> Result<Done, Error> {
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
    record(tx, team, "MODEL_DEPLOYMENT_ACTIVATED", model, deployment, json!({}))?;
    Ok(done)
}

/// Switches a deployment off, also one that is not active yet.
pub fn deactivate(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment) -> Result<Done, Error> {
    tx.frees_space()?;
    let done = switch_off(tx, deployment)?;
    record(tx, team, "MODEL_DEPLOYMENT_DEACTIVATED", model, deployment, json!({}))?;
    Ok(done)
}

/// Builds a failed deployment again. Answers why not, where it has not failed.
pub fn retry(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment) -> Result<Option<String>, Error> {
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
    record(tx, team, "MODEL_DEPLOYMENT_RETRIED", model, deployment, more)?;
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
pub fn configure(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    deployment: &Deployment,
    settings: &Settings,
) -> Result<Deployment, Error> {
    set(tx, &deployment.id, settings)?;
    if settings.autoscaling != deployment.settings.autoscaling {
        let mut more = json!(settings.autoscaling);
        more["schedules"] = json!(null);
        more["deployment_type"] = json!(null);
        more["previous_settings"] = json!(deployment.settings.autoscaling);
        record(tx, team, "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED", model, deployment, more)?;
    }
    if settings.backpressure != deployment.settings.backpressure {
        let more = json!({ "policy": settings.backpressure, "previous_policy": deployment.settings.backpressure });
        record(tx, team, "MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED", model, deployment, more)?;
    }
    find(tx, team, &model.id, Which::Id(&deployment.id))
}

/// A published copy of a deployment, of the same archive. Answers its id.
pub(in crate::db) fn copy(
    tx: &Tx,
    team: &InTeam,
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
            ":created_by": team.caller().prefix(),
            ":now": tx.now,
            ":team_id": team.team().id,
            ":source": deployment.id,
        })?;
    logs::append(tx, &id, Level::Info, &format!("made as a copy of \"{}\"", deployment.name))?;
    Ok(id)
}
