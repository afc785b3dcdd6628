//! The audit log over HTTP. It shows what people did in all teams, so only organization admins may read it, even if the
//! organization has only one team.

use crate::api::parameters::bad_cursor;
use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::audit::{self, About, AuditCursor, Direction, Filter};
use crate::domain::{Paging, Team, Time};
use crate::error::Error;
use crate::policy::InOrg;
use crate::wire::Items;
use crate::wire::audit_logs::Entry;

const PAGE_ENTRIES: usize = 20;
const PAGE_ENTRIES_MAX: usize = 200;
const SEARCH_BYTES_MAX: usize = 256;

pub fn list(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    reply(tx, org, ctx, None)
}

pub fn list_of_model(tx: &Tx, org: &InOrg, _: &Team, ctx: &RequestContext) -> Result<Reply, Error> {
    reply(tx, org, ctx, Some(About::Model(ctx.param("model_id"))))
}

pub fn list_of_chain(tx: &Tx, org: &InOrg, _: &Team, ctx: &RequestContext) -> Result<Reply, Error> {
    reply(tx, org, ctx, Some(About::Chain(ctx.param("chain_id"))))
}

fn reply(tx: &Tx, org: &InOrg, ctx: &RequestContext, about: Option<About>) -> Result<Reply, Error> {
    let paging = ctx.paging_within("audit_logs", PAGE_ENTRIES, PAGE_ENTRIES_MAX)?;
    let cursor = cursor(ctx, &paging)?;
    let filter = Filter {
        about,
        search: search(ctx)?,
        event_types: event_types(ctx)?,
        user_ids: ctx.queries("user_ids")?,
        team_ids: ctx.queries("team_ids")?,
        deployment_ids: ctx.queries("deployment_ids")?,
        chain_deployment_ids: ctx.queries("chain_deployment_ids")?,
        environment_names: ctx.queries("environment_names")?,
        sources: sources(ctx)?,
        start: epoch_millis(ctx, "start_epoch_millis")?,
        end: epoch_millis(ctx, "end_epoch_millis")?,
    };
    let page = audit::list(tx, org, &filter, cursor, paging.items_max)?;
    let next = page.next.map(|id| format!("{}:{id}", cursor.direction.as_str()));
    Ok(Reply::ok(&Items::of("audit_logs", page.items.iter().map(Entry::from).collect(), next.as_deref())))
}

fn search<'a>(ctx: &'a RequestContext) -> Result<Option<&'a str>, Error> {
    match ctx.query("search") {
        Some(text) if text.len() > SEARCH_BYTES_MAX => {
            Err(Error::field("search", &format!("must be at most {SEARCH_BYTES_MAX} bytes")))
        }
        text => Ok(text),
    }
}

/// The cursor of the request. A cursor contains its direction, so `?direction=` is ignored if there is a cursor.
fn cursor(ctx: &RequestContext, paging: &Paging) -> Result<AuditCursor, Error> {
    if !paging.after.is_empty() {
        return parse_cursor(&paging.after).ok_or_else(bad_cursor);
    }
    let direction = match ctx.query("direction") {
        None => Direction::NewestFirst,
        Some(name) => Direction::parse(name).ok_or_else(|| Error::field("direction", "must be DESC or ASC"))?,
    };
    Ok(AuditCursor { direction, after: None })
}

fn parse_cursor(cursor: &str) -> Option<AuditCursor> {
    let (direction, id) = cursor.split_once(':')?;
    Some(AuditCursor { direction: Direction::parse(direction)?, after: Some(id.parse().ok()?) })
}

fn event_types(ctx: &RequestContext) -> Result<Option<Vec<&'static str>>, Error> {
    let mut event_types = None;
    for group in ctx.queries("event_type_groups")? {
        let of_group = audit::event_types(group).ok_or_else(|| one_of("event_type_groups", audit::groups()))?;
        event_types.get_or_insert_with(Vec::new).extend(of_group);
    }
    Ok(event_types)
}

fn sources<'a>(ctx: &'a RequestContext) -> Result<Vec<&'a str>, Error> {
    let known = |source| {
        if audit::SOURCES.contains(&source) { Ok(source) } else { Err(one_of("sources", audit::SOURCES.into_iter())) }
    };
    ctx.queries("sources")?.into_iter().map(known).collect()
}

fn one_of(field: &str, names: impl Iterator<Item = &'static str>) -> Error {
    let names: Vec<_> = names.collect();
    Error::field(field, &format!("must be one of {}", names.join(", ")))
}

fn epoch_millis(ctx: &RequestContext, field: &str) -> Result<Option<Time>, Error> {
    let read = |text: &str| {
        text.parse().map(Time).map_err(|_| Error::field(field, "must be a number of milliseconds since the epoch"))
    };
    ctx.query(field).map(read).transpose()
}
