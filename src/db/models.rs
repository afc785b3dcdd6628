//! Models of a team.

use rusqlite::named_params;

use crate::db::Tx;
use crate::model::{ResourceName, Team};

/// A new model, with the environment `production` that every model has. A name that the team's models have already is
/// the caller's to tell.
pub(super) fn insert(
    tx: &Tx,
    team: &Team,
    name: &ResourceName,
    instance_type: &str,
) -> Result<String, rusqlite::Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO model (id, org_id, team_id, name, instance_type, created_at)
             VALUES (:id, :org_id, :team_id, :name, :instance_type, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":name": name.as_str(),
            ":instance_type": instance_type,
            ":now": tx.now,
        })?;
    insert_environment(tx, team, &id, "production")?;
    Ok(id)
}

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
