//! Members of a team.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;
use crate::model::{Team, UserId};
use crate::policy::TeamRole;

/// Makes a member of the organization a member of the team.
pub(super) fn insert(tx: &Tx, team: &Team, user_id: &UserId, role: TeamRole) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO team_member (org_id, team_id, user_id, role, created_at)
             VALUES (:org_id, :team_id, :user_id, :role, :now)",
        )?
        .execute(named_params! {
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":user_id": user_id,
            ":role": role.as_str(),
            ":now": tx.now,
        })?;
    Ok(())
}
