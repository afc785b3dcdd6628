//! How a deployment of a model takes over an environment, and what happens to the deployment that served it before.
//!
//! [`domain::promotion`](crate::domain::promotion) decides what happens, and this module writes it to the database. The
//! deployment that takes over gets the environment's settings.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::deployments::{self, running};
use crate::db::environments::{self, Stored};
use crate::db::logs;
use crate::domain::deployments::{Deployment, Which};
use crate::domain::environments::{Change, Environment};
use crate::domain::models::Model;
use crate::domain::promotion::{Form, Occupancy, Previous, Promoted, Takeover, refuse_second};
use crate::domain::serving::{Cleanup, Level, Phase, Settings, Status};
use crate::error::Error;
use crate::policy::InEnvironment;

/// How a deployment is promoted.
#[derive(Debug)]
pub struct Promotion {
    pub previous: Previous,
    pub instance: Instance,
    /// Changes of the environment's settings that are made together with the promotion.
    pub change: Change,
    /// The value of [`Promotion::change`] as the client sent it, for the audit log.
    pub asked: Value,
}

/// Which instance type the promoted deployment gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    OfEnvironment,
    OfDeployment,
}

/// Promotes a deployment of the model to the environment of the proof `at`, either the deployment itself or a copy of
/// it, see [`Form`].
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have the deployment or the environment. [`Error::Conflict`] while another
/// deployment is being promoted to the environment, for a deployment that has failed or serves the environment already,
/// and for the model of a chainlet.
pub fn promote(
    tx: &Tx,
    at: &InEnvironment,
    model: &Model,
    deployment_id: &str,
    promotion: &Promotion,
) -> Result<Deployment, Error> {
    model.refuse_chainlet()?;
    let deployment = deployments::find(tx, at, &model.id, Which::Id(deployment_id))?;
    refuse_candidate(&environments::find_open(tx, at, model)?)?;
    if deployment.status.phase() == Phase::Failed {
        return Err(Error::conflict(format!(
            "deployment \"{}\" has failed ({}): retry it, or push again",
            deployment.name, deployment.status
        )));
    }
    let environment = environments::update(tx, at, model, &promotion.change)?;
    let instance_type = match promotion.instance {
        Instance::OfEnvironment if environment.current.is_some() => environment.instance_type.clone(),
        Instance::OfEnvironment | Instance::OfDeployment => deployment.instance_type.clone(),
    };
    let promoted = Promoted {
        is_development: deployment.is_development(),
        environment: deployment.environment.as_deref(),
        candidate_for: deployment.candidate_for.as_deref(),
        fits: instance_type == deployment.instance_type,
    };
    let promoted_id = match Form::of(&promoted, &environment.name, &environment.promotion) {
        Form::AlreadyThere => {
            let (name, there) = (&deployment.name, &environment.name);
            return Err(Error::conflict(format!("deployment \"{name}\" serves \"{there}\" already")));
        }
        Form::Itself => {
            running::wake(tx, &deployment)?;
            deployment.id.clone()
        }
        Form::Copy => running::copy(tx, at, model, &deployment, &instance_type)?,
    };
    let promoted = enter(tx, at, model, &promoted_id, promotion.previous)?;
    deployments::record(tx, at, "MODEL_DEPLOYMENT_PROMOTED", model, &promoted, promoted_data(at, promotion))?;
    Ok(promoted)
}

fn promoted_data(at: &InEnvironment, promotion: &Promotion) -> Value {
    let update = |field: &str| promotion.asked.get(field).cloned().unwrap_or_default();
    json!({
        "environment_name": at.name().as_str(),
        "environment_id": null,
        "region_update": null,
        "instance_type_id_update": null,
        "promotion_settings_override": null,
        "autoscaling_settings_update": update("autoscaling_settings"),
        "request_backpressure_settings_update": update("request_backpressure_settings"),
        "autoscaling_schedule_settings_update": null,
    })
}

/// Puts a deployment of the model into the environment of the proof `at`, at once or as its candidate.
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have the deployment or the environment. [`Error::Conflict`] while another
/// deployment is being promoted to the environment.
pub(in crate::db) fn enter(
    tx: &Tx,
    at: &InEnvironment,
    model: &Model,
    deployment_id: &str,
    previous: Previous,
) -> Result<Deployment, Error> {
    let environment = environments::find_open(tx, at, model)?;
    refuse_candidate(&environment)?;
    let deployment = deployments::find(tx, at, &model.id, Which::Id(deployment_id))?;
    let cleanup = previous.cleanup(&environment.promotion);
    match Takeover::at_entry(deployment.status, Occupancy::of(environment.current.as_ref())) {
        Takeover::Occupy | Takeover::Replace => take_over(tx, &deployment, &environment.name, cleanup)?,
        Takeover::Wait => wait(tx, &deployment, &environment.name, cleanup)?,
        Takeover::GiveUp => {}
    }
    deployments::find(tx, at, &model.id, Which::Id(deployment_id))
}

fn refuse_candidate(environment: &Environment) -> Result<(), Error> {
    let candidate = environment.candidate.as_ref().map(|candidate| candidate.name.as_str());
    refuse_second(candidate, &environment.name, "cancel that promotion")
}

/// Continues the promotion of a deployment after its status has changed: it takes over, keeps waiting or gives up. Does
/// nothing for a deployment that is not being promoted. Called by the runner, without a caller.
pub(in crate::db) fn follow(tx: &Tx, candidate: &Deployment) -> Result<(), Error> {
    let (Some(environment), Some(cleanup)) = (&candidate.candidate_for, candidate.cleanup) else { return Ok(()) };
    let current = current(tx, &candidate.model_id, environment)?;
    match Takeover::at_step(candidate.status, Occupancy::of(current.as_ref())) {
        Takeover::Wait => Ok(()),
        Takeover::Occupy | Takeover::Replace => take_over(tx, candidate, environment, cleanup),
        Takeover::GiveUp => {
            drop_candidate(tx, &candidate.model_id, environment)?;
            let message = format!("does not take over the environment \"{environment}\"");
            logs::append(tx, &candidate.id, Level::Warning, &message)
        }
    }
}

fn wait(tx: &Tx, deployment: &Deployment, environment: &str, cleanup: Cleanup) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE deployment
             SET candidate_for = :environment, cleanup = :cleanup, updated_at = :now
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":environment": environment, ":cleanup": cleanup, ":now": tx.now, ":id": deployment.id,
        })?;
    Ok(())
}

fn take_over(tx: &Tx, deployment: &Deployment, environment: &str, cleanup: Cleanup) -> Result<(), Error> {
    if let Some(before) = current(tx, &deployment.model_id, environment)? {
        demote(tx, &before, cleanup)?;
    }
    occupy(tx, deployment, environment)
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

/// Removes a deployment from the environment that it serves.
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

/// Ends a promotion whose deployment has not taken over yet.
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

/// How a promotion in progress can be ended or completed.
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

/// Cancels the promotion to the environment of the proof `at`, or completes it at once.
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have the environment. [`Error::Conflict`] if no deployment is being
/// promoted to it, and for the model of a chainlet.
pub fn control(tx: &Tx, at: &InEnvironment, model: &Model, control: Control) -> Result<(), Error> {
    model.refuse_chainlet()?;
    let environment = environments::find_open(tx, at, model)?;
    let Some(candidate) = &environment.candidate else {
        return Err(Error::conflict(format!("nothing is being promoted to \"{}\"", environment.name)));
    };
    match control {
        Control::Cancel | Control::ForceCancel => drop_candidate(tx, &model.id, &environment.name)?,
        Control::ForceRollForward => {
            let cleanup = candidate.cleanup.unwrap_or(Cleanup::Keep);
            take_over(tx, candidate, &environment.name, cleanup)?;
        }
    }
    let data = json!({ "environment_name": environment.name, "environment_id": null, "action": control.as_str() });
    deployments::record(tx, at, "MODEL_PROMOTION_CONTROL_ACTION", model, candidate, data)
}

/// The deployment that serves an environment. For the runner, which acts without a caller.
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
