//! How a deployment comes to serve an environment, and what becomes of the one before.
//!
//! One promotion at a time: what is not active yet waits as the environment's candidate, and takes over as soon as it
//! is. The new occupant takes on the environment's settings.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::deployments::running;
use crate::db::deployments::{self, Deployment, Which};
use crate::db::environments::{self, Change, Environment, Stored};
use crate::db::logs;
use crate::db::models::Model;
use crate::domain::EnvironmentName;
use crate::domain::serving::{Cleanup, Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InTeam;

/// What goes into an environment.
#[derive(Debug)]
pub struct Promotion<'a> {
    pub environment: &'a EnvironmentName,
    pub previous: Previous,
    pub instance: Instance,
    /// What the environment is set to on the occasion.
    pub change: Change,
    /// The same as the client sent it, for the audit log.
    pub asked: Value,
}

/// What becomes of the deployment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// What the environment's settings say.
    AsSet,
    Keep,
}

/// Which instance type the new occupant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    OfEnvironment,
    OfDeployment,
}

/// Promotes a deployment into an environment, itself or as a copy: a copy where it is the development deployment, serves
/// another environment, has another instance type than the environment keeps, or where the environment wants it so.
pub fn promote(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    deployment: &Deployment,
    promotion: &Promotion,
) -> Result<Deployment, Error> {
    let name = promotion.environment.as_str();
    let mut environment = environments::find(tx, team, model, name)?;
    refuse_second(&environment)?;
    if deployment.status.phase() == Phase::Failed {
        return Err(Error::conflict(format!(
            "deployment \"{}\" has failed ({}): retry it, or push again",
            deployment.name, deployment.status
        )));
    }
    environment = environments::update(tx, team, model, &environment, &promotion.change)?;
    let instance_type = match promotion.instance {
        Instance::OfEnvironment if environment.current.is_some() => environment.instance_type.clone(),
        Instance::OfEnvironment | Instance::OfDeployment => deployment.instance_type.clone(),
    };
    let redeploy = environment.promotion.redeploy_on_promotion;
    if deployment.environment.as_deref() == Some(name) && !redeploy && instance_type == deployment.instance_type {
        return Err(Error::conflict(format!("deployment \"{}\" serves \"{name}\" already", deployment.name)));
    }
    let copied = deployment.is_development()
        || deployment.environment.is_some()
        || deployment.candidate_for.is_some()
        || redeploy
        || instance_type != deployment.instance_type;
    let promoted_id = if copied {
        running::copy(tx, team, model, deployment, &instance_type)?
    } else {
        running::wake(tx, deployment)?;
        deployment.id.clone()
    };
    let cleanup = match promotion.previous {
        Previous::AsSet => environment.promotion.promotion_cleanup_strategy,
        Previous::Keep => Cleanup::Keep,
    };
    let promoted = deployments::find(tx, team, &model.id, Which::Id(&promoted_id))?;
    enter(tx, &promoted, &environment, cleanup)?;
    let promoted = deployments::find(tx, team, &model.id, Which::Id(&promoted_id))?;
    deployments::record(tx, team, "MODEL_DEPLOYMENT_PROMOTED", model, &promoted, promoted_data(promotion))?;
    Ok(promoted)
}

fn promoted_data(promotion: &Promotion) -> Value {
    let update = |field: &str| promotion.asked.get(field).cloned().unwrap_or_default();
    json!({
        "environment_name": promotion.environment.as_str(),
        "environment_id": null,
        "region_update": null,
        "instance_type_id_update": null,
        "promotion_settings_override": null,
        "autoscaling_settings_update": update("autoscaling_settings"),
        "request_backpressure_settings_update": update("request_backpressure_settings"),
        "autoscaling_schedule_settings_update": null,
    })
}

/// Puts a deployment into an environment: at once where it serves or nobody is there, otherwise as the candidate.
pub(in crate::db) fn enter(
    tx: &Tx,
    deployment: &Deployment,
    environment: &Environment,
    cleanup: Cleanup,
) -> Result<(), Error> {
    refuse_second(environment)?;
    match &environment.current {
        None => occupy(tx, deployment, &environment.name),
        Some(current) if deployment.status.phase() == Phase::Serving => {
            demote(tx, current, cleanup)?;
            occupy(tx, deployment, &environment.name)
        }
        Some(_) => {
            tx.sql
                .prepare_cached(
                    "UPDATE deployment
                     SET candidate_for = :environment, cleanup = :cleanup, updated_at = :now
                     WHERE id = :id",
                )?
                .execute(named_params! {
                    ":environment": environment.name, ":cleanup": cleanup, ":now": tx.now, ":id": deployment.id,
                })?;
            Ok(())
        }
    }
}

fn refuse_second(environment: &Environment) -> Result<(), Error> {
    match &environment.candidate {
        None => Ok(()),
        Some(candidate) => Err(Error::conflict(format!(
            "deployment \"{}\" is being promoted to \"{}\": wait until it is active, or cancel that promotion",
            candidate.name, environment.name
        ))),
    }
}

/// Lets a candidate that is active now take over.
pub(in crate::db) fn settle(tx: &Tx, candidate: &Deployment) -> Result<(), Error> {
    let (Some(environment), Some(cleanup)) = (&candidate.candidate_for, candidate.cleanup) else { return Ok(()) };
    if let Some(current) = current(tx, &candidate.model_id, environment)? {
        demote(tx, &current, cleanup)?;
    }
    occupy(tx, candidate, environment)
}

fn occupy(tx: &Tx, deployment: &Deployment, environment: &str) -> Result<(), Error> {
    let stored = of_model(tx, &deployment.model_id, environment)?;
    let settings = Settings {
        autoscaling: stored.autoscaling.unwrap_or_else(|| deployment.settings.autoscaling.clone()),
        backpressure: stored.backpressure.unwrap_or(deployment.settings.backpressure),
    };
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET environment = :environment, candidate_for = NULL, cleanup = NULL, updated_at = :now
             WHERE id = :id",
        )?
        .execute(named_params! { ":environment": environment, ":now": tx.now, ":id": deployment.id })?;
    running::set(tx, &deployment.id, &settings)?;
    logs::append(tx, &deployment.id, Level::Info, &serves(environment))
}

/// Takes a deployment out of its environment.
pub(in crate::db) fn demote(tx: &Tx, deployment: &Deployment, cleanup: Cleanup) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE deployment SET environment = NULL WHERE id = :id")?
        .execute(named_params! { ":id": deployment.id })?;
    let status = cleanup.of(deployment.status);
    let environment = deployment.environment.as_deref().unwrap_or_default();
    running::change_status(tx, deployment, status, &no_longer_serves(environment, status))
}

pub(in crate::db) fn serves(environment: &str) -> String {
    format!("serves the environment \"{environment}\" from now on")
}

pub(in crate::db) fn no_longer_serves(environment: &str, status: Status) -> String {
    format!("no longer serves the environment \"{environment}\"; it is {status}")
}

/// Ends a promotion that has not taken over yet.
pub(in crate::db) fn drop_candidate(tx: &Tx, model_id: &str, environment: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET candidate_for = NULL, cleanup = NULL, updated_at = :now
             WHERE model_id = :model_id AND candidate_for = :environment",
        )?
        .execute(named_params! { ":now": tx.now, ":model_id": model_id, ":environment": environment })?;
    Ok(())
}

/// What can be done to a promotion under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    Cancel,
    ForceCancel,
    ForceRollForward,
}

impl Control {
    const fn as_str(self) -> &'static str {
        match self {
            Control::Cancel => "GRACEFUL_CANCEL",
            Control::ForceCancel => "FORCE_CANCEL",
            Control::ForceRollForward => "FORCE_ROLL_FORWARD",
        }
    }
}

pub fn control(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    environment: &Environment,
    control: Control,
) -> Result<(), Error> {
    let Some(candidate) = &environment.candidate else {
        return Err(Error::conflict(format!("nothing is being promoted to \"{}\"", environment.name)));
    };
    match control {
        Control::Cancel | Control::ForceCancel => drop_candidate(tx, &model.id, &environment.name)?,
        Control::ForceRollForward => settle(tx, candidate)?,
    }
    let data = json!({ "environment_name": environment.name, "environment_id": null, "action": control.as_str() });
    deployments::record(tx, team, "MODEL_PROMOTION_CONTROL_ACTION", model, candidate, data)
}

/// What serves an environment, for the runner, which acts for nobody.
fn current(tx: &Tx, model_id: &str, environment: &str) -> Result<Option<Deployment>, Error> {
    let mut query =
        tx.sql.prepare_cached(deployments::select!("WHERE model_id = :model_id AND environment = :environment"))?;
    let params = named_params! { ":model_id": model_id, ":environment": environment };
    Ok(query.query_row(params, deployments::from_row).optional()?)
}

fn of_model(tx: &Tx, model_id: &str, environment: &str) -> Result<Stored, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT created_at, autoscaling, promotion, backpressure, instance_type
         FROM model_environment
         WHERE model_id = :model_id AND name = :environment",
    )?;
    let params = named_params! { ":model_id": model_id, ":environment": environment };
    Ok(query.query_row(params, environments::stored_from_row)?)
}
