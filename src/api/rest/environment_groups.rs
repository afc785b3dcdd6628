//! Restricted environments over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::environment_groups::{self, ManageAccess};
use crate::domain::{EnvironmentName, NAMED_MAX};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;
use crate::wire::environment_groups::{EnvironmentGroup, EnvironmentGroupTombstone};

pub fn list(tx: &Tx, team: &InTeam, _: &RequestContext) -> Result<Reply, Error> {
    let groups = environment_groups::list(tx, team)?;
    let items: Vec<_> = groups.iter().map(|group| EnvironmentGroup::new(group, team.team())).collect();
    Ok(Reply::ok(&wire::Items::of("environment_groups", items, None)))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let group = environment_groups::find(tx, team, name(ctx)?)?;
    Ok(Reply::ok(&EnvironmentGroup::new(&group, team.team())))
}

pub fn create(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::environment_groups::CreateEnvironmentGroup = ctx.json()?;
    let name = EnvironmentName::parse("name", &asked.name)?;
    let group = environment_groups::create(tx, team, name, &access(asked.manage_access)?)?;
    Ok(Reply::ok(&EnvironmentGroup::new(&group, team.team())))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let group = environment_groups::find(tx, team, name(ctx)?)?;
    let asked: wire::environment_groups::UpdateEnvironmentGroup = ctx.json()?;
    let group = match asked.manage_access {
        None => group,
        Some(asked) => environment_groups::update(tx, team, group.name, &access(asked)?)?,
    };
    Ok(Reply::ok(&EnvironmentGroup::new(&group, team.team())))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let name = name(ctx)?;
    environment_groups::delete(tx, team, &name)?;
    let team_id = team.team().id.as_str();
    Ok(Reply::ok(&EnvironmentGroupTombstone { name: name.as_str(), team_id, deleted: true }))
}

/// The name of the environment in the path. A name that no environment can have is refused with 404.
fn name(ctx: &RequestContext) -> Result<EnvironmentName, Error> {
    EnvironmentName::parse("env_name", ctx.param("env_name")).map_err(|_| Error::NotFound("environment"))
}

/// Reads who has access. The lists of people and keys have an effect only if the environment is restricted.
fn access(asked: wire::environment_groups::ManageAccess) -> Result<ManageAccess, Error> {
    let user_ids = asked.user_ids.map(|ids| each_once("manage_access.user_ids", ids)).transpose()?;
    let api_key_prefixes =
        asked.api_key_prefixes.map(|prefixes| each_once("manage_access.api_key_prefixes", prefixes)).transpose()?;
    Ok(match asked.is_restricted {
        true => ManageAccess::Restricted { user_ids, api_key_prefixes },
        false => ManageAccess::Unrestricted,
    })
}

fn each_once(field: &str, mut names: Vec<String>) -> Result<Vec<String>, Error> {
    if names.len() > NAMED_MAX {
        return Err(Error::field(field, &format!("must name at most {NAMED_MAX}")));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
