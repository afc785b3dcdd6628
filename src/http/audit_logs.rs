//! The audit log over HTTP. It tells what people did in all teams, so organization admins alone read it, with one team
//! too.

use crate::db::Tx;
use crate::db::audit::{self, About, Direction, Filter, Place};
use crate::error::Error;
use crate::http::parameters::bad_cursor;
use crate::http::{Ask, Reply};
use crate::model::{Paging, Time};
use crate::policy::InOrg;
use crate::wire::Items;
use crate::wire::audit_logs::Entry;

const PAGE_ENTRIES: usize = 20;
const PAGE_ENTRIES_MAX: usize = 200;
const SEARCH_BYTES_MAX: usize = 256;

pub fn list(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    reply(tx, org, ask, None)
}

pub fn list_of_model(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    reply(tx, org, ask, Some(About::Model(ask.param("model_id"))))
}

pub fn list_of_chain(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    reply(tx, org, ask, Some(About::Chain(ask.param("chain_id"))))
}

fn reply(tx: &Tx, org: &InOrg, ask: &Ask, about: Option<About>) -> Result<Reply, Error> {
    let paging = ask.paging_within("audit_logs", PAGE_ENTRIES, PAGE_ENTRIES_MAX)?;
    let place = place(ask, &paging)?;
    let filter = Filter {
        about,
        search: search(ask)?,
        event_types: event_types(ask)?,
        user_ids: ask.queries("user_ids")?,
        team_ids: ask.queries("team_ids")?,
        deployment_ids: ask.queries("deployment_ids")?,
        chain_deployment_ids: ask.queries("chain_deployment_ids")?,
        environment_names: ask.queries("environment_names")?,
        sources: sources(ask)?,
        start: epoch_millis(ask, "start_epoch_millis")?,
        end: epoch_millis(ask, "end_epoch_millis")?,
    };
    let page = audit::list(tx, org, &filter, place, paging.items_max)?;
    let next = page.next.map(|id| format!("{}:{id}", place.direction.as_str()));
    Ok(Reply::ok(&Items::of("audit_logs", page.items.iter().map(Entry::from).collect(), next.as_deref())))
}

fn search<'a>(ask: &'a Ask) -> Result<Option<&'a str>, Error> {
    match ask.query("search") {
        Some(text) if text.len() > SEARCH_BYTES_MAX => {
            Err(Error::field("search", &format!("must be at most {SEARCH_BYTES_MAX} bytes")))
        }
        text => Ok(text),
    }
}

/// A cursor knows its direction; whatever else is said of it does not count.
fn place(ask: &Ask, paging: &Paging) -> Result<Place, Error> {
    if !paging.after.is_empty() {
        return place_of(&paging.after).ok_or_else(bad_cursor);
    }
    let direction = match ask.query("direction") {
        None => Direction::NewestFirst,
        Some(name) => Direction::parse(name).ok_or_else(|| Error::field("direction", "must be DESC or ASC"))?,
    };
    Ok(Place { direction, after: None })
}

fn place_of(cursor: &str) -> Option<Place> {
    let (direction, id) = cursor.split_once(':')?;
    Some(Place { direction: Direction::parse(direction)?, after: Some(id.parse().ok()?) })
}

fn event_types(ask: &Ask) -> Result<Option<Vec<&'static str>>, Error> {
    let mut event_types = None;
    for group in ask.queries("event_type_groups")? {
        let of_group = audit::event_types(group).ok_or_else(|| one_of("event_type_groups", audit::groups()))?;
        event_types.get_or_insert_with(Vec::new).extend(of_group);
    }
    Ok(event_types)
}

fn sources<'a>(ask: &'a Ask) -> Result<Vec<&'a str>, Error> {
    let known = |source| {
        if audit::SOURCES.contains(&source) { Ok(source) } else { Err(one_of("sources", audit::SOURCES.into_iter())) }
    };
    ask.queries("sources")?.into_iter().map(known).collect()
}

fn one_of(field: &str, names: impl Iterator<Item = &'static str>) -> Error {
    let names: Vec<_> = names.collect();
    Error::field(field, &format!("must be one of {}", names.join(", ")))
}

fn epoch_millis(ask: &Ask, field: &str) -> Result<Option<Time>, Error> {
    let read = |text: &str| {
        text.parse().map(Time).map_err(|_| Error::field(field, "must be a number of milliseconds since the epoch"))
    };
    ask.query(field).map(read).transpose()
}
