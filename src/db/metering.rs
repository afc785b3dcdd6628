//! What calls and replicas took: stored in batches, for metrics and for the bill.
//!
//! The server does this for all teams, so these functions take no proof. What belongs to a deployment that was deleted
//! meanwhile is left out.

use rusqlite::{Connection, OptionalExtension as _, named_params};

use crate::db::{Tx, model_apis};
use crate::domain::Time;
use crate::domain::billing;
use crate::domain::calls::Mode;
use crate::domain::instance_types::InstanceType;
use crate::domain::latencies::Latencies;
use crate::domain::metering::{Batch, ByCaller, ByStatus, Sum};
use crate::domain::metrics::{MINUTE_MILLIS, WINDOW_SECONDS_MAX};
use crate::error::Error;

/// How long it is kept which key made calls.
const CALLERS_KEPT_MINUTES: i64 = 24 * 60;
/// How many rows one write deletes at most, so that no other write waits long.
const ROWS_PER_WRITE_MAX: i64 = 1000;

/// Adds a batch of calls to the sums of this minute, and to the bill of this day.
pub fn add(tx: &Tx, batch: &Batch) -> Result<(), Error> {
    for (by, sum) in &batch.by_caller {
        add_by_caller(tx, by, sum)?;
        charge(tx, &by.deployment_id, Charge { minutes: 0, requests: stored(sum.requests), micro_usd: 0 })?;
    }
    for (by, sum) in &batch.by_status {
        add_to_minute(tx, by, sum)?;
        add_to_total(tx, by, sum)?;
    }
    batch.of_model_apis.iter().try_for_each(|(of, sum)| model_apis::add_usage(tx, minute(tx.now), of, sum))
}

fn add_by_caller(tx: &Tx, by: &ByCaller, sum: &Sum) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO call_minute (deployment_id, minute, environment, caller, org_id, team_id, model_id, requests,
                                      errors, milliseconds, bytes, input_tokens, output_tokens)
             SELECT id, :minute, :environment, :caller, org_id, team_id, model_id, :requests, :errors, :milliseconds,
                    :bytes, :input_tokens, :output_tokens
             FROM deployment
             WHERE id = :deployment_id
             ON CONFLICT (deployment_id, minute, environment, caller) DO UPDATE SET
                 requests = requests + excluded.requests,
                 errors = errors + excluded.errors,
                 milliseconds = milliseconds + excluded.milliseconds,
                 bytes = bytes + excluded.bytes,
                 input_tokens = input_tokens + excluded.input_tokens,
                 output_tokens = output_tokens + excluded.output_tokens",
        )?
        .execute(named_params! {
            ":deployment_id": by.deployment_id,
            ":minute": minute(tx.now),
            ":environment": by.environment,
            ":caller": by.caller,
            ":requests": stored(sum.requests),
            ":errors": stored(sum.errors),
            ":milliseconds": stored(sum.milliseconds),
            ":bytes": stored(sum.bytes),
            ":input_tokens": stored(sum.input_tokens),
            ":output_tokens": stored(sum.output_tokens),
        })?;
    Ok(())
}

fn add_to_minute(tx: &Tx, by: &ByStatus, sum: &Sum) -> Result<(), Error> {
    let mut before = tx.sql.prepare_cached(
        "SELECT latencies FROM deployment_minute
         WHERE deployment_id = :deployment_id AND minute = :minute AND environment = :environment",
    )?;
    let before: Option<Vec<u8>> = before
        .query_row(
            named_params! {
                ":deployment_id": by.deployment_id,
                ":minute": minute(tx.now),
                ":environment": by.environment,
            },
            |row| row.get("latencies"),
        )
        .optional()?;
    let requests = stored(sum.requests);
    let of = |statuses: std::ops::Range<u16>| if statuses.contains(&by.status) { requests } else { 0 };
    tx.sql
        .prepare_cached(
            "INSERT INTO deployment_minute (deployment_id, environment, minute, org_id, team_id, model_id, successes,
                                            client_errors, server_errors, milliseconds, latencies)
             SELECT id, :environment, :minute, org_id, team_id, model_id, :successes, :client_errors, :server_errors,
                    :milliseconds, :latencies
             FROM deployment
             WHERE id = :deployment_id
             ON CONFLICT (deployment_id, minute, environment) DO UPDATE SET
                 successes = successes + excluded.successes,
                 client_errors = client_errors + excluded.client_errors,
                 server_errors = server_errors + excluded.server_errors,
                 milliseconds = milliseconds + excluded.milliseconds,
                 latencies = excluded.latencies",
        )?
        .execute(named_params! {
            ":deployment_id": by.deployment_id,
            ":environment": by.environment,
            ":minute": minute(tx.now),
            ":successes": of(100..400),
            ":client_errors": of(400..500),
            ":server_errors": of(500..600),
            ":milliseconds": stored(sum.milliseconds),
            ":latencies": joined(before, &sum.latencies),
        })?;
    Ok(())
}

fn add_to_total(tx: &Tx, by: &ByStatus, sum: &Sum) -> Result<(), Error> {
    let mut before = tx.sql.prepare_cached(
        "SELECT latencies FROM deployment_total
         WHERE deployment_id = :deployment_id AND environment = :environment AND status = :status
           AND is_async = :is_async",
    )?;
    let before: Option<Vec<u8>> = before
        .query_row(
            named_params! {
                ":deployment_id": by.deployment_id,
                ":environment": by.environment,
                ":status": by.status,
                ":is_async": by.mode == Mode::Async,
            },
            |row| row.get("latencies"),
        )
        .optional()?;
    tx.sql
        .prepare_cached(
            "INSERT INTO deployment_total (deployment_id, environment, status, is_async, org_id, team_id, model_id,
                                           requests, milliseconds, latencies)
             SELECT id, :environment, :status, :is_async, org_id, team_id, model_id, :requests, :milliseconds, :latencies
             FROM deployment
             WHERE id = :deployment_id
             ON CONFLICT (deployment_id, environment, status, is_async) DO UPDATE SET
                 requests = requests + excluded.requests,
                 milliseconds = milliseconds + excluded.milliseconds,
                 latencies = excluded.latencies",
        )?
        .execute(named_params! {
            ":deployment_id": by.deployment_id,
            ":environment": by.environment,
            ":status": by.status,
            ":is_async": by.mode == Mode::Async,
            ":requests": stored(sum.requests),
            ":milliseconds": stored(sum.milliseconds),
            ":latencies": joined(before, &sum.latencies),
        })?;
    Ok(())
}

fn joined(before: Option<Vec<u8>>, added: &Latencies) -> Vec<u8> {
    let mut latencies = before.map(|bytes| Latencies::of_bytes(&bytes)).unwrap_or_default();
    latencies.add(added);
    latencies.to_bytes()
}

/// What is added to the usage of a deployment on a day.
struct Charge {
    minutes: i64,
    requests: i64,
    micro_usd: i64,
}

fn charge(tx: &Tx, deployment_id: &str, charge: Charge) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO usage (org_id, day, kind, resource_id, resource_name, model_id, model_name, team_id, team_name,
                                environment, instance_type, minutes, requests, micro_usd)
             SELECT deployment.org_id, :day, iif(chain.id IS NULL, 'MODEL_DEPLOYMENT', 'CHAINLET'), deployment.id,
                    iif(chain.id IS NULL, deployment.name, model.name), coalesce(chain.id, model.id),
                    coalesce(chain.name, model.name), team.id, team.name, deployment.environment,
                    deployment.instance_type, :minutes, :requests, :micro_usd
             FROM deployment
             JOIN model ON model.id = deployment.model_id
             JOIN team ON team.id = deployment.team_id
             LEFT JOIN chain ON chain.id = model.chain_id
             WHERE deployment.id = :deployment_id
             ON CONFLICT (org_id, day, kind, resource_id) DO UPDATE SET
                 minutes = minutes + excluded.minutes,
                 requests = requests + excluded.requests,
                 micro_usd = micro_usd + excluded.micro_usd,
                 resource_name = excluded.resource_name,
                 model_name = excluded.model_name,
                 team_name = excluded.team_name,
                 environment = excluded.environment,
                 instance_type = excluded.instance_type",
        )?
        .execute(named_params! {
            ":day": billing::day(tx.now),
            ":deployment_id": deployment_id,
            ":minutes": charge.minutes,
            ":requests": charge.requests,
            ":micro_usd": charge.micro_usd,
        })?;
    Ok(())
}

/// Charges one minute of these replicas, unless this minute was charged before.
pub fn charge_minute(tx: &Tx, counts: &[(String, i64)]) -> Result<(), Error> {
    let metered = tx
        .sql
        .prepare_cached(
            "INSERT INTO metered (id, minute) VALUES (1, :minute)
             ON CONFLICT (id) DO UPDATE SET minute = excluded.minute WHERE minute < excluded.minute",
        )?
        .execute(named_params! { ":minute": minute(tx.now) })?;
    if metered == 0 {
        return Ok(());
    }
    for (deployment_id, replicas) in counts {
        let price = micro_usd_a_minute(tx.sql, deployment_id)?;
        charge(tx, deployment_id, Charge { minutes: *replicas, requests: 0, micro_usd: price * replicas })?;
    }
    Ok(())
}

/// The price of one replica of a deployment; 0 for a deployment that was deleted.
fn micro_usd_a_minute(sql: &Connection, deployment_id: &str) -> Result<i64, Error> {
    let mut query = sql.prepare_cached("SELECT instance_type FROM deployment WHERE id = :id")?;
    let id: Option<String> = query.query_row(named_params! { ":id": deployment_id }, |row| row.get(0)).optional()?;
    let price = |id: String| InstanceType::find(&id).map(|found| (found.dollars_a_minute * 1e6).round() as i64);
    Ok(id.and_then(price).unwrap_or_default())
}

/// Stores how many replicas of a deployment run from now on.
pub fn note_replicas(tx: &Tx, deployment_id: &str, replicas: i64) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO replica_count (deployment_id, at, org_id, team_id, model_id, replicas)
             SELECT id, :now, org_id, team_id, model_id, :replicas
             FROM deployment
             WHERE id = :deployment_id
             ON CONFLICT (deployment_id, at) DO UPDATE SET replicas = excluded.replicas",
        )?
        .execute(named_params! { ":now": tx.now, ":deployment_id": deployment_id, ":replicas": replicas })?;
    Ok(())
}

/// Stores that no replicas run, because the server has just started.
pub fn note_start(tx: &Tx) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id
         FROM deployment
         WHERE (SELECT replicas FROM replica_count
                WHERE deployment_id = deployment.id
                ORDER BY at DESC
                LIMIT 1) > 0
         ORDER BY id",
    )?;
    let ids = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    ids.iter().try_for_each(|id| note_replicas(tx, id, 0))
}

/// Deletes what is older than what is shown. Returns whether there may be more.
pub fn forget_old(tx: &Tx) -> Result<bool, Error> {
    let shown = tx.now.plus_seconds(-WINDOW_SECONDS_MAX);
    let mut has_more = false;
    for (sql, before) in [
        (
            "DELETE FROM call_minute
             WHERE (deployment_id, minute, environment, caller) IN (
                 SELECT deployment_id, minute, environment, caller FROM call_minute
                 WHERE minute < :before
                 ORDER BY minute
                 LIMIT :rows_max
             )",
            minute(tx.now) - CALLERS_KEPT_MINUTES,
        ),
        (
            "DELETE FROM model_api_minute
             WHERE (org_id, minute, slug, caller) IN (
                 SELECT org_id, minute, slug, caller FROM model_api_minute
                 WHERE minute < :before
                 ORDER BY minute
                 LIMIT :rows_max
             )",
            minute(tx.now) - CALLERS_KEPT_MINUTES,
        ),
        (
            "DELETE FROM deployment_minute
             WHERE (deployment_id, minute, environment) IN (
                 SELECT deployment_id, minute, environment FROM deployment_minute
                 WHERE minute < :before
                 ORDER BY minute
                 LIMIT :rows_max
             )",
            minute(shown),
        ),
        (
            // The last row before the period says how many ran at its beginning.
            "DELETE FROM replica_count
             WHERE (deployment_id, at) IN (
                 SELECT deployment_id, at FROM replica_count AS old
                 WHERE at < :before
                   AND EXISTS (SELECT 1 FROM replica_count
                               WHERE deployment_id = old.deployment_id AND at > old.at AND at < :before)
                 ORDER BY at
                 LIMIT :rows_max
             )",
            shown.0,
        ),
    ] {
        let params = named_params! { ":before": before, ":rows_max": ROWS_PER_WRITE_MAX };
        has_more |= tx.sql.prepare_cached(sql)?.execute(params)? as i64 == ROWS_PER_WRITE_MAX;
    }
    Ok(has_more)
}

/// The minute of a time, since the epoch.
fn minute(time: Time) -> i64 {
    time.0.div_euclid(MINUTE_MILLIS)
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
