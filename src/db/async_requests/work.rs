//! What the worker of queued calls reads and writes, for requests of all teams. The worker acts for no caller, so these
//! functions take no proof; [`start`] checks the key of the sender again.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::async_requests::{check_place, from_row};
use crate::db::{Tx, callers, secrets, teams};
use crate::domain::async_requests::{AsyncRequest, Failure, FailureCode, KEPT_SECONDS, Retries, Status};
use crate::domain::calls::{Asks, Call, Callee};
use crate::domain::serving::{self, Phase};
use crate::domain::{SecretName, SecretValue, TeamId, Time};
use crate::error::Error;

/// The team's secret with this name signs its webhooks.
pub const SIGNING_SECRET: &str = "webhook_signing_secret";
/// How often a webhook is called until it answers.
pub const DELIVERIES_MAX: i64 = 5;
/// How many answers of one team may wait for their webhooks. Until one is delivered, no request of that team is started.
const UNDELIVERED_MAX: i64 = 16;
/// The pause after the first delivery that failed. It is five times as long after each further one.
const DELIVERY_PAUSE_SECONDS: i64 = 1;
/// When a delivery is tried again whose outcome was not recorded, because the process ended.
const DELIVERY_LOST_SECONDS: i64 = 60;
/// How many rows one write changes at most, so that no other write waits long.
const ROWS_PER_WRITE_MAX: i64 = 500;
const WEBHOOKS_MAX: i64 = 64;

/// A deployment with queued requests.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub deployment_id: String,
    pub team_id: TeamId,
    /// Whether the deployment must be woken first.
    pub is_asleep: bool,
}

/// A request that was started.
#[derive(Debug)]
pub struct Started {
    pub id: String,
    pub call: Call,
    /// The JSON for the model.
    pub input: Vec<u8>,
    pub retries: Option<Retries>,
}

/// A webhook that is to be called.
pub struct Delivery {
    pub request: AsyncRequest,
    pub url: String,
    pub output: Option<Vec<u8>>,
    /// The value of the team's secret that signs webhooks.
    pub signing_secret: Option<SecretValue>,
}

/// The deployments that have queued requests, in the order of the priorities and ages of their next requests. Those of
/// teams whose webhooks do not answer are left out.
pub fn waiting(tx: &Tx) -> Result<Vec<Waiting>, Error> {
    let mut query = tx.sql.prepare_cached(
        "WITH RECURSIVE waiting (deployment_id) AS (
             SELECT min(deployment_id) FROM async_request WHERE status = 'QUEUED'
             UNION ALL
             SELECT (SELECT min(deployment_id) FROM async_request
                     WHERE status = 'QUEUED' AND deployment_id > waiting.deployment_id)
             FROM waiting
             WHERE waiting.deployment_id IS NOT NULL
         )
         SELECT next.deployment_id, next.team_id, deployment.status
         FROM waiting
         JOIN async_request AS next ON next.id = (
             SELECT id FROM async_request
             WHERE status = 'QUEUED' AND deployment_id = waiting.deployment_id
             ORDER BY priority, created_at, id
             LIMIT 1
         )
         JOIN deployment ON deployment.id = next.deployment_id
         WHERE (SELECT count(*) FROM async_request
                WHERE team_id = next.team_id AND webhook_at IS NOT NULL) < :undelivered_max
         ORDER BY next.priority, next.created_at, next.id",
    )?;
    let rows = query.query_map(named_params! { ":undelivered_max": UNDELIVERED_MAX }, |row| {
        let status: serving::Status = row.get("status")?;
        Ok(Waiting {
            deployment_id: row.get("deployment_id")?,
            team_id: row.get("team_id")?,
            is_asleep: status.phase() == Phase::Asleep,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// When the next queued request expires or the next webhook is due.
pub fn next_due(tx: &Tx) -> Result<Option<Time>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT min(at) FROM (
             SELECT min(expires_at) AS at FROM async_request WHERE status = 'QUEUED'
             UNION ALL
             SELECT min(webhook_at) FROM async_request WHERE webhook_at IS NOT NULL
         )",
    )?;
    Ok(query.query_row([], |row| row.get(0))?)
}

/// What [`start`] found.
#[derive(Debug)]
pub enum Start {
    Started(Box<Started>),
    /// The sender of the next request may not call the model any more. That request has failed.
    Refused,
    /// No request waits.
    Nothing,
}

/// Marks the next queued request of a deployment as in progress, after the key of its sender was checked again.
pub fn start(tx: &Tx, deployment_id: &str) -> Result<Start, Error> {
    let Some(queued) = next(tx, deployment_id)? else { return Ok(Start::Nothing) };
    let call = match check_sender(tx, &queued) {
        Ok(call) => call,
        Err(cause @ (Error::Internal(_) | Error::Defect(_) | Error::StorageFull)) => return Err(cause),
        Err(_) => {
            let message = "the API key that sent this request may not call the model any more".to_owned();
            let failure = Failure { code: FailureCode::Unavailable, message };
            end(tx, &queued.id, Status::Failed, Some(&failure), None)?;
            return Ok(Start::Refused);
        }
    };
    tx.sql
        .prepare_cached("UPDATE async_request SET status = 'IN_PROGRESS', status_at = :now WHERE id = :id")?
        .execute(named_params! { ":now": tx.now, ":id": queued.id })?;
    Ok(Start::Started(Box::new(Started { id: queued.id, call, input: queued.input, retries: queued.retries })))
}

/// A queued request as the database holds it.
struct Queued {
    id: String,
    team_id: TeamId,
    callee: Callee,
    model_id: String,
    deployment_id: String,
    /// The deployment of the Chain, if a Chain is called.
    chain_deployment_id: Option<String>,
    environment: Option<String>,
    /// The environment that the deployment serves now.
    serves: Option<String>,
    api_key_prefix: String,
    retries: Option<Retries>,
    input: Vec<u8>,
}

fn next(tx: &Tx, deployment_id: &str) -> Result<Option<Queued>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT request.id, request.team_id, request.model_id, request.deployment_id, request.chain_id,
                request.chain_deployment_id, request.environment, request.api_key_prefix, request.retries,
                request.input, coalesce(chain_deployment.environment, deployment.environment) AS serves
         FROM async_request AS request
         JOIN deployment ON deployment.id = request.deployment_id
         LEFT JOIN chain_deployment ON chain_deployment.id = request.chain_deployment_id
         WHERE request.id = (
             SELECT id FROM async_request
             WHERE status = 'QUEUED' AND deployment_id = :deployment_id AND expires_at > :now
             ORDER BY priority, created_at, id
             LIMIT 1
         )",
    )?;
    let found = query.query_row(named_params! { ":deployment_id": deployment_id, ":now": tx.now }, |row| {
        let (model_id, chain_id): (String, Option<String>) = (row.get("model_id")?, row.get("chain_id")?);
        let retries: Option<String> = row.get("retries")?;
        Ok(Queued {
            id: row.get("id")?,
            team_id: row.get("team_id")?,
            callee: chain_id.map_or_else(|| Callee::Model(model_id.clone()), Callee::Chain),
            model_id,
            deployment_id: row.get("deployment_id")?,
            chain_deployment_id: row.get("chain_deployment_id")?,
            environment: row.get("environment")?,
            serves: row.get("serves")?,
            api_key_prefix: row.get("api_key_prefix")?,
            retries: retries.and_then(|text| serde_json::from_str(&text).ok()),
            input: row.get("input")?,
        })
    });
    Ok(found.optional()?)
}

/// The call of a request, if the key that sent it may still make it. It goes to the deployment that was found when the
/// request was queued, even if another one serves the environment now.
fn check_sender(tx: &Tx, queued: &Queued) -> Result<Call, Error> {
    let caller = callers::again(tx, &queued.api_key_prefix)?;
    let team = teams::find(tx, queued.team_id.as_str())?;
    let invoking = caller.to_invoke(&team, &queued.callee)?;
    let called = queued.chain_deployment_id.as_ref().unwrap_or(&queued.deployment_id);
    check_place(tx, &invoking, called, queued.environment.as_deref())?;
    Ok(Call {
        org_id: team.org_id.clone(),
        team_id: team.id.clone(),
        model_id: queued.model_id.clone(),
        deployment_id: queued.deployment_id.clone(),
        environment: queued.serves.clone(),
        caller: queued.api_key_prefix.clone(),
        asks: Asks::Prediction,
        wakes: false,
    })
}

/// Ends a request that is in progress. The webhook, if there is one, is due at once.
pub fn finish(tx: &Tx, id: &str, outcome: Result<&[u8], &Failure>) -> Result<(), Error> {
    match outcome {
        Ok(output) => end(tx, id, Status::Succeeded, None, Some(output)),
        Err(failure) => end(tx, id, Status::Failed, Some(failure), None),
    }
}

fn end(tx: &Tx, id: &str, status: Status, failure: Option<&Failure>, output: Option<&[u8]>) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE async_request
             SET status = :status, status_at = :now, error_code = :code, error_message = :message, input = NULL,
                 output = iif(webhook_status = 'PENDING', :output, NULL),
                 webhook_at = iif(webhook_status = 'PENDING', :now, NULL)
             WHERE id = :id AND status IN ('QUEUED', 'IN_PROGRESS')",
        )?
        .execute(named_params! {
            ":status": status,
            ":now": tx.now,
            ":code": failure.map(|failure| failure.code),
            ":message": failure.map(|failure| failure.message.as_str()),
            ":output": output,
            ":id": id,
        })?;
    Ok(())
}

/// Fails the requests that were in progress when the server stopped. They are not sent again, because the model may
/// have acted on them. Returns how many there were.
pub fn fail_interrupted(tx: &Tx) -> Result<usize, Error> {
    let mut query = tx.sql.prepare_cached("SELECT id FROM async_request WHERE status = 'IN_PROGRESS' ORDER BY id")?;
    let ids = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let message = "the server stopped while the model answered; the request is not repeated".to_owned();
    let failure = Failure { code: FailureCode::Internal, message };
    for id in &ids {
        end(tx, id, Status::Failed, Some(&failure), None)?;
    }
    Ok(ids.len())
}

/// Ends queued requests that have waited too long. Returns whether there may be more.
pub fn expire(tx: &Tx) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id FROM async_request
         WHERE status = 'QUEUED' AND expires_at <= :now
         ORDER BY expires_at
         LIMIT :rows_max",
    )?;
    let params = named_params! { ":now": tx.now, ":rows_max": ROWS_PER_WRITE_MAX };
    let ids = query.query_map(params, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let message = "no replica took it within `max_time_in_queue_seconds`".to_owned();
    let failure = Failure { code: FailureCode::NotReady, message };
    for id in &ids {
        end(tx, id, Status::Expired, Some(&failure), None)?;
    }
    Ok(ids.len() as i64 == ROWS_PER_WRITE_MAX)
}

/// The requests whose webhooks are due, with their teams: the first of each team, then the second of each, and so on.
pub fn due_webhooks(tx: &Tx) -> Result<Vec<(String, TeamId)>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, team_id
         FROM (
             SELECT id, team_id, webhook_at,
                    row_number() OVER (PARTITION BY team_id ORDER BY webhook_at, id) AS turn
             FROM async_request
             WHERE webhook_at <= :now
         )
         ORDER BY turn, webhook_at, id
         LIMIT :webhooks_max",
    )?;
    let params = named_params! { ":now": tx.now, ":webhooks_max": WEBHOOKS_MAX };
    let rows = query.query_map(params, |row| Ok((row.get("id")?, row.get("team_id")?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Records an attempt to call the webhook of a request, before it is made. `None`: no webhook of it is due.
pub fn begin_delivery(tx: &Tx, id: &str) -> Result<Option<Delivery>, Error> {
    let attempts: Option<i64> = tx
        .sql
        .prepare_cached("SELECT webhook_attempts FROM async_request WHERE id = :id AND webhook_at <= :now")?
        .query_row(named_params! { ":id": id, ":now": tx.now }, |row| row.get(0))
        .optional()?;
    let Some(attempts) = attempts else { return Ok(None) };
    if attempts >= DELIVERIES_MAX {
        not_delivered(tx, id)?; // the last attempt ended with the process
        return Ok(None);
    }
    tx.sql
        .prepare_cached(
            "UPDATE async_request SET webhook_attempts = webhook_attempts + 1, webhook_at = :next WHERE id = :id",
        )?
        .execute(named_params! { ":next": tx.now.plus_seconds(DELIVERY_LOST_SECONDS), ":id": id })?;
    delivery(tx, id)
}

fn delivery(tx: &Tx, id: &str) -> Result<Option<Delivery>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, team_id, model_id, deployment_id, chain_id, chain_deployment_id, status, webhook_status,
                error_code, error_message, created_at, status_at, webhook_url, output
         FROM async_request
         WHERE id = :id AND webhook_url IS NOT NULL",
    )?;
    let found = query.query_row(named_params! { ":id": id }, |row| {
        Ok((from_row(row)?, row.get::<_, String>("team_id")?, row.get("webhook_url")?, row.get("output")?))
    });
    let Some((request, team_id, url, output)) = found.optional()? else { return Ok(None) };
    let signing_secret = secrets::value(tx, &teams::find(tx, &team_id)?, &SecretName::parse(SIGNING_SECRET)?)?;
    Ok(Some(Delivery { request, url, output, signing_secret }))
}

/// Records that the webhook has answered.
pub fn delivered(tx: &Tx, id: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE async_request
             SET webhook_status = 'SUCCEEDED', webhook_at = NULL, output = NULL, status_at = :now
             WHERE id = :id AND webhook_at IS NOT NULL",
        )?
        .execute(named_params! { ":now": tx.now, ":id": id })?;
    Ok(())
}

/// Records that an attempt to call the webhook failed. After the last one, the answer is given up.
pub fn not_delivered(tx: &Tx, id: &str) -> Result<(), Error> {
    let next = |attempts: i64| {
        let exponent = u32::try_from(attempts - 1).unwrap_or_default();
        tx.now.plus_seconds(DELIVERY_PAUSE_SECONDS * 5_i64.pow(exponent))
    };
    let attempts: Option<i64> = tx
        .sql
        .prepare_cached("SELECT webhook_attempts FROM async_request WHERE id = :id AND webhook_at IS NOT NULL")?
        .query_row(named_params! { ":id": id }, |row| row.get(0))
        .optional()?;
    let Some(attempts) = attempts else { return Ok(()) };
    if attempts < DELIVERIES_MAX {
        tx.sql
            .prepare_cached("UPDATE async_request SET webhook_at = :next WHERE id = :id")?
            .execute(named_params! { ":next": next(attempts), ":id": id })?;
        return Ok(());
    }
    tx.sql
        .prepare_cached(
            "UPDATE async_request
             SET webhook_status = 'FAILED', webhook_at = NULL, output = NULL, status_at = :now,
                 status = iif(status = 'SUCCEEDED', 'WEBHOOK_FAILED', status)
             WHERE id = :id",
        )?
        .execute(named_params! { ":now": tx.now, ":id": id })?;
    Ok(())
}

/// Deletes requests that ended long ago. Returns whether there may be more.
pub fn forget_ended(tx: &Tx) -> Result<bool, Error> {
    let deleted = tx
        .sql
        .prepare_cached(
            "DELETE FROM async_request
             WHERE id IN (
                 SELECT id FROM async_request
                 WHERE status NOT IN ('QUEUED', 'IN_PROGRESS') AND webhook_at IS NULL AND status_at <= :before
                 ORDER BY status_at
                 LIMIT :rows_max
             )",
        )?
        .execute(named_params! {
            ":before": tx.now.plus_seconds(-KEPT_SECONDS),
            ":rows_max": ROWS_PER_WRITE_MAX,
        })?;
    Ok(deleted as i64 == ROWS_PER_WRITE_MAX)
}
