//! Secrets of a team. Their values are stored sealed, and the API never returns them.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::db::positions::columns;
use crate::domain::secrets::{Discarded, Secret};
use crate::domain::{OrgId, SecretName, SecretValue, Team, TeamId, Time};
use crate::error::Error;
use crate::policy::{InTeam, Operator, Reader};
use crate::seal::AssociatedData;

/// Passes each secret of the team to `each`, in the order of their names.
pub fn list(tx: &Tx, team: &InTeam, mut each: impl FnMut(Secret<'_>)) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, name, created_at
         FROM secret
         WHERE team_id = :team_id
         ORDER BY lookup",
    )?;
    let at = SecretColumns::of(&query)?;
    let mut rows = query.query(named_params! { ":team_id": team.team().id })?;
    while let Some(row) = rows.next()? {
        each(from_row(row, at)?);
    }
    Ok(())
}

/// Creates the secret, or replaces its value and takes over the given spelling of its name; its id stays. A secret that
/// has this value and spelling already is left as it is.
pub fn upsert<T>(
    tx: &Tx,
    team: &InTeam,
    name: &SecretName,
    value: &SecretValue,
    show: impl FnOnce(Secret<'_>) -> T,
) -> Result<T, Error> {
    let before = stored(tx, team.team(), name)?;
    if let Some(before) = before.as_ref().filter(|before| before.holds(tx, team.team(), name, value)) {
        return Ok(show(before.as_secret(name)));
    }
    let after = write(tx, team.team(), name, value, before)?;
    record(tx, team, "SECRET_UPDATED", &after.id, name.as_str())?;
    Ok(show(after.as_secret(name)))
}

/// Creates the secret or replaces its value, without an entry in the audit log.
pub(super) fn store(tx: &Tx, team: &Team, name: &SecretName, value: &SecretValue) -> Result<(), Error> {
    let before = stored(tx, team, name)?;
    write(tx, team, name, value, before).map(drop)
}

/// The value of the team's secret of this name. `None` if there is no such secret, or its value was discarded. Only for
/// what the server itself does for the team: no reply contains it.
pub(super) fn value(tx: &Tx, team: &Team, name: &SecretName) -> Result<Option<SecretValue>, Error> {
    let Some(stored) = stored(tx, team, name)? else { return Ok(None) };
    let Some(sealed) = &stored.sealed else { return Ok(None) };
    let spelled = SecretName::parse(&stored.name)?;
    let opened = tx.sealer.open(stored.associated_data(team, &spelled), sealed);
    opened.map(Some).ok_or_else(|| Error::Defect("a secret does not open under the master key".to_owned()))
}

/// A secret as the database holds it.
struct Stored {
    id: String,
    name: String,
    version: i64,
    created_at: Time,
    /// `None` after the values of the installation were discarded.
    sealed: Option<Vec<u8>>,
}

impl Stored {
    /// Whether the secret has this spelling and this value.
    fn holds(&self, tx: &Tx, team: &Team, name: &SecretName, value: &SecretValue) -> bool {
        let Some(sealed) = self.sealed.as_ref().filter(|_| self.name == name.as_str()) else { return false };
        let kept = tx.sealer.open(self.associated_data(team, name), sealed);
        kept.is_some_and(|kept| bool::from(kept.expose().as_bytes().ct_eq(value.expose().as_bytes())))
    }

    fn associated_data<'a>(&'a self, team: &'a Team, name: &'a SecretName) -> AssociatedData<'a> {
        AssociatedData { org_id: &team.org_id, team_id: &team.id, secret_id: &self.id, name, version: self.version }
    }

    fn as_secret<'a>(&'a self, name: &'a SecretName) -> Secret<'a> {
        Secret { id: &self.id, name: name.as_str(), created_at: self.created_at }
    }
}

fn stored(tx: &Tx, team: &Team, name: &SecretName) -> Result<Option<Stored>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT secret.id, secret.name, secret.version, secret.created_at, secret_value.sealed
         FROM secret LEFT JOIN secret_value ON secret_value.secret_id = secret.id
         WHERE secret.team_id = :team_id AND secret.lookup = :lookup",
    )?;
    let found = query.query_row(named_params! { ":team_id": team.id, ":lookup": name.lookup() }, |row| {
        Ok(Stored {
            id: row.get("id")?,
            name: row.get("name")?,
            version: row.get("version")?,
            created_at: row.get("created_at")?,
            sealed: row.get("sealed")?,
        })
    });
    Ok(found.optional()?)
}

/// Writes the secret and its value, sealed for its next version. It does not use `RETURNING`, for which SQLite creates
/// a table in memory each time.
fn write(
    tx: &Tx,
    team: &Team,
    name: &SecretName,
    value: &SecretValue,
    before: Option<Stored>,
) -> Result<Stored, Error> {
    let after = match before {
        Some(before) => update(tx, team, name, before)?,
        None => insert(tx, team, name)?,
    };
    let sealed = tx.sealer.seal(&mut tx.rng(), after.associated_data(team, name), value);
    tx.sql
        .prepare_cached(
            "INSERT INTO secret_value (secret_id, sealed)
             VALUES (:secret_id, :sealed)
             ON CONFLICT (secret_id) DO UPDATE SET sealed = :sealed",
        )?
        .execute(named_params! { ":secret_id": after.id, ":sealed": sealed })?;
    Ok(after)
}

fn insert(tx: &Tx, team: &Team, name: &SecretName) -> Result<Stored, Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO secret (team_id, lookup, org_id, id, name, version, created_at, updated_at)
             VALUES (:team_id, :lookup, :org_id, :id, :name, 1, :now, :now)",
        )?
        .execute(named_params! {
            ":team_id": team.id,
            ":lookup": name.lookup(),
            ":org_id": team.org_id,
            ":id": id,
            ":name": name.as_str(),
            ":now": tx.now,
        })?;
    Ok(Stored { id, name: name.as_str().to_owned(), version: 1, created_at: tx.now, sealed: None })
}

fn update(tx: &Tx, team: &Team, name: &SecretName, before: Stored) -> Result<Stored, Error> {
    let version = before.version + 1;
    tx.sql
        .prepare_cached(
            "UPDATE secret
             SET name = :name, version = :version, updated_at = :now
             WHERE team_id = :team_id AND lookup = :lookup",
        )?
        .execute(named_params! {
            ":name": name.as_str(),
            ":version": version,
            ":now": tx.now,
            ":team_id": team.id,
            ":lookup": name.lookup(),
        })?;
    Ok(Stored { name: name.as_str().to_owned(), version, ..before })
}

/// Whether the team has a secret of this name.
pub fn exists(tx: &Tx, team: &dyn Reader, name: &SecretName) -> Result<bool, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM secret WHERE team_id = :team_id AND lookup = :lookup)")?;
    let params = named_params! { ":team_id": team.team().id, ":lookup": name.lookup() };
    Ok(query.query_row(params, |row| row.get(0))?)
}

/// The values of all secrets of a team, by [`SecretName::lookup`], for what runs in the team. A secret whose value was discarded is
/// left out.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn values(tx: &Tx, org_id: &OrgId, team_id: &TeamId) -> Result<BTreeMap<String, SecretValue>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT secret.id, secret.name, secret.version, secret_value.sealed
         FROM secret JOIN secret_value ON secret_value.secret_id = secret.id
         WHERE secret.org_id = :org_id AND secret.team_id = :team_id
         ORDER BY secret.lookup",
    )?;
    let mut rows = query.query(named_params! { ":org_id": org_id, ":team_id": team_id })?;
    let mut values = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (secret_id, version): (String, i64) = (row.get("id")?, row.get("version")?);
        let name = SecretName::parse(&row.get::<_, String>("name")?)?;
        let associated = AssociatedData { org_id, team_id, secret_id: &secret_id, name: &name, version };
        match tx.sealer.open(associated, &row.get::<_, Vec<u8>>("sealed")?) {
            Some(value) => drop(values.insert(name.lookup(), value)),
            None => tracing::error!(secret_id, "a secret cannot be opened"),
        }
    }
    Ok(values)
}

/// A mark of the secrets of a team, which differs after each change of them.
///
/// # Errors
///
/// [`Error`] of the database.
pub fn mark(tx: &Tx, team_id: &TeamId) -> Result<Mark, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*), total(secret.version), max(secret.created_at), count(secret_value.secret_id),
                max(secret.updated_at)
         FROM secret LEFT JOIN secret_value ON secret_value.secret_id = secret.id
         WHERE secret.team_id = :team_id",
    )?;
    Ok(query.query_row(named_params! { ":team_id": team_id }, |row| {
        Ok(Mark(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?)
}

/// A state of the secrets of a team. See [`mark`].
#[derive(Clone, Debug, PartialEq)]
pub struct Mark(i64, f64, Option<i64>, i64, Option<i64>);

/// Deletes the secret of this name. Returns the last given spelling of the name.
///
/// # Errors
///
/// [`Error::NotFound`] for a name that no secret of the team has.
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

/// Deletes the values of all secrets of the installation, which can no longer be decrypted. The names of the secrets
/// stay.
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
    // An upstream whose credential cannot be opened answers nothing: the operator adds it again.
    tx.sql.execute("DELETE FROM model_api_upstream WHERE sealed IS NOT NULL", [])?;
    Ok(discarded)
}

columns! { SecretColumns: id name created_at }

fn from_row<'r>(row: &'r Row, at: SecretColumns) -> Result<Secret<'r>, Error> {
    let text = |column| -> Result<&'r str, Error> {
        row.get_ref(column)?.as_str().map_err(|cause| Error::Internal(cause.to_string()))
    };
    Ok(Secret { id: text(at.id)?, name: text(at.name)?, created_at: row.get(at.created_at)? })
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, id: &str, name: &str) -> Result<(), Error> {
    let event = Event::new(event_type, json!({ "secret_id": id, "secret_name": name }));
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}
