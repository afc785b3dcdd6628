//! Environments over HTTP.

use crate::api::rest::deployments::{promoted, switched};
use crate::api::{Reply, RequestContext};
use crate::db::deployments::{self, Changeable, running};
use crate::db::environments::promotion::{self, Control};
use crate::db::{Tx, environment_groups, environments, models};
use crate::domain::EnvironmentName;
use crate::domain::deployments::Which;
use crate::domain::environments::Environment;
use crate::domain::models::Model;
use crate::error::Error;
use crate::policy::{Deployer, InEnvironment, InTeam};
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

pub fn create(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, deployer, ctx.param("model_id"))?;
    let asked: wire::environments::CreateEnvironment = ctx.json()?;
    let (name, change) = asked.change()?;
    let name = EnvironmentName::parse("name", &name)?;
    let at = environment_groups::open(tx, deployer, name.as_str())?;
    Ok(shown(&environments::create(tx, &at, &model, &change)?, &model))
}

pub fn update(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, model, before) = to_change(tx, deployer, ctx)?;
    let asked: UpdateSettings = ctx.json()?;
    let change = asked.change(&before.settings, &before.promotion)?;
    let after = environments::update(tx, &at, &model, &change)?;
    let outcome = if change.is_empty() { SettingsUpdated::UNCHANGED } else { SettingsUpdated::ACCEPTED };
    let environment = wire::environments::Environment::new(&after, &model.id);
    Ok(Reply::ok(&EnvironmentUpdated { environment, outcome }))
}

pub fn delete(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, model, environment) = to_change(tx, deployer, ctx)?;
    environments::delete(tx, &at, &model)?;
    Ok(Reply::ok(&wire::environments::EnvironmentTombstone {
        name: &environment.name,
        model_id: &model.id,
        deleted: true,
    }))
}

/// Promotes the deployment of the body to the environment of the path.
pub fn promote(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, model, _) = to_change(tx, deployer, ctx)?;
    let asked: wire::environments::PromoteToEnvironment = ctx.json()?;
    let deployment = deployments::find(tx, &at, &model.id, Which::Id(&asked.deployment_id))?;
    promoted(tx, &at, &model, &deployment.id, asked.into())
}

pub fn activate(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    running::activate(tx, &current(tx, deployer, ctx)?).map(switched)
}

pub fn deactivate(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    running::deactivate(tx, &current(tx, deployer, ctx)?).map(switched)
}

pub fn cancel_promotion(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, deployer, ctx, Control::Cancel)?;
    Ok(Reply::ok(&PromotionCanceled::CANCELED))
}

pub fn force_cancel_promotion(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, deployer, ctx, Control::ForceCancel)?;
    Ok(Reply::ok(&wire::environments::Success { success: true }))
}

pub fn force_roll_forward_promotion(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    control(tx, deployer, ctx, Control::ForceRollForward)?;
    Ok(Reply::ok(&wire::environments::Success { success: true }))
}

fn control(tx: &Tx, deployer: &Deployer, ctx: &RequestContext, control: Control) -> Result<(), Error> {
    let (at, model, _) = to_change(tx, deployer, ctx)?;
    promotion::control(tx, &at, &model, control)
}

/// Finds the environment of the path, for a caller who may change it. Other callers get the same refusal whether or not
/// the model has the environment.
fn to_change<'a>(
    tx: &Tx,
    deployer: &Deployer<'a>,
    ctx: &RequestContext,
) -> Result<(InEnvironment<'a>, Model, Environment), Error> {
    let at = environment_groups::open(tx, deployer, ctx.param("env_name"))?;
    let model = models::find_own(tx, &at, ctx.param("model_id"))?;
    let environment = environments::find(tx, &at, &model, at.name().as_str())?;
    Ok((at, model, environment))
}

/// The deployment that serves the environment of the path.
fn current<'a>(tx: &Tx, deployer: &Deployer<'a>, ctx: &RequestContext) -> Result<Changeable<'a>, Error> {
    let (at, model, environment) = to_change(tx, deployer, ctx)?;
    if environment.current.is_none() {
        return Err(Error::NotFound("deployment in this environment"));
    }
    deployments::to_change(tx, deployer, &model.id, Which::In(at.name().as_str()))
}

fn shown(environment: &Environment, model: &Model) -> Reply {
    Reply::ok(&wire::environments::Environment::new(environment, &model.id))
}
