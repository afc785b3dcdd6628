//! Audit log entries about API keys.

use rusqlite::named_params;
use serde_json::json;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::domain::Team;
use crate::error::Error;
use crate::policy::InOrg;

/// The audit log entry of a key. It uses the key types of Baseten and never contains the key itself.
pub(super) fn event(tx: &Tx, event_type: &'static str, prefix: &str) -> Result<Event, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT CASE category
                    WHEN 'PERSONAL' THEN 'PERSONAL'
                    WHEN 'WORKSPACE_MANAGE_ALL' THEN 'CREATOR_SERVICE_ACCOUNT'
                    WHEN 'WORKSPACE_MANAGE_API_KEYS' THEN 'MANAGE_API_KEYS_SERVICE_ACCOUNT'
                    WHEN 'WORKSPACE_INVOKE' THEN
                        CASE WHEN narrowed_to_environments THEN 'INVOKE_SCOPED_ENVS_AND_MODELS_SERVICE_ACCOUNT'
                             WHEN narrowed_to_models THEN 'INVOKE_ALLOWED_MODELS_SERVICE_ACCOUNT'
                             ELSE 'INVOKE_ALL_MODELS_SERVICE_ACCOUNT' END
                    WHEN 'WORKSPACE_EXPORT_METRICS' THEN
                        CASE WHEN narrowed_to_models THEN 'EXPORT_METRICS_ALLOWED_MODELS_SERVICE_ACCOUNT'
                             ELSE 'EXPORT_METRICS_ALL_MODELS_SERVICE_ACCOUNT' END
                END AS api_key_type
         FROM api_key
         WHERE prefix = :prefix",
    )?;
    let api_key_type: String = query.query_row(named_params! { ":prefix": prefix }, |row| row.get("api_key_type"))?;
    Ok(Event::new(event_type, json!({ "api_key_id": prefix, "api_key_type": api_key_type, "prefix": prefix })))
}

/// Records in the audit log the keys that end together with their team, before the team is deleted.
pub(super) fn record_end_with_team(tx: &Tx, org: &InOrg, team: &Team) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT prefix
         FROM api_key
         WHERE org_id = :org_id AND team_id = :team_id
           AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
         ORDER BY created_at, prefix",
    )?;
    let rows = query
        .query_map(named_params! { ":org_id": org.org_id(), ":team_id": team.id, ":now": tx.now }, |row| {
            row.get("prefix")
        })?;
    let prefixes: Vec<String> = rows.collect::<Result<_, _>>()?;
    for prefix in prefixes {
        let event = event(tx, "API_KEY_DELETED", &prefix)?;
        audit::record(tx, Actor::Caller(org.caller()), org.org_id(), Some(team), event)?;
    }
    Ok(())
}
