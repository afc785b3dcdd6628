//! Model APIs, which only the default team has.

use askama::Template;

use crate::api::Reply;
use crate::console::context::PageContext;
use crate::console::frame::{Frame, Nav};
use crate::console::rendering::html;
use crate::console::view;
use crate::db::{Tx, model_apis};
use crate::domain::model_apis::CATALOGUE;
use crate::error::Error;
use crate::policy::InTeam;

#[derive(Template)]
#[template(path = "model_apis.html")]
struct ModelApis {
    frame: Frame,
    rows: Vec<(&'static str, bool)>,
    base_url: String,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    if !team.team().is_default {
        return Err(Error::Forbidden("Model APIs are only available in the default team".to_owned()));
    }
    let added = model_apis::added(tx, team)?;
    html(&ModelApis {
        frame: Frame::new(tx, ctx, Nav::ModelApis, Some(team.team()))?,
        rows: CATALOGUE.iter().map(|entry| (entry.name, added.contains_key(entry.name))).collect(),
        base_url: ctx.request.base_url.to_string(),
    })
}
