//! Environments over HTTP.

use crate::api::rest;
use crate::api::rest::deployments::{promoted, switched};
use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::deployments::running;
use crate::db::deployments::{self, Deployment, Which};
use crate::db::environments::promotion::{self, Control};
use crate::db::environments::{self, Environment};
use crate::db::models;
use crate::db::models::Model;
use crate::domain::EnvironmentName;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;
use crate::wire::environments::{EnvironmentUpdated, PromotionCanceled, SettingsUpdated, UpdateSettings};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let environments = environments::list(tx, team, &model)?;
    let shown = environments.iter().map(|environment| wire::environments::Environment::new(environment, &model.id));
    Ok(Reply::ok(&wire::environments::Environments { environments: shown.collect() }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let environment = environments::find(tx, team, &model, ctx.param("env_name"))?;
    Ok(shown(&environment, &model))
}

pub fn create(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = rest::models::to_change(tx, team, ctx)?;
    let asked: wire::environments::CreateEnvironment = ctx.json()?;
    let (name, change) = asked.change()?;
    let name = EnvironmentName::parse("name", &name)?;
    environments::may_change(tx, team, Some(name.as_str()))?;
    let created = environments::create(tx, team, &model, &name, &change)?;
    Ok(shown(&created, &model))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    let asked: UpdateSettings = ctx.json()?;
    let change = asked.change(&environment.settings, &environment.promotion)?;
    let after = environments::update(tx, team, &model, &environment, &change)?;
    let outcome = if change.is_empty() { SettingsUpdated::UNCHANGED } else { SettingsUpdated::ACCEPTED };
    let environment = wire::environments::Environment::new(&after, &model.id);
    Ok(Reply::ok(&EnvironmentUpdated { environment, outcome }))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    environments::delete(tx, team, &model, &environment)?;
    Ok(Reply::ok(&wire::environments::EnvironmentTombstone {
        name: &environment.name,
        model_id: &model.id,
        deleted: true,
    }))
}

/// Promotes the deployment of the body to the environment of the path.
pub fn promote(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    let asked: wire::environments::PromoteToEnvironment = ctx.json()?;
    let deployment = deployments::find(tx, team, &model.id, Which::Id(&asked.deployment_id))?;
    let name = EnvironmentName::parse("environment", &environment.name)?;
    promoted(tx, team, &model, &deployment, &name, asked.into())
}

pub fn activate(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    running::activate(tx, team, &model, current(&environment)?).map(switched)
}

pub fn deactivate(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    running::deactivate(tx, team, &model, current(&environment)?).map(switched)
}

pub fn cancel_promotion(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, team, ctx, Control::Cancel)?;
    Ok(Reply::ok(&PromotionCanceled::CANCELED))
}

pub fn force_cancel_promotion(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, team, ctx, Control::ForceCancel)?;
    Ok(Reply::ok(&wire::environments::Success { success: true }))
}

pub fn force_roll_forward_promotion(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, team, ctx, Control::ForceRollForward)?;
    Ok(Reply::ok(&wire::environments::Success { success: true }))
}

fn control(tx: &Tx, team: &InTeam, ctx: &RequestContext, control: Control) -> Result<(), Error> {
    let (model, environment) = to_change(tx, team, ctx)?;
    promotion::control(tx, team, &model, &environment, control)
}

/// The environment of the path, for whoever may change it. Who may not is told so, whether or not the model has it.
fn to_change(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<(Model, Environment), Error> {
    let name = ctx.param("env_name");
    environments::may_change(tx, team, Some(name))?;
    let model = rest::models::to_change(tx, team, ctx)?;
    let environment = environments::find(tx, team, &model, name)?;
    Ok((model, environment))
}

fn current(environment: &Environment) -> Result<&Deployment, Error> {
    environment.current.as_ref().ok_or(Error::NotFound("deployment in this environment"))
}

fn shown(environment: &Environment, model: &Model) -> Reply {
    Reply::ok(&wire::environments::Environment::new(environment, &model.id))
}
