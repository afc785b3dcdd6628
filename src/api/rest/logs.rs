//! Logs of deployments over HTTP. Logs of training jobs use the same filters.

use crate::api::rest::deployments::find;
use crate::api::{Reply, RequestContext};
use crate::db::logs::{self, Direction, Filter, Text};
use crate::db::{Tx, environments, models};
use crate::domain::Time;
use crate::domain::deployments::Deployment;
use crate::domain::serving::Level;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;
use crate::wire::deployments::LogsAsked;

const LINES: usize = 500;
const LINES_MAX: usize = 1000;
const WINDOW_SECONDS: i64 = 30 * 60;
const WINDOW_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;
/// The most `includes`, `excludes` and `search_pattern` of a request together.
const FILTERS_MAX: usize = 20;
const FILTER_BYTES_MAX: usize = 256;

pub fn of_deployment(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployment = find(tx, team, ctx)?;
    answer(tx, Some(&deployment), &asked_by_query(ctx)?)
}

/// Lists logs of a deployment; the filters are in the body.
pub fn of_deployment_by_body(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let deployment = find(tx, team, ctx)?;
    answer(tx, Some(&deployment), &ctx.json()?)
}

/// Lists logs of the deployment that serves the environment now.
pub fn of_environment(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let environment = environments::find(tx, team, &model, ctx.param("env_name"))?;
    answer(tx, environment.current.as_ref(), &asked_by_query(ctx)?)
}

/// Lists the lines of a deployment that the filters select; without a deployment, no lines.
///
/// # Errors
///
/// [`Error::Invalid`] for a filter that is malformed or out of bounds.
pub(super) fn answer(tx: &Tx, deployment: Option<&Deployment>, asked: &LogsAsked) -> Result<Reply, Error> {
    let filter = filter(tx.now, asked)?;
    // No line belongs to a component: a deployment has one.
    let lines = match deployment {
        Some(deployment) if asked.component.is_none() => logs::list(tx, &deployment.id, &filter)?,
        Some(_) | None => Vec::new(),
    };
    let logs = lines.iter().map(wire::deployments::Log::from).collect();
    Ok(Reply::ok(&wire::deployments::Logs { logs }))
}

/// Reads the filters of a request from its query.
///
/// # Errors
///
/// [`Error::Invalid`] for a number that cannot be read, or for too many values of a parameter.
pub(super) fn asked_by_query(ctx: &RequestContext) -> Result<LogsAsked, Error> {
    let text = |name| ctx.query(name).map(str::to_owned);
    let all = |name| Ok::<_, Error>(Some(ctx.queries(name)?.into_iter().map(str::to_owned).collect()));
    let limit = number(ctx, "limit")?.map(|limit| usize::try_from(limit).unwrap_or(0));
    Ok(LogsAsked {
        start_epoch_millis: number(ctx, "start_epoch_millis")?,
        end_epoch_millis: number(ctx, "end_epoch_millis")?,
        direction: text("direction"),
        limit,
        min_level: text("min_level"),
        replica: text("replica"),
        request_id: text("request_id"),
        component: text("component"),
        search_pattern: text("search_pattern"),
        includes: all("includes")?,
        excludes: all("excludes")?,
    })
}

/// A parameter of the query that is a whole number.
///
/// # Errors
///
/// [`Error::Invalid`] for any other value.
pub(super) fn number(ctx: &RequestContext, name: &str) -> Result<Option<i64>, Error> {
    let parsed = ctx.query(name).map(str::parse).transpose();
    parsed.map_err(|_| Error::field(name, "must be a whole number"))
}

/// Checks the filters of a request and fills in their defaults.
///
/// # Errors
///
/// [`Error::Invalid`] with the name of a filter that is malformed or out of bounds.
pub(super) fn filter(now: Time, asked: &LogsAsked) -> Result<Filter, Error> {
    let (start, end) = window(now, asked.start_epoch_millis, asked.end_epoch_millis)?;
    let lines_max = asked.limit.unwrap_or(LINES);
    if !(1..=LINES_MAX).contains(&lines_max) {
        return Err(Error::field("limit", &format!("must be a number from 1 to {LINES_MAX}")));
    }
    let direction = match asked.direction.as_deref() {
        None | Some("desc") => Direction::Descending,
        Some("asc") => Direction::Ascending,
        Some(_) => return Err(Error::field("direction", "must be asc or desc")),
    };
    let min_level = match &asked.min_level {
        None => Level::Debug,
        Some(name) => {
            Level::parse(name).ok_or_else(|| Error::field("min_level", "must be DEBUG, INFO, WARNING or ERROR"))?
        }
    };
    let includes = asked.includes.iter().flatten().chain(&asked.search_pattern);
    let excludes = asked.excludes.iter().flatten();
    Error::check_count("includes` and `excludes", includes.clone().chain(excludes.clone()).count(), FILTERS_MAX)?;
    if includes.clone().chain(excludes.clone()).any(|text| text.len() > FILTER_BYTES_MAX) {
        let why = format!("must each be at most {FILTER_BYTES_MAX} bytes");
        return Err(Error::field("includes` and `excludes", &why));
    }
    Ok(Filter {
        start,
        end,
        direction,
        lines_max,
        min_level,
        includes: Text::all(includes.map(String::as_str)),
        excludes: Text::all(excludes.map(String::as_str)),
        replica: asked.replica.clone(),
        request_id: asked.request_id.clone(),
    })
}

/// The period of the logs. Without an end it is open, because the last line may be slightly ahead of the clock.
fn window(now: Time, start: Option<i64>, end: Option<i64>) -> Result<(Time, Time), Error> {
    let until = end.unwrap_or(now.0);
    let start = start.unwrap_or_else(|| until.saturating_sub(WINDOW_SECONDS * 1000));
    if until < start {
        return Err(Error::field("end_epoch_millis", "must not be before `start_epoch_millis`"));
    }
    if until.saturating_sub(start) > WINDOW_SECONDS_MAX * 1000 {
        return Err(Error::field("start_epoch_millis", "must be at most 7 days before `end_epoch_millis`"));
    }
    Ok((Time(start), Time(end.unwrap_or(i64::MAX))))
}
