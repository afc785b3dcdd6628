//! Environments of a model: which deployment serves each of them, and the settings of each.
//!
//! Every model has `production`. A deployment serves at most one environment, and is being promoted to at most one at a
//! time; the schema ensures this. For a setting that an environment does not have, the setting of its deployment
//! applies, or else the default.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::deployments::{self, Changeable, read_json, running, write_json};
use crate::db::{Tx, models};
use crate::domain::Time;
use crate::domain::deployments::Which;
use crate::domain::environments::{Change, Environment};
use crate::domain::models::Model;
use crate::domain::serving::PRODUCTION;
use crate::domain::serving::{Autoscaling, Backpressure, Cleanup, PromotionSettings, Settings};
use crate::error::{Error, quoted};
use crate::policy::{InEnvironment, Reader};

pub mod promotion;

/// The settings of an environment. `None`: the setting was never set.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    created_at: Option<Time>,
    pub autoscaling: Option<Autoscaling>,
    pub promotion: Option<PromotionSettings>,
    pub backpressure: Option<Backpressure>,
    pub instance_type: Option<String>,
}

/// All environments of the model: `production` first, then the others by name.
pub fn list(tx: &Tx, team: &dyn Reader, model: &Model) -> Result<Vec<Environment>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name
         FROM model_environment
         WHERE team_id = :team_id AND model_id = :model_id
         ORDER BY name <> 'production', name",
    )?;
    let rows =
        query.query_map(named_params! { ":team_id": team.team().id, ":model_id": model.id }, |row| row.get(0))?;
    let names = rows.collect::<Result<Vec<String>, _>>()?;
    names.iter().map(|name| find(tx, team, model, name)).collect()
}

/// The model's environment with this name.
///
/// # Errors
///
/// [`Error::NotFound`] if the model has no environment with this name.
pub fn find(tx: &Tx, team: &dyn Reader, model: &Model, name: &str) -> Result<Environment, Error> {
    let stored = stored(tx, team, &model.id, name)?.ok_or(Error::NotFound("environment"))?;
    let current = absent_as_none(deployments::find(tx, team, &model.id, Which::In(name)))?;
    let candidate = deployments::candidate(tx, team, &model.id, name)?;
    let of_current = current.as_ref().map(|current| current.settings.clone()).unwrap_or_default();
    let instance_type = current.as_ref().map(|current| current.instance_type.clone());
    Ok(Environment {
        name: name.to_owned(),
        created_at: stored.created_at.unwrap_or(model.created_at),
        settings: Settings {
            autoscaling: stored.autoscaling.unwrap_or(of_current.autoscaling),
            backpressure: stored.backpressure.unwrap_or(of_current.backpressure),
        },
        promotion: stored.promotion.unwrap_or_default(),
        instance_type: stored.instance_type.or(instance_type).unwrap_or_else(|| model.instance_type.clone()),
        current,
        candidate,
    })
}

/// The environment of the proof `at`.
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have it.
pub(super) fn find_open(tx: &Tx, at: &InEnvironment, model: &Model) -> Result<Environment, Error> {
    find(tx, at, model, at.name().as_str())
}

/// Creates the environment of the proof `at` in the model.
///
/// # Errors
///
/// [`Error::Conflict`] if the model has it already, and for the model of a chainlet.
pub fn create(tx: &Tx, at: &InEnvironment, model: &Model, change: &Change) -> Result<Environment, Error> {
    model.refuse_chainlet()?;
    let inserted = models::insert_environment(tx, at.team(), &model.id, at.name().as_str());
    match inserted {
        Err(cause) if Error::is_unique_violation(&cause) => {
            return Err(Error::conflict(format!(
                "model \"{}\" has the environment \"{}\" already: change it with PATCH",
                quoted(&model.name),
                quoted(at.name().as_str())
            )));
        }
        inserted => inserted?,
    }
    store(tx, at, model, change)?;
    let created = find_open(tx, at, model)?;
    record(tx, at, "ENVIRONMENT_CREATED", model, &created, json!({}))?;
    Ok(created)
}

/// Changes the settings of an environment. They apply at once to the deployment that serves it.
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have the environment.
pub fn update(tx: &Tx, at: &InEnvironment, model: &Model, change: &Change) -> Result<Environment, Error> {
    let before = find_open(tx, at, model)?;
    if change.is_empty() {
        return Ok(before);
    }
    store(tx, at, model, change)?;
    if let Some(current) = &before.current {
        let settings = Settings {
            autoscaling: change.autoscaling.clone().unwrap_or_else(|| before.settings.autoscaling.clone()),
            backpressure: change.backpressure.unwrap_or(before.settings.backpressure),
        };
        running::set(tx, &current.id, &settings)?;
    }
    let after = find_open(tx, at, model)?;
    let more = json!({ "previous_settings": settings_data(&before), "schedules": null });
    record(tx, at, "ENVIRONMENT_UPDATED", model, &after, more)?;
    Ok(after)
}

/// Changes the settings of a deployment. If the deployment serves an environment, changes the settings of the
/// environment, because they determine those of the deployment.
pub fn configure(tx: &Tx, changeable: &Changeable, settings: &Settings) -> Result<(), Error> {
    let serves = changeable.deployment().environment.as_deref();
    match serves.and_then(|name| changeable.touched().environment(name)) {
        None => running::configure(tx, changeable, settings),
        Some(at) => {
            let change = Change {
                autoscaling: Some(settings.autoscaling.clone()),
                backpressure: Some(settings.backpressure),
                promotion: None,
            };
            update(tx, at, changeable.model(), &change).map(drop)
        }
    }
}

/// Deletes an environment. A promotion to it ends, and the deployment that served it is scaled to zero.
///
/// # Errors
///
/// [`Error::NotFound`] if the model does not have the environment. [`Error::Conflict`] for `production`, and for the
/// model of a chainlet.
pub fn delete(tx: &Tx, at: &InEnvironment, model: &Model) -> Result<(), Error> {
    model.refuse_chainlet()?;
    let environment = find_open(tx, at, model)?;
    if environment.name == PRODUCTION {
        return Err(Error::conflict("the environment \"production\" is deleted only with its model"));
    }
    promotion::drop_candidate(tx, &model.id, &environment.name)?;
    if let Some(current) = &environment.current {
        promotion::demote(tx, current, Cleanup::ScaleToZero)?;
    }
    tx.sql
        .prepare_cached(
            "DELETE FROM model_environment
             WHERE team_id = :team_id AND model_id = :model_id AND name = :name",
        )?
        .execute(named_params! {
            ":team_id": at.team().id, ":model_id": model.id, ":name": at.name().as_str(),
        })?;
    let data = json!({ "model_id": model.id, "model_name": model.name, "environment_name": environment.name });
    let event = Event::new("ENVIRONMENT_DELETED", data);
    audit::record(tx, Actor::Caller(at.caller()), &at.team().org_id, Some(at.team()), event)
}

/// Creates the environment of the proof `at` if the model does not have it.
///
/// # Errors
///
/// [`Error::Conflict`] if the environment must be created in the model of a chainlet.
pub(super) fn ensure(tx: &Tx, at: &InEnvironment, model: &Model) -> Result<(), Error> {
    match stored(tx, at, &model.id, at.name().as_str())? {
        Some(_) => Ok(()),
        None => create(tx, at, model, &Change::default()).map(drop),
    }
}

/// The stored settings of an environment. `None` if the model does not have the environment.
pub(super) fn stored(tx: &Tx, team: &dyn Reader, model_id: &str, name: &str) -> Result<Option<Stored>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT created_at, autoscaling, promotion, backpressure, instance_type
         FROM model_environment
         WHERE team_id = :team_id AND model_id = :model_id AND name = :name",
    )?;
    let params = named_params! { ":team_id": team.team().id, ":model_id": model_id, ":name": name };
    Ok(query.query_row(params, stored_from_row).optional()?)
}

pub(super) fn stored_from_row(row: &Row) -> rusqlite::Result<Stored> {
    Ok(Stored {
        created_at: row.get("created_at")?,
        autoscaling: read_json(row, "autoscaling")?,
        promotion: read_json(row, "promotion")?,
        backpressure: row.get("backpressure")?,
        instance_type: row.get("instance_type")?,
    })
}

fn store(tx: &Tx, at: &InEnvironment, model: &Model, change: &Change) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE model_environment
             SET autoscaling = coalesce(:autoscaling, autoscaling),
                 backpressure = coalesce(:backpressure, backpressure),
                 promotion = coalesce(:promotion, promotion)
             WHERE team_id = :team_id AND model_id = :model_id AND name = :name",
        )?
        .execute(named_params! {
            ":autoscaling": change.autoscaling.as_ref().map(write_json),
            ":backpressure": change.backpressure,
            ":promotion": change.promotion.as_ref().map(write_json),
            ":team_id": at.team().id,
            ":model_id": model.id,
            ":name": at.name().as_str(),
        })?;
    Ok(())
}

fn absent_as_none<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn record(
    tx: &Tx,
    at: &InEnvironment,
    event_type: &'static str,
    model: &Model,
    environment: &Environment,
    more: Value,
) -> Result<(), Error> {
    let mut data = settings_data(environment);
    let fields = data.as_object_mut().expect("it was just made as one");
    let names = json!({
        "model_id": model.id,
        "model_name": model.name,
        "environment_name": environment.name,
        "deployment_type": null,
    });
    fields.extend([names, more].into_iter().filter_map(|part| part.as_object().cloned()).flatten());
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(at.caller()), &at.team().org_id, Some(at.team()), event)
}

/// The settings of an environment in the flat form of the audit log.
fn settings_data(environment: &Environment) -> Value {
    let (promotion, rolling) = (&environment.promotion, &environment.promotion.rolling_deploy_config);
    let mut data = json!({
        "redeploy_on_promotion": promotion.redeploy_on_promotion,
        "rolling_deploy": promotion.rolling_deploy,
        "rolling_deploy_strategy": rolling.rolling_deploy_strategy,
        "max_unavailable_percent": rolling.max_unavailable_percent,
        "max_surge_percent": rolling.max_surge_percent,
        "stabilization_time_seconds": rolling.stabilization_time_seconds,
        "replica_overhead_percent": rolling.replica_overhead_percent,
        "promotion_cleanup_strategy": promotion.promotion_cleanup_strategy,
        "ramp_up_while_promoting": false,
        "ramp_up_duration_seconds": promotion.ramp_up_duration_seconds,
        "ramp_up_step_size": null,
        "request_backpressure_policy": environment.settings.backpressure,
    });
    let autoscaling = json!(environment.settings.autoscaling);
    let fields = data.as_object_mut().expect("it was just made as one");
    fields.extend(autoscaling.as_object().cloned().expect("a struct is an object"));
    data
}
