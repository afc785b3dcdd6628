//! The Chains of a team, and the page of one Chain.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::chains::{self, deployments, environments};
use crate::db::{Tx, environment_groups};
use crate::domain::chains::{Chain, ChainDeployment, ChainEnvironment};
use crate::error::Error;
use crate::policy::{Deployer, InTeam, TeamAct};

#[derive(Template)]
#[template(path = "chains.html")]
struct Chains {
    frame: Frame,
    rows: Vec<Chain>,
    pager: Pager,
    search: String,
    is_empty: bool,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let search = ctx.query("q");
    let all = chains::list(tx, std::slice::from_ref(team), None)?;
    let is_empty = all.is_empty();
    let found = all.into_iter().filter(|chain| chain.name.to_lowercase().contains(&search.to_lowercase()));
    let (rows, pager) = Pager::of(ctx, found.collect(), "Chain");
    html(&Chains {
        frame: Frame::new(tx, ctx, Nav::Chains, Some(team.team()))?,
        rows,
        pager,
        search: search.to_owned(),
        is_empty,
    })
}

#[derive(Template)]
#[template(path = "chain.html")]
struct ChainPage {
    frame: Frame,
    chain: Chain,
    environments: Vec<ChainEnvironment>,
    deployments: Vec<Deployed>,
    pager: Pager,
    refusal: Option<String>,
    delete: bool,
}

struct Deployed {
    deployment: ChainDeployment,
    may_change: bool,
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::Deploy);
    let deployer = team.caller().to_deploy(team.team()).ok();
    let may_change = |deployment: &ChainDeployment| {
        let opens =
            |name| deployer.as_ref().is_some_and(|deployer| environment_groups::open(tx, deployer, name).is_ok());
        refusal.is_none() && deployment.environments().all(opens)
    };
    let all = deployments::list(tx, team, &chain.id)?;
    let all = all.into_iter().map(|deployment| Deployed { may_change: may_change(&deployment), deployment });
    let (deployments, pager) = Pager::of(ctx, all.collect(), "deployment");
    html(&ChainPage {
        frame: Frame::new(tx, ctx, Nav::Chains, Some(team.team()))?,
        environments: environments::list(tx, team, &chain)?,
        delete: refusal.is_none() && ctx.shows("delete"),
        deployments,
        pager,
        refusal,
        chain,
    })
}

pub fn deactivate(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    let (chain, deployment) = (ctx.param("chain_id"), ctx.param("chain_deployment_id"));
    deployments::deactivate(tx, &deployments::to_change(tx, deployer, chain, deployment)?)?;
    Ok(to(&format!("/t/{}/chains/{chain}?done=deactivated", ctx.param("team_id"))))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let chain = chains::find(tx, team, ctx.param("chain_id"))?;
    ctx.confirm(&chain.name)?;
    chains::delete(tx, team, &chain)?;
    Ok(to(&format!("/t/{}/chains?done=deleted", team.team().id)))
}
