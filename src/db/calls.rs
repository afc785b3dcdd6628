//! What a call to a model or a Chain reaches: which deployment answers, and whether it can.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::deployments::running;
use crate::db::{Tx, progress};
use crate::domain::calls::{Asks, Call, Callee, Place};
use crate::domain::serving::{Phase, Status};
use crate::error::{CallFailure, Error};
use crate::policy::{Invoker, Invoking};

/// The deployment that answers a call.
#[derive(Clone, Debug)]
pub struct Target {
    pub deployment_id: String,
    pub model_id: String,
    pub status: Status,
    pub environment: Option<String>,
}

/// The environment that the called deployment serves, for a key that is narrowed to environments.
///
/// # Errors
///
/// [`Error::NotFound`] if the model or the Chain has no deployment with this id.
pub fn environment_served(tx: &Tx, invoking: &Invoking, deployment_id: &str) -> Result<Option<String>, Error> {
    let (team_id, place) = (invoking.team().id.as_str(), Place::Deployment(deployment_id));
    Ok(look_up(tx, team_id, invoking.callee(), place)?.environment)
}

/// The deployment that answers a call of the proof.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such deployment.
pub fn target(tx: &Tx, invoker: &Invoker) -> Result<Target, Error> {
    look_up(tx, invoker.team().id.as_str(), invoker.callee(), invoker.place())
}

/// Whether the called model is a chainlet. Chainlets answer the calls of other chainlets of their Chain.
pub fn is_chainlet(tx: &Tx, invoker: &Invoker) -> Result<bool, Error> {
    let Callee::Model(model_id) = invoker.callee() else { return Ok(false) };
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM model WHERE team_id = :team_id AND id = :id AND chain_id IS NOT NULL)",
    )?;
    let is_chainlet =
        query.query_row(named_params! { ":team_id": invoker.team().id, ":id": model_id }, |row| row.get(0));
    Ok(is_chainlet?)
}

/// The call to be made.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such deployment, [`CallFailure::Unavailable`] if it has failed, is switched off, or
/// is not built yet.
pub fn call(tx: &Tx, invoker: &Invoker, asks: Asks) -> Result<Call, Error> {
    let target = target(tx, invoker)?;
    let status = target.status;
    let unavailable = |next: &str| {
        let why = format!("the deployment does not answer calls: it is {status}; {next}");
        Err(Error::Call(CallFailure::Unavailable(why)))
    };
    match (status, status.phase()) {
        (Status::Building, _) => return unavailable("wait until it is active"),
        (_, Phase::Off) => return unavailable("activate it"),
        (_, Phase::Failed) => return unavailable("its log says why; retry it or push again"),
        (_, Phase::Starting | Phase::Serving | Phase::Asleep) => {}
    }
    Ok(Call {
        org_id: invoker.team().org_id.clone(),
        team_id: invoker.team().id.clone(),
        model_id: target.model_id,
        deployment_id: target.deployment_id,
        environment: target.environment,
        caller: invoker.caller().prefix().to_owned(),
        asks,
        wakes: status.phase() == Phase::Asleep,
    })
}

/// Starts the called deployment if it is asleep. Does nothing for any other deployment. The audit log gets no entry,
/// because a call alone would do the same.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such deployment.
pub fn wake(tx: &Tx, invoker: &Invoker) -> Result<(), Error> {
    let target = target(tx, invoker)?;
    wake_for_call(tx, &target.deployment_id)
}

/// Starts a deployment that is asleep and is being called. The call was allowed before. Does nothing for any other
/// deployment, or if it was deleted.
pub fn wake_for_call(tx: &Tx, deployment_id: &str) -> Result<(), Error> {
    match progress::find(tx, deployment_id)? {
        Some(deployment) if deployment.status.phase() == Phase::Asleep => running::wake(tx, &deployment),
        Some(_) | None => Ok(()),
    }
}

fn look_up(tx: &Tx, team_id: &str, callee: &Callee, place: Place) -> Result<Target, Error> {
    let (id, number, environment) = match place {
        Place::Environment(name) => (None, None, Some(name)),
        Place::Development => (None, Some(0), None),
        Place::Deployment(id) => (Some(id), None, None),
    };
    let (sql, owner_id) = match callee {
        Callee::Model(id) => (
            "SELECT id AS deployment_id, model_id, status, environment
             FROM deployment
             WHERE team_id = :team_id AND model_id = :owner_id
               AND (id = :id OR number = :number OR environment = :environment)",
            id,
        ),
        // The entrypoint answers for the Chain. It is the first of the chainlets.
        Callee::Chain(id) => (
            "SELECT chainlet.deployment_id, chainlet.model_id, deployment.status, chain_deployment.environment
             FROM chain_deployment
             JOIN chainlet ON chainlet.chain_deployment_id = chain_deployment.id AND chainlet.place = 0
             JOIN deployment ON deployment.id = chainlet.deployment_id
             WHERE chain_deployment.team_id = :team_id AND chain_deployment.chain_id = :owner_id
               AND (chain_deployment.id = :id OR chain_deployment.number = :number
                    OR chain_deployment.environment = :environment)",
            id,
        ),
    };
    let mut query = tx.sql.prepare_cached(sql)?;
    let found = query.query_row(
        named_params! {
            ":team_id": team_id,
            ":owner_id": owner_id,
            ":id": id,
            ":number": number,
            ":environment": environment,
        },
        target_from_row,
    );
    found.optional()?.ok_or(Error::NotFound("deployment"))
}

fn target_from_row(row: &Row) -> rusqlite::Result<Target> {
    Ok(Target {
        deployment_id: row.get("deployment_id")?,
        model_id: row.get("model_id")?,
        status: row.get("status")?,
        environment: row.get("environment")?,
    })
}
