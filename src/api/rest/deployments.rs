//! Deployments over HTTP.

use crate::api::rest;
use crate::api::{Reply, RequestContext};
use crate::db::deployments::running::{self, Done};
use crate::db::deployments::{self, Deployment, Which};
use crate::db::environments::promotion::{self, Instance, Previous, Promotion};
use crate::db::environments::{self, Change, PRODUCTION};
use crate::db::models;
use crate::db::models::Model;
use crate::db::{Tx, downloads};
use crate::domain::EnvironmentName;
use crate::domain::serving::{DeploymentName, Settings};
use crate::domain::truss_config::with_defaults;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;
use crate::wire::environments::{SettingsUpdated, UpdateOnPromotion};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployments = deployments::list(tx, team, ctx.param("model_id"), ctx.query("name"))?;
    let deployments = deployments.iter().map(wire::deployments::Deployment::from).collect();
    Ok(Reply::ok(&wire::deployments::Deployments { deployments }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(shown(&find(tx, team, ctx)?))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    let asked: wire::deployments::UpdateDeployment = ctx.json()?;
    let Some(name) = asked.name else { return Ok(shown(&deployment)) };
    let name = DeploymentName::parse("name", &name)?;
    Ok(shown(&deployments::rename(tx, team, &model, &deployment, &name)?))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    deployments::delete(tx, team, &model, &deployment)?;
    Ok(Reply::ok(&wire::deployments::Tombstone { id: &deployment.id, deleted: true, model_id: &model.id }))
}

/// Promotes the deployment of the path to `production`.
pub fn promote(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    environments::may_change(tx, team, Some(PRODUCTION))?;
    let model = rest::models::to_change(tx, team, ctx)?;
    let deployment = find(tx, team, ctx)?;
    let asked: wire::environments::PromoteToProduction = ctx.json_or_default()?;
    let production = EnvironmentName::parse("environment", PRODUCTION).expect("it is well formed");
    promoted(tx, team, &model, &deployment, &production, asked.into())
}

/// Carries out either way to promote.
pub(super) fn promoted(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    deployment: &Deployment,
    environment: &EnvironmentName,
    asked: wire::environments::Promote,
) -> Result<Reply, Error> {
    wire::environments::refuse_unserved("promotion_settings_override", asked.promotion_settings_override.as_ref())?;
    let before = environments::find(tx, team, model, environment.as_str())?;
    let change = match &asked.environment_settings_update {
        None => Change::default(),
        Some(update) => {
            let update: UpdateOnPromotion = wire::read("`environment_settings_update`", update.clone())?;
            update.change(&before.settings, &before.promotion)?
        }
    };
    let promotion = Promotion {
        environment,
        previous: if asked.scale_down_previous == Some(false) { Previous::Keep } else { Previous::AsSet },
        instance: if asked.preserve_env_instance_type == Some(false) {
            Instance::OfDeployment
        } else {
            Instance::OfEnvironment
        },
        change,
        asked: asked.environment_settings_update.unwrap_or_default(),
    };
    Ok(shown(&promotion::promote(tx, team, model, deployment, &promotion)?))
}

pub fn activate(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    running::activate(tx, team, &model, &deployment).map(switched)
}

pub fn deactivate(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    running::deactivate(tx, team, &model, &deployment).map(switched)
}

pub(super) fn switched(done: Done) -> Reply {
    Reply::ok(&wire::deployments::Switched { success: true, no_op: done == Done::AsItWas })
}

pub fn retry(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    let reason = running::retry(tx, team, &model, &deployment)?;
    let after = deployments::find(tx, team, &model.id, Which::Id(&deployment.id))?;
    Ok(Reply::ok(&wire::deployments::Retried {
        retried: reason.is_none(),
        reason,
        deployment: wire::deployments::Deployment::from(&after),
    }))
}

pub fn update_autoscaling(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    let asked: wire::environments::UpdateAutoscaling = ctx.json()?;
    let autoscaling = asked.onto(&deployment.settings.autoscaling)?;
    let changes = autoscaling != deployment.settings.autoscaling;
    if changes {
        let settings = Settings { autoscaling, ..deployment.settings.clone() };
        configure(tx, team, &model, &deployment, &settings)?;
    }
    Ok(Reply::ok(if changes { &SettingsUpdated::ACCEPTED } else { &SettingsUpdated::UNCHANGED }))
}

pub fn update_backpressure(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (model, deployment) = to_change(tx, team, ctx)?;
    let asked: wire::environments::UpdateBackpressure = ctx.json()?;
    let backpressure = asked.policy.unwrap_or(deployment.settings.backpressure);
    if backpressure != deployment.settings.backpressure {
        let settings = Settings { backpressure, ..deployment.settings.clone() };
        configure(tx, team, &model, &deployment, &settings)?;
    }
    Ok(Reply::ok(&wire::environments::BackpressureSettings { policy: backpressure }))
}

/// What serves an environment is set by it, so it is the environment that changes.
fn configure(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment, settings: &Settings) -> Result<(), Error> {
    if let Some(environment) = &deployment.environment {
        let environment = environments::find(tx, team, model, environment)?;
        let change = Change {
            autoscaling: Some(settings.autoscaling.clone()),
            backpressure: Some(settings.backpressure),
            promotion: None,
        };
        return environments::update(tx, team, model, &environment, &change).map(drop);
    }
    running::configure(tx, team, model, deployment, settings).map(drop)
}

pub fn config(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployment = find(tx, team, ctx)?;
    let config = deployments::config(tx, &deployment)?;
    let (parsed, raw) = match ctx.query("output_format") {
        None | Some("both") => (Some(with_defaults(&config.parsed)), config.raw.as_deref()),
        Some("parsed") => (Some(with_defaults(&config.parsed)), None),
        Some("raw") => (None, config.raw.as_deref()),
        Some(_) => return Err(Error::field("output_format", "must be raw, parsed or both")),
    };
    Ok(Reply::ok(&wire::deployments::Config { config: parsed.as_ref(), raw_config: raw }))
}

/// A link to the archive, which needs no key.
pub fn download(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let token = downloads::grant(tx, team, &model, &find(tx, team, ctx)?)?;
    let download_url = format!("{}/downloads/{}", ctx.request.base_url, token.as_str());
    Ok(Reply::ok(&wire::deployments::Download { download_url: &download_url }))
}

/// What a link leads to.
pub fn downloaded(tx: &Tx, _: Option<&crate::policy::Caller>, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::archive(downloads::redeem(tx, ctx.param("token"))?))
}

fn shown(deployment: &Deployment) -> Reply {
    Reply::ok(&wire::deployments::Deployment::from(deployment))
}

/// Where a path says which deployment it is about: `v1/models/{model_id}/deployments/…`.
const DEPLOYMENT_PLACE: usize = 4;

/// The deployment of the path: by its id, or `development`, or `production`.
pub(super) fn find(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Deployment, Error> {
    let which = match ctx.request.path[DEPLOYMENT_PLACE].as_str() {
        deployments::DEVELOPMENT => Which::Development,
        PRODUCTION => Which::In(PRODUCTION),
        id => Which::Id(id),
    };
    deployments::find(tx, team, ctx.param("model_id"), which)
}

/// The same for whoever may change it. What a chainlet runs as is changed with its Chain.
fn to_change(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<(Model, Deployment), Error> {
    let (model, deployment) = to_patch(tx, team, ctx)?;
    models::refuse_chainlet(&model)?;
    Ok((model, deployment))
}

/// The same, of a chainlet too.
pub(super) fn to_patch(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<(Model, Deployment), Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let deployment = find(tx, team, ctx)?;
    deployments::may_change(tx, team, &deployment)?;
    Ok((model, deployment))
}
