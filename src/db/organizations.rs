//! Organizations.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::db::teams::{self, DefaultTeam};
use crate::domain::{OrgId, Organization, Team, TeamName, UserId};
use crate::error::Error;
use crate::policy::{InOrg, Operator};

/// The caller's own organization.
pub fn own(tx: &Tx, org: &InOrg) -> Result<Organization, Error> {
    find(tx, org.org_id())
}

/// The organization with this id, which must exist.
pub(super) fn find(tx: &Tx, id: &OrgId) -> Result<Organization, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, name, teams_enabled, created_at
         FROM organization
         WHERE id = :id",
    )?;
    Ok(query.query_row(named_params! { ":id": id }, from_row)?)
}

/// The organization with this name, ignoring case.
pub(super) fn of_name(tx: &Tx, name: &TeamName) -> Result<Option<Organization>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, name, teams_enabled, created_at
         FROM organization
         WHERE name_key = :name_key",
    )?;
    Ok(query.query_row(named_params! { ":name_key": name.key() }, from_row).optional()?)
}

/// The organizations that a person is in, by name.
pub(super) fn of_person(tx: &Tx, user_id: &UserId) -> Result<Vec<Organization>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT organization.id, organization.name, organization.teams_enabled, organization.created_at
         FROM org_member JOIN organization ON organization.id = org_member.org_id
         WHERE org_member.user_id = :user_id
         ORDER BY organization.name_key",
    )?;
    Ok(query.query_map(named_params! { ":user_id": user_id }, from_row)?.collect::<Result<_, _>>()?)
}

/// How many organizations the installation holds.
pub fn count(tx: &Tx) -> Result<i64, Error> {
    Ok(tx.sql.query_row("SELECT count(*) FROM organization", [], |row| row.get(0))?)
}

/// Creates an organization with its default team, named "Default". Its people are added afterwards.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another organization has.
pub fn create(
    tx: &Tx,
    operator: &Operator,
    name: &TeamName,
    teams_enabled: bool,
) -> Result<(Organization, Team), Error> {
    let id = OrgId(tx.id());
    let inserted = tx
        .sql
        .prepare_cached(
            "INSERT INTO organization (id, name, name_key, teams_enabled, created_at)
             VALUES (:id, :name, :name_key, :teams_enabled, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":name": name.as_str(),
            ":name_key": name.key(),
            ":teams_enabled": teams_enabled,
            ":now": tx.now,
        });
    taken(inserted, name)?;
    let default_team = teams::insert(tx, &id, &TeamName::parse("Default")?, None, DefaultTeam::Yes)?;
    let organization = find(tx, &id)?;
    let event =
        Event::new("ORGANIZATION_CREATED", json!({ "organization_id": id.as_str(), "name": organization.name }));
    audit::record(tx, Actor::Operator(operator), &id, None, event)?;
    Ok((organization, default_team))
}

/// The requested changes of an organization; `None` leaves a value as it is.
#[derive(Debug, Default)]
pub struct Change {
    pub name: Option<TeamName>,
    pub teams_enabled: Option<bool>,
}

/// Renames the organization, or switches teams on or off. Switching teams on moves nothing.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another organization has, and for switching teams off while the organization has
/// teams other than the default team.
pub fn update(tx: &Tx, org: &InOrg, change: &Change) -> Result<Organization, Error> {
    if let Some(name) = &change.name {
        rename(tx, org, name)?;
    }
    if let Some(enabled) = change.teams_enabled {
        switch_teams(tx, org, enabled)?;
    }
    own(tx, org)
}

fn rename(tx: &Tx, org: &InOrg, name: &TeamName) -> Result<(), Error> {
    let previous = own(tx, org)?;
    if previous.name == name.as_str() {
        return Ok(());
    }
    let updated = tx
        .sql
        .prepare_cached("UPDATE organization SET name = :name, name_key = :name_key WHERE id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":name_key": name.key(), ":id": org.org_id() });
    taken(updated, name)?;
    let event = Event::new("ORGANIZATION_UPDATED", json!({ "name": name.as_str(), "previous_name": previous.name }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)
}

fn switch_teams(tx: &Tx, org: &InOrg, enabled: bool) -> Result<(), Error> {
    if own(tx, org)?.teams_enabled == enabled {
        return Ok(());
    }
    let others: i64 = tx
        .sql
        .prepare_cached("SELECT count(*) FROM team WHERE org_id = :org_id AND is_default = 0")?
        .query_row(named_params! { ":org_id": org.org_id() }, |row| row.get(0))?;
    if !enabled && others > 0 {
        return Err(Error::conflict(format!(
            "teams can be switched off only while the default team is the only one: delete the other {others} first"
        )));
    }
    tx.sql
        .prepare_cached("UPDATE organization SET teams_enabled = :enabled WHERE id = :id")?
        .execute(named_params! { ":enabled": enabled, ":id": org.org_id() })?;
    let event_type = if enabled { "TEAMS_ENABLED" } else { "TEAMS_DISABLED" };
    let event = Event::new(event_type, json!({ "organization_id": org.org_id().as_str() }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)
}

fn taken(written: rusqlite::Result<usize>, name: &TeamName) -> Result<(), Error> {
    match written {
        Err(cause) if Error::is_unique_violation(&cause) => {
            Err(Error::conflict(format!("an organization named \"{}\" exists: choose another name", name.as_str())))
        }
        other => Ok(other.map(drop)?),
    }
}

fn from_row(row: &Row) -> rusqlite::Result<Organization> {
    Ok(Organization {
        id: row.get("id")?,
        name: row.get("name")?,
        teams_enabled: row.get("teams_enabled")?,
        created_at: row.get("created_at")?,
    })
}
