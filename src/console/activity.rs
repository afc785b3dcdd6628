//! Organization settings → Activity: the audit log, filtered and as a file.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, ROWS_MAX};
use crate::console::frame::{Frame, Nav};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::audit::{self, AuditCursor, Direction, Filter};
use crate::db::{Tx, teams};
use crate::domain::audit::Entry;
use crate::domain::{Team, Time};
use crate::error::Error;
use crate::policy::InOrg;
use crate::wire;

/// How many entries a file has at most.
const EXPORTED_MAX: usize = 10_000;
const SEARCH_BYTES_MAX: usize = 256;

#[derive(Template)]
#[template(path = "activity.html")]
struct Activity {
    frame: Frame,
    rows: Vec<Happened>,
    pager: Pager,
    export: String,
    search: String,
    group: String,
    groups: Vec<&'static str>,
    team_id: String,
    teams: Vec<Team>,
    since: String,
}

/// An entry of the audit log in words.
pub struct Happened {
    pub at: Time,
    pub who: String,
    pub is_key: bool,
    pub what: String,
    /// The name of what it is about.
    pub about: String,
    pub event_type: String,
    pub team: Option<String>,
    pub source: String,
}

pub fn list(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let filter = filter(ctx)?;
    let after = ctx.paging("audit")?.after.parse().ok();
    let page = audit::list(tx, org, &filter, AuditCursor { direction: Direction::NewestFirst, after }, ROWS_MAX)?;
    let export = Pager::link(ctx, "/settings/activity/export");
    html(&Activity {
        frame: Frame::new(tx, ctx, Nav::Organization, None)?,
        rows: page.items.into_iter().map(happened).collect(),
        pager: Pager::by_cursor(ctx, "audit", page.next.as_deref()),
        export,
        search: ctx.query("search").to_owned(),
        group: ctx.query("group").to_owned(),
        groups: audit::groups()
            .filter(|group| audit::event_types(group).is_some_and(|types| !types.is_empty()))
            .collect(),
        team_id: ctx.query("team").to_owned(),
        teams: teams::of_organization(tx, org.caller())?,
        since: ctx.query("since").to_owned(),
    })
}

/// The filtered entries as a file of JSON lines, newest first.
pub fn export(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let filter = filter(ctx)?;
    let cursor = AuditCursor { direction: Direction::NewestFirst, after: None };
    let page = audit::list(tx, org, &filter, cursor, EXPORTED_MAX)?;
    let mut lines = Vec::new();
    for entry in &page.items {
        lines.extend_from_slice(&wire::line(&wire::audit_logs::Entry::from(entry)));
    }
    let mut reply = Reply::bytes("application/jsonl; charset=utf-8", lines);
    reply.headers.push(("content-disposition", "attachment; filename=\"activity.jsonl\"".to_owned()));
    Ok(reply)
}

fn filter<'a>(ctx: &'a PageContext) -> Result<Filter<'a>, Error> {
    let (search, group, team, since) = (ctx.query("search"), ctx.query("group"), ctx.query("team"), ctx.query("since"));
    if search.len() > SEARCH_BYTES_MAX {
        return Err(Error::field("search", &format!("must be at most {SEARCH_BYTES_MAX} bytes")));
    }
    let start = match since {
        "" => None,
        day => Some(Time::parse("since", &format!("{day}T00:00:00Z"))?),
    };
    Ok(Filter {
        search: Some(search).filter(|text| !text.is_empty()),
        event_types: audit::event_types(group).map(<[_]>::to_vec),
        team_ids: Some(team).filter(|id| !id.is_empty()).into_iter().collect(),
        start,
        ..Filter::default()
    })
}

/// Puts an entry into words. The name of what it is about is found in its data.
pub fn happened(entry: Entry) -> Happened {
    let about = [
        "secret_name",
        "model_name",
        "chain_name",
        "environment_name",
        "team_name",
        "user_email",
        "invited_user_email",
        "removed_user_email",
        "training_project_name",
        "api_key_prefix",
        "name",
    ];
    let named = wire::texts(&entry.event_data, &about);
    Happened {
        at: entry.created_at,
        who: entry.actor_email.or(entry.actor_key_name).or(entry.actor_prefix).unwrap_or_else(|| {
            match entry.actor_type.as_str() {
                "TOMBSTONE_USER" => "Somebody who has left".to_owned(),
                _ => "This installation".to_owned(),
            }
        }),
        is_key: entry.actor_type == "API_KEY",
        what: view::sentence_case(&entry.event_type),
        about: named.join(", "),
        event_type: entry.event_type,
        team: entry.team.map(|(_, name)| name),
        source: match entry.source.as_str() {
            "UI" => "Console".to_owned(),
            "SYSTEM" => "System".to_owned(),
            other => other.to_owned(),
        },
    }
}
