//! Members of a team over HTTP.

use crate::api::rest::users::{created_keys, goes_with_a_demotion};
use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::members;
use crate::domain::api_keys::CreatedKeys;
use crate::domain::members::{Implicit, RoleUpdated};
use crate::error::Error;
use crate::policy::{InTeam, TeamRole};
use crate::wire;
use crate::wire::members::{Member, MemberTombstone, UpdatedMember};
use crate::wire::{Items, Role};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let implicit = if ctx.flag("include_implicit")? { Implicit::Show } else { Implicit::LeaveOut };
    let page = members::list(tx, team, implicit, &ctx.paging("members")?)?;
    let items = page.items.iter().map(Member::from).collect();
    Ok(Reply::ok(&Items::of("members", items, page.next.as_deref())))
}

pub fn add(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::members::AddMember = ctx.json()?;
    let member = members::add(tx, team, &asked.user_id, asked.role.in_team())?;
    Ok(Reply::ok(&Member::from(&member)))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = members::find(tx, team, ctx.param("user_id"))?;
    let asked: wire::members::UpdateMember = ctx.json()?;
    let updated = match (asked.role.map(Role::in_team), created_keys(ctx)?) {
        (Some(TeamRole::Member), created_keys) => members::demote(tx, team, &member, created_keys)?,
        (Some(TeamRole::Admin) | None, CreatedKeys::Revoke) => return Err(goes_with_a_demotion()),
        (Some(TeamRole::Admin), CreatedKeys::Keep) => members::promote(tx, team, &member)?,
        (None, CreatedKeys::Keep) => RoleUpdated { member, remaining: None },
    };
    Ok(Reply::ok(&UpdatedMember::from(&updated)))
}

pub fn remove(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = members::find(tx, team, ctx.param("user_id"))?;
    let remaining = members::remove(tx, team, &member, created_keys(ctx)?)?;
    Ok(Reply::ok(&MemberTombstone::of(team.team().id.as_str(), member.user.id.as_str(), &remaining)))
}
