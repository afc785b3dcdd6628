//! Settings → Secrets of a team. Values are written, never read.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::{Tx, secrets};
use crate::domain::{SecretName, SecretValue, Time};
use crate::error::Error;
use crate::policy::{InTeam, TeamAct};

#[derive(Template)]
#[template(path = "secrets.html")]
struct Secrets {
    frame: Frame,
    secrets: Vec<Shown>,
    pager: Pager,
    search: String,
    refusal: Option<String>,
    /// The open dialog to set a secret, with the name that is replaced.
    set: Option<String>,
    /// The open dialog to delete a secret, with its name.
    delete: Option<String>,
}

struct Shown {
    name: String,
    set_at: Time,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let search = ctx.query("q");
    let mut shown = Vec::new();
    secrets::list(tx, team, |secret| {
        if secret.name.to_lowercase().contains(&search.to_lowercase()) {
            shown.push(Shown { name: secret.name.to_owned(), set_at: secret.created_at });
        }
    })?;
    let about = ctx.dialog().1;
    let delete = shown.iter().find(|secret| ctx.shows("delete") && secret.name == about).map(|s| s.name.clone());
    let (secrets, pager) = Pager::of(ctx, shown, "secret");
    let typed = ctx.form.given("name").unwrap_or(about).to_owned();
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::Deploy);
    html(&Secrets {
        frame: Frame::new(tx, ctx, Nav::TeamSettings, Some(team.team()))?,
        set: ctx.shows("set").then_some(typed).filter(|_| refusal.is_none()),
        delete,
        secrets,
        pager,
        search: search.to_owned(),
        refusal,
    })
}

pub fn set(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let name = SecretName::parse(ctx.form.text("name").trim())?;
    let value = SecretValue::parse(ctx.form.text("value").to_owned())?;
    secrets::upsert(tx, team, &name, &value, |_| ())?;
    Ok(to(&format!("/t/{}/settings/secrets?done=saved", team.team().id)))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let name = SecretName::parse(ctx.param("secret_name")).map_err(|_| Error::NotFound("secret"))?;
    ctx.confirm(name.as_str())?;
    secrets::delete(tx, team, &name)?;
    Ok(to(&format!("/t/{}/settings/secrets?done=deleted", team.team().id)))
}
