//! Model APIs over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::model_apis;
use crate::domain::model_apis::{self as catalogue, CATALOGUE};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::Items;
use crate::wire::model_apis::ModelApi;

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (paging, added_only) = (ctx.paging("model_apis")?, ctx.flag("added_only")?);
    let added = model_apis::added(tx, team)?;
    let rows = CATALOGUE
        .iter()
        .filter(|entry| entry.name > paging.after.as_str() && (!added_only || added.contains_key(entry.name)));
    let page = paging.page(rows.collect(), |entry| entry.name);
    let url = invoke_url(ctx);
    let items = page.items.iter().map(|entry| ModelApi::new(entry, added.get(entry.name), &url)).collect();
    Ok(Reply::ok(&Items::of("model_apis", items, page.next.as_deref())))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let entry = catalogue::find(ctx.param("model_api_name")).ok_or(Error::NotFound("Model API"))?;
    let added = model_apis::added(tx, team)?;
    Ok(Reply::ok(&ModelApi::new(entry, added.get(entry.name), &invoke_url(ctx))))
}

/// The URL at which the caller reached this server.
fn invoke_url(ctx: &RequestContext) -> String {
    ctx.request.base_url.to_string()
}
