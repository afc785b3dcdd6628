//! Billing over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::billing;
use crate::domain::Time;
use crate::domain::billing::Window;
use crate::error::Error;
use crate::policy::InOrg;
use crate::wire::billing::UsageSummary;

pub fn usage_summary(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let window = Window::new(date(ctx, "start_date")?, date(ctx, "end_date")?)?;
    let usage = billing::usage(tx, org, &window)?;
    Ok(Reply::ok(&UsageSummary::from(usage.as_slice())))
}

/// Reads a time of ISO 8601. Without an offset, the time is in UTC; without a time of day, it is midnight in UTC.
fn date(ctx: &RequestContext, field: &str) -> Result<Time, Error> {
    let text = ctx.query(field).ok_or_else(|| Error::field(field, "is required, such as 2026-11-01T00:00:00Z"))?;
    let written_out = ["", "Z", "T00:00:00Z"].map(|rest| Time::parse(field, &format!("{text}{rest}")));
    let [as_given, in_utc, at_midnight] = written_out;
    as_given.or(in_utc).or(at_midnight)
}
