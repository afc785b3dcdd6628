//! Deployments of a Chain. Each consists of one deployment for each chainlet; these are created, switched off and
//! deleted together.
//!
//! A Chain has one development deployment, which each push to it replaces, and any number of published ones. The status
//! of a Chain's deployment is computed from the statuses of its chainlets.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::deployments::running::{self, Done};
use crate::db::environment_groups::{self, Touched};
use crate::db::{Tx, chains, deployments, models};
use crate::domain::chains::{Chain, ChainDeployment, Chainlet};
use crate::domain::deployments::Which;
use crate::error::Error;
use crate::policy::{Deployer, Reader};

/// A deployment that the caller may change, with the proof for each environment that it serves or is about to serve.
///
/// Each function that changes a deployment takes this type, so no deployment is changed without a permission check.
#[derive(Debug)]
pub struct Changeable<'a> {
    chain: Chain,
    deployment: ChainDeployment,
    touched: Touched<'a>,
}

/// A query for rows of deployments. The argument is the rest of the query, from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, chain_id, name, number, environment, candidate_for, created_at FROM chain_deployment ",
            $rest
        )
    };
}

/// All deployments of the Chain, newest first.
pub fn list(tx: &Tx, team: &dyn Reader, chain_id: &str) -> Result<Vec<ChainDeployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND chain_id = :chain_id
         ORDER BY created_at DESC, number DESC"
    ))?;
    let rows = query.query_map(named_params! { ":team_id": team.team().id, ":chain_id": chain_id }, from_row)?;
    rows.map(|row| with_chainlets(tx, team, row?)).collect()
}

/// The id of the Chain of this deployment, in any team. The calling code must check that the caller may see the Chain's
/// team.
pub fn chain_of(tx: &Tx, id: &str) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT chain_id FROM chain_deployment WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": id }, |row| row.get("chain_id")).optional()?)
}

/// The Chain's deployment with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if the Chain has no deployment with this id.
pub fn find(tx: &Tx, team: &dyn Reader, chain_id: &str, id: &str) -> Result<ChainDeployment, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE team_id = :team_id AND chain_id = :chain_id AND id = :id"))?;
    let params = named_params! { ":team_id": team.team().id, ":chain_id": chain_id, ":id": id };
    let found = query.query_row(params, from_row).optional()?;
    with_chainlets(tx, team, found.ok_or(Error::NotFound("Chain deployment"))?)
}

/// The deployment that serves an environment of the Chain.
pub(super) fn current(
    tx: &Tx,
    team: &dyn Reader,
    chain_id: &str,
    environment: &str,
) -> Result<Option<ChainDeployment>, Error> {
    let mut query = tx
        .sql
        .prepare_cached(select!("WHERE team_id = :team_id AND chain_id = :chain_id AND environment = :environment"))?;
    let params = named_params! { ":team_id": team.team().id, ":chain_id": chain_id, ":environment": environment };
    let found = query.query_row(params, from_row).optional()?;
    found.map(|found| with_chainlets(tx, team, found)).transpose()
}

/// The deployment that is being promoted to an environment of the Chain.
pub(super) fn candidate(
    tx: &Tx,
    team: &dyn Reader,
    chain_id: &str,
    environment: &str,
) -> Result<Option<ChainDeployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND chain_id = :chain_id AND candidate_for = :environment"
    ))?;
    let params = named_params! { ":team_id": team.team().id, ":chain_id": chain_id, ":environment": environment };
    let found = query.query_row(params, from_row).optional()?;
    found.map(|found| with_chainlets(tx, team, found)).transpose()
}

impl Changeable<'_> {
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn deployment(&self) -> &ChainDeployment {
        &self.deployment
    }
}

/// Gets a deployment of a Chain that the caller may change.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such Chain or deployment. [`Error::Forbidden`] if the caller may not change an
/// environment that the deployment serves or is about to serve, or if the deployment is in no environment and the
/// caller's key is narrowed.
pub fn to_change<'a>(tx: &Tx, deployer: &Deployer<'a>, chain_id: &str, id: &str) -> Result<Changeable<'a>, Error> {
    let chain = chains::find(tx, deployer, chain_id)?;
    let deployment = find(tx, deployer, chain_id, id)?;
    let touched = environment_groups::open_all(tx, deployer, deployment.environments())?;
    Ok(Changeable { chain, deployment, touched })
}

/// Switches off every chainlet, including those that are not active yet.
pub fn deactivate(tx: &Tx, changeable: &Changeable) -> Result<Done, Error> {
    let Changeable { chain, deployment, touched } = changeable;
    tx.frees_space()?;
    let mut all = Done::AsItWas;
    for chainlet in &deployment.chainlets {
        if running::switch_off(tx, &chainlet.deployment)? == Done::Changed {
            all = Done::Changed;
        }
    }
    record(tx, touched.reader(), "CHAIN_DEPLOYMENT_DEACTIVATED", chain, deployment, json!({}))?;
    Ok(all)
}

/// Deletes a deployment with its chainlets. An environment that it served then has no deployment.
pub fn delete(tx: &Tx, changeable: &Changeable) -> Result<(), Error> {
    let Changeable { chain, deployment, touched } = changeable;
    tx.sql
        .prepare_cached("DELETE FROM chain_deployment WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": touched.reader().team().id, ":id": deployment.id })?;
    // This is the only event of a Chain that has the deployment's name in `deployment_name`, and in no other field.
    let more = json!({ "chain_deployment_id": deployment.id, "deployment_name": deployment.name });
    chains::record(tx, touched.reader(), "CHAIN_DEPLOYMENT_DELETED", chain, more)
}

/// Records an act on a Chain's deployment: the ids and names of both, and the fields of `more`.
pub(super) fn record(
    tx: &Tx,
    team: &dyn Reader,
    event_type: &'static str,
    chain: &Chain,
    deployment: &ChainDeployment,
    more: Value,
) -> Result<(), Error> {
    let mut data = json!({ "chain_deployment_id": deployment.id, "chain_deployment_name": deployment.name });
    let fields = data.as_object_mut().expect("it was just made as one");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    chains::record(tx, team, event_type, chain, data)
}

/// Inserts the row of a chainlet. `place` is its position in the Chain's deployment, the entrypoint at 0.
pub(super) fn insert_chainlet(
    tx: &Tx,
    team: &dyn Reader,
    chain_deployment_id: &str,
    place: usize,
    name: &str,
    model_id: &str,
    deployment_id: &str,
) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO chainlet (id, org_id, team_id, chain_deployment_id, place, name, model_id, deployment_id)
             VALUES (:id, :org_id, :team_id, :chain_deployment_id, :place, :name, :model_id, :deployment_id)",
        )?
        .execute(named_params! {
            ":id": tx.id(),
            ":org_id": team.team().org_id,
            ":team_id": team.team().id,
            ":chain_deployment_id": chain_deployment_id,
            ":place": place as i64,
            ":name": name,
            ":model_id": model_id,
            ":deployment_id": deployment_id,
        })?;
    Ok(())
}

fn with_chainlets(tx: &Tx, team: &dyn Reader, mut deployment: ChainDeployment) -> Result<ChainDeployment, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, name, model_id, deployment_id
         FROM chainlet
         WHERE team_id = :team_id AND chain_deployment_id = :id
         ORDER BY place",
    )?;
    let mut rows = query.query(named_params! { ":team_id": team.team().id, ":id": deployment.id })?;
    while let Some(row) = rows.next()? {
        let (model_id, deployment_id): (String, String) = (row.get("model_id")?, row.get("deployment_id")?);
        deployment.chainlets.push(Chainlet {
            id: row.get("id")?,
            name: row.get("name")?,
            model: models::find(tx, team, &model_id)?,
            deployment: deployments::find(tx, team, &model_id, Which::Id(&deployment_id))?,
        });
    }
    Ok(deployment)
}

fn from_row(row: &Row) -> rusqlite::Result<ChainDeployment> {
    Ok(ChainDeployment {
        id: row.get("id")?,
        chain_id: row.get("chain_id")?,
        name: row.get("name")?,
        number: row.get("number")?,
        environment: row.get("environment")?,
        candidate_for: row.get("candidate_for")?,
        created_at: row.get("created_at")?,
        chainlets: Vec::new(),
    })
}
