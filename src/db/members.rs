//! Members of a team.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::api_keys;
use crate::db::audit::{self, Actor, Event};
use crate::db::positions::columns;
use crate::db::users::{self, UserColumns};
use crate::db::{Tx, organizations};
use crate::domain::api_keys::{CreatedKeys, MadeKey};
use crate::domain::members::{Implicit, Member, RoleUpdated};
use crate::domain::{Page, Paging, Team, User, UserId};
use crate::error::Error;
use crate::policy::{InTeam, TeamRole};

/// Lists the members of the team, in the order of their ids.
pub fn list(tx: &Tx, team: &InTeam, implicit: Implicit, paging: &Paging) -> Result<Page<Member>, Error> {
    // Both parts read an index that has the order of the list, and SQLite merges them: nothing is sorted.
    let mut query = tx.sql.prepare_cached(
        "SELECT team_member.user_id AS id, user.email, user.name, team_member.role, 'TEAM' AS via, team_member.created_at
         FROM team_member JOIN user ON user.id = team_member.user_id
         WHERE team_member.org_id = :org_id AND team_member.team_id = :team_id AND team_member.user_id > :after
         UNION ALL
         SELECT org_member.user_id, user.email, user.name, 'ADMIN', 'ORGANIZATION', org_member.created_at
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE :implicit AND org_member.org_id = :org_id AND org_member.role = 'ADMIN' AND org_member.user_id > :after
           AND NOT EXISTS (
               SELECT 1 FROM team_member
               WHERE org_id = :org_id AND team_id = :team_id AND user_id = org_member.user_id
           )
         ORDER BY id
         LIMIT :rows_max",
    )?;
    let at = MemberColumns::of(&query)?;
    let user_at = UserColumns::of(&query)?;
    let rows = query.query_map(
        named_params! {
            ":org_id": team.team().org_id,
            ":team_id": team.team().id,
            ":implicit": implicit == Implicit::Show,
            ":after": paging.after,
            ":rows_max": paging.rows_max(),
        },
        |row| from_row(row, at, user_at),
    )?;
    Ok(paging.page(rows.collect::<Result<_, _>>()?, |member| member.user.id.as_str()))
}

/// The team member with this id.
///
/// # Errors
///
/// [`Error::NotFound`] for a user who is not a member of the team, or is in it only implicitly as an organization
/// admin.
pub fn find(tx: &Tx, team: &InTeam, user_id: &str) -> Result<Member, Error> {
    of_team(tx, team.team(), user_id)?.ok_or(Error::NotFound("member"))
}

/// Makes a user of the organization a member of the team.
///
/// # Errors
///
/// [`Error::NotFound`] for a user who is not in the organization; [`Error::Conflict`] for one who is a member of the
/// team already.
pub fn add(tx: &Tx, team: &InTeam, user_id: &str, role: TeamRole) -> Result<Member, Error> {
    let user = users::of_organization(tx, &team.team().org_id, user_id)?.user;
    if of_team(tx, team.team(), user_id)?.is_some() {
        return Err(Error::conflict(format!(
            "{} is a member of the team \"{}\" already: change the role with PATCH",
            user.email,
            team.team().name
        )));
    }
    join(tx, Actor::Caller(team.caller()), team.team(), &user, role)?;
    find(tx, team, user_id)
}

/// Makes a team member a team admin.
pub fn promote(tx: &Tx, team: &InTeam, member: &Member) -> Result<RoleUpdated, Error> {
    set_role(tx, team, member, TeamRole::Admin)?;
    Ok(RoleUpdated { member: find(tx, team, member.user.id.as_str())?, remaining: None })
}

/// Makes a team admin an ordinary team member. On request, the team keys that they created are revoked; those that keep
/// working are in the answer.
pub fn demote(tx: &Tx, team: &InTeam, member: &Member, created_keys: CreatedKeys) -> Result<RoleUpdated, Error> {
    tx.frees_space()?;
    set_role(tx, team, member, TeamRole::Member)?;
    let remaining = settle_keys(tx, team, member, created_keys)?;
    Ok(RoleUpdated { member: find(tx, team, member.user.id.as_str())?, remaining: Some(remaining) })
}

fn set_role(tx: &Tx, team: &InTeam, member: &Member, role: TeamRole) -> Result<(), Error> {
    let Team { id, org_id, name, .. } = team.team();
    tx.sql
        .prepare_cached(
            "UPDATE team_member
             SET role = :role
             WHERE org_id = :org_id AND team_id = :team_id AND user_id = :user_id",
        )?
        .execute(named_params! {
            ":role": role.as_str(),
            ":org_id": org_id,
            ":user_id": member.user.id,
            ":team_id": id,
        })?;
    let event = Event::new(
        "USER_TEAM_ROLE_UPDATED",
        json!({
            "user_id": member.user.id.as_str(),
            "user_email": member.user.email,
            "team_id": id.as_str(),
            "team_name": name,
            "new_role_name": role.as_str(),
        }),
    );
    audit::record(tx, Actor::Caller(team.caller()), org_id, Some(team.team()), event)
}

fn settle_keys(tx: &Tx, team: &InTeam, member: &Member, created_keys: CreatedKeys) -> Result<Vec<MadeKey>, Error> {
    let made = api_keys::made_by(tx, &team.team().org_id, &member.user.id, Some(team.team()))?;
    api_keys::settle(tx, team.caller(), made, created_keys)
}

/// Removes a member from the team, which ends their grants in it. On request, the team keys that they created are
/// revoked. Returns the created keys that keep working.
///
/// # Errors
///
/// [`Error::Conflict`] for the default team while teams are off: everyone is in it, because there is no other team.
pub fn remove(tx: &Tx, team: &InTeam, member: &Member, created_keys: CreatedKeys) -> Result<Vec<MadeKey>, Error> {
    let Team { id, org_id, is_default, .. } = team.team();
    if *is_default && !organizations::find(tx, org_id)?.teams_enabled {
        return Err(Error::conflict(
            "while teams are off everyone is in the default team: switch teams on, or remove the person from the \
             organization",
        ));
    }
    tx.sql
        .prepare_cached(
            "DELETE FROM team_member
             WHERE org_id = :org_id AND team_id = :team_id AND user_id = :user_id",
        )?
        .execute(named_params! { ":org_id": org_id, ":user_id": member.user.id, ":team_id": id })?;
    record_removed(tx, Actor::Caller(team.caller()), team.team(), &member.user)?;
    settle_keys(tx, team, member, created_keys)
}

/// Makes a user a member of the team, and records it in the audit log.
pub(super) fn join(tx: &Tx, actor: Actor<'_>, team: &Team, user: &User, role: TeamRole) -> Result<(), Error> {
    insert(tx, team, &user.id, role)?;
    let data = json!({ "user_id": user.id.as_str(), "user_email": user.email, "role_name": role.as_str() });
    audit::record(tx, actor, &team.org_id, Some(team), Event::new("TEAM_MEMBER_ADDED", data))
}

/// Makes a user a member of the team unless they are one already; an existing member keeps their role.
pub(super) fn ensure(tx: &Tx, actor: Actor<'_>, team: &Team, user: &User) -> Result<(), Error> {
    match of_team(tx, team, user.id.as_str())? {
        Some(_) => Ok(()),
        None => join(tx, actor, team, user, TeamRole::Member),
    }
}

/// Records in the audit log that a user was removed from the team.
pub(super) fn record_removed(tx: &Tx, actor: Actor<'_>, team: &Team, user: &User) -> Result<(), Error> {
    let data = json!({ "user_id": user.id.as_str(), "user_email": user.email });
    audit::record(tx, actor, &team.org_id, Some(team), Event::new("TEAM_MEMBER_REMOVED", data))
}

/// Makes an organization member a team member, without an entry in the audit log.
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

fn of_team(tx: &Tx, team: &Team, user_id: &str) -> Result<Option<Member>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, team_member.role, 'TEAM' AS via, team_member.created_at
         FROM team_member JOIN user ON user.id = team_member.user_id
         WHERE team_member.org_id = :org_id AND team_member.team_id = :team_id AND team_member.user_id = :user_id",
    )?;
    let (at, user_at) = (MemberColumns::of(&query)?, UserColumns::of(&query)?);
    let params = named_params! { ":org_id": team.org_id, ":team_id": team.id, ":user_id": user_id };
    Ok(query.query_row(params, |row| from_row(row, at, user_at)).optional()?)
}

columns! { MemberColumns: role via created_at }

fn from_row(row: &Row, at: MemberColumns, user_at: UserColumns) -> rusqlite::Result<Member> {
    Ok(Member {
        user: users::from_row_at(row, user_at)?,
        role: row.get(at.role)?,
        via: row.get(at.via)?,
        created_at: row.get(at.created_at)?,
    })
}
