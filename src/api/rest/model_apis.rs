//! Model APIs over HTTP: the catalog, and the upstreams of the operator.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::model_apis;
use crate::domain::SecretValue;
use crate::domain::model_apis::{self as catalogue, Added, CATALOGUE, Slug, Upstream};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::error::Error;
use crate::policy::{InTeam, Operator};
use crate::wire::model_apis::{AddModelApi, ModelApi, ModelApiUpstream, ModelApiUpstreams};
use crate::wire::{Items, Tombstone};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let (paging, added_only) = (ctx.paging("model_apis")?, ctx.flag("added_only")?);
    let (added, upstreams) = (model_apis::added(tx, team)?, model_apis::list(tx, team)?);
    let rows = entries(&upstreams)
        .into_iter()
        .filter(|entry| entry.name() > paging.after.as_str() && (!added_only || added.contains_key(entry.name())));
    let page = paging.page(rows.collect(), Entry::name);
    let url = invoke_url(ctx);
    let items = page.items.iter().map(|entry| entry.show(added.get(entry.name()), &url)).collect();
    Ok(Reply::ok(&Items::of("model_apis", items, page.next.as_deref())))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let name = ctx.param("model_api_name");
    let (added, upstreams) = (model_apis::added(tx, team)?, model_apis::list(tx, team)?);
    let found = entries(&upstreams).into_iter().find(|entry| entry.name() == name);
    let entry = found.ok_or(Error::NotFound("Model API"))?;
    Ok(Reply::ok(&entry.show(added.get(name), &invoke_url(ctx))))
}

/// An entry of the catalog, or an upstream with a name that the catalog does not have.
enum Entry<'a> {
    OfCatalog(&'static catalogue::ModelApi),
    OfOperator(&'a Upstream),
}

/// All entries, by name.
fn entries(upstreams: &[Upstream]) -> Vec<Entry<'_>> {
    let others = upstreams.iter().filter(|upstream| catalogue::find(&upstream.slug).is_none());
    let mut entries: Vec<_> = CATALOGUE.iter().map(Entry::OfCatalog).chain(others.map(Entry::OfOperator)).collect();
    entries.sort_by(|one, other| one.name().cmp(other.name()));
    entries
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Entry::OfCatalog(entry) => entry.name,
            Entry::OfOperator(upstream) => &upstream.slug,
        }
    }

    fn show<'a>(&'a self, added: Option<&Added>, invoke_url: &'a str) -> ModelApi<'a> {
        match self {
            Entry::OfCatalog(entry) => ModelApi::new(entry, added, invoke_url),
            Entry::OfOperator(upstream) => ModelApi::of_upstream(upstream, added, invoke_url),
        }
    }
}

/// The URL at which Model APIs are called, as the caller reaches this server.
fn invoke_url(ctx: &RequestContext) -> String {
    ctx.request.base_url.to_string()
}

/// Lists the upstreams for the operator.
pub fn list_upstreams(tx: &Tx, operator: &Operator, _: &RequestContext) -> Result<Reply, Error> {
    let upstreams = model_apis::list_for_operator(tx, operator)?;
    Ok(Reply::ok(&ModelApiUpstreams { items: upstreams.iter().map(ModelApiUpstream::from).collect() }))
}

/// Adds an upstream for the operator.
pub fn add_upstream(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: AddModelApi = ctx.json()?;
    let slug = Slug::parse(&asked.slug)?;
    let url = RemoteUrl::parse("url", &asked.url, PlainHttp::Anywhere)?;
    let credential = asked.credential.map(SecretValue::parse).transpose()?;
    let added = model_apis::add(tx, operator, &slug, &url, credential.as_ref())?;
    Ok(Reply::ok(&ModelApiUpstream::from(&added)))
}

/// Removes an upstream for the operator.
pub fn remove_upstream(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let slug = ctx.param("slug");
    model_apis::remove(tx, operator, slug)?;
    Ok(Reply::ok(&Tombstone::of(slug)))
}
