//! Organization settings → Billing: the usage of the whole organization. It is not broken down by team.

use askama::Template;

use crate::api::Reply;
use crate::console::context::PageContext;
use crate::console::frame::{Frame, Nav};
use crate::console::rendering::html;
use crate::console::view;
use crate::db::{Tx, billing};
use crate::domain::Time;
use crate::domain::billing::{Kind, Used, Window};
use crate::error::Error;
use crate::policy::InOrg;

/// How many resources the page names.
const NAMED: usize = 20;
const DAY_MILLIS: i64 = 86_400_000;
/// The height of the chart in its own units.
const CHART: i64 = 160;

#[derive(Template)]
#[template(path = "billing.html")]
struct Billing {
    frame: Frame,
    month: String,
    previous: String,
    next: Option<String>,
    total: i64,
    kinds: [i64; 3],
    days: Vec<Day>,
    top: i64,
    resources: Vec<Row>,
    others: usize,
}

/// One day, with its bars.
struct Day {
    number: usize,
    date: String,
    amounts: [i64; 3],
    total: i64,
    x: usize,
    bars: [Bar; 3],
}

#[derive(Clone, Copy, Default)]
struct Bar {
    y: i64,
    height: i64,
}

struct Row {
    name: String,
    detail: String,
    kind: &'static str,
    minutes: i64,
    micro_usd: i64,
}

pub fn show(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let this_month = tx.now.to_string()[..7].to_owned();
    let month = match ctx.query("month") {
        "" => this_month.clone(),
        month => month.to_owned(),
    };
    let start = Time::parse("month", &format!("{month}-01T00:00:00Z"))?;
    let days = days_of(&month)?;
    let window = Window::new(start, Time(start.0 + days as i64 * DAY_MILLIS))?;
    let used = billing::usage(tx, org, &window)?;
    let mut shown = day_by_day(&month, days, &used);
    let top = shown.iter().map(|day| day.total).max().unwrap_or_default().max(1);
    shown.iter_mut().for_each(|day| day.draw(top));
    let mut resources: Vec<Row> = used.iter().map(row).collect();
    resources.sort_by_key(|row| std::cmp::Reverse(row.micro_usd));
    let others = resources.len().saturating_sub(NAMED);
    resources.truncate(NAMED);
    let kinds = [0, 1, 2].map(|kind| shown.iter().map(|day| day.amounts[kind]).sum());
    html(&Billing {
        frame: Frame::new(tx, ctx, Nav::Organization, None)?,
        previous: beside(&month, -1),
        next: (month < this_month).then(|| beside(&month, 1)),
        month: view::month(&month),
        total: kinds.iter().sum(),
        kinds,
        days: shown,
        top,
        resources,
        others,
    })
}

fn day_by_day(month: &str, days: usize, used: &[Used]) -> Vec<Day> {
    let mut shown: Vec<Day> = (1..=days)
        .map(|number| Day {
            number,
            date: format!("{month}-{number:02}"),
            amounts: [0; 3],
            total: 0,
            x: (number - 1) * 20 + 2,
            bars: Default::default(),
        })
        .collect();
    for used in used {
        for day in &used.days {
            let at = shown.iter_mut().find(|shown| day.date.starts_with(&shown.date));
            if let Some(at) = at {
                at.amounts[column(used.resource.kind)] += day.amount.micro_usd;
                at.total += day.amount.micro_usd;
            }
        }
    }
    shown
}

impl Day {
    /// Stacks the bars of the day. The highest day fills the chart.
    fn draw(&mut self, top: i64) {
        let mut y = CHART;
        for (bar, amount) in self.bars.iter_mut().zip(self.amounts) {
            let height = amount * (CHART - 8) / top;
            y -= height;
            *bar = Bar { y, height: (height - 1).max(0) };
        }
    }
}

/// The column of a kind of usage: dedicated deployments, training, Model APIs.
const fn column(kind: Kind) -> usize {
    match kind {
        Kind::ModelDeployment | Kind::Chainlet => 0,
        Kind::TrainingJob => 1,
        Kind::ModelApi => 2,
    }
}

fn row(used: &Used) -> Row {
    let total = used.total();
    let resource = &used.resource;
    let deleted = if resource.is_deleted { "deleted" } else { "" };
    let parts = [resource.parent_name.as_deref(), resource.instance_type.as_deref(), Some(deleted)];
    let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    Row {
        name: resource.name.clone(),
        detail: parts.join(" · "),
        kind: match resource.kind {
            Kind::ModelDeployment => "Dedicated deployment",
            Kind::Chainlet => "Chainlet",
            Kind::TrainingJob => "Training job",
            Kind::ModelApi => "Model API",
        },
        minutes: total.minutes,
        micro_usd: total.micro_usd,
    }
}

/// The number of days of a month such as `2026-11`.
fn days_of(month: &str) -> Result<usize, Error> {
    let refused = || Error::field("month", "must be a month such as 2026-11");
    let (year, number) = month.split_once('-').ok_or_else(refused)?;
    let (year, number): (i32, u8) = (year.parse().map_err(|_| refused())?, number.parse().map_err(|_| refused())?);
    let number = time::Month::try_from(number).map_err(|_| refused())?;
    Ok(usize::from(number.length(year)))
}

/// The month before or after another.
fn beside(month: &str, step: i32) -> String {
    let year: i32 = month[..4].parse().unwrap_or_default();
    let number: i32 = month[5..].parse().unwrap_or_default();
    let months = year * 12 + number - 1 + step;
    format!("{}-{:02}", months.div_euclid(12), months.rem_euclid(12) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_each_other() {
        assert_eq!(beside("2026-01", -1), "2025-12");
        assert_eq!(beside("2026-12", 1), "2027-01");
        assert_eq!(days_of("2028-02").unwrap(), 29);
        assert!(days_of("2026-13").is_err() && days_of("x").is_err());
    }
}
