//! Training projects of a team.

use rusqlite::named_params;

use crate::db::Tx;
use crate::model::{ResourceName, Team};

/// A new training project. A name that the team's projects have already is the caller's to tell.
pub(super) fn insert(tx: &Tx, team: &Team, name: &ResourceName) -> Result<String, rusqlite::Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO training_project (id, org_id, team_id, name, created_at, updated_at)
             VALUES (:id, :org_id, :team_id, :name, :now, :now)",
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
