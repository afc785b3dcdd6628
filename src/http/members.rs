//! Members of a team over HTTP.

use crate::db::Tx;
use crate::db::members::{self, Implicit};
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::policy::InTeam;
use crate::wire;
use crate::wire::Items;
use crate::wire::members::{Member, MemberTombstone};

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
    let member = match asked.role {
        Some(role) => members::update(tx, team, &member, role.in_team())?,
        None => member,
    };
    Ok(Reply::ok(&Member::from(&member)))
}

pub fn remove(tx: &Tx, team: &InTeam, ask: &Ask) -> Result<Reply, Error> {
    let member = members::find(tx, team, ask.param("user_id"))?;
    members::remove(tx, team, &member)?;
    Ok(Reply::ok(&MemberTombstone::of(team.team().id.as_str(), member.user.id.as_str())))
}
