//! Deployments of models: what was pushed, and how it stands.
//!
//! A model has one development deployment, which each push to it replaces, and any number of published ones. What happens
//! to a deployment after it is made is carried out by the runner; here it is a status.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Map, Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::deployments::naming::Owner;
use crate::db::models::Model;
use crate::db::{Tx, environments};
use crate::domain::Time;
use crate::domain::serving::{Cleanup, DeploymentName, Settings, Status};
use crate::error::Error;
use crate::policy::InTeam;

pub mod creation;
pub mod naming;
pub mod patches;
pub mod progress;
pub mod running;

pub use creation::{New, Slot, create};

/// The name of a model's development deployment.
pub const DEVELOPMENT: &str = "development";

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: String,
    pub model_id: String,
    pub name: String,
    /// Counts the published deployments of a model; 0 is the development deployment.
    pub number: i64,
    pub status: Status,
    /// The environment that it serves.
    pub environment: Option<String>,
    /// The environment that it takes over once it is active, and what then becomes of the one before.
    pub candidate_for: Option<String>,
    pub cleanup: Option<Cleanup>,
    pub labels: Option<Value>,
    pub instance_type: String,
    pub settings: Settings,
    /// The upload that it was made of; `None`: it was committed from its configuration alone.
    pub s3_key: Option<String>,
    /// Of what it runs, as truss computes it. What it is the hash of may be large: see [`signature`].
    pub truss_hash: Option<String>,
    /// `None` unless [`load_signatures`] was asked.
    pub truss_signature: Option<String>,
    /// Whether it was patched since it was pushed.
    pub is_patched: bool,
    pub created_at: Time,
}

impl Deployment {
    pub fn is_development(&self) -> bool {
        self.number == 0
    }

    pub fn is_production(&self) -> bool {
        self.environment.as_deref() == Some(environments::PRODUCTION)
    }
}

/// How a path says which deployment it is about.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    Id(&'a str),
    Development,
    In(&'a str),
}

/// A query for whole deployments, from its `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, model_id, name, number, status, environment, candidate_for, cleanup, labels, instance_type,
                    autoscaling, backpressure, s3_key, truss_hash, is_patched, created_at
             FROM deployment ",
            $rest
        )
    };
}
pub(super) use select;

/// All deployments of the model, the newest first; of one name, if one is asked for.
pub fn list(tx: &Tx, team: &InTeam, model_id: &str, name: Option<&str>) -> Result<Vec<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND model_id = :model_id AND (:name IS NULL OR name = :name)
         ORDER BY created_at DESC, number DESC"
    ))?;
    let params = named_params! { ":team_id": team.team().id, ":model_id": model_id, ":name": name };
    let rows = query.query_map(params, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The model of this deployment, of whatever team: who sees it, its team decides.
pub fn model_of(tx: &Tx, id: &str) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT model_id FROM deployment WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": id }, |row| row.get("model_id")).optional()?)
}

pub fn find(tx: &Tx, team: &InTeam, model_id: &str, which: Which) -> Result<Deployment, Error> {
    let (id, number, environment) = match which {
        Which::Id(id) => (Some(id), None, None),
        Which::Development => (None, Some(0), None),
        Which::In(environment) => (None, None, Some(environment)),
    };
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND model_id = :model_id
           AND (id = :id OR number = :number OR environment = :environment)"
    ))?;
    let found = query.query_row(
        named_params! {
            ":team_id": team.team().id,
            ":model_id": model_id,
            ":id": id,
            ":number": number,
            ":environment": environment,
        },
        from_row,
    );
    found.optional()?.ok_or(Error::NotFound("deployment"))
}

/// What is about to take over an environment of the model.
pub fn candidate(tx: &Tx, team: &InTeam, model_id: &str, environment: &str) -> Result<Option<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND model_id = :model_id AND candidate_for = :environment"
    ))?;
    let params = named_params! { ":team_id": team.team().id, ":model_id": model_id, ":environment": environment };
    Ok(query.query_row(params, from_row).optional()?)
}

/// What the configuration is: as the client parsed it, and as it was written where that was sent; or as a patch left it.
pub struct Config {
    pub parsed: Map<String, Value>,
    pub raw: Option<String>,
}

pub fn config(tx: &Tx, deployment: &Deployment) -> Result<Config, Error> {
    let mut query = tx.sql.prepare_cached("SELECT config, raw_config FROM deployment WHERE id = :id")?;
    let config = query.query_row(named_params! { ":id": deployment.id }, |row| {
        Ok(Config { parsed: read_json(row, "config")?.unwrap_or_default(), raw: row.get("raw_config")? })
    })?;
    Ok(config)
}

/// What a deployment holds, as truss writes it down: of its patches, or as its archive was read.
pub fn signature(tx: &Tx, deployment: &Deployment) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT coalesce(deployment.truss_signature, archive_reading.truss_signature) AS signature
         FROM deployment
         LEFT JOIN upload ON upload.s3_key = deployment.s3_key
         LEFT JOIN archive_reading ON archive_reading.hash = upload.hash
         WHERE deployment.id = :id",
    )?;
    Ok(query.query_row(named_params! { ":id": deployment.id }, |row| row.get("signature")).optional()?.flatten())
}

/// Loads the signatures of development deployments, which patches are compared with.
pub fn load_signatures<'d>(tx: &Tx, deployments: impl IntoIterator<Item = &'d mut Deployment>) -> Result<(), Error> {
    for deployment in deployments.into_iter().filter(|deployment| deployment.is_development()) {
        deployment.truss_signature = signature(tx, deployment)?;
    }
    Ok(())
}

/// Renames a deployment. The development deployment keeps its name.
pub fn rename(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    deployment: &Deployment,
    name: &DeploymentName,
) -> Result<Deployment, Error> {
    if deployment.is_development() {
        return Err(Error::conflict("the development deployment keeps its name: push it as published to name it"));
    }
    if name.as_str() == deployment.name {
        return Ok(deployment.clone());
    }
    Owner::Model(&model.id).check_free(tx, name)?;
    tx.sql
        .prepare_cached("UPDATE deployment SET name = :name, updated_at = :now WHERE id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":now": tx.now, ":id": deployment.id })?;
    let renamed = find(tx, team, &model.id, Which::Id(&deployment.id))?;
    let more = json!({ "previous_name": deployment.name });
    record(tx, team, "MODEL_DEPLOYMENT_UPDATED", model, &renamed, more)?;
    Ok(renamed)
}

/// Deletes a deployment. An environment that it served is left with none.
pub fn delete(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM deployment WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": deployment.id })?;
    record(tx, team, "MODEL_DEPLOYMENT_DELETED", model, deployment, json!({}))
}

/// Whether the caller may change this deployment: whatever environment it serves, or is about to, must be open to them.
pub fn may_change(tx: &Tx, team: &InTeam, deployment: &Deployment) -> Result<(), Error> {
    environments::may_change_all(tx, team, [&deployment.environment, &deployment.candidate_for])
}

/// Notes what was done to a deployment; `more` stands beside its and its model's names.
pub(super) fn record(
    tx: &Tx,
    team: &InTeam,
    event_type: &'static str,
    model: &Model,
    deployment: &Deployment,
    more: Value,
) -> Result<(), Error> {
    let mut data = json!({
        "model_id": model.id,
        "model_name": model.name,
        "deployment_id": deployment.id,
        "deployment_name": deployment.name,
    });
    let fields = data.as_object_mut().expect("it was just made as one");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}

pub(super) fn from_row(row: &Row) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: row.get("id")?,
        model_id: row.get("model_id")?,
        name: row.get("name")?,
        number: row.get("number")?,
        status: row.get("status")?,
        environment: row.get("environment")?,
        candidate_for: row.get("candidate_for")?,
        cleanup: row.get("cleanup")?,
        labels: row.get("labels")?,
        instance_type: row.get("instance_type")?,
        settings: Settings {
            autoscaling: read_json(row, "autoscaling")?.unwrap_or_default(),
            backpressure: row.get("backpressure")?,
        },
        s3_key: row.get("s3_key")?,
        truss_hash: row.get("truss_hash")?,
        truss_signature: None,
        is_patched: row.get("is_patched")?,
        created_at: row.get("created_at")?,
    })
}

/// A column that holds what was serialized here.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|cause| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(cause)))
}

pub(super) fn write_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("shapes of ours always serialize")
}
