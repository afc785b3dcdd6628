//! Chains of a team.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, resources};
use crate::error::Error;
use crate::model::{ResourceName, Team, Time};
use crate::policy::InTeam;

/// A Chain that exists. What runs of it are its deployments.
#[derive(Clone, Debug)]
pub struct Chain {
    pub id: String,
    pub name: String,
    pub created_at: Time,
    pub team_name: String,
}

/// The Chains of these teams, newest first.
pub fn list(tx: &Tx, teams: &[InTeam]) -> Result<Vec<Chain>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chain.id, chain.name, chain.created_at, team.name AS team_name
         FROM chain JOIN team ON team.id = chain.team_id
         WHERE chain.team_id IN (SELECT value FROM json_each(:team_ids))
         ORDER BY chain.created_at DESC, chain.rowid DESC",
    )?;
    let rows = query.query_map(named_params! { ":team_ids": resources::ids(teams) }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The team's Chain of this id.
pub fn find(tx: &Tx, team: &InTeam, id: &str) -> Result<Chain, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT chain.id, chain.name, chain.created_at, team.name AS team_name
         FROM chain JOIN team ON team.id = chain.team_id
         WHERE chain.team_id = :team_id AND chain.id = :id",
    )?;
    let found = query.query_row(named_params! { ":team_id": team.team().id, ":id": id }, from_row);
    found.optional()?.ok_or(Error::NotFound("Chain"))
}

/// Deletes a Chain with its environments.
pub fn delete(tx: &Tx, team: &InTeam, chain: &Chain) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM chain WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": chain.id })?;
    // Baseten's event can tell of a deployment too: here it is the whole Chain.
    let data = json!({ "chain_id": chain.id, "chain_name": chain.name, "chain_deployment_name": null });
    let event = Event::new("CHAIN_DELETED", data);
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}

/// A new Chain. A name that the team's Chains have already is the caller's to tell.
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
    })
}
