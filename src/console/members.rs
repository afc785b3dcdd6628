//! Organization settings → Members: people, their roles, and invitations.

use askama::Template;

use crate::api::Reply;
use crate::console::choices::{TeamChoice, wanted};
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::people::Dependent;
use crate::db::{Tx, invitations, members, organization_roles, password_resets, people, teams, users};
use crate::domain::api_keys::CreatedKeys;
use crate::domain::invitations::{Invitation, InvitedTeam, Status};
use crate::domain::members::Via;
use crate::domain::users::{OrgMember, TeamOfUser};
use crate::domain::{Email, Paging, Team};
use crate::error::Error;
use crate::policy::{InOrg, OrgAct, OrgRole, TeamAct, TeamRole};
use crate::token::LinkToken;

/// How many teams a dialog offers.
const TEAMS_MAX: usize = 200;
/// More teams than an organization has: all are read. One more must still fit in an `i64`.
const ALL_TEAMS: usize = u32::MAX as usize;
/// How many teams of a person a row names.
const TEAMS_NAMED: usize = 8;
/// How many invitations the page shows.
const INVITATIONS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "members.html")]
struct Members {
    frame: Frame,
    people: i64,
    admins: i64,
    rows: Vec<Person>,
    pager: Pager,
    search: String,
    invitations: Vec<Invitation>,
    invite: Option<Invite>,
    edit: Option<Edit>,
    remove: Option<Remove>,
}

struct Person {
    id: String,
    name: String,
    email: String,
    initials: String,
    is_admin: bool,
    is_me: bool,
    is_last_admin: bool,
    /// The explicit memberships. Empty where the viewer may not see them.
    teams: Vec<(String, &'static str)>,
    has_more_teams: bool,
}

struct Invite {
    email: String,
    is_admin: bool,
    teams: Vec<TeamChoice>,
}

struct Edit {
    id: String,
    name: String,
    is_admin: bool,
    is_last_admin: bool,
    teams: Vec<TeamChoice>,
}

struct Remove {
    id: String,
    name: String,
    is_me: bool,
    dependent: Dependent,
}

pub fn list(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Organization, None)?;
    let count = people::count(tx, org)?;
    let page = people::of_organization(tx, org, ctx.query("q"), &ctx.paging("people")?)?;
    let is_last = |member: &OrgMember| member.role == OrgRole::Admin && count.admins == 1;
    let row = |member: &OrgMember| person(tx, org, member, &frame, is_last(member));
    let rows = page.items.iter().map(row).collect::<Result<_, _>>()?;
    let may = frame.may.manage_members;
    let about = ctx.dialog().1;
    let subject = |dialog: &str, may: bool| match may && ctx.shows(dialog) {
        true => users::find(tx, org, about).map(Some),
        false => Ok(None),
    };
    let edited = subject("edit", may)?;
    let removed = subject("remove", may || about == frame.me.id)?;
    html(&Members {
        people: count.people,
        admins: count.admins,
        rows,
        pager: Pager::by_cursor(ctx, "people", page.next.as_deref()),
        search: ctx.query("q").to_owned(),
        invitations: if may { open_invitations(tx, org)? } else { Vec::new() },
        invite: (may && ctx.shows("invite")).then(|| invite(tx, org, ctx)).transpose()?,
        edit: edited.map(|member| edit(tx, org, ctx, &member, is_last(&member))).transpose()?,
        remove: removed.map(|member| remove_dialog(tx, org, &member, &frame)).transpose()?,
        frame,
    })
}

fn person(tx: &Tx, org: &InOrg, member: &OrgMember, frame: &Frame, is_last_admin: bool) -> Result<Person, Error> {
    let is_me = member.user.id.as_str() == frame.me.id;
    let shows_teams = frame.has_teams() && (frame.may.manage_members || is_me);
    let mut teams: Vec<TeamOfUser> =
        if shows_teams { explicit_teams(tx, org, member, TEAMS_NAMED + 1)? } else { Vec::new() };
    let has_more_teams = teams.len() > TEAMS_NAMED;
    teams.truncate(TEAMS_NAMED);
    Ok(Person {
        id: member.user.id.as_str().to_owned(),
        name: member.user.name.clone(),
        email: member.user.email.clone(),
        initials: view::initials(&member.user.name),
        is_admin: member.role == OrgRole::Admin,
        is_me,
        is_last_admin,
        teams: teams.into_iter().map(|team| (team.team_name, view::team_role(team.role))).collect(),
        has_more_teams,
    })
}

/// The teams that a person is explicitly in. An organization admin has access to the others too.
fn explicit_teams(tx: &Tx, org: &InOrg, member: &OrgMember, items_max: usize) -> Result<Vec<TeamOfUser>, Error> {
    let teams = users::teams(tx, org, member, &Paging { after: String::new(), items_max })?;
    Ok(teams.items.into_iter().filter(|team| team.via == Via::Team).collect())
}

fn open_invitations(tx: &Tx, org: &InOrg) -> Result<Vec<Invitation>, Error> {
    let paging = Paging { after: String::new(), items_max: INVITATIONS_MAX };
    let mut shown = invitations::list(tx, org, Some(Status::Pending), &paging)?.items;
    shown.extend(invitations::list(tx, org, Some(Status::Expired), &paging)?.items);
    Ok(shown)
}

fn invite(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Invite, Error> {
    let all = teams::of_organization(tx, org.caller())?;
    let choice = |team: &Team| TeamChoice::of_form(team, ctx.form, None);
    Ok(Invite {
        email: ctx.form.text("email").to_owned(),
        is_admin: ctx.form.text("role") == OrgRole::Admin.as_str(),
        teams: all.iter().take(TEAMS_MAX).map(choice).collect(),
    })
}

fn edit(tx: &Tx, org: &InOrg, ctx: &PageContext, member: &OrgMember, is_last_admin: bool) -> Result<Edit, Error> {
    let all = teams::of_organization(tx, org.caller())?;
    let theirs = explicit_teams(tx, org, member, ALL_TEAMS)?;
    let role_in = |team: &Team| theirs.iter().find(|of_theirs| of_theirs.team_id == team.id).map(|found| found.role);
    let mut teams: Vec<TeamChoice> =
        all.iter().map(|team| TeamChoice::of_form(team, ctx.form, role_in(team))).collect();
    if teams.len() > TEAMS_MAX {
        teams.sort_by_key(|team| !team.is_chosen); // those of the person come first, and none of them is left out
        teams.truncate(TEAMS_MAX.max(theirs.len()));
    }
    let role = ctx.form.given("role").unwrap_or(member.role.as_str());
    Ok(Edit {
        id: member.user.id.as_str().to_owned(),
        name: member.user.name.clone(),
        is_admin: role == OrgRole::Admin.as_str(),
        is_last_admin,
        teams,
    })
}

fn remove_dialog(tx: &Tx, org: &InOrg, member: &OrgMember, frame: &Frame) -> Result<Remove, Error> {
    Ok(Remove {
        id: member.user.id.as_str().to_owned(),
        name: member.user.name.clone(),
        is_me: member.user.id.as_str() == frame.me.id,
        dependent: people::dependent(tx, org, member)?,
    })
}

/// Changes the organization role and the team roles of a person as the dialog says. All of it is one transaction.
pub fn change(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let created_keys = created_keys(ctx);
    let role = ctx.form.given("role").map(org_role).transpose()?.unwrap_or(member.role);
    let is_demoted = member.role == OrgRole::Admin && role == OrgRole::Member;
    if created_keys == CreatedKeys::Revoke && !is_demoted {
        return Err(Error::Invalid(
            "the keys that the person made are revoked only when an admin becomes a member: leave the box empty"
                .to_owned(),
        ));
    }
    match (member.role, role) {
        (OrgRole::Member, OrgRole::Admin) => drop(organization_roles::promote(tx, org, &member)?),
        (OrgRole::Admin, OrgRole::Member) => drop(organization_roles::demote(tx, org, &member, created_keys)?),
        (OrgRole::Admin, OrgRole::Admin) | (OrgRole::Member, OrgRole::Member) => {}
    }
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let theirs = explicit_teams(tx, org, &member, ALL_TEAMS)?;
    // The caller's own role may just have changed: what follows is for those who were admins when they asked.
    for team in teams::of_organization(tx, org.caller())? {
        let Some(wanted) = wanted(ctx.form, team.id.as_str())? else { continue };
        let before = theirs.iter().find(|of_theirs| of_theirs.team_id == team.id).map(|found| found.role);
        set_team_role(tx, org, &team, &member, before, wanted)?;
    }
    Ok(to("/settings/members?done=saved"))
}

fn set_team_role(
    tx: &Tx,
    org: &InOrg,
    team: &Team,
    member: &OrgMember,
    before: Option<TeamRole>,
    wanted: Option<TeamRole>,
) -> Result<(), Error> {
    if before == wanted {
        return Ok(());
    }
    let proof = org.caller().in_team(team, TeamAct::ManageMembers)?;
    let user_id = member.user.id.as_str();
    let Some(wanted) = wanted else {
        let found = members::find(tx, &proof, user_id)?;
        return members::remove(tx, &proof, &found, CreatedKeys::Keep).map(drop);
    };
    if before.is_none() {
        return members::add(tx, &proof, user_id, wanted).map(drop);
    }
    let found = members::find(tx, &proof, user_id)?;
    match wanted {
        TeamRole::Admin => members::promote(tx, &proof, &found).map(drop),
        TeamRole::Member => members::demote(tx, &proof, &found, CreatedKeys::Keep).map(drop),
    }
}

pub fn remove(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    organization_roles::remove(tx, org, &member, created_keys(ctx))?;
    match org.caller().is_person(member.user.id.as_str()) {
        true => Ok(to("/sign-in")),
        false => Ok(to("/settings/members?done=removed")),
    }
}

fn created_keys(ctx: &PageContext) -> CreatedKeys {
    if ctx.form.is_ticked("revoke_created") { CreatedKeys::Revoke } else { CreatedKeys::Keep }
}

fn org_role(name: &str) -> Result<OrgRole, Error> {
    let found = OrgRole::ALL.iter().find(|role| role.as_str() == name);
    found.copied().ok_or_else(|| Error::field("role", "must be ADMIN or MEMBER"))
}

// ---- invitations ----

#[derive(Template)]
#[template(path = "invited.html")]
struct Invited {
    frame: Frame,
    invitation: Invitation,
    link: String,
}

pub fn invite_member(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let email = Email::parse(ctx.form.text("email"))?;
    let role = org_role(ctx.form.text("role"))?;
    let mut invited = Vec::new();
    for team_id in ctx.form.all("team") {
        let team = teams::find(tx, team_id)?;
        org.caller().in_org_about(&team, OrgAct::ManageMembers)?;
        if let Some(Some(role)) = wanted(ctx.form, team_id)? {
            invited.push(InvitedTeam { team, role });
        }
    }
    let (invitation, link) = invitations::create(tx, org, &email, role, &invited)?;
    deliver(tx, org, ctx, invitation, &link, "invited")
}

pub fn resend(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ctx.param("invitation_id"))?;
    let (invitation, link) = invitations::resend(tx, org, &invitation)?;
    deliver(tx, org, ctx, invitation, &link, "resent")
}

/// Sends the link of an invitation by mail. Without a mail server it is shown: it is stored as a hash, so this is the only
/// time.
fn deliver(
    tx: &Tx,
    org: &InOrg,
    ctx: &PageContext,
    invitation: Invitation,
    link: &LinkToken,
    done: &str,
) -> Result<Reply, Error> {
    let url = format!("{}/invite/{}", ctx.request.base_url, link.reveal());
    let (invitation, url) = invitations::deliver(tx, org, invitation, url, ctx.request.mailing)?;
    let Some(link) = url else { return Ok(to(&format!("/settings/members?done={done}"))) };
    html(&Invited { frame: Frame::new(tx, ctx, Nav::Organization, None)?, link, invitation })
}

pub fn revoke(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let invitation = invitations::find(tx, org, ctx.param("invitation_id"))?;
    invitations::revoke(tx, org, &invitation)?;
    Ok(to("/settings/members?done=revoked"))
}

/// Makes a link with which a person sets a new password, and sends it by mail or shows it.
pub fn make_reset(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let made = password_resets::create(tx, org, &member)?;
    let url = format!("{}/reset/{}", ctx.request.base_url, made.token.reveal());
    let (_, url) = password_resets::deliver(tx, &made, url, ctx.request.mailing)?;
    let Some(link) = url else { return Ok(to("/settings/members?done=reset-mailed")) };
    html(&ResetLink {
        frame: Frame::new(tx, ctx, Nav::Organization, None)?,
        name: member.user.name,
        expires_at: made.expires_at,
        link,
    })
}

#[derive(Template)]
#[template(path = "reset_link.html")]
struct ResetLink {
    frame: Frame,
    name: String,
    expires_at: crate::domain::Time,
    link: String,
}
