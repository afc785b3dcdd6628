//! Deployments over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::deployments::running::{self, Done};
use crate::db::deployments::{self, Changeable};
use crate::db::environments::promotion::{self, Instance, Promotion};
use crate::db::{Tx, downloads, environment_groups, environments, models, serving};
use crate::domain::deployments::{Deployment, Which};
use crate::domain::environments::Change;
use crate::domain::models::Model;
use crate::domain::promotion::Previous;
use crate::domain::serving::PRODUCTION;
use crate::domain::serving::{DeploymentName, Settings};
use crate::domain::truss_config::with_defaults;
use crate::error::Error;
use crate::policy::{Caller, Deployer, InEnvironment, InTeam, Reader};
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

pub fn update(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    let asked: wire::deployments::UpdateDeployment = ctx.json()?;
    let Some(name) = asked.name else { return Ok(shown(changeable.deployment())) };
    let name = DeploymentName::parse("name", &name)?;
    Ok(shown(&deployments::rename(tx, &changeable, &name)?))
}

pub fn delete(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    deployments::delete(tx, &changeable)?;
    let (id, model_id) = (&changeable.deployment().id, &changeable.model().id);
    Ok(Reply::ok(&wire::deployments::Tombstone { id, deleted: true, model_id }))
}

/// Promotes the deployment of the path to `production`.
pub fn promote(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let at = environment_groups::open(tx, deployer, PRODUCTION)?;
    let model = models::find_own(tx, &at, ctx.param("model_id"))?;
    let deployment = find(tx, &at, ctx)?;
    let asked: wire::environments::PromoteToProduction = ctx.json_or_default()?;
    promoted(tx, &at, &model, &deployment.id, asked.into())
}

/// Carries out a promotion, to `production` or to another environment.
pub(super) fn promoted(
    tx: &Tx,
    at: &InEnvironment,
    model: &Model,
    deployment_id: &str,
    asked: wire::environments::Promote,
) -> Result<Reply, Error> {
    wire::settings::refuse_unserved("promotion_settings_override", asked.promotion_settings_override.as_ref())?;
    let before = environments::find(tx, at, model, at.name().as_str())?;
    let change = match &asked.environment_settings_update {
        None => Change::default(),
        Some(update) => {
            let update: UpdateOnPromotion = wire::read("`environment_settings_update`", update.clone())?;
            update.change(&before.settings, &before.promotion)?
        }
    };
    let promotion = Promotion {
        previous: if asked.scale_down_previous == Some(false) { Previous::Keep } else { Previous::AsSet },
        instance: if asked.preserve_env_instance_type == Some(false) {
            Instance::OfDeployment
        } else {
            Instance::OfEnvironment
        },
        change,
        asked: asked.environment_settings_update.unwrap_or_default(),
    };
    Ok(shown(&promotion::promote(tx, at, model, deployment_id, &promotion)?))
}

pub fn activate(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    running::activate(tx, &to_change(tx, deployer, ctx)?).map(switched)
}

pub fn deactivate(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    running::deactivate(tx, &to_change(tx, deployer, ctx)?).map(switched)
}

/// Terminates a replica of a deployment.
pub fn terminate_replica(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    serving::terminate(tx, &to_change(tx, deployer, ctx)?, ctx.param("replica_id"))?;
    Ok(Reply::ok(&wire::deployments::TerminatedReplica { success: true }))
}

pub(super) fn switched(done: Done) -> Reply {
    Reply::ok(&wire::deployments::Switched { success: true, no_op: done == Done::AsItWas })
}

pub fn retry(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    let reason = running::retry(tx, &changeable)?;
    let (model, deployment) = (changeable.model(), changeable.deployment());
    let after = deployments::find(tx, deployer, &model.id, Which::Id(&deployment.id))?;
    Ok(Reply::ok(&wire::deployments::Retried {
        retried: reason.is_none(),
        reason,
        deployment: wire::deployments::Deployment::from(&after),
    }))
}

pub fn update_autoscaling(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    let before = &changeable.deployment().settings;
    let asked: wire::settings::UpdateAutoscaling = ctx.json()?;
    let autoscaling = asked.onto(&before.autoscaling)?;
    if autoscaling == before.autoscaling {
        return Ok(Reply::ok(&SettingsUpdated::UNCHANGED));
    }
    environments::configure(tx, &changeable, &Settings { autoscaling, ..before.clone() })?;
    Ok(Reply::ok(&SettingsUpdated::ACCEPTED))
}

pub fn update_backpressure(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    let before = &changeable.deployment().settings;
    let asked: wire::settings::UpdateBackpressure = ctx.json()?;
    let backpressure = asked.policy.unwrap_or(before.backpressure);
    if backpressure != before.backpressure {
        environments::configure(tx, &changeable, &Settings { backpressure, ..before.clone() })?;
    }
    Ok(Reply::ok(&wire::settings::BackpressureSettings { policy: backpressure }))
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

/// Creates a link to the archive. The link works without a key.
pub fn download(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let token = downloads::grant(tx, team, &model, &find(tx, team, ctx)?)?;
    let download_url = format!("{}/downloads/{}", ctx.request.base_url, token.as_str());
    Ok(Reply::ok(&wire::deployments::Download { download_url: &download_url }))
}

/// Sends the archive or the file to which a link leads.
pub fn downloaded(tx: &Tx, _: Option<&Caller>, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::download(downloads::redeem(tx, ctx.param("token"))?))
}

fn shown(deployment: &Deployment) -> Reply {
    Reply::ok(&wire::deployments::Deployment::from(deployment))
}

/// The deployment that the path names: its id, `development` or `production`.
pub(super) fn which<'c>(ctx: &'c RequestContext) -> Which<'c> {
    Which::of_path(ctx.param("deployment_id"))
}

/// Finds the deployment that the path names.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such deployment.
pub(super) fn find(tx: &Tx, team: &dyn Reader, ctx: &RequestContext) -> Result<Deployment, Error> {
    deployments::find(tx, team, ctx.param("model_id"), which(ctx))
}

fn to_change<'a>(tx: &Tx, deployer: &Deployer<'a>, ctx: &RequestContext) -> Result<Changeable<'a>, Error> {
    deployments::to_change(tx, deployer, ctx.param("model_id"), which(ctx))
}
