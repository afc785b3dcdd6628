//! Lists of the keys that work, as a caller sees them.

use rusqlite::{Row, ToSql};
use serde_json::json;

use crate::db::{Tx, endings};
use crate::domain::api_keys::{Holder, Key};
use crate::domain::{EnvironmentName, Team, TeamId, User};
use crate::error::Error;
use crate::policy::keys::KeysSeen;
use crate::policy::{Caller, Category, InTeam};

/// Selects keys from a list. `None` selects all.
#[derive(Debug)]
pub struct Filter<'a> {
    /// The category's name in the HTTP interface.
    pub category: Option<&'a str>,
    /// A person's id or a key's prefix.
    pub created_by: Option<&'a str>,
}

/// Passes each key that works and that the caller may see to `each`, newest first.
pub fn list(tx: &Tx, caller: &Caller, filter: &Filter, each: impl FnMut(Key)) -> Result<(), Error> {
    let org_id = &caller.org_id;
    match caller.keys_seen() {
        KeysSeen::All => select(tx, filter, "api_key.org_id = :org_id", &[(":org_id", org_id)], each),
        KeysSeen::OwnAndOf(user_id, teams) => {
            let team_ids = json!(teams.into_iter().map(TeamId::as_str).collect::<Vec<_>>()).to_string();
            let which = "api_key.hash IN (
                             SELECT hash FROM api_key
                             WHERE org_id = :org_id AND user_id = :user_id AND revoked_at IS NULL
                             UNION ALL
                             SELECT hash FROM api_key
                             WHERE org_id = :org_id AND team_id IN (SELECT value FROM json_each(:team_ids))
                               AND revoked_at IS NULL
                         )";
            let values: &[(&str, &dyn ToSql)] = &[(":org_id", org_id), (":user_id", user_id), (":team_ids", &team_ids)];
            select(tx, filter, which, values, each)
        }
        KeysSeen::OfTeamsAnd(prefix) => {
            let which = "api_key.org_id = :org_id AND (api_key.team_id IS NOT NULL OR api_key.prefix = :prefix)";
            select(tx, filter, which, &[(":org_id", org_id), (":prefix", &prefix)], each)
        }
        KeysSeen::Itself(prefix) => {
            let which = "api_key.org_id = :org_id AND api_key.prefix = :prefix";
            select(tx, filter, which, &[(":org_id", org_id), (":prefix", &prefix)], each)
        }
    }
}

/// Passes each key of one team that works to `each`, newest first.
pub fn list_of_team(tx: &Tx, team: &InTeam, filter: &Filter, each: impl FnMut(Key)) -> Result<(), Error> {
    let Team { id, org_id, .. } = team.team();
    let which = "api_key.org_id = :org_id AND api_key.team_id = :team_id";
    select(tx, filter, which, &[(":org_id", org_id), (":team_id", id)], each)
}

/// The key with this prefix that works.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such key or the caller may not see it.
pub fn find(tx: &Tx, caller: &Caller, prefix: &str) -> Result<Key, Error> {
    let anything = Filter { category: None, created_by: None };
    let mut found = None;
    let which = "api_key.org_id = :org_id AND api_key.prefix = :prefix";
    let values: &[(&str, &dyn ToSql)] = &[(":org_id", &caller.org_id), (":prefix", &prefix)];
    select(tx, &anything, which, values, |key| found = Some(key))?;
    found.filter(|key: &Key| caller.keys_seen().holds(prefix, key.kind())).ok_or(Error::NotFound("API key"))
}

/// Passes the keys that work and match the condition `which` to `each`, newest first.
fn select(
    tx: &Tx,
    filter: &Filter,
    which: &str,
    values: &[(&str, &dyn ToSql)],
    mut each: impl FnMut(Key),
) -> Result<(), Error> {
    endings::look(tx)?;
    let mut query = tx.sql.prepare_cached(&format!(
        "SELECT api_key.prefix, api_key.org_id, api_key.category, api_key.name, api_key.created_at,
                api_key.last_used_at, api_key.expires_at, api_key.replaced_by,
                CASE WHEN api_key.narrowed_to_environments THEN (
                    SELECT json_group_array(environment ORDER BY environment)
                    FROM api_key_environment
                    WHERE api_key_environment.prefix = api_key.prefix
                ) END AS environments,
                CASE WHEN api_key.narrowed_to_models THEN (
                    SELECT json_group_array(model_id ORDER BY model_id)
                    FROM api_key_model
                    WHERE api_key_model.prefix = api_key.prefix
                ) END AS model_ids,
                user.id AS user_id, user.email AS user_email, user.name AS user_name,
                team.id AS team_id, team.name AS team_name, team.icon AS team_icon,
                team.is_default AS team_is_default, team.created_at AS team_created_at
         FROM api_key
         LEFT JOIN user ON user.id = api_key.user_id
         LEFT JOIN team ON team.id = api_key.team_id
         WHERE {which}
           AND api_key.revoked_at IS NULL
           AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)
           AND (:category IS NULL OR api_key.category = :category)
           AND (:created_by IS NULL OR api_key.created_by = :created_by)
         ORDER BY api_key.created_at DESC, api_key.prefix"
    ))?;
    let filters: [(&str, &dyn ToSql); 3] =
        [(":now", &tx.now), (":category", &filter.category), (":created_by", &filter.created_by)];
    let mut rows = query.query(&*[values, &filters].concat())?;
    while let Some(row) = rows.next()? {
        each(from_row(row)?);
    }
    Ok(())
}

fn from_row(row: &Row) -> Result<Key, Error> {
    Ok(Key {
        prefix: row.get("prefix")?,
        org_id: row.get("org_id")?,
        holder: holder(row)?,
        name: row.get("name")?,
        model_ids: narrowing(row, "model_ids")?,
        environments: narrowing(row, "environments")?.map(environments),
        created_at: row.get("created_at")?,
        last_used_at: row.get("last_used_at")?,
        expires_at: row.get("expires_at")?,
        replaced_by: row.get("replaced_by")?,
    })
}

/// The names that a narrowed key is narrowed to. `None` if the key is not narrowed.
fn narrowing(row: &Row, column: &str) -> Result<Option<Vec<String>>, Error> {
    let names: Option<String> = row.get(column)?;
    Ok(names.map(|names| serde_json::from_str(&names).expect("SQLite wrote an array of text")))
}

fn environments(names: Vec<String>) -> Vec<EnvironmentName> {
    let parse =
        |name: &String| EnvironmentName::parse("environments", name).expect("it was checked when it was stored");
    names.iter().map(parse).collect()
}

fn holder(row: &Row) -> Result<Holder, Error> {
    let category: String = row.get("category")?;
    let category = Category::parse(&category).expect("the schema holds no other category");
    Ok(match category {
        Category::Personal => {
            Holder::Person(User { id: row.get("user_id")?, email: row.get("user_email")?, name: row.get("user_name")? })
        }
        Category::Team(category) => Holder::Team(
            category,
            Team {
                id: row.get("team_id")?,
                org_id: row.get("org_id")?,
                name: row.get("team_name")?,
                icon: row.get("team_icon")?,
                is_default: row.get("team_is_default")?,
                created_at: row.get("team_created_at")?,
            },
        ),
        Category::ManageApiKeys => Holder::Organization,
    })
}
