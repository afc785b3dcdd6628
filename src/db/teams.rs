//! Teams.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::memo::Memo;
use crate::db::{Tx, key_events};
use crate::domain::{Icon, OrgId, Team, TeamId, TeamName, UserId};
use crate::error::{Conflict, Error};
use crate::policy::{Caller, InOrg, OrgRole, Person, Reader, Who};

/// The columns of a team, which [`from_row`] reads by name.
macro_rules! team_columns {
    () => {
        "team.id, team.org_id, team.name, team.icon, team.is_default, team.created_at"
    };
}
pub(super) use team_columns;

/// Lists the teams of the caller's organization in which the caller can have a role, the default team first, the others
/// by name. `policy` decides which of them the caller may see.
pub fn of_organization(tx: &Tx, caller: &Caller) -> Result<Vec<Team>, Error> {
    match &caller.who {
        Who::Person(Person { role: OrgRole::Admin, .. }) | Who::KeyManager { .. } => all(tx, &caller.org_id),
        Who::Person(person) => of_member(tx, &caller.org_id, &person.user_id),
        Who::TeamKey(key) => Ok(vec![find(tx, key.team_id.as_str())?]),
    }
}

fn all(tx: &Tx, org_id: &OrgId) -> Result<Vec<Team>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        team_columns!(),
        " FROM team WHERE org_id = :org_id ORDER BY is_default DESC, name_key"
    ))?;
    let rows = query.query_map(named_params! { ":org_id": org_id }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The teams that a person is a member of. They are selected by the person and sorted here, because an organization can
/// have many more teams.
fn of_member(tx: &Tx, org_id: &OrgId, user_id: &UserId) -> Result<Vec<Team>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        team_columns!(),
        ", team.name_key
             FROM team_member JOIN team ON team.id = team_member.team_id
             WHERE team_member.org_id = :org_id AND team_member.user_id = :user_id
             ORDER BY team_member.team_id"
    ))?;
    let at = query.column_index("name_key")?;
    let rows = query.query_map(named_params! { ":org_id": org_id, ":user_id": user_id }, |row| {
        Ok((row.get::<_, String>(at)?, from_row(row)?))
    })?;
    let mut teams: Vec<(String, Team)> = rows.collect::<Result<_, _>>()?;
    teams.sort_by(|(one_key, one), (other_key, other)| {
        other.is_default.cmp(&one.is_default).then_with(|| one_key.cmp(other_key))
    });
    Ok(teams.into_iter().map(|(_, team)| team).collect())
}

/// The team with this id, in any organization. `policy` decides whether the caller may see it.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no team has.
pub fn find(tx: &Tx, id: &str) -> Result<Team, Error> {
    Memo::team(tx.memo, id, || {
        let mut query = tx.sql.prepare_cached(concat!("SELECT ", team_columns!(), " FROM team WHERE id = :id"))?;
        query.query_row(named_params! { ":id": id }, from_row).optional()?.ok_or(Error::NotFound("team"))
    })
}

/// The organization's default team.
pub fn default(tx: &Tx, org_id: &OrgId) -> Result<Team, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        team_columns!(),
        " FROM team WHERE org_id = :org_id AND is_default = 1"
    ))?;
    Ok(query.query_row(named_params! { ":org_id": org_id }, from_row)?)
}

/// The team of a route that names none: the team of a team key, otherwise the default team.
pub fn own(tx: &Tx, caller: &Caller) -> Result<Team, Error> {
    match &caller.who {
        Who::TeamKey(key) => find(tx, key.team_id.as_str()),
        Who::Person(_) | Who::KeyManager { .. } => default(tx, &caller.org_id),
    }
}

/// Creates a team without members; organization admins have access to it implicitly.
///
/// # Errors
///
/// [`Error::Forbidden`] while teams are switched off in the organization; [`Error::Conflict`] for a name that is taken.
pub fn create(tx: &Tx, org: &InOrg, name: &TeamName, icon: Option<&Icon>) -> Result<Team, Error> {
    if !are_enabled(tx, org.org_id())? {
        return Err(Error::Forbidden(
            "teams are off in this organization: switch them on with PATCH /v1/organizations/me {\"teams_enabled\": true}"
                .to_owned(),
        ));
    }
    let team = insert(tx, org.org_id(), name, icon, DefaultTeam::No)?;
    let event = Event::new("TEAM_CREATED", json!({ "team_id": team.id.as_str(), "team_name": team.name }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), Some(&team), event)?;
    Ok(team)
}

fn are_enabled(tx: &Tx, org_id: &OrgId) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached("SELECT teams_enabled FROM organization WHERE id = :org_id")?;
    Ok(query.query_row(named_params! { ":org_id": org_id }, |row| row.get("teams_enabled"))?)
}

/// Whether a team is the default team, which every organization has.
pub enum DefaultTeam {
    Yes,
    No,
}

/// Inserts a team, without an entry in the audit log.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another team of the organization has.
pub(super) fn insert(
    tx: &Tx,
    org_id: &OrgId,
    name: &TeamName,
    icon: Option<&Icon>,
    default: DefaultTeam,
) -> Result<Team, Error> {
    let id = TeamId(tx.id());
    let inserted = tx
        .sql
        .prepare_cached(
            "INSERT INTO team (id, org_id, name, name_key, icon, is_default, created_at)
             VALUES (:id, :org_id, :name, :name_key, :icon, :is_default, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": org_id,
            ":name": name.as_str(),
            ":name_key": name.key(),
            ":icon": icon.map(Icon::as_str),
            ":is_default": matches!(default, DefaultTeam::Yes),
            ":now": tx.now,
        });
    taken(inserted, name)?;
    find(tx, id.as_str())
}

/// The requested changes of a team; `None` leaves a value as it is.
#[derive(Debug, Default)]
pub struct Change {
    pub name: Option<TeamName>,
    pub icon: Option<Option<Icon>>,
}

/// Renames a team or changes its icon. A change that changes nothing leaves no entry in the audit log.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another team of the organization has.
pub fn update(tx: &Tx, org: &InOrg, team: &Team, change: &Change) -> Result<Team, Error> {
    if change.name.is_none() && change.icon.is_none() {
        return Ok(team.clone());
    }
    let name = match &change.name {
        Some(name) => name.clone(),
        None => TeamName::parse(&team.name)?,
    };
    let icon = match &change.icon {
        Some(icon) => icon.as_ref().map(Icon::as_str),
        None => team.icon.as_deref(),
    };
    let changed = write(tx, org.org_id(), team, &name, icon)?;
    let event = Event::new(
        "TEAM_UPDATED",
        json!({
            "team_id": changed.id.as_str(),
            "team_name": changed.name,
            "previous_name": team.name,
            "icon": changed.icon,
            "previous_icon": team.icon,
        }),
    );
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), Some(&changed), event)?;
    Ok(changed)
}

/// Sets the name and icon of the team, without an entry in the audit log.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another team of the organization has.
pub(super) fn write(tx: &Tx, org_id: &OrgId, team: &Team, name: &TeamName, icon: Option<&str>) -> Result<Team, Error> {
    let updated = tx
        .sql
        .prepare_cached(
            "UPDATE team
             SET name = :name, name_key = :name_key, icon = :icon
             WHERE org_id = :org_id AND id = :id",
        )?
        .execute(named_params! {
            ":name": name.as_str(),
            ":name_key": name.key(),
            ":icon": icon,
            ":org_id": org_id,
            ":id": team.id,
        });
    taken(updated, name)?;
    find(tx, team.id.as_str())
}

/// How much a team has, which is deleted with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contents {
    pub models: i64,
    pub chains: i64,
    pub training_projects: i64,
    pub secrets: i64,
    pub api_keys: i64,
    pub members: i64,
}

/// Counts what a team has.
pub fn contents(tx: &Tx, team: &dyn Reader) -> Result<Contents, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT (SELECT count(*) FROM model WHERE team_id = :id AND chain_id IS NULL) AS models,
                (SELECT count(*) FROM chain WHERE team_id = :id) AS chains,
                (SELECT count(*) FROM training_project WHERE team_id = :id) AS training_projects,
                (SELECT count(*) FROM secret WHERE team_id = :id) AS secrets,
                (SELECT count(*) FROM api_key
                 WHERE team_id = :id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)) AS api_keys,
                (SELECT count(*) FROM team_member WHERE org_id = :org_id AND team_id = :id) AS members",
    )?;
    let params = named_params! { ":id": team.team().id, ":org_id": team.team().org_id, ":now": tx.now };
    Ok(query.query_row(params, |row| {
        Ok(Contents {
            models: row.get("models")?,
            chains: row.get("chains")?,
            training_projects: row.get("training_projects")?,
            secrets: row.get("secrets")?,
            api_keys: row.get("api_keys")?,
            members: row.get("members")?,
        })
    })?)
}

/// Whether a team is deleted together with its models, Chains and training projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNonEmpty {
    Refuse,
    Delete,
}

/// Deletes a team with its secrets, keys, restricted environments and memberships. The audit log has an entry for each
/// of them.
///
/// # Errors
///
/// [`Error::Conflict`] for the default team, and, with [`OnNonEmpty::Refuse`], for a team that holds models, Chains or
/// training projects: the error gives their counts.
pub fn delete(tx: &Tx, org: &InOrg, team: &Team, holding: OnNonEmpty) -> Result<(), Error> {
    if team.is_default {
        return Err(Error::conflict("the default team cannot be deleted, only renamed"));
    }
    let counts = tx
        .sql
        .prepare_cached(
            "SELECT (SELECT count(*) FROM model WHERE team_id = :id AND chain_id IS NULL) AS models,
                (SELECT count(*) FROM chain WHERE team_id = :id) AS chains,
                (SELECT count(*) FROM training_project WHERE team_id = :id) AS training_projects",
        )?
        .query_row(named_params! { ":id": team.id }, |row| {
            Ok([row.get::<_, i64>("models")?, row.get("chains")?, row.get("training_projects")?])
        })?;
    if holding == OnNonEmpty::Refuse && counts != [0, 0, 0] {
        return Err(still_holds(team, counts));
    }
    record_contents(tx, org, team)?;
    tx.sql
        .prepare_cached("DELETE FROM team WHERE org_id = :org_id AND id = :id")?
        .execute(named_params! { ":org_id": org.org_id(), ":id": team.id })?;
    let event = Event::new("TEAM_DELETED", json!({ "team_id": team.id.as_str(), "team_name": team.name }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), Some(team), event)
}

fn still_holds(team: &Team, [models, chains, training_projects]: [i64; 3]) -> Error {
    Error::Conflict(Conflict {
        message: format!(
            "team \"{}\" still holds {models} models, {chains} Chains and {training_projects} training projects: \
             delete them first, or send `force=true` to delete them with it",
            team.name
        ),
        details: Some(json!({ "models": models, "chains": chains, "training_projects": training_projects })),
    })
}

/// Records in the audit log one entry for each item that is deleted with the team.
fn record_contents(tx: &Tx, org: &InOrg, team: &Team) -> Result<(), Error> {
    // Each branch selects the event type, and its data in the format of Baseten.
    let mut query = tx.sql.prepare_cached(
        "SELECT 'MODEL_DELETED' AS event_type, json_object('model_id', id, 'model_name', name) AS data
         FROM model WHERE team_id = :id AND chain_id IS NULL
         UNION ALL
         SELECT 'CHAIN_DELETED', json_object('chain_id', id, 'chain_name', name, 'chain_deployment_name', NULL)
         FROM chain WHERE team_id = :id
         UNION ALL
         SELECT 'TRAINING_PROJECT_DELETED', json_object('training_project_id', id, 'training_project_name', name)
         FROM training_project WHERE team_id = :id
         UNION ALL
         SELECT 'SECRET_DELETED', json_object('secret_id', id, 'secret_name', name)
         FROM secret WHERE team_id = :id
         UNION ALL
         SELECT 'ENVIRONMENT_GROUP_DELETED', json_object('environment_name', name)
         FROM environment_group WHERE team_id = :id
         UNION ALL
         SELECT 'TEAM_MEMBER_REMOVED', json_object('user_id', team_member.user_id, 'user_email', user.email)
         FROM team_member JOIN user ON user.id = team_member.user_id
         WHERE team_member.org_id = :org_id AND team_member.team_id = :id",
    )?;
    let rows = query.query_map(named_params! { ":id": team.id, ":org_id": org.org_id() }, |row| {
        Ok((row.get::<_, String>("event_type")?, row.get::<_, String>("data")?))
    })?;
    let events = rows.collect::<Result<Vec<_>, _>>()?;
    for (event_type, data) in events {
        audit::record_text(tx, Actor::Caller(org.caller()), org.org_id(), Some(team), &event_type, &data)?;
    }
    key_events::record_end_with_team(tx, org, team)
}

/// Turns the violation of the unique team name into [`Error::Conflict`].
fn taken(written: rusqlite::Result<usize>, name: &TeamName) -> Result<(), Error> {
    match written {
        Err(cause) if Error::is_unique_violation(&cause) => Err(Error::conflict(format!(
            "a team named \"{}\" exists in this organization: choose another name",
            name.as_str()
        ))),
        other => Ok(other.map(drop)?),
    }
}

/// Reads the columns of `team_columns` by name.
pub(super) fn from_row(row: &Row) -> rusqlite::Result<Team> {
    Ok(Team {
        id: row.get("id")?,
        org_id: row.get("org_id")?,
        name: row.get("name")?,
        icon: row.get("icon")?,
        is_default: row.get("is_default")?,
        created_at: row.get("created_at")?,
    })
}
