//! Settings → Restricted environments of a team: who may change which environment.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::rendering::html;
use crate::console::view;
use crate::db::api_keys::{self, Filter};
use crate::db::environment_groups::{self, ManageAccess};
use crate::db::{Tx, people};
use crate::domain::environment_groups::Group;
use crate::domain::members::Via;
use crate::domain::{EnvironmentName, NAMED_MAX, Paging};
use crate::error::Error;
use crate::policy::{InTeam, TeamAct};

/// How many people a dialog offers.
const OFFERED_MAX: usize = 500;

#[derive(Template)]
#[template(path = "environments.html")]
struct Environments {
    frame: Frame,
    groups: Vec<Group>,
    refusal: Option<String>,
    dialog: Option<Dialog>,
    lift: Option<String>,
}

/// The dialog that creates an environment, or changes who may change one.
struct Dialog {
    /// `None`: the environment is created.
    name: Option<String>,
    typed_name: String,
    people: Vec<Offered>,
    keys: Vec<Offered>,
}

struct Offered {
    id: String,
    name: String,
    detail: String,
    is_chosen: bool,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let groups = environment_groups::list(tx, team)?;
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::CreateRestrictedEnvironments);
    let about = ctx.dialog().1;
    let found = groups.iter().find(|group| refusal.is_none() && group.name.as_str() == about);
    let dialog = match found {
        Some(group) if ctx.shows("edit") => Some(dialog(tx, team, ctx, Some(group))?),
        Some(_) | None if refusal.is_none() && ctx.shows("create") => Some(dialog(tx, team, ctx, None)?),
        Some(_) | None => None,
    };
    html(&Environments {
        frame: Frame::new(tx, ctx, Nav::TeamSettings, Some(team.team()))?,
        lift: found.filter(|_| ctx.shows("lift")).map(|group| group.name.as_str().to_owned()),
        groups,
        refusal,
        dialog,
    })
}

fn dialog(tx: &Tx, team: &InTeam, ctx: &PageContext, group: Option<&Group>) -> Result<Dialog, Error> {
    let access = group.and_then(|group| group.access.as_ref());
    let members = people::of_team(tx, team, "", &Paging { after: String::new(), items_max: OFFERED_MAX })?.items;
    let people = members.into_iter().filter(|member| member.via == Via::Team).map(|member| {
        let stored = access.is_some_and(|access| access.users.iter().any(|user| user.id == member.user.id));
        Offered {
            is_chosen: stored || ctx.form.has("user", member.user.id.as_str()),
            id: member.user.id.as_str().to_owned(),
            name: member.user.name,
            detail: member.user.email,
        }
    });
    let people = people.collect();
    let mut keys = Vec::new();
    let deploying = Filter { category: Some("WORKSPACE_MANAGE_ALL"), created_by: None };
    api_keys::list_of_team(tx, team, &deploying, |key| {
        let stored = access.is_some_and(|access| access.api_key_prefixes.contains(&key.prefix));
        keys.push(Offered {
            is_chosen: stored || ctx.form.has("key", &key.prefix),
            name: key.name.as_ref().map_or_else(|| key.prefix.clone(), |name| name.as_str().to_owned()),
            detail: key.prefix.clone(),
            id: key.prefix,
        });
    })?;
    Ok(Dialog {
        name: group.map(|group| group.name.as_str().to_owned()),
        typed_name: ctx.form.text("name").to_owned(),
        people,
        keys,
    })
}

pub fn create(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let name = EnvironmentName::parse("name", ctx.form.text("name").trim())?;
    environment_groups::create(tx, team, name, &restricted(ctx)?)?;
    Ok(back(team, "created"))
}

/// Restricts an environment, or changes who may change it.
pub fn change(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let group = environment_groups::find(tx, team, name(ctx)?)?;
    environment_groups::update(tx, team, group.name, &restricted(ctx)?)?;
    Ok(back(team, "saved"))
}

/// Lifts a restriction.
pub fn lift(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let group = environment_groups::find(tx, team, name(ctx)?)?;
    environment_groups::update(tx, team, group.name, &ManageAccess::Unrestricted)?;
    Ok(back(team, "saved"))
}

fn name(ctx: &PageContext) -> Result<EnvironmentName, Error> {
    EnvironmentName::parse("env_name", ctx.param("env_name")).map_err(|_| Error::NotFound("environment"))
}

fn restricted(ctx: &PageContext) -> Result<ManageAccess, Error> {
    Ok(ManageAccess::Restricted { user_ids: Some(chosen(ctx, "user")?), api_key_prefixes: Some(chosen(ctx, "key")?) })
}

fn chosen(ctx: &PageContext, field: &str) -> Result<Vec<String>, Error> {
    let mut ids: Vec<String> = ctx.form.all(field).map(str::to_owned).collect();
    Error::check_count(field, ids.len(), NAMED_MAX)?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn back(team: &InTeam, done: &str) -> Reply {
    to(&format!("/t/{}/settings/environments?done={done}", team.team().id))
}
