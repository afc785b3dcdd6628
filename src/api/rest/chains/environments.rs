//! Environments of Chains over HTTP.

use crate::api::rest::chains::deployments::shown;
use crate::api::{Reply, RequestContext};
use crate::db::chains::{self, environments, promotion};
use crate::db::{Tx, environment_groups};
use crate::domain::chains::{Chain, ChainEnvironment, ChainletChange};
use crate::domain::instance_types::InstanceType;
use crate::domain::promotion::Previous;
use crate::domain::serving::{Autoscaling, PromotionSettings, Settings};
use crate::domain::{EnvironmentName, NAMED_MAX, ResourceName};
use crate::error::{Error, quoted};
use crate::policy::{Deployer, InEnvironment, InTeam};
use crate::wire::chains::deployments::ChainDeployment;
use crate::wire::chains::environments as wire;
use crate::wire::environments::{SettingsUpdated, UpdatePromotionSettings};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    let (found, otherwise) = (environments::list(tx, team, &chain)?, Settings::default());
    let settings: Vec<_> = found.iter().map(ChainEnvironment::chainlets).collect();
    let listed = found.iter().zip(&settings);
    let listed = listed.map(|(found, settings)| wire::ListedEnvironment::new(found, &chain.id, settings, &otherwise));
    Ok(Reply::ok(&wire::Environments { environments: listed.collect() }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    Ok(reply(&environments::find(tx, team, &chain, ctx.param("env_name"))?, &chain))
}

pub fn create(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, deployer, ctx.param("chain_id"))?;
    let asked: wire::CreateChainEnvironment = ctx.json()?;
    let name = EnvironmentName::parse("name", &asked.name)?;
    let promotion = asked.promotion_settings.map(|asked| settled(&asked, &PromotionSettings::default())).transpose()?;
    let chainlets = asked.chainlet_settings.unwrap_or_default();
    each_once("chainlet_settings", chainlets.iter().map(|chainlet| chainlet.chainlet_name.as_str()))?;
    let chainlets = chainlets.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    let at = environment_groups::open(tx, deployer, name.as_str())?;
    Ok(reply(&environments::create(tx, &at, &chain, promotion.as_ref(), &chainlets)?, &chain))
}

pub fn update(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, chain, environment) = to_change(tx, deployer, ctx)?;
    let asked: wire::UpdateChainEnvironment = ctx.json()?;
    if let Some(asked) = asked.promotion_settings {
        let promotion = settled(&asked, &environment.promotion)?;
        environments::update(tx, &at, &chain, &promotion)?;
    }
    Ok(Reply::ok(&wire::Updated { ok: true }))
}

/// Promotes the deployment of the body to the environment of the path.
pub fn promote(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, chain, _) = to_change(tx, deployer, ctx)?;
    let asked: wire::PromoteChain = ctx.json()?;
    let previous = match asked.scale_down_previous_deployment {
        Some(false) => Previous::Keep,
        Some(true) | None => Previous::AsSet,
    };
    Ok(shown(&promotion::promote(tx, &at, &chain, &asked.deployment_id, previous)?))
}

pub fn update_autoscaling(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, chain, environment) = to_change(tx, deployer, ctx)?;
    let asked: wire::UpdateChainletAutoscaling = ctx.json()?;
    each_once("updates", asked.updates.iter().map(|update| update.chainlet_name.as_str()))?;
    let before = environment.chainlets();
    let mut changes: Vec<(String, Autoscaling)> = Vec::new();
    for update in asked.updates {
        known(tx, &chain, &environment, &update.chainlet_name)?;
        let before = before.iter().find(|settings| settings.chainlet_name == update.chainlet_name);
        let before = before.map(|settings| settings.autoscaling.clone()).unwrap_or_default();
        let after = update.autoscaling_settings.onto(&before)?;
        if after != before {
            changes.push((update.chainlet_name, after));
        }
    }
    environments::set_autoscaling(tx, &at, &chain, &changes)?;
    Ok(Reply::ok(if changes.is_empty() { &SettingsUpdated::UNCHANGED } else { &SettingsUpdated::ACCEPTED }))
}

pub fn update_instance_types(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let (at, chain, environment) = to_change(tx, deployer, ctx)?;
    let asked: wire::UpdateChainletInstanceTypes = ctx.json()?;
    each_once("updates", asked.updates.iter().map(|update| update.chainlet_name.as_str()))?;
    let mut changes = Vec::new();
    for update in asked.updates {
        known(tx, &chain, &environment, &update.chainlet_name)?;
        let instance_type = instance_type("updates.instance_type_id", &update.instance_type_id)?;
        let before = environment.instance_type_set(&update.chainlet_name);
        if before != Some(instance_type.id) {
            changes.push((update.chainlet_name, instance_type));
        }
    }
    let made = promotion::set_instance_types(tx, &at, &chain, &changes)?;
    let settings = environments::find(tx, &at, &chain, at.name().as_str())?.chainlets();
    Ok(Reply::ok(&wire::InstanceTypesUpdated {
        requires_redeployment: made.is_some(),
        chain_deployment: made.as_ref().map(ChainDeployment::from),
        chainlet_environment_settings: settings.iter().map(wire::ChainletEnvironmentSettings::from).collect(),
    }))
}

fn settled(asked: &UpdatePromotionSettings, before: &PromotionSettings) -> Result<PromotionSettings, Error> {
    let settings = asked.onto(before)?;
    if settings.rolling_deploy {
        return Err(Error::field("promotion_settings.rolling_deploy", "is for models: a Chain takes over all at once"));
    }
    Ok(settings)
}

fn change(asked: &wire::NewChainletSettings) -> Result<ChainletChange, Error> {
    let name = ResourceName::parse("chainlet_settings.chainlet_name", &asked.chainlet_name)?;
    let autoscaling =
        asked.autoscaling_settings.as_ref().map(|asked| asked.onto(&Autoscaling::default())).transpose()?;
    let instance = asked.instance_type_id.as_deref();
    let instance = instance.map(|id| instance_type("chainlet_settings.instance_type_id", id)).transpose()?;
    Ok(ChainletChange {
        chainlet_name: name.as_str().to_owned(),
        autoscaling,
        instance_type: instance.map(|instance| instance.id.to_owned()),
    })
}

fn instance_type(field: &str, id: &str) -> Result<&'static InstanceType, Error> {
    InstanceType::find(id).ok_or_else(|| Error::field(field, "must be one of GET /v1/instance_types"))
}

fn known(tx: &Tx, chain: &Chain, environment: &ChainEnvironment, name: &str) -> Result<(), Error> {
    if environments::has_chainlet(tx, chain, environment, name)? {
        return Ok(());
    }
    let why =
        format!("names the chainlet \"{}\", which the Chain \"{}\" does not have", quoted(name), quoted(&chain.name));
    Err(Error::field("updates.chainlet_name", &why))
}

fn each_once<'a>(field: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen: Vec<&str> = names.collect();
    if seen.len() > NAMED_MAX {
        return Err(Error::field(field, &format!("must name at most {NAMED_MAX}")));
    }
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::field(field, &format!("names the chainlet \"{}\" twice", quoted(pair[0])))),
    }
}

/// Finds the environment of the path, for a caller who may change it. Other callers get the same refusal whether or not
/// the Chain has the environment.
fn to_change<'a>(
    tx: &Tx,
    deployer: &Deployer<'a>,
    ctx: &RequestContext,
) -> Result<(InEnvironment<'a>, Chain, ChainEnvironment), Error> {
    let at = environment_groups::open(tx, deployer, ctx.param("env_name"))?;
    let chain = chains::find(tx, &at, ctx.param("chain_id"))?;
    let environment = environments::find(tx, &at, &chain, at.name().as_str())?;
    Ok((at, chain, environment))
}

fn reply(environment: &ChainEnvironment, chain: &Chain) -> Reply {
    Reply::ok(&wire::ChainEnvironment::new(environment, &chain.id, &environment.chainlets()))
}
