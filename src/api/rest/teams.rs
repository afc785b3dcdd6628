//! Teams over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::teams::{self, Change, OnNonEmpty};
use crate::domain::{Icon, Team, TeamName};
use crate::error::Error;
use crate::policy::{InOrg, InTeam};
use crate::wire;

pub fn list(_: &Tx, teams: &[InTeam], ctx: &RequestContext) -> Result<Reply, Error> {
    let named = |team: &&Team| ctx.query("name").is_none_or(|name| team.name == name);
    let teams = teams.iter().map(InTeam::team).filter(named).map(wire::teams::Team::from).collect();
    Ok(Reply::ok(&wire::teams::Teams { teams }))
}

pub fn show(_: &Tx, team: &InTeam, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&wire::teams::Team::from(team.team())))
}

pub fn create(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::teams::CreateTeam = ctx.json()?;
    let name = TeamName::parse(&asked.name)?;
    let icon = asked.icon.as_deref().map(Icon::parse).transpose()?;
    let team = teams::create(tx, org, &name, icon.as_ref())?;
    Ok(Reply::ok(&wire::teams::Team::from(&team)))
}

pub fn update(tx: &Tx, org: &InOrg, team: &Team, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::teams::UpdateTeam = ctx.json()?;
    let name = asked.name.as_deref().map(TeamName::parse).transpose()?;
    let icon = match asked.icon.as_deref() {
        None => None,
        Some("") => Some(None),
        Some(icon) => Some(Some(Icon::parse(icon)?)),
    };
    let team = teams::update(tx, org, team, &Change { name, icon })?;
    Ok(Reply::ok(&wire::teams::Team::from(&team)))
}

pub fn delete(tx: &Tx, org: &InOrg, team: &Team, ctx: &RequestContext) -> Result<Reply, Error> {
    let holding = if ctx.flag("force")? { OnNonEmpty::Delete } else { OnNonEmpty::Refuse };
    teams::delete(tx, org, team, holding)?;
    Ok(Reply::ok(&wire::Tombstone::of(team.id.as_str())))
}
