//! Chains over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, chains};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::Tombstone;
use crate::wire::chains::{Chain, Chains};

pub mod deployments;
pub mod environments;

pub fn list_all(tx: &Tx, teams: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    let chains = chains::list(tx, teams, None)?;
    Ok(Reply::ok(&Chains { chains: chains.iter().map(Chain::from).collect() }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&Chain::from(&chains::find(tx, team, ctx.param("chain_id"))?)))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    chains::delete(tx, team, &chain)?;
    Ok(Reply::ok(&Tombstone::of(&chain.id)))
}
