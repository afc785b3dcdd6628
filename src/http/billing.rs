//! Billing over HTTP.

use crate::db::Tx;
use crate::db::billing::{self, Window};
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::model::Time;
use crate::policy::InOrg;
use crate::wire::billing::UsageSummary;

pub fn usage_summary(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let window = Window::new(date(ask, "start_date")?, date(ask, "end_date")?)?;
    let usage = billing::usage(tx, org, &window)?;
    Ok(Reply::ok(&UsageSummary::from(usage.as_slice())))
}

/// A time in UTC. Where ISO 8601 leaves out the offset it is UTC's, where it leaves out the time it is midnight.
fn date(ask: &Ask, field: &str) -> Result<Time, Error> {
    let text = ask.query(field).ok_or_else(|| Error::field(field, "is required, such as 2026-11-01T00:00:00Z"))?;
    let written_out = ["", "Z", "T00:00:00Z"].map(|rest| Time::parse(field, &format!("{text}{rest}")));
    let [as_given, in_utc, at_midnight] = written_out;
    as_given.or(in_utc).or(at_midnight)
}
