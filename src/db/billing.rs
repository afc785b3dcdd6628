//! Usage and its cost. The organization is billed, not its teams.

use rusqlite::{Row, named_params};

use crate::db::Tx;
use crate::domain::billing::{Amount, Day, Kind, Resource, Used, Window};
use crate::error::Error;
use crate::policy::InOrg;

/// What the organization used in this window, highest cost first.
pub fn usage(tx: &Tx, org: &InOrg, window: &Window) -> Result<Vec<Used>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT kind, resource_id, resource_name, model_id, model_name, environment, instance_type, day,
                minutes, requests, input_tokens, output_tokens, cached_tokens, micro_usd,
                CASE WHEN (SELECT count(*) FROM team WHERE org_id = :org_id) > 1 THEN team_id END AS team_id,
                coalesce((SELECT name FROM team WHERE id = usage.team_id), team_name) AS team_name,
                CASE kind
                    WHEN 'MODEL_DEPLOYMENT' THEN NOT EXISTS (
                        SELECT 1 FROM model WHERE org_id = :org_id AND id = coalesce(model_id, resource_id))
                    WHEN 'CHAINLET' THEN NOT EXISTS (
                        SELECT 1 FROM chain WHERE org_id = :org_id AND id = coalesce(model_id, resource_id))
                    WHEN 'TRAINING_JOB' THEN NOT EXISTS (
                        SELECT 1 FROM training_project WHERE org_id = :org_id AND id = coalesce(model_id, resource_id))
                    ELSE 0
                END AS is_deleted
         FROM usage
         WHERE org_id = :org_id AND day BETWEEN :first_day AND :last_day
         ORDER BY kind, resource_id, day",
    )?;
    let mut rows = query.query(named_params! {
        ":org_id": org.org_id(),
        ":first_day": window.first_day(),
        ":last_day": window.last_day(),
    })?;
    let mut usage: Vec<Used> = Vec::new();
    while let Some(row) = rows.next()? {
        let (resource, day) = (resource_from_row(row)?, day_from_row(row)?);
        match usage.last_mut().filter(|used| used.resource.kind == resource.kind && used.resource.id == resource.id) {
            Some(used) => {
                used.resource = resource;
                used.days.push(day);
            }
            None => usage.push(Used { resource, days: vec![day] }),
        }
    }
    usage.sort_by_key(|used| std::cmp::Reverse(used.total().micro_usd));
    Ok(usage)
}

fn resource_from_row(row: &Row) -> Result<Resource, Error> {
    let kind: String = row.get("kind")?;
    let team = row.get::<_, Option<String>>("team_id")?.zip(row.get("team_name")?);
    Ok(Resource {
        kind: Kind::parse(&kind).expect("the schema holds the four kinds"),
        id: row.get("resource_id")?,
        name: row.get("resource_name")?,
        parent_id: row.get("model_id")?,
        parent_name: row.get("model_name")?,
        is_deleted: row.get("is_deleted")?,
        team,
        environment: row.get("environment")?,
        instance_type: row.get("instance_type")?,
    })
}

fn day_from_row(row: &Row) -> Result<Day, Error> {
    let amount = Amount {
        micro_usd: row.get("micro_usd")?,
        minutes: row.get("minutes")?,
        requests: row.get("requests")?,
        input_tokens: row.get("input_tokens")?,
        output_tokens: row.get("output_tokens")?,
        cached_tokens: row.get("cached_tokens")?,
    };
    Ok(Day { date: row.get("day")?, amount })
}
