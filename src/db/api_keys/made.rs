//! The keys that a person created, directly or with keys that they created.
//!
//! The creator of a key may still know its text. A person who knows a key that manages keys also knows the keys created
//! with it. These keys belong to no person: they continue to work when their creator loses a role, and the person who
//! gets the role can revoke them.

use rusqlite::named_params;

use crate::db::audit::{self, Actor};
use crate::db::{Tx, environment_groups, key_events, teams};
use crate::domain::api_keys::{CreatedKeys, MadeKey};
use crate::domain::{OrgId, Team, UserId};
use crate::error::Error;
use crate::policy::{Caller, Category};

/// The keys that a person created in the organization, or in one team of it, and the keys that were created with those,
/// oldest first.
///
/// Keys created with a key that no longer works are included: they may still work.
pub(in crate::db) fn made_by(
    tx: &Tx,
    org_id: &OrgId,
    user_id: &UserId,
    team: Option<&Team>,
) -> Result<Vec<MadeKey>, Error> {
    let mut query = tx.sql.prepare_cached(
        "WITH RECURSIVE made (prefix) AS (
             SELECT prefix FROM api_key
             WHERE created_by = :user_id AND org_id = :org_id AND user_id IS NULL
             UNION
             SELECT api_key.prefix
             FROM made JOIN api_key ON api_key.created_by = made.prefix
             WHERE api_key.org_id = :org_id AND api_key.user_id IS NULL
         )
         SELECT api_key.prefix, api_key.name, api_key.category, api_key.team_id, api_key.created_by
         FROM made JOIN api_key USING (prefix)
         WHERE api_key.revoked_at IS NULL AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)
           AND (:team_id IS NULL OR api_key.team_id = :team_id)
         ORDER BY api_key.created_at, api_key.prefix",
    )?;
    let values = named_params! {
        ":user_id": user_id, ":org_id": org_id, ":team_id": team.map(|team| &team.id), ":now": tx.now,
    };
    let rows = query.query_map(values, |row| {
        let category: String = row.get("category")?;
        Ok(MadeKey {
            prefix: row.get("prefix")?,
            name: row.get("name")?,
            category: Category::parse(&category).expect("the schema holds no other category"),
            team_id: row.get("team_id")?,
            made_by: row.get("created_by")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Revokes these keys if `created_keys` says so, each with an entry in the audit log. Returns the keys that continue to
/// work.
pub(in crate::db) fn settle(
    tx: &Tx,
    caller: &Caller,
    made: Vec<MadeKey>,
    created_keys: CreatedKeys,
) -> Result<Vec<MadeKey>, Error> {
    if created_keys == CreatedKeys::Keep {
        return Ok(made);
    }
    for key in &made {
        tx.sql
            .prepare_cached("UPDATE api_key SET revoked_at = :now WHERE prefix = :prefix AND org_id = :org_id")?
            .execute(named_params! { ":now": tx.now, ":prefix": key.prefix, ":org_id": caller.org_id })?;
        let team = key.team_id.as_ref().map(|team_id| teams::find(tx, team_id.as_str())).transpose()?;
        if let Some(team) = &team {
            environment_groups::end_grants(tx, team, &key.prefix)?;
        }
        let event = key_events::event(tx, "API_KEY_DELETED", &key.prefix)?;
        audit::record(tx, Actor::Caller(caller), &caller.org_id, team.as_ref(), event)?;
    }
    Ok(Vec::new())
}
