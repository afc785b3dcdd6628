//! Settings → Members of a team: add somebody of the organization, change a role, remove.

use askama::Template;

use crate::api::Reply;
use crate::console::choices::team_role;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::{Tx, members, people};
use crate::domain::api_keys::CreatedKeys;
use crate::domain::members::{Member, Via};
use crate::domain::{Time, User};
use crate::error::Error;
use crate::policy::{InTeam, TeamAct, TeamRole};

/// How many people the list of those who can be added offers. A search finds the others.
const OFFERED_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "team_members.html")]
struct TeamMembers {
    frame: Frame,
    rows: Vec<Row>,
    pager: Pager,
    search: String,
    /// Why the viewer may not manage members.
    refusal: Option<String>,
    offered: Vec<User>,
    chosen: String,
    edit: Option<Row>,
    remove: Option<Row>,
}

#[derive(Clone)]
struct Row {
    id: String,
    name: String,
    email: String,
    initials: String,
    role: &'static str,
    is_admin: bool,
    is_explicit: bool,
    is_me: bool,
    added_at: Time,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::TeamSettings, Some(team.team()))?;
    if !frame.has_teams() {
        return Err(Error::NotFound("page"));
    }
    let page = people::of_team(tx, team, ctx.query("q"), &ctx.paging("members")?)?;
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::ManageMembers);
    let about = ctx.dialog().1;
    let subject = |dialog: &str, may: bool| match may && ctx.shows(dialog) {
        true => members::find(tx, team, about).map(|member| Some(row(&member, &frame))),
        false => Ok(None),
    };
    let may = refusal.is_none();
    let offered = if may { people::outside_team(tx, team, ctx.query("person"), OFFERED_MAX)? } else { Vec::new() };
    html(&TeamMembers {
        rows: page.items.iter().map(|member| row(member, &frame)).collect(),
        pager: Pager::by_cursor(ctx, "members", page.next.as_deref()),
        search: ctx.query("q").to_owned(),
        offered,
        chosen: ctx.form.text("user_id").to_owned(),
        edit: subject("edit", may)?,
        remove: subject("remove", may || about == frame.me.id)?,
        refusal,
        frame,
    })
}

fn row(member: &Member, frame: &Frame) -> Row {
    Row {
        id: member.user.id.as_str().to_owned(),
        name: member.user.name.clone(),
        email: member.user.email.clone(),
        initials: view::initials(&member.user.name),
        role: view::team_role(member.role),
        is_admin: member.role == TeamRole::Admin,
        is_explicit: member.via == Via::Team,
        is_me: member.user.id.as_str() == frame.me.id,
        added_at: member.created_at,
    }
}

pub fn add(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let user_id = ctx.form.text("user_id");
    if user_id.is_empty() {
        return Err(Error::Invalid("choose somebody to add".to_owned()));
    }
    members::add(tx, team, user_id, team_role(ctx.form.text("role"))?)?;
    Ok(back(team, "added"))
}

pub fn change(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let member = members::find(tx, team, ctx.param("user_id"))?;
    match team_role(ctx.form.text("role"))? {
        TeamRole::Admin => drop(members::promote(tx, team, &member)?),
        TeamRole::Member => drop(members::demote(tx, team, &member, created_keys(ctx))?),
    }
    Ok(back(team, "saved"))
}

pub fn remove(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let member = members::find(tx, team, ctx.param("user_id"))?;
    members::remove(tx, team, &member, created_keys(ctx))?;
    match team.caller().is_person(member.user.id.as_str()) {
        true => Ok(to("/")),
        false => Ok(back(team, "removed")),
    }
}

fn created_keys(ctx: &PageContext) -> CreatedKeys {
    if ctx.form.is_ticked("revoke_created") { CreatedKeys::Revoke } else { CreatedKeys::Keep }
}

fn back(team: &InTeam, done: &str) -> Reply {
    to(&format!("/t/{}/settings/members?done={done}", team.team().id))
}
