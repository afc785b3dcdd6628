//! Model APIs: which entries of the catalogue, which is the same for all organizations, an organization has added.

use std::collections::HashMap;

use rusqlite::named_params;

use crate::db::Tx;
use crate::domain::model_apis::Added;
use crate::error::Error;
use crate::policy::InTeam;

/// The Model APIs that the organization has added, by name.
pub fn added(tx: &Tx, team: &InTeam) -> Result<HashMap<String, Added>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name, added_at, last_used_at
         FROM model_api
         WHERE org_id = :org_id
         ORDER BY name",
    )?;
    let rows = query.query_map(named_params! { ":org_id": team.team().org_id }, |row| {
        Ok((row.get("name")?, Added { added_at: row.get("added_at")?, last_used_at: row.get("last_used_at")? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
