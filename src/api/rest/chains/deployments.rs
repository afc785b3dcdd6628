//! Deployments of Chains over HTTP.

use crate::api::rest::deployments::switched;
use crate::api::rest::logs;
use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::chains::{self, deployments};
use crate::domain::chains::ChainDeployment;
use crate::error::Error;
use crate::policy::{Deployer, InTeam};
use crate::wire;

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    let found = deployments::list(tx, team, &chain.id)?;
    let deployments = found.iter().map(wire::chains::deployments::ChainDeployment::from).collect();
    Ok(Reply::ok(&wire::chains::deployments::ChainDeployments { deployments }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(shown(&find(tx, team, ctx)?))
}

pub fn delete(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = deployments::to_change(tx, deployer, ctx.param("chain_id"), ctx.param("chain_deployment_id"))?;
    deployments::delete(tx, &changeable)?;
    let (id, chain_id) = (&changeable.deployment().id, &changeable.chain().id);
    Ok(Reply::ok(&wire::chains::deployments::Tombstone { id, deleted: true, chain_id }))
}

pub fn deactivate(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let changeable = deployments::to_change(tx, deployer, ctx.param("chain_id"), ctx.param("chain_deployment_id"))?;
    deployments::deactivate(tx, &changeable).map(switched)
}

pub fn chainlet_logs(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployment = find(tx, team, ctx)?;
    let chainlet = deployment.chainlets.iter().find(|chainlet| chainlet.id == ctx.param("chainlet_id"));
    let chainlet = chainlet.ok_or(Error::NotFound("chainlet"))?;
    logs::answer(tx, Some(&chainlet.deployment), &logs::asked_by_query(ctx)?)
}

pub(super) fn shown(deployment: &ChainDeployment) -> Reply {
    Reply::ok(&wire::chains::deployments::ChainDeployment::from(deployment))
}

fn find(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<ChainDeployment, Error> {
    deployments::find(tx, team, ctx.param("chain_id"), ctx.param("chain_deployment_id"))
}
