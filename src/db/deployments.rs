//! Deployments of models: what was pushed, and its status.
//!
//! A model has one development deployment, which each push to it replaces, and any number of published ones.
//! [`pushes`](crate::db::pushes) creates deployments, and [`progress`](crate::db::progress) records their progress in
//! the runner.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Map, Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::deployments::naming::Owner;
use crate::db::environment_groups::{self, Touched};
use crate::db::{Tx, models, secrets};
use crate::domain::deployments::{Deployment, Which};
use crate::domain::models::Model;
use crate::domain::serving::{DeploymentName, Settings};
use crate::domain::{NAMED_MAX, SecretName};
use crate::error::{Error, quoted};
use crate::policy::{Deployer, Reader};

pub mod naming;
pub mod patches;
pub mod running;

/// A deployment that the caller may change, with the proof for each environment that it serves or is about to serve.
///
/// Each function that changes a deployment takes this type, so no deployment is changed without a permission check.
#[derive(Debug)]
pub struct Changeable<'a> {
    model: Model,
    deployment: Deployment,
    touched: Touched<'a>,
}

/// A query for complete deployments. The argument is the rest of the query, from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, model_id, name, number, status, environment, candidate_for, cleanup, labels, instance_type,
                    autoscaling, backpressure, s3_key, truss_hash, replicas, is_patched, created_at
             FROM deployment ",
            $rest
        )
    };
}
pub(super) use select;

/// All deployments of the model, newest first. `name`: only the deployments with this name.
pub fn list(tx: &Tx, team: &dyn Reader, model_id: &str, name: Option<&str>) -> Result<Vec<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND model_id = :model_id AND (:name IS NULL OR name = :name)
         ORDER BY created_at DESC, number DESC"
    ))?;
    let params = named_params! { ":team_id": team.team().id, ":model_id": model_id, ":name": name };
    let rows = query.query_map(params, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The id of the model of this deployment, in any team. The calling code must check that the caller may see the model's
/// team.
pub fn model_of(tx: &Tx, id: &str) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT model_id FROM deployment WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": id }, |row| row.get("model_id")).optional()?)
}

/// The deployment of the model that `which` selects.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such deployment.
pub fn find(tx: &Tx, team: &dyn Reader, model_id: &str, which: Which) -> Result<Deployment, Error> {
    let (id, number, environment) = which.columns();
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

/// The deployment that is being promoted to an environment of the model.
pub fn candidate(tx: &Tx, team: &dyn Reader, model_id: &str, environment: &str) -> Result<Option<Deployment>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE team_id = :team_id AND model_id = :model_id AND candidate_for = :environment"
    ))?;
    let params = named_params! { ":team_id": team.team().id, ":model_id": model_id, ":environment": environment };
    Ok(query.query_row(params, from_row).optional()?)
}

/// The configuration of a deployment as the client pushed it, or as the last patch changed it.
///
/// `parsed` is the parsed form and `raw` the original text, if the client sent it.
pub struct Config {
    pub parsed: Map<String, Value>,
    pub raw: Option<String>,
}

/// The configuration of a deployment.
pub fn config(tx: &Tx, deployment: &Deployment) -> Result<Config, Error> {
    let mut query = tx.sql.prepare_cached("SELECT config, raw_config FROM deployment WHERE id = :id")?;
    let config = query.query_row(named_params! { ":id": deployment.id }, |row| {
        Ok(Config { parsed: read_json(row, "config")?.unwrap_or_default(), raw: row.get("raw_config")? })
    })?;
    Ok(config)
}

/// The signature of a deployment's content, in the form that truss writes: from its patches, or from reading its
/// archive.
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

/// Loads the signatures of development deployments. Patches are compared with them.
pub fn load_signatures<'d>(tx: &Tx, deployments: impl IntoIterator<Item = &'d mut Deployment>) -> Result<(), Error> {
    for deployment in deployments.into_iter().filter(|deployment| deployment.is_development()) {
        deployment.truss_signature = signature(tx, deployment)?;
    }
    Ok(())
}

impl<'a> Changeable<'a> {
    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    pub(super) fn touched(&self) -> &Touched<'a> {
        &self.touched
    }

    fn reader(&self) -> &(dyn Reader + 'a) {
        self.touched.reader()
    }

    /// Reads the deployment again, after a change.
    fn again(&self, tx: &Tx) -> Result<Deployment, Error> {
        find(tx, self.reader(), &self.model.id, Which::Id(&self.deployment.id))
    }

    pub(super) fn record(&self, tx: &Tx, event_type: &'static str, more: Value) -> Result<(), Error> {
        record(tx, self.reader(), event_type, &self.model, &self.deployment, more)
    }
}

/// Gets a deployment of a model that the caller may change.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such model or deployment. [`Error::Forbidden`] if the caller may not change an
/// environment that the deployment serves or is about to serve, or if the deployment is in no environment and the
/// caller's key is narrowed. [`Error::Conflict`] for the deployment of a chainlet, which is changed with its Chain.
pub fn to_change<'a>(tx: &Tx, deployer: &Deployer<'a>, model_id: &str, which: Which) -> Result<Changeable<'a>, Error> {
    let found = to_patch(tx, deployer, model_id, which)?;
    found.model.refuse_chainlet()?;
    Ok(found)
}

/// Gets a deployment of a model or a chainlet that the caller may patch.
///
/// # Errors
///
/// Those of [`to_change`], except that the deployment of a chainlet is no conflict.
pub fn to_patch<'a>(tx: &Tx, deployer: &Deployer<'a>, model_id: &str, which: Which) -> Result<Changeable<'a>, Error> {
    let model = models::find(tx, deployer, model_id)?;
    let deployment = find(tx, deployer, model_id, which)?;
    let touched = environment_groups::open_all(tx, deployer, deployment.environments())?;
    Ok(Changeable { model, deployment, touched })
}

/// Renames a deployment.
///
/// # Errors
///
/// [`Error::Conflict`] for the development deployment, whose name cannot be changed, and for a name that is taken.
pub fn rename(tx: &Tx, changeable: &Changeable, name: &DeploymentName) -> Result<Deployment, Error> {
    let Changeable { model, deployment, .. } = changeable;
    if deployment.is_development() {
        return Err(Error::conflict("the development deployment keeps its name: push it as published to name it"));
    }
    if name.as_str() == deployment.name {
        return Ok(deployment.clone());
    }
    Owner::Model(&model.id).check_free(tx, name)?;
    tx.sql
        .prepare_cached("UPDATE deployment SET name = :name, updated_at = :now WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! {
            ":name": name.as_str(),
            ":now": tx.now,
            ":team_id": changeable.reader().team().id,
            ":id": deployment.id,
        })?;
    let renamed = changeable.again(tx)?;
    let more = json!({ "previous_name": deployment.name });
    record(tx, changeable.reader(), "MODEL_DEPLOYMENT_UPDATED", model, &renamed, more)?;
    Ok(renamed)
}

/// Deletes a deployment. An environment that it served then has no deployment.
pub fn delete(tx: &Tx, changeable: &Changeable) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM deployment WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": changeable.reader().team().id, ":id": changeable.deployment.id })?;
    changeable.record(tx, "MODEL_DEPLOYMENT_DELETED", json!({}))
}

/// Checks that each secret that a configuration names is in `provided` or is a secret of the deployment's own team.
///
/// # Errors
///
/// [`Error::Invalid`] for any other name, and for too many names.
pub(super) fn check_secrets(
    tx: &Tx,
    team: &dyn Reader,
    config: &Map<String, Value>,
    provided: &[&str],
) -> Result<(), Error> {
    let named = config.get("secrets").and_then(Value::as_object);
    Error::check_count("config.secrets", named.map_or(0, Map::len), NAMED_MAX)?;
    for name in named.into_iter().flat_map(Map::keys).filter(|name| !provided.contains(&name.as_str())) {
        let is_there = match SecretName::parse(name) {
            Ok(name) => secrets::exists(tx, team, &name)?,
            Err(_) => false,
        };
        if !is_there {
            let why = format!(
                "names `{}`, and team \"{}\" has no secret of that name: set it first, or leave it out",
                quoted(name),
                team.team().name
            );
            return Err(Error::field("config.secrets", &why));
        }
    }
    Ok(())
}

/// Records an act on a deployment: the ids and names of the deployment and its model, and the fields of `more`.
pub(super) fn record(
    tx: &Tx,
    team: &dyn Reader,
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
        replicas: row.get("replicas")?,
        is_patched: row.get("is_patched")?,
        created_at: row.get("created_at")?,
    })
}

/// Reads a column whose value [`write_json`] has written.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|cause| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(cause)))
}

pub(super) fn write_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("shapes of ours always serialize")
}
