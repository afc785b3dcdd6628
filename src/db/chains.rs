//! Chains of a team.

use rusqlite::named_params;

use crate::db::Tx;
use crate::model::{ResourceName, Team};

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
