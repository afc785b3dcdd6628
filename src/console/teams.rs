//! Organization settings → Teams, and the name, icon and end of one team.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, TeamLink};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::teams::{self, Change, Contents, OnNonEmpty};
use crate::db::{Tx, organizations};
use crate::domain::{Icon, Team, TeamName};
use crate::error::Error;
use crate::policy::{Caller, InOrg, InTeam, TeamAct};

#[derive(Template)]
#[template(path = "teams.html")]
struct Teams {
    frame: Frame,
    rows: Vec<(TeamLink, Contents)>,
    pager: Pager,
    search: String,
    create: Option<Typed>,
}

/// A name and an icon as they were typed.
struct Typed {
    name: String,
    icon: String,
}

impl Typed {
    fn of(ctx: &PageContext, name: &str, icon: &str) -> Typed {
        Typed {
            name: ctx.form.given("name").unwrap_or(name).to_owned(),
            icon: ctx.form.given("icon").unwrap_or(icon).to_owned(),
        }
    }
}

pub fn list(tx: &Tx, teams: &[InTeam], ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Organization, None)?;
    require_teams(&frame)?;
    let search = ctx.query("q").to_lowercase();
    let found: Vec<&InTeam> = teams.iter().filter(|team| team.team().name.to_lowercase().contains(&search)).collect();
    let (found, pager) = Pager::of(ctx, found, "team");
    let row = |team: &InTeam| Ok((TeamLink::of(team.caller(), team.team(), false), teams::contents(tx, team)?));
    html(&Teams {
        rows: found.into_iter().map(row).collect::<Result<_, Error>>()?,
        pager,
        search: ctx.query("q").to_owned(),
        create: (frame.may.manage_teams && ctx.shows("create")).then(|| Typed::of(ctx, "", "")),
        frame,
    })
}

/// While teams are off, no page speaks of them.
fn require_teams(frame: &Frame) -> Result<(), Error> {
    if frame.has_teams() { Ok(()) } else { Err(Error::NotFound("page")) }
}

pub fn create(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let (name, icon) = (TeamName::parse(ctx.form.text("name"))?, icon(ctx)?);
    let team = teams::create(tx, org, &name, icon.as_ref())?;
    Ok(to(&format!("/t/{}?done=created", team.id)))
}

/// The icon in the form. An empty field means none.
fn icon(ctx: &PageContext) -> Result<Option<Icon>, Error> {
    match ctx.form.text("icon").trim() {
        "" => Ok(None),
        icon => Icon::parse(icon).map(Some),
    }
}

#[derive(Template)]
#[template(path = "team_general.html")]
struct General {
    frame: Frame,
    typed: Typed,
    contents: Contents,
    is_default: bool,
    delete: bool,
}

/// Shows the name and icon of a team, and what would be deleted with it.
pub fn general(tx: &Tx, _: &InOrg, team: &Team, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::TeamSettings, Some(team))?;
    require_teams(&frame)?;
    let session = ctx.session.ok_or(Error::Unauthenticated)?;
    let proof = session.caller().in_team(team, TeamAct::View)?;
    html(&General {
        typed: Typed::of(ctx, &team.name, team.icon.as_deref().unwrap_or_default()),
        contents: teams::contents(tx, &proof)?,
        is_default: team.is_default,
        delete: !team.is_default && ctx.shows("delete"),
        frame,
    })
}

pub fn update(tx: &Tx, org: &InOrg, team: &Team, ctx: &PageContext) -> Result<Reply, Error> {
    let name = TeamName::parse(ctx.form.text("name"))?;
    teams::update(tx, org, team, &Change { name: Some(name), icon: Some(icon(ctx)?) })?;
    Ok(to(&format!("/t/{}/settings?done=saved", team.id)))
}

pub fn delete(tx: &Tx, org: &InOrg, team: &Team, ctx: &PageContext) -> Result<Reply, Error> {
    ctx.confirm(&team.name)?;
    teams::delete(tx, org, team, OnNonEmpty::Delete)?;
    Ok(to("/settings/teams?done=deleted"))
}

/// The start page: the overview of the first team that the person may see.
pub fn home(tx: &Tx, caller: &Caller, ctx: &PageContext) -> Result<Reply, Error> {
    let seen = teams::of_organization(tx, caller)?;
    match seen.first() {
        Some(team) => Ok(to(&format!("/t/{}", team.id))),
        None => html(&NoTeam { frame: Frame::new(tx, ctx, Nav::Nowhere, None)? }),
    }
}

#[derive(Template)]
#[template(path = "no_team.html")]
struct NoTeam {
    frame: Frame,
}

// ---- the organization ----

#[derive(Template)]
#[template(path = "org_general.html")]
struct OrgGeneral {
    frame: Frame,
    name: String,
    teams_count: usize,
}

pub fn organization(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Organization, None)?;
    html(&OrgGeneral {
        name: ctx.form.given("name").unwrap_or(&frame.organization.name).to_owned(),
        teams_count: teams::of_organization(tx, org.caller())?.len(),
        frame,
    })
}

pub fn update_organization(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let name = TeamName::parse(ctx.form.text("name"))?;
    organizations::update(tx, org, &organizations::Change { name: Some(name), teams_enabled: None })?;
    Ok(to("/settings/general?done=saved"))
}

/// Switches teams on or off.
pub fn switch_teams(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let teams_enabled = Some(ctx.form.text("teams") == "on");
    organizations::update(tx, org, &organizations::Change { name: None, teams_enabled })?;
    Ok(to("/settings/general?done=saved"))
}
