//! Metrics of deployments over HTTP.

use crate::api::rest::deployments::which;
use crate::api::rest::logs::number;
use crate::api::{Reply, RequestContext};
use crate::db::{Tx, metrics};
use crate::domain::metrics::{Measurements, Metric, Mode, Period};
use crate::error::{Error, quoted};
use crate::policy::MetricsReader;
use crate::wire;
use crate::wire::metrics::Metrics;

pub fn of_deployment(tx: &Tx, reader: &MetricsReader, ctx: &RequestContext) -> Result<Reply, Error> {
    let period = period(tx, ctx)?;
    let measured = metrics::of_deployment(tx, reader, ctx.param("model_id"), which(ctx), &period)?;
    show(tx, ctx, &period, &measured)
}

pub fn of_environment(tx: &Tx, reader: &MetricsReader, ctx: &RequestContext) -> Result<Reply, Error> {
    let period = period(tx, ctx)?;
    let measured = metrics::of_environment(tx, reader, ctx.param("model_id"), ctx.param("env_name"), &period)?;
    show(tx, ctx, &period, &measured)
}

/// Exports the metrics of all deployments that the caller may read, in the text format of Prometheus.
pub fn export(tx: &Tx, readers: &[MetricsReader], _: &RequestContext) -> Result<Reply, Error> {
    let text = wire::metrics::exported(&metrics::exported(tx, readers)?);
    Ok(Reply::bytes("text/plain; version=0.0.4", text.into_bytes()))
}

fn period(tx: &Tx, ctx: &RequestContext) -> Result<Period, Error> {
    let mode = match ctx.query("mode") {
        None => Mode::Current,
        Some(name) => Mode::parse(name).ok_or_else(|| Error::field("mode", "must be CURRENT, SUMMARY or SERIES"))?,
    };
    Period::new(mode, tx.now, number(ctx, "start_epoch_millis")?, number(ctx, "end_epoch_millis")?)
}

fn show(tx: &Tx, ctx: &RequestContext, period: &Period, measured: &Measurements) -> Result<Reply, Error> {
    let asked = ctx.queries("metrics")?;
    let unknown = |name: &str| Error::field("metrics", &format!("names no metric of this server: {}", quoted(name)));
    let parse = |name: &&str| Metric::parse(name).ok_or_else(|| unknown(name));
    let named = asked.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let metrics = if named.is_empty() { Metric::ALL } else { &named };
    Ok(Reply::ok(&Metrics::new(period, metrics, measured, tx.now)))
}
