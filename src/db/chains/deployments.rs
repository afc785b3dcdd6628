//! Deployments of a Chain: a deployment of each of its chainlets, made, switched off and deleted together.
//!
//! A Chain has one development deployment, which each push to it replaces, and any number of published ones. It stands as
//! its chainlets stand together.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::chains::{self, Chain};
use crate::db::deployments::running::{self, Done};
use crate::db::deployments::{self, Deployment, Which};
use crate::db::environments;
use crate::db::models::{self, Model};
use crate::domain::Time;
use crate::domain::serving::Status;
use crate::error::Error;
use crate::policy::InTeam;

#[derive(Clone, Debug)]
pub struct ChainDeployment {
    pub id: String,
    pub chain_id: String,
    pub name: String,
    /// Counts the published deployments of a Chain; 0 is the development deployment.
    pub number: i64,
    /// The environment that it serves.
    pub environment: Option<String>,
    /// The environment that it takes over once all its chainlets are active.
    pub candidate_for: Option<String>,
    pub created_at: Time,
    /// The entrypoint first.
    pub chainlets: Vec<Chainlet>,
}

/// A part of a Chain's deployment, and what runs of it.
#[derive(Clone, Debug)]
pub struct Chainlet {
    pub id: String,
    pub name: String,
    pub model: Model,
    pub deployment: Deployment,
}

impl ChainDeployment {
    pub fn status(&self) -> Status {
        Status::of_parts(self.chainlets.iter().map(|chainlet| chainlet.deployment.status))
    }

    pub fn is_development(&self) -> bool {
        self.number == 0
    }

    pub fn is_production(&self) -> bool {
        self.environment.as_deref() == Some(environments::PRODUCTION)
    }

    pub fn entrypoint(&self) -> &Chainlet {
        self.chainlets.first().expect("a deployment of a Chain is made with its entrypoint")
    }

    pub fn chainlet(&self, name: &str) -> Option<&Chainlet> {
        self.chainlets.iter().find(|chainlet| chainlet.name == name)
    }
}

/// A query for the rows of deployments, from its `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, chain_id, name, number, environment, candidate_for, created_at FROM chain_deployment ",
            $rest
        )
    };
}

/// All deployments of the Chain, the newest first.
pub fn list(tx: &Tx, team: &InTeam, chain_id: &str) -> Result<Vec<ChainDeployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND chain_id = :chain_id
         ORDER BY created_at DESC, number DESC"
    ))?;
    let rows = query.query_map(named_params! { ":team_id": team.team().id, ":chain_id": chain_id }, from_row)?;
    rows.map(|row| with_chainlets(tx, team, row?)).collect()
}

/// The Chain of this deployment, of whatever team: who sees it, its team decides.
pub fn chain_of(tx: &Tx, id: &str) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT chain_id FROM chain_deployment WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": id }, |row| row.get("chain_id")).optional()?)
}

/// The Chain's deployment of this id.
pub fn find(tx: &Tx, team: &InTeam, chain_id: &str, id: &str) -> Result<ChainDeployment, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE team_id = :team_id AND chain_id = :chain_id AND id = :id"))?;
    let params = named_params! { ":team_id": team.team().id, ":chain_id": chain_id, ":id": id };
    let found = query.query_row(params, from_row).optional()?;
    with_chainlets(tx, team, found.ok_or(Error::NotFound("Chain deployment"))?)
}

/// What serves an environment of the Chain.
pub(super) fn current(
    tx: &Tx,
    team: &InTeam,
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

/// What is about to take over an environment of the Chain.
pub(super) fn candidate(
    tx: &Tx,
    team: &InTeam,
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

/// Switches off every chainlet, also those that are not active yet.
pub fn deactivate(tx: &Tx, team: &InTeam, chain: &Chain, deployment: &ChainDeployment) -> Result<Done, Error> {
    tx.frees_space()?;
    let mut all = Done::AsItWas;
    for chainlet in &deployment.chainlets {
        if running::switch_off(tx, &chainlet.deployment)? == Done::Changed {
            all = Done::Changed;
        }
    }
    record(tx, team, "CHAIN_DEPLOYMENT_DEACTIVATED", chain, deployment, json!({}))?;
    Ok(all)
}

/// Deletes a deployment with its chainlets. An environment that it served is left with none.
pub fn delete(tx: &Tx, team: &InTeam, chain: &Chain, deployment: &ChainDeployment) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM chain_deployment WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": deployment.id })?;
    // The one event of a Chain's that names its deployment so, and has no other name of it.
    let more = json!({ "chain_deployment_id": deployment.id, "deployment_name": deployment.name });
    chains::record(tx, team, "CHAIN_DEPLOYMENT_DELETED", chain, more)
}

/// Whether the caller may change this deployment: whatever environment it serves, or is about to, must be open to them.
pub fn may_change(tx: &Tx, team: &InTeam, deployment: &ChainDeployment) -> Result<(), Error> {
    environments::may_change_all(tx, team, [&deployment.environment, &deployment.candidate_for])
}

/// Notes what was done to a deployment; `more` stands beside its and its Chain's names.
pub(super) fn record(
    tx: &Tx,
    team: &InTeam,
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

pub(super) fn insert_chainlet(
    tx: &Tx,
    team: &InTeam,
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

fn with_chainlets(tx: &Tx, team: &InTeam, mut deployment: ChainDeployment) -> Result<ChainDeployment, Error> {
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
