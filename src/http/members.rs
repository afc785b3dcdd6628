//! Members of a team over HTTP.

use crate::db::Tx;
use crate::db::api_keys::CreatedKeys;
use crate::db::members::{self, Implicit};
use crate::error::Error;
use crate::http::users::{created_keys, goes_with_a_demotion};
use crate::http::{Ask, Reply};
use crate::policy::{InTeam, TeamRole};
use crate::wire;
use crate::wire::members::{Member, MemberTombstone, UpdatedMember};
use crate::wire::{Items, Role};

pub fn list(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let implicit = if ask.flag("include_implicit")? { Implicit::Show } else { Implicit::LeaveOut };
    let page = members::list(tx, team, implicit, &ask.paging("members")?)?;
    let items = page.items.iter().map(Member::from).collect();
    Ok(Reply::ok(&Items::of("members", items, page.next.as_deref())))
}

pub fn add(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let asked: wire::members::AddMember = ask.json()?;
    let member = members::add(tx, team, &asked.user_id, asked.role.in_team())?;
    Ok(Reply::ok(&Member::from(&member)))
}

pub fn update(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let member = members::find(tx, team, ask.param("user_id"))?;
    let asked: wire::members::UpdateMember = ask.json()?;
    let updated = match (asked.role.map(Role::in_team), created_keys(ask)?) {
        (Some(TeamRole::Member), created_keys) => members::demote(tx, team, &member, created_keys)?,
        (Some(TeamRole::Admin) | None, CreatedKeys::Revoke) => return Err(goes_with_a_demotion()),
        (Some(TeamRole::Admin), CreatedKeys::Keep) => members::promote(tx, team, &member)?,
        (None, CreatedKeys::Keep) => members::RoleUpdated { member, remaining: None },
    };
    Ok(Reply::ok(&UpdatedMember::from(&updated)))
}

pub fn remove(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let member = members::find(tx, team, ask.param("user_id"))?;
    let remaining = members::remove(tx, team, &member, created_keys(ask)?)?;
    Ok(Reply::ok(&MemberTombstone::of(team.team().id.as_str(), member.user.id.as_str(), &remaining)))
}
