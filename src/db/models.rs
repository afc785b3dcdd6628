//! Models of a team.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, environment_groups, resources};
use crate::domain::models::{Downloads, Model};
use crate::domain::serving::PRODUCTION;
use crate::domain::{ResourceName, Team};
use crate::error::{Error, quoted};
use crate::policy::{InTeam, Reader};

/// Builds the query for complete models. The argument is the SQL from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT model.id, model.name, model.instance_type, model.created_at, model.is_downloadable,
                    team.name AS team_name,
                    (SELECT name FROM chain WHERE id = model.chain_id) AS chain_name,
                    (SELECT count(*) FROM deployment WHERE model_id = model.id) AS deployments_count,
                    (SELECT id FROM deployment WHERE model_id = model.id AND environment = 'production')
                        AS production_deployment_id,
                    (SELECT id FROM deployment WHERE model_id = model.id AND number = 0) AS development_deployment_id
             FROM model JOIN team ON team.id = model.team_id ",
            $rest
        )
    };
}

/// Models of these teams that do not belong to a chainlet, newest first; with `name` only those of that name.
pub fn list(tx: &Tx, teams: &[InTeam], name: Option<&str>) -> Result<Vec<Model>, Error> {
    list_of(tx, &resources::ids(teams), name)
}

fn list_of(tx: &Tx, team_ids: &str, name: Option<&str>) -> Result<Vec<Model>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE model.team_id IN (SELECT value FROM json_each(:team_ids)) AND model.chain_id IS NULL
           AND (:name IS NULL OR model.name = :name)
         ORDER BY model.created_at DESC, model.rowid DESC"
    ))?;
    let rows = query.query_map(named_params! { ":team_ids": team_ids, ":name": name }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The team's model of this name. Clients compare names exactly, but the spelling that a client sent may differ from
/// this name and still fold to it.
pub fn named(tx: &Tx, team: &dyn Reader, name: &ResourceName) -> Result<Option<Model>, Error> {
    let team_ids = json!([team.team().id.as_str()]).to_string();
    Ok(list_of(tx, &team_ids, Some(name.as_str()))?.pop())
}

/// Models that the Chains of these teams created for their chainlets, newest first; with `name` only those of that
/// name.
pub fn list_of_chains(tx: &Tx, teams: &[InTeam], name: Option<&str>) -> Result<Vec<Model>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE model.team_id IN (SELECT value FROM json_each(:team_ids)) AND model.chain_id IS NOT NULL
           AND (:name IS NULL OR model.name = :name)
         ORDER BY model.created_at DESC, model.rowid DESC"
    ))?;
    let rows = query.query_map(named_params! { ":team_ids": resources::ids(teams), ":name": name }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The team's model with this id.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no model of the team has.
pub fn find(tx: &Tx, team: &dyn Reader, id: &str) -> Result<Model, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE model.team_id = :team_id AND model.id = :id"))?;
    let found = query.query_row(named_params! { ":team_id": team.team().id, ":id": id }, from_row);
    found.optional()?.ok_or(Error::NotFound("model"))
}

/// The team's model with this id, unless it belongs to a chainlet: such a model is changed only together with its
/// Chain.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no model of the team has; [`Error::Conflict`] for a model that belongs to a
/// chainlet.
pub fn find_own(tx: &Tx, team: &dyn Reader, id: &str) -> Result<Model, Error> {
    let model = find(tx, team, id)?;
    model.refuse_chainlet()?;
    Ok(model)
}

/// Renames a model. Its id does not change, and neither does anything that refers to it by id.
///
/// Clients look models up by name, so a new name affects every environment of the model.
///
/// # Errors
///
/// [`Error::Conflict`] for a chainlet's model and for a name that is taken; [`Error::Forbidden`] where an environment
/// that is in use is closed to the caller.
pub fn rename(tx: &Tx, team: &InTeam, model: &Model, name: &ResourceName) -> Result<Model, Error> {
    open_environments(tx, team, model)?;
    if name.as_str() == model.name {
        return Ok(model.clone());
    }
    let renamed = tx
        .sql
        .prepare_cached("UPDATE model SET name = :name WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":team_id": team.team().id, ":id": model.id });
    match renamed {
        Err(cause) if Error::is_unique_violation(&cause) => {
            let message = format!("the team has a model named \"{}\": choose another name", quoted(name.as_str()));
            return Err(Error::conflict(message));
        }
        other => other?,
    };
    let data = json!({ "model_id": model.id, "model_name": name.as_str(), "previous_name": model.name });
    record(tx, team, "MODEL_RENAMED", data)?;
    find(tx, team, &model.id)
}

/// Deletes a model with its deployments and environments. A key that was restricted to this model stays restricted.
///
/// # Errors
///
/// [`Error::Conflict`] for a chainlet's model; [`Error::Forbidden`] where an environment that is in use is closed to
/// the caller.
pub fn delete(tx: &Tx, team: &InTeam, model: &Model) -> Result<(), Error> {
    open_environments(tx, team, model)?;
    tx.sql
        .prepare_cached("DELETE FROM model WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": model.id })?;
    record(tx, team, "MODEL_DELETED", json!({ "model_id": model.id, "model_name": model.name }))
}

/// Checks that the caller may change the whole model, which requires access to each of its environments in use.
fn open_environments(tx: &Tx, team: &InTeam, model: &Model) -> Result<(), Error> {
    model.refuse_chainlet()?;
    let deployer = team.caller().to_deploy(team.team())?;
    in_use(tx, model)?.iter().try_for_each(|name| environment_groups::open(tx, &deployer, name).map(drop))
}

/// The environments of the model that a user created, configured or deployed into. `production` is created with the
/// model and counts only once it contains something that could be lost.
fn in_use(tx: &Tx, model: &Model) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name
         FROM model_environment
         WHERE model_id = :model_id
           AND (name <> :production OR autoscaling IS NOT NULL OR promotion IS NOT NULL OR backpressure IS NOT NULL
                OR instance_type IS NOT NULL)
         UNION
         SELECT environment FROM deployment WHERE model_id = :model_id AND environment IS NOT NULL
         UNION
         SELECT candidate_for FROM deployment WHERE model_id = :model_id AND candidate_for IS NOT NULL
         ORDER BY name",
    )?;
    let values = named_params! { ":model_id": model.id, ":production": PRODUCTION };
    Ok(query.query_map(values, |row| row.get("name"))?.collect::<Result<_, _>>()?)
}

/// Creates a model for its first deployment, whose audit entry covers both.
///
/// A new model belongs to the whole team, so a caller who may deploy into only some environments cannot create one.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another model of the team has.
pub fn create(
    tx: &Tx,
    team: &InTeam,
    name: &ResourceName,
    instance_type: &str,
    downloads: Downloads,
) -> Result<Model, Error> {
    let id = insert(tx, team.team(), name, instance_type).map_err(|cause| taken(cause, team, name))?;
    settle(tx, team, &id, downloads)
}

/// Creates a model for a chainlet. The model has no environments of its own: those belong to its Chain.
pub(super) fn create_for_chain(
    tx: &Tx,
    team: &dyn Reader,
    chain_id: &str,
    name: &ResourceName,
    instance_type: &str,
    downloads: Downloads,
) -> Result<Model, Error> {
    let inserted = insert_row(tx, team.team(), name, instance_type, Some(chain_id));
    let id = inserted.map_err(|cause| taken(cause, team, name))?;
    settle(tx, team, &id, downloads)
}

fn taken(cause: rusqlite::Error, team: &dyn Reader, name: &ResourceName) -> Error {
    if !Error::is_unique_violation(&cause) {
        return Error::from(cause);
    }
    Error::conflict(format!(
        "team \"{}\" has a model named \"{}\" already: deploy to that, or choose another name",
        team.team().name,
        quoted(name.as_str())
    ))
}

fn settle(tx: &Tx, team: &dyn Reader, id: &str, downloads: Downloads) -> Result<Model, Error> {
    if downloads == Downloads::Refused {
        tx.sql
            .prepare_cached("UPDATE model SET is_downloadable = 0 WHERE id = :id")?
            .execute(named_params! { ":id": id })?;
    }
    find(tx, team, id)
}

/// Inserts a model with the environment `production`, which every model has. The calling code must translate the error
/// for a name that another model of the team has.
pub(super) fn insert(
    tx: &Tx,
    team: &Team,
    name: &ResourceName,
    instance_type: &str,
) -> Result<String, rusqlite::Error> {
    let id = insert_row(tx, team, name, instance_type, None)?;
    insert_environment(tx, team, &id, PRODUCTION)?;
    Ok(id)
}

fn insert_row(
    tx: &Tx,
    team: &Team,
    name: &ResourceName,
    instance_type: &str,
    chain_id: Option<&str>,
) -> Result<String, rusqlite::Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO model (id, org_id, team_id, chain_id, name, instance_type, created_at)
             VALUES (:id, :org_id, :team_id, :chain_id, :name, :instance_type, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":chain_id": chain_id,
            ":name": name.as_str(),
            ":instance_type": instance_type,
            ":now": tx.now,
        })?;
    Ok(id)
}

/// Inserts an environment of a model.
pub(super) fn insert_environment(tx: &Tx, team: &Team, model_id: &str, name: &str) -> Result<(), rusqlite::Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
             VALUES (:model_id, :name, :org_id, :team_id, :now)",
        )?
        .execute(named_params! {
            ":model_id": model_id,
            ":name": name,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":now": tx.now,
        })?;
    Ok(())
}

fn from_row(row: &Row) -> rusqlite::Result<Model> {
    Ok(Model {
        id: row.get("id")?,
        name: row.get("name")?,
        instance_type: row.get("instance_type")?,
        created_at: row.get("created_at")?,
        team_name: row.get("team_name")?,
        deployments_count: row.get("deployments_count")?,
        production_deployment_id: row.get("production_deployment_id")?,
        development_deployment_id: row.get("development_deployment_id")?,
        is_downloadable: row.get("is_downloadable")?,
        chain_name: row.get("chain_name")?,
    })
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, data: serde_json::Value) -> Result<(), Error> {
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}
