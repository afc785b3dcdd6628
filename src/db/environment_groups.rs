//! Restricted environments of a team: who may change the environments with a certain name, of all models and Chains of
//! the team.
//!
//! A group exists if a model or a Chain of the team has an environment with its name, or if the group was created
//! itself. Only a group that was created or restricted has a row. The grant of a key is valid while the key works.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, users};
use crate::domain::environment_groups::{Access, Group};
use crate::domain::{EnvironmentName, Team, UserId};
use crate::error::{Error, quoted};
use crate::policy::{Deployer, InEnvironment, InTeam, Reader, Restriction};

/// Who may change an environment, as a request sets it.
#[derive(Debug)]
pub enum ManageAccess {
    Unrestricted,
    /// A list that is `None` stays as it is.
    Restricted {
        user_ids: Option<Vec<String>>,
        api_key_prefixes: Option<Vec<String>>,
    },
}

/// What a write changes, with the proof for each environment.
#[derive(Clone, Debug)]
pub enum Touched<'a> {
    /// No environment. A resource that is in no environment belongs to the whole team.
    Team(InTeam<'a>),
    /// At least one environment.
    Environments(Vec<InEnvironment<'a>>),
}

impl<'a> Touched<'a> {
    pub fn reader(&self) -> &(dyn Reader + 'a) {
        match self {
            Touched::Team(team) => team,
            Touched::Environments(environments) => &environments[0],
        }
    }

    pub fn environments(&self) -> &[InEnvironment<'a>] {
        match self {
            Touched::Team(_) => &[],
            Touched::Environments(environments) => environments,
        }
    }

    /// The proof for the environment with this name.
    pub fn environment(&self, name: &str) -> Option<&InEnvironment<'a>> {
        self.environments().iter().find(|proof| proof.name().as_str() == name)
    }
}

/// Gets the proof that the caller may change this environment of the team.
///
/// # Errors
///
/// [`Error::NotFound`] for a name that no environment can have. [`Error::Forbidden`] if the environment is restricted
/// and the caller is not granted it, or if the caller's key is narrowed to other environments.
pub fn open<'a>(tx: &Tx, deployer: &Deployer<'a>, name: &str) -> Result<InEnvironment<'a>, Error> {
    let name = EnvironmentName::parse("environment", name).map_err(|_| Error::NotFound("environment"))?;
    let restriction = restriction(tx, deployer.team(), &name)?;
    deployer.in_environment(name, restriction.as_ref())
}

/// Gets the proof that the caller may change this environment. `None` if they may not.
///
/// # Errors
///
/// [`Error::NotFound`] for a name that no environment can have.
pub(super) fn open_if_allowed<'a>(
    tx: &Tx,
    deployer: &Deployer<'a>,
    name: &str,
) -> Result<Option<InEnvironment<'a>>, Error> {
    match open(tx, deployer, name) {
        Ok(proof) => Ok(Some(proof)),
        Err(Error::Forbidden(_)) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Gets the proofs for a change to these environments. Without environments, gets the proof for the whole team.
///
/// # Errors
///
/// Those of [`open`]. [`Error::Forbidden`] if there are no environments and the caller's key is narrowed to some.
pub fn open_all<'a, 'n>(
    tx: &Tx,
    deployer: &Deployer<'a>,
    names: impl Iterator<Item = &'n str>,
) -> Result<Touched<'a>, Error> {
    let environments = names.map(|name| open(tx, deployer, name)).collect::<Result<Vec<_>, _>>()?;
    if environments.is_empty() {
        deployer.in_team().map(Touched::Team)
    } else {
        Ok(Touched::Environments(environments))
    }
}

/// The users and keys that may change this environment of the team. `None` if the environment is not restricted.
pub fn restriction(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<Option<Restriction>, Error> {
    if !is_restricted(tx, team, name)? {
        return Ok(None);
    }
    let mut query = tx.sql.prepare_cached(
        "SELECT user_id
         FROM environment_group_user
         WHERE team_id = :team_id AND name = :name
         ORDER BY user_id",
    )?;
    let rows =
        query.query_map(named_params! { ":team_id": team.id, ":name": name.as_str() }, |row| row.get("user_id"))?;
    let users: Vec<UserId> = rows.collect::<Result<_, _>>()?;
    Ok(Some(Restriction { users, api_key_prefixes: granted_keys(tx, team, name)? }))
}

/// All environments of the team, sorted by name.
pub fn list(tx: &Tx, team: &InTeam) -> Result<Vec<Group>, Error> {
    let team = team.team();
    let mut query = tx.sql.prepare_cached(
        "SELECT name FROM environment_group WHERE org_id = :org_id AND team_id = :team_id
         UNION
         SELECT name FROM model_environment WHERE org_id = :org_id AND team_id = :team_id
         UNION
         SELECT name FROM chain_environment WHERE org_id = :org_id AND team_id = :team_id
         ORDER BY name",
    )?;
    let rows = query.query_map(named_params! { ":org_id": team.org_id, ":team_id": team.id }, |row| row.get("name"))?;
    rows.map(|name| group(tx, team, name?)).collect()
}

/// The team's environment with this name.
///
/// # Errors
///
/// [`Error::NotFound`] if no model or Chain of the team has it and it was not created itself.
pub fn find(tx: &Tx, team: &InTeam, name: EnvironmentName) -> Result<Group, Error> {
    if !is_made(tx, team.team(), &name)? && !is_in_use(tx, team.team(), &name)? {
        return Err(Error::NotFound("environment"));
    }
    group(tx, team.team(), name)
}

/// Creates an environment of the team, and restricts it if `access` says so, before a model or a Chain has it.
///
/// # Errors
///
/// [`Error::Invalid`] if a user to be granted is not a member of the team, or a key is not a working key of the team.
/// [`Error::Conflict`] if the team has the environment already.
pub fn create(tx: &Tx, team: &InTeam, name: EnvironmentName, access: &ManageAccess) -> Result<Group, Error> {
    let granted = check(tx, team.team(), access)?;
    if is_made(tx, team.team(), &name)? || is_in_use(tx, team.team(), &name)? {
        return Err(Error::conflict(format!(
            "team \"{}\" has the environment \"{}\" already: change it with PATCH",
            team.team().name,
            quoted(name.as_str())
        )));
    }
    let restriction = match access {
        ManageAccess::Unrestricted => None,
        ManageAccess::Restricted { .. } => Some(&granted),
    };
    insert(tx, team.team(), &name, restriction)?;
    record(tx, team, "ENVIRONMENT_GROUP_CREATED", &name)?;
    group(tx, team.team(), name)
}

/// Restricts an environment, changes who may change it, or ends the restriction. The end of a restriction also ends its
/// grants.
///
/// # Errors
///
/// [`Error::Invalid`] if a user to be granted is not a member of the team, or a key is not a working key of the team.
pub fn update(tx: &Tx, team: &InTeam, name: EnvironmentName, access: &ManageAccess) -> Result<Group, Error> {
    let granted = check(tx, team.team(), access)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO environment_group (team_id, name, org_id, is_restricted, created_at)
             VALUES (:team_id, :name, :org_id, :is_restricted, :now)
             ON CONFLICT (team_id, name) DO UPDATE SET is_restricted = :is_restricted",
        )?
        .execute(named_params! {
            ":team_id": team.team().id,
            ":name": name.as_str(),
            ":org_id": team.team().org_id,
            ":is_restricted": matches!(access, ManageAccess::Restricted { .. }),
            ":now": tx.now,
        })?;
    match access {
        ManageAccess::Unrestricted => {
            keep_only(tx, team.team(), &name, Grants::OfUsers(&[]))?;
            keep_only(tx, team.team(), &name, Grants::OfKeys(&[]))?;
        }
        ManageAccess::Restricted { user_ids, api_key_prefixes } => {
            if user_ids.is_some() {
                keep_only(tx, team.team(), &name, Grants::OfUsers(&granted.users))?;
            }
            if api_key_prefixes.is_some() {
                keep_only(tx, team.team(), &name, Grants::OfKeys(&granted.api_key_prefixes))?;
            }
        }
    }
    insert_grants(tx, team.team(), &name, &granted)?;
    record(tx, team, "ENVIRONMENT_GROUP_UPDATED", &name)?;
    group(tx, team.team(), name)
}

/// Deletes an environment of the team that no model or Chain has, with its restriction.
///
/// # Errors
///
/// [`Error::NotFound`] if the team does not have it. [`Error::Conflict`] if a model or a Chain of the team has it.
pub fn delete(tx: &Tx, team: &InTeam, name: &EnvironmentName) -> Result<(), Error> {
    let in_use = is_in_use(tx, team.team(), name)?;
    if !in_use && !is_made(tx, team.team(), name)? {
        return Err(Error::NotFound("environment"));
    }
    if in_use {
        return Err(Error::conflict(format!(
            "a model or a Chain of team \"{}\" has the environment \"{}\": lift its restriction with PATCH instead",
            team.team().name,
            quoted(name.as_str())
        )));
    }
    record(tx, team, "ENVIRONMENT_GROUP_DELETED", name)?;
    tx.sql
        .prepare_cached(
            "DELETE FROM environment_group
             WHERE org_id = :org_id AND team_id = :team_id AND name = :name",
        )?
        .execute(named_params! {
            ":org_id": team.team().org_id, ":team_id": team.team().id, ":name": name.as_str(),
        })?;
    Ok(())
}

/// Copies the grants of a key of the team to the key that replaces it. The old key keeps its grants until it ends.
pub(super) fn copy_grants(tx: &Tx, team: &Team, from: &str, to: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO environment_group_key (team_id, name, org_id, prefix)
             SELECT team_id, name, org_id, :to
             FROM environment_group_key
             WHERE org_id = :org_id AND team_id = :team_id AND prefix = :from",
        )?
        .execute(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":from": from, ":to": to })?;
    Ok(())
}

/// The restricted environments of the team that a key may change, sorted by name.
pub(super) fn grants_of(tx: &Tx, team: &Team, prefix: &str) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT name
         FROM environment_group_key
         WHERE org_id = :org_id AND team_id = :team_id AND prefix = :prefix
         ORDER BY name",
    )?;
    let values = named_params! { ":org_id": team.org_id, ":team_id": team.id, ":prefix": prefix };
    Ok(query.query_map(values, |row| row.get("name"))?.collect::<Result<_, _>>()?)
}

/// Deletes the grants of a key of the team.
pub(super) fn end_grants(tx: &Tx, team: &Team, prefix: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "DELETE FROM environment_group_key
             WHERE org_id = :org_id AND team_id = :team_id AND prefix = :prefix",
        )?
        .execute(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":prefix": prefix })?;
    Ok(())
}

/// Inserts the row of an environment that was created before its first use, or that was restricted. `None`: it is not
/// restricted.
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

/// Inserts grants. The schema refuses a user who is not a member of the team, and a key of another team.
pub(super) fn insert_grants(
    tx: &Tx,
    team: &Team,
    name: &EnvironmentName,
    restriction: &Restriction,
) -> Result<(), Error> {
    let mut grant = tx.sql.prepare_cached(
        "INSERT INTO environment_group_user (team_id, name, org_id, user_id)
         VALUES (:team_id, :name, :org_id, :user_id)
         ON CONFLICT (team_id, name, user_id) DO NOTHING",
    )?;
    for user_id in &restriction.users {
        grant.execute(named_params! {
            ":team_id": team.id, ":name": name.as_str(), ":org_id": team.org_id, ":user_id": user_id,
        })?;
    }
    let mut grant = tx.sql.prepare_cached(
        "INSERT INTO environment_group_key (team_id, name, org_id, prefix)
         VALUES (:team_id, :name, :org_id, :prefix)
         ON CONFLICT (team_id, name, prefix) DO NOTHING",
    )?;
    for prefix in &restriction.api_key_prefixes {
        grant.execute(named_params! {
            ":team_id": team.id, ":name": name.as_str(), ":org_id": team.org_id, ":prefix": prefix,
        })?;
    }
    Ok(())
}

enum Grants<'a> {
    OfUsers(&'a [UserId]),
    OfKeys(&'a [String]),
}

/// Deletes all grants except these. Existing grants in the list are kept unchanged.
fn keep_only(tx: &Tx, team: &Team, name: &EnvironmentName, grants: Grants) -> Result<(), Error> {
    let (sql, kept) = match grants {
        Grants::OfUsers(ids) => (
            "DELETE FROM environment_group_user
             WHERE team_id = :team_id AND name = :name AND user_id NOT IN (SELECT value FROM json_each(:kept))",
            json!(ids.iter().map(UserId::as_str).collect::<Vec<_>>()),
        ),
        Grants::OfKeys(prefixes) => (
            "DELETE FROM environment_group_key
             WHERE team_id = :team_id AND name = :name AND prefix NOT IN (SELECT value FROM json_each(:kept))",
            json!(prefixes),
        ),
    };
    let params = named_params! { ":team_id": team.id, ":name": name.as_str(), ":kept": kept.to_string() };
    tx.sql.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

/// The requested grants, if each is to a member of the team or to a key of the team that works.
///
/// # Errors
///
/// [`Error::Invalid`] for another user or key.
fn check(tx: &Tx, team: &Team, access: &ManageAccess) -> Result<Restriction, Error> {
    let ManageAccess::Restricted { user_ids, api_key_prefixes } = access else { return Ok(Restriction::default()) };
    let mut granted = Restriction::default();
    let mut member = tx.sql.prepare_cached(
        "SELECT user_id
         FROM team_member
         WHERE org_id = :org_id AND team_id = :team_id AND user_id = :user_id",
    )?;
    for user_id in user_ids.iter().flatten() {
        let values = named_params! { ":org_id": team.org_id, ":team_id": team.id, ":user_id": user_id };
        let found = member.query_row(values, |row| row.get("user_id")).optional()?;
        granted.users.push(found.ok_or_else(|| {
            let why = format!(
                "names \"{}\", who is no member of team \"{}\": only members can be granted",
                quoted(user_id),
                team.name
            );
            Error::field("manage_access.user_ids", &why)
        })?);
    }
    let mut key = tx.sql.prepare_cached(
        "SELECT prefix
         FROM api_key
         WHERE org_id = :org_id AND team_id = :team_id AND prefix = :prefix
           AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)",
    )?;
    for prefix in api_key_prefixes.iter().flatten() {
        let values = named_params! {
            ":org_id": team.org_id, ":team_id": team.id, ":prefix": prefix, ":now": tx.now,
        };
        let found = key.query_row(values, |row| row.get("prefix")).optional()?;
        granted.api_key_prefixes.push(found.ok_or_else(|| {
            // A client that sends a whole key by mistake does not get it back: the message shows only the prefix.
            let shown = quoted(prefix.split('.').next().unwrap_or_default());
            let why = format!("names \"{shown}\", which is the prefix of no API key of team \"{}\"", team.name);
            Error::field("manage_access.api_key_prefixes", &why)
        })?);
    }
    Ok(granted)
}

/// Whether the environment has a row in `environment_group`.
fn is_made(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM environment_group
         WHERE org_id = :org_id AND team_id = :team_id AND name = :name",
    )?;
    Ok(query.exists(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":name": name.as_str() })?)
}

/// Whether a model or a Chain of the team has the environment.
fn is_in_use(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         WHERE EXISTS (SELECT 1 FROM model_environment WHERE org_id = :org_id AND team_id = :team_id AND name = :name)
            OR EXISTS (SELECT 1 FROM chain_environment WHERE org_id = :org_id AND team_id = :team_id AND name = :name)",
    )?;
    Ok(query.exists(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":name": name.as_str() })?)
}

fn is_restricted(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT 1
         FROM environment_group
         WHERE org_id = :org_id AND team_id = :team_id AND name = :name AND is_restricted = 1",
    )?;
    Ok(query.exists(named_params! { ":org_id": team.org_id, ":team_id": team.id, ":name": name.as_str() })?)
}

fn group(tx: &Tx, team: &Team, name: EnvironmentName) -> Result<Group, Error> {
    let access = if is_restricted(tx, team, &name)? { Some(access(tx, team, &name)?) } else { None };
    Ok(Group { name, access })
}

fn access(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<Access, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT id, email, name
         FROM user
         WHERE id IN (
             SELECT user_id FROM org_member WHERE org_id = :org_id AND role = 'ADMIN'
             UNION
             SELECT user_id FROM team_member WHERE org_id = :org_id AND team_id = :team_id AND role = 'ADMIN'
             UNION
             SELECT user_id FROM environment_group_user WHERE team_id = :team_id AND name = :name
         )
         ORDER BY email",
    )?;
    let place = named_params! { ":org_id": team.org_id, ":team_id": team.id, ":name": name.as_str() };
    let users = query.query_map(place, users::from_row)?.collect::<Result<_, _>>()?;
    Ok(Access { users, api_key_prefixes: granted_keys(tx, team, name)? })
}

/// The prefixes of the keys that are granted the environment and work.
fn granted_keys(tx: &Tx, team: &Team, name: &EnvironmentName) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT prefix
         FROM environment_group_key
         JOIN api_key USING (prefix)
         WHERE environment_group_key.team_id = :team_id AND environment_group_key.name = :name
           AND api_key.revoked_at IS NULL AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)
         ORDER BY prefix",
    )?;
    let place = named_params! { ":team_id": team.id, ":name": name.as_str(), ":now": tx.now };
    Ok(query.query_map(place, |row| row.get("prefix"))?.collect::<Result<_, _>>()?)
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, name: &EnvironmentName) -> Result<(), Error> {
    let granted = restriction(tx, team.team(), name)?;
    let data = json!({
        "environment_name": name.as_str(),
        "is_restricted": granted.is_some(),
        "user_ids": granted.iter().flat_map(|granted| granted.users.iter().map(UserId::as_str)).collect::<Vec<_>>(),
        "api_key_prefixes": granted.iter().flat_map(|granted| &granted.api_key_prefixes).collect::<Vec<_>>(),
    });
    audit::record(
        tx,
        Actor::Caller(team.caller()),
        &team.team().org_id,
        Some(team.team()),
        Event::new(event_type, data),
    )
}
