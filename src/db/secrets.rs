//! Secrets of a team. Values go in sealed and never come out by the API.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::domain::secrets::{Discarded, Secret};
use crate::domain::{OrgId, SecretName, SecretValue, Team, Time};
use crate::error::Error;
use crate::policy::{InTeam, Operator, Reader};
use crate::seal::AssociatedData;

/// Gives every secret of the team to `each`, by name.
pub fn list(tx: &Tx, team: &InTeam, mut each: impl FnMut(Secret<'_>)) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, name, created_at
         FROM secret
         WHERE team_id = :team_id
         ORDER BY lookup",
    )?;
    let mut rows = query.query(named_params! { ":team_id": team.team().id })?;
    while let Some(row) = rows.next()? {
        each(from_row(row)?);
    }
    Ok(())
}

/// Creates the secret, or replaces its value and takes the spelling now given; its id stays.
pub fn upsert<T>(
    tx: &Tx,
    team: &InTeam,
    name: &SecretName,
    value: &SecretValue,
    show: impl FnOnce(Secret<'_>) -> T,
) -> Result<T, Error> {
    if let Some((id, created_at)) = same(tx, team.team(), name, value)? {
        return Ok(show(Secret { id: &id, name: name.as_str(), created_at }));
    }
    store(tx, team.team(), name, value, |secret| {
        record(tx, team, "SECRET_UPDATED", secret.id, secret.name)?;
        Ok(show(secret))
    })
}

/// The id of the secret, and when it was made, if it has this value and this spelling already: there is nothing to change.
fn same(tx: &Tx, team: &Team, name: &SecretName, value: &SecretValue) -> Result<Option<(String, Time)>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT secret.id, secret.version, secret.created_at, secret_value.sealed
         FROM secret JOIN secret_value ON secret_value.secret_id = secret.id
         WHERE secret.team_id = :team_id AND secret.lookup = :lookup AND secret.name = :name",
    )?;
    let params = named_params! { ":team_id": team.id, ":lookup": name.lookup(), ":name": name.as_str() };
    let mut rows = query.query(params)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (id, created_at): (String, Time) = (row.get("id")?, row.get("created_at")?);
    let associated =
        AssociatedData { org_id: &team.org_id, team_id: &team.id, secret_id: &id, name, version: row.get("version")? };
    let sealed: Vec<u8> = row.get("sealed")?;
    let kept = tx.sealer.open(associated, &sealed);
    let is_same = kept.is_some_and(|kept| bool::from(kept.expose().as_bytes().ct_eq(value.expose().as_bytes())));
    Ok(is_same.then_some((id, created_at)))
}

/// The same without an entry in the audit log, which is left to `then`.
pub(super) fn store<T>(
    tx: &Tx,
    team: &Team,
    name: &SecretName,
    value: &SecretValue,
    then: impl FnOnce(Secret<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut upsert = tx.sql.prepare_cached(
        "INSERT INTO secret (team_id, lookup, org_id, id, name, version, created_at, updated_at)
         VALUES (:team_id, :lookup, :org_id, :id, :name, 1, :now, :now)
         ON CONFLICT (team_id, lookup) DO UPDATE SET name = :name, version = version + 1, updated_at = :now
         RETURNING id, name, created_at, version",
    )?;
    let mut rows = upsert.query(named_params! {
        ":team_id": team.id,
        ":lookup": name.lookup(),
        ":org_id": team.org_id,
        ":id": tx.id(),
        ":name": name.as_str(),
        ":now": tx.now,
    })?;
    let row = rows.next()?.expect("an upsert returns its row");
    let secret = from_row(row)?;
    let name = SecretName::parse(secret.name)?;
    let associated = AssociatedData {
        org_id: &team.org_id,
        team_id: &team.id,
        secret_id: secret.id,
        name: &name,
        version: row.get("version")?,
    };
    let sealed = tx.sealer.seal(&mut tx.rng(), associated, value);
    tx.sql
        .prepare_cached(
            "INSERT INTO secret_value (secret_id, sealed)
             VALUES (:secret_id, :sealed)
             ON CONFLICT (secret_id) DO UPDATE SET sealed = :sealed",
        )?
        .execute(named_params! { ":secret_id": secret.id, ":sealed": sealed })?;
    then(secret)
}

/// Whether the team has a secret of this name.
pub fn exists(tx: &Tx, team: &dyn Reader, name: &SecretName) -> Result<bool, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM secret WHERE team_id = :team_id AND lookup = :lookup)")?;
    let params = named_params! { ":team_id": team.team().id, ":lookup": name.lookup() };
    Ok(query.query_row(params, |row| row.get(0))?)
}

/// Deletes the secret of this name; the spelling last given is in the answer.
pub fn delete(tx: &Tx, team: &InTeam, name: &SecretName) -> Result<SecretName, Error> {
    let deleted = tx
        .sql
        .prepare_cached(
            "DELETE FROM secret
             WHERE team_id = :team_id AND lookup = :lookup
             RETURNING id, name",
        )?
        .query_row(named_params! { ":team_id": team.team().id, ":lookup": name.lookup() }, |row| {
            Ok((row.get::<_, String>("id")?, row.get::<_, String>("name")?))
        })
        .optional()?;
    let (id, name) = deleted.ok_or(Error::NotFound("secret"))?;
    record(tx, team, "SECRET_DELETED", &id, &name)?;
    SecretName::parse(&name)
}

/// Drops the values of all secrets of the installation, which nothing can open any more. Their names stay.
pub(super) fn discard(tx: &Tx, operator: &Operator) -> Result<Discarded, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT secret.org_id, count(*), count(DISTINCT secret.team_id)
         FROM secret_value JOIN secret ON secret.id = secret_value.secret_id
         GROUP BY secret.org_id
         ORDER BY secret.org_id",
    )?;
    let rows = query.query_map([], |row| Ok((OrgId(row.get(0)?), row.get(1)?, row.get(2)?)))?;
    let mut discarded = Discarded { secrets: 0, teams: 0, organizations: 0 };
    for row in rows {
        let (org_id, secrets, teams): (OrgId, i64, i64) = row?;
        let event = Event::new("SECRETS_DISCARDED", json!({ "secrets": secrets, "teams": teams }));
        audit::record(tx, Actor::Operator(operator), &org_id, None, event)?;
        discarded.secrets += secrets;
        discarded.teams += teams;
        discarded.organizations += 1;
    }
    tx.sql.execute("DELETE FROM secret_value", [])?;
    Ok(discarded)
}

/// Columns by their associated, `id, name, created_at`: lists of secrets are the busiest of all.
fn from_row<'r>(row: &'r Row) -> Result<Secret<'r>, Error> {
    let text = |column| -> Result<&'r str, Error> {
        row.get_ref(column)?.as_str().map_err(|cause| Error::Internal(cause.to_string()))
    };
    Ok(Secret { id: text(0)?, name: text(1)?, created_at: row.get(2)? })
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, id: &str, name: &str) -> Result<(), Error> {
    let event = Event::new(event_type, json!({ "secret_id": id, "secret_name": name }));
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}
