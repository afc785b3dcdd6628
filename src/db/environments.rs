//! Environments of a model: which deployment serves each, and what each is set to.
//!
//! Every model has `production`. A deployment serves at most one environment and takes over at most one at a time; the
//! schema says so. What an environment was never set to is as its deployment is set, or as everything is by default.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::deployments::{self, Deployment, Which, read_json, write_json};
use crate::db::models::Model;
use crate::db::{Tx, environment_groups, models};
use crate::domain::serving::{Autoscaling, Backpressure, Cleanup, PromotionSettings, Settings};
use crate::domain::{EnvironmentName, Time};
use crate::error::{Error, quoted};
use crate::policy::InTeam;

pub mod promotion;

pub const PRODUCTION: &str = "production";

#[derive(Clone, Debug)]
pub struct Environment {
    pub name: String,
    pub created_at: Time,
    pub settings: Settings,
    pub promotion: PromotionSettings,
    pub instance_type: String,
    pub current: Option<Deployment>,
    pub candidate: Option<Deployment>,
}

/// What an environment is set to; `None`: it never was.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    created_at: Option<Time>,
    pub autoscaling: Option<Autoscaling>,
    pub promotion: Option<PromotionSettings>,
    pub backpressure: Option<Backpressure>,
    pub instance_type: Option<String>,
}

/// All environments of the model, `production` first, then by name.
pub fn list(tx: &Tx, team: &InTeam, model: &Model) -> Result<Vec<Environment>, Error> {
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

pub fn find(tx: &Tx, team: &InTeam, model: &Model, name: &str) -> Result<Environment, Error> {
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

/// What an environment is changed to; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub autoscaling: Option<Autoscaling>,
    pub backpressure: Option<Backpressure>,
    pub promotion: Option<PromotionSettings>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.autoscaling.is_none() && self.backpressure.is_none() && self.promotion.is_none()
    }
}

pub fn create(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    name: &EnvironmentName,
    change: &Change,
) -> Result<Environment, Error> {
    let inserted = models::insert_environment(tx, team.team(), &model.id, name.as_str());
    match inserted {
        Err(cause) if Error::is_unique_violation(&cause) => {
            return Err(Error::conflict(format!(
                "model \"{}\" has the environment \"{}\" already: change it with PATCH",
                quoted(&model.name),
                quoted(name.as_str())
            )));
        }
        inserted => inserted?,
    }
    store(tx, &model.id, name.as_str(), change)?;
    let created = find(tx, team, model, name.as_str())?;
    record(tx, team, "ENVIRONMENT_CREATED", model, &created, json!({}))?;
    Ok(created)
}

/// Changes settings. What serves the environment takes them on at once.
pub fn update(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    before: &Environment,
    change: &Change,
) -> Result<Environment, Error> {
    if change.is_empty() {
        return Ok(before.clone());
    }
    store(tx, &model.id, &before.name, change)?;
    if let Some(current) = &before.current {
        let settings = Settings {
            autoscaling: change.autoscaling.clone().unwrap_or_else(|| before.settings.autoscaling.clone()),
            backpressure: change.backpressure.unwrap_or(before.settings.backpressure),
        };
        deployments::running::set(tx, &current.id, &settings)?;
    }
    let after = find(tx, team, model, &before.name)?;
    let more = json!({ "previous_settings": settings_data(before), "schedules": null });
    record(tx, team, "ENVIRONMENT_UPDATED", model, &after, more)?;
    Ok(after)
}

/// Deletes an environment. A promotion into it ends, and what served it sleeps.
pub fn delete(tx: &Tx, team: &InTeam, model: &Model, environment: &Environment) -> Result<(), Error> {
    if environment.name == PRODUCTION {
        return Err(Error::conflict("the environment \"production\" goes only with its model"));
    }
    promotion::drop_candidate(tx, &model.id, &environment.name)?;
    if let Some(current) = &environment.current {
        promotion::demote(tx, current, Cleanup::ScaleToZero)?;
    }
    tx.sql
        .prepare_cached("DELETE FROM model_environment WHERE model_id = :model_id AND name = :name")?
        .execute(named_params! { ":model_id": model.id, ":name": environment.name })?;
    let data = json!({ "model_id": model.id, "model_name": model.name, "environment_name": environment.name });
    audit::record(
        tx,
        Actor::Caller(team.caller()),
        &team.team().org_id,
        Some(team.team()),
        Event::new("ENVIRONMENT_DELETED", data),
    )
}

/// Whether the caller may change what stands in this environment, restricted or not; `None`: what stands in none.
pub fn may_change(tx: &Tx, team: &InTeam, environment: Option<&str>) -> Result<(), Error> {
    let Some(environment) = environment else { return team.may_deploy(None) };
    // A name that no environment can have is nobody's to restrict: it is not there.
    let name = EnvironmentName::parse("environment", environment).map_err(|_| Error::NotFound("environment"))?;
    let restriction = environment_groups::restriction(tx, team.team(), &name)?;
    team.may_deploy(Some((&name, restriction.as_ref())))
}

/// The same for what stands in these, as far as it stands in any.
pub(super) fn may_change_all(tx: &Tx, team: &InTeam, environments: [&Option<String>; 2]) -> Result<(), Error> {
    let mut touched = environments.into_iter().flatten().peekable();
    if touched.peek().is_none() {
        return may_change(tx, team, None);
    }
    touched.try_for_each(|environment| may_change(tx, team, Some(environment)))
}

/// Whether the model has this environment; if not, it is made.
pub(super) fn ensure(tx: &Tx, team: &InTeam, model: &Model, name: &EnvironmentName) -> Result<(), Error> {
    match stored(tx, team, &model.id, name.as_str())? {
        Some(_) => Ok(()),
        None => create(tx, team, model, name, &Change::default()).map(drop),
    }
}

pub(super) fn stored(tx: &Tx, team: &InTeam, model_id: &str, name: &str) -> Result<Option<Stored>, Error> {
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

fn store(tx: &Tx, model_id: &str, name: &str, change: &Change) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE model_environment
             SET autoscaling = coalesce(:autoscaling, autoscaling),
                 backpressure = coalesce(:backpressure, backpressure),
                 promotion = coalesce(:promotion, promotion)
             WHERE model_id = :model_id AND name = :name",
        )?
        .execute(named_params! {
            ":autoscaling": change.autoscaling.as_ref().map(write_json),
            ":backpressure": change.backpressure,
            ":promotion": change.promotion.as_ref().map(write_json),
            ":model_id": model_id,
            ":name": name,
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
    team: &InTeam,
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
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}

/// An environment's settings, flat as the audit log has them.
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
