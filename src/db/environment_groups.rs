//! Restricted environments of a team: who may change an environment of this name, of all its models and Chains.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;
use crate::model::{EnvironmentName, Team};
use crate::policy::Restriction;

/// A group that was made ahead of its first use, or that someone restricted. `None`: it is not restricted.
pub(super) fn insert(
    tx: &Tx,
    team: &Team,
    name: &EnvironmentName,
    restriction: Option<&Restriction>,
) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at)
             VALUES (:team_id, :name, :org_id, :is_restricted, :now)",
        )?
        .execute(named_params! {
            ":team_id": team.id,
            ":name": name.as_str(),
            ":org_id": team.org_id,
            ":is_restricted": restriction.is_some(),
            ":now": tx.now,
        })?;
    restriction.map_or(Ok(()), |restriction| insert_grants(tx, team, name, restriction))
}

/// The schema refuses a person who is no member of the team, and a key of another team.
pub(super) fn insert_grants(
    tx: &Tx,
    team: &Team,
    name: &EnvironmentName,
    restriction: &Restriction,
) -> Result<(), Error> {
    let mut grant = tx.sql.prepare_cached(
        "INSERT INTO environment_group_user (team_id, name, org_id, user_id)
         VALUES (:team_id, :name, :org_id, :user_id)",
    )?;
    for user_id in &restriction.users {
        grant.execute(named_params! {
            ":team_id": team.id, ":name": name.as_str(), ":org_id": team.org_id, ":user_id": user_id,
        })?;
    }
    let mut grant = tx.sql.prepare_cached(
        "INSERT INTO environment_group_key (team_id, name, org_id, prefix)
         VALUES (:team_id, :name, :org_id, :prefix)",
    )?;
    for prefix in &restriction.api_key_prefixes {
        grant.execute(named_params! {
            ":team_id": team.id, ":name": name.as_str(), ":org_id": team.org_id, ":prefix": prefix,
        })?;
    }
    Ok(())
}
