//! Calls that are queued and answered later: what their senders read and write.
//!
//! A request belongs to the deployment that was called, and is deleted with it. [`work`] has what the worker reads and
//! writes.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::quotas::unfinished_async_requests;
use crate::db::{Tx, calls};
use crate::domain::Team;
use crate::domain::async_requests::{
    AsyncRequest, Failure, QUEUED_PER_DEPLOYMENT_MAX, QueueLength, Status, Terms, WebhookStatus,
};
use crate::domain::calls::{Callee, Place};
use crate::domain::quotas::Unit;
use crate::domain::serving::Phase;
use crate::error::{CallFailure, Error, QuotaExceeded};
use crate::policy::{Invoker, Invoking};

pub mod work;

/// The deployment that a request calls.
#[derive(Debug)]
pub struct Target {
    /// For a Chain, the model and the deployment of its entrypoint.
    model_id: String,
    deployment_id: String,
    /// The deployment of the Chain, if a Chain is called.
    chain_deployment_id: Option<String>,
}

impl Target {
    /// The deployment that a queued call goes to. It may still be starting or be asleep.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such deployment, [`CallFailure::Unavailable`] if it has failed or is switched
    /// off.
    pub fn find(tx: &Tx, invoker: &Invoker) -> Result<Target, Error> {
        let calls::Target { deployment_id, model_id, status, .. } = calls::target(tx, invoker)?;
        match status.phase() {
            Phase::Off | Phase::Failed => {
                let why = format!("the deployment takes no requests: it is {status}; activate it or call another");
                return Err(Error::Call(CallFailure::Unavailable(why)));
            }
            Phase::Starting | Phase::Serving | Phase::Asleep => {}
        }
        let chain_deployment_id = match invoker.callee() {
            Callee::Model(_) => None,
            Callee::Chain(_) => Some(chain_deployment(tx, invoker, &deployment_id)?),
        };
        Ok(Target { model_id, deployment_id, chain_deployment_id })
    }
}

fn chain_deployment(tx: &Tx, invoker: &Invoker, deployment_id: &str) -> Result<String, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chain_deployment_id FROM chainlet WHERE deployment_id = :deployment_id AND team_id = :team_id",
    )?;
    let params = named_params! { ":deployment_id": deployment_id, ":team_id": invoker.team().id };
    Ok(query.query_row(params, |row| row.get(0))?)
}

/// The request with this id, of the model or the Chain that the caller may call.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no request of this model or Chain has, [`Error::Forbidden`] for a key that is
/// narrowed to other environments.
pub fn find(tx: &Tx, invoking: &Invoking, id: &str) -> Result<AsyncRequest, Error> {
    let (model_id, chain_id) = match invoking.callee() {
        Callee::Model(id) => (Some(id), None),
        Callee::Chain(id) => (None, Some(id)),
    };
    let mut query = tx.sql.prepare_cached(
        "SELECT id, model_id, deployment_id, chain_id, chain_deployment_id, environment, status, webhook_status,
                error_code, error_message, created_at, status_at
         FROM async_request
         WHERE id = :id AND team_id = :team_id
           AND chain_id IS :chain_id AND (:model_id IS NULL OR model_id = :model_id)",
    )?;
    let params = named_params! {
        ":id": id,
        ":team_id": invoking.team().id,
        ":model_id": model_id,
        ":chain_id": chain_id,
    };
    let found = query.query_row(params, |row| Ok((from_row(row)?, row.get::<_, Option<String>>("environment")?)));
    let (request, environment) = found.optional()?.ok_or(Error::NotFound("async request"))?;
    check_place(tx, invoking, &request.deployment_id, environment.as_deref())?;
    Ok(request)
}

/// Checks that the caller may call what a request called: the environment, or the deployment if none was named.
fn check_place(tx: &Tx, invoking: &Invoking, deployment_id: &str, environment: Option<&str>) -> Result<(), Error> {
    let place = environment.map_or(Place::Deployment(deployment_id), Place::Environment);
    invoking.at(place, |invoking| match place {
        Place::Deployment(id) => calls::environment_served(tx, invoking, id),
        Place::Environment(_) | Place::Development => Ok(None),
    })?;
    Ok(())
}

/// How many requests of the deployment wait and how many are in progress.
pub fn queue_length(tx: &Tx, invoker: &Invoker, deployment_id: &str) -> Result<QueueLength, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT (SELECT count(*) FROM async_request
                 WHERE deployment_id = :deployment_id AND status = 'QUEUED' AND team_id = :team_id) AS queued,
                (SELECT count(*) FROM async_request
                 WHERE deployment_id = :deployment_id AND status = 'IN_PROGRESS' AND team_id = :team_id) AS in_progress",
    )?;
    let params = named_params! { ":deployment_id": deployment_id, ":team_id": invoker.team().id };
    Ok(query.query_row(params, |row| {
        Ok(QueueLength { queued: row.get("queued")?, in_progress: row.get("in_progress")? })
    })?)
}

/// Queues a request and returns its id. `input` is the JSON that the model gets.
///
/// # Errors
///
/// [`Error::QuotaExceeded`] if too many requests of the deployment wait, or too many of the team are not finished.
pub fn enqueue(tx: &Tx, invoker: &Invoker, target: &Target, terms: &Terms, input: &[u8]) -> Result<String, Error> {
    let team = invoker.team();
    let queued = queue_length(tx, invoker, &target.deployment_id)?.queued.unsigned_abs();
    check(team, "async_requests_per_deployment", queued, QUEUED_PER_DEPLOYMENT_MAX)?;
    check(team, "async_requests", unfinished_async_requests(tx, team.id.as_str())?, tx.quotas.settings.async_requests)?;
    let chain_id = match invoker.callee() {
        Callee::Model(_) => None,
        Callee::Chain(id) => Some(id),
    };
    let environment = match invoker.place() {
        Place::Environment(name) => Some(name),
        Place::Development | Place::Deployment(_) => None,
    };
    let id = tx.id();
    let webhook = terms.webhook.as_ref().map(ToString::to_string);
    let retries = terms.retries.map(|retries| serde_json::to_string(&retries).expect("numbers always serialize"));
    let webhook_status = if webhook.is_some() { WebhookStatus::Pending } else { WebhookStatus::NotProvided };
    tx.sql
        .prepare_cached(
            "INSERT INTO async_request (
                 id, org_id, team_id, model_id, deployment_id, chain_id, chain_deployment_id, environment,
                 api_key_prefix, priority, status, webhook_status, created_at, status_at, expires_at, retries,
                 webhook_url, input)
             VALUES (
                 :id, :org_id, :team_id, :model_id, :deployment_id, :chain_id, :chain_deployment_id, :environment,
                 :api_key_prefix, :priority, :status, :webhook_status, :now, :now, :expires_at, :retries,
                 :webhook_url, :input)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":model_id": target.model_id,
            ":deployment_id": target.deployment_id,
            ":chain_id": chain_id,
            ":chain_deployment_id": target.chain_deployment_id,
            ":environment": environment,
            ":api_key_prefix": invoker.caller().prefix(),
            ":priority": terms.priority,
            ":status": Status::Queued,
            ":webhook_status": webhook_status,
            ":now": tx.now,
            ":expires_at": tx.now.plus_seconds(terms.seconds_in_queue_max),
            ":retries": retries,
            ":webhook_url": webhook,
            ":input": input,
        })?;
    Ok(id)
}

fn check(team: &Team, name: &'static str, used: u64, allowed: u64) -> Result<(), Error> {
    if used < allowed {
        return Ok(());
    }
    let team_id = Some(team.id.as_str().to_owned());
    Err(Error::QuotaExceeded(QuotaExceeded { team_id, name, used, allowed, unit: Unit::Requests.as_str() }))
}

/// Cancels a request if it is still queued. Returns the request as it was, and whether it was canceled.
///
/// # Errors
///
/// Those of [`find`].
pub fn cancel(tx: &Tx, invoking: &Invoking, id: &str) -> Result<(AsyncRequest, bool), Error> {
    let request = find(tx, invoking, id)?;
    let canceled = tx
        .sql
        .prepare_cached(
            "UPDATE async_request
             SET status = 'CANCELED', status_at = :now, input = NULL,
                 webhook_status = iif(webhook_status = 'PENDING', 'CANCELED', webhook_status)
             WHERE id = :id AND team_id = :team_id AND status = 'QUEUED'",
        )?
        .execute(named_params! { ":now": tx.now, ":id": request.id, ":team_id": invoking.team().id })?;
    Ok((request, canceled > 0))
}

fn from_row(row: &Row) -> rusqlite::Result<AsyncRequest> {
    let chain_deployment: Option<String> = row.get("chain_deployment_id")?;
    Ok(AsyncRequest {
        id: row.get("id")?,
        model_id: row.get("model_id")?,
        deployment_id: match chain_deployment {
            Some(id) => id,
            None => row.get("deployment_id")?,
        },
        chain_id: row.get("chain_id")?,
        status: row.get("status")?,
        webhook_status: row.get("webhook_status")?,
        failure: failure_from_row(row)?,
        created_at: row.get("created_at")?,
        status_at: row.get("status_at")?,
    })
}

fn failure_from_row(row: &Row) -> rusqlite::Result<Option<Failure>> {
    let (code, message): (Option<_>, Option<String>) = (row.get("error_code")?, row.get("error_message")?);
    Ok(code.zip(message).map(|(code, message)| Failure { code, message }))
}
