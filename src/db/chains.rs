//! The Chains of a team.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, environment_groups, resources};
use crate::domain::chains::Chain;
use crate::domain::serving::PRODUCTION;
use crate::domain::{ResourceName, Team};
use crate::error::{Error, quoted};
use crate::policy::{InTeam, Reader};

pub mod deployments;
pub mod environments;
pub mod promotion;
pub mod pushes;

/// A query for complete Chains. The argument is the rest of the query, from `WHERE` on.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT chain.id, chain.name, chain.created_at, team.name AS team_name,
                    (SELECT count(*) FROM chain_deployment WHERE chain_id = chain.id) AS deployments_count
             FROM chain JOIN team ON team.id = chain.team_id ",
            $rest
        )
    };
}

/// The Chains of these teams, newest first. `name`: only the Chains with this name.
pub fn list(tx: &Tx, teams: &[InTeam], name: Option<&str>) -> Result<Vec<Chain>, Error> {
    list_of(tx, &resources::ids(teams), name)
}

fn list_of(tx: &Tx, team_ids: &str, name: Option<&str>) -> Result<Vec<Chain>, Error> {
    let mut query = tx.sql.prepare_cached(select!(
        "WHERE chain.team_id IN (SELECT value FROM json_each(:team_ids)) AND (:name IS NULL OR chain.name = :name)
         ORDER BY chain.created_at DESC, chain.rowid DESC"
    ))?;
    let rows = query.query_map(named_params! { ":team_ids": team_ids, ":name": name }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The team's Chain with this name. `name` is normalized, so that different spellings of it in requests find the same
/// Chain.
pub fn named(tx: &Tx, team: &dyn Reader, name: &ResourceName) -> Result<Option<Chain>, Error> {
    let team_ids = json!([team.team().id.as_str()]).to_string();
    Ok(list_of(tx, &team_ids, Some(name.as_str()))?.pop())
}

/// The team's Chain with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if the team has no Chain with this id.
pub fn find(tx: &Tx, team: &dyn Reader, id: &str) -> Result<Chain, Error> {
    let mut query = tx.sql.prepare_cached(select!("WHERE chain.team_id = :team_id AND chain.id = :id"))?;
    let found = query.query_row(named_params! { ":team_id": team.team().id, ":id": id }, from_row);
    found.optional()?.ok_or(Error::NotFound("Chain"))
}

/// Creates a Chain. It writes no entry in the audit log: the entry for the Chain's first deployment, which must follow,
/// records it.
///
/// A new Chain belongs to the whole team, so a caller who may deploy into some environments only cannot create one.
///
/// # Errors
///
/// [`Error::Conflict`] if the team has a Chain with this name.
pub fn create(tx: &Tx, team: &InTeam, name: &ResourceName) -> Result<Chain, Error> {
    match insert(tx, team.team(), name) {
        Ok(id) => find(tx, team, &id),
        Err(cause) if Error::is_unique_violation(&cause) => Err(Error::conflict(format!(
            "team \"{}\" has a Chain named \"{}\" already: deploy to that, or choose another name",
            team.team().name,
            quoted(name.as_str())
        ))),
        Err(cause) => Err(Error::from(cause)),
    }
}

/// Deletes a Chain with its deployments and environments.
///
/// # Errors
///
/// [`Error::Forbidden`] if the caller may not deploy in the team, or may not change an environment of the Chain that is
/// in use.
pub fn delete(tx: &Tx, team: &InTeam, chain: &Chain) -> Result<(), Error> {
    let deployer = team.caller().to_deploy(team.team())?;
    let in_use = environments::in_use(tx, chain)?;
    in_use.iter().try_for_each(|name| environment_groups::open(tx, &deployer, name).map(drop))?;
    tx.sql
        .prepare_cached("DELETE FROM chain WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": chain.id })?;
    // Baseten's event can also be about one deployment. Here it is about the whole Chain.
    record(tx, team, "CHAIN_DELETED", chain, json!({ "chain_deployment_name": null }))
}

/// Records an act on a Chain: the Chain's id and name, and the fields of `more`.
fn record(tx: &Tx, team: &dyn Reader, event_type: &'static str, chain: &Chain, more: Value) -> Result<(), Error> {
    let mut data = json!({ "chain_id": chain.id, "chain_name": chain.name });
    let fields = data.as_object_mut().expect("it was just made as one");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}

/// Inserts a Chain with its environment `production`, which every Chain has.
///
/// Returns the database's error as it is. The calling code must explain a name that another Chain of the team has.
pub(super) fn insert(tx: &Tx, team: &Team, name: &ResourceName) -> Result<String, rusqlite::Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO chain (id, org_id, team_id, name, created_at)
             VALUES (:id, :org_id, :team_id, :name, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":name": name.as_str(),
            ":now": tx.now,
        })?;
    insert_environment(tx, team, &id, PRODUCTION)?;
    Ok(id)
}

pub(super) fn insert_environment(tx: &Tx, team: &Team, chain_id: &str, name: &str) -> Result<(), rusqlite::Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
             VALUES (:chain_id, :name, :org_id, :team_id, :now)",
        )?
        .execute(named_params! {
            ":chain_id": chain_id,
            ":name": name,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":now": tx.now,
        })?;
    Ok(())
}

fn from_row(row: &Row) -> rusqlite::Result<Chain> {
    Ok(Chain {
        id: row.get("id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        team_name: row.get("team_name")?,
        deployments_count: row.get("deployments_count")?,
    })
}
