//! People, found by a part of their name or address, and what depends on a person.

use rusqlite::{Row, named_params};

use crate::db::{Tx, api_keys};
use crate::domain::api_keys::MadeKey;
use crate::domain::members::{Member, Via};
use crate::domain::users::OrgMember;
use crate::domain::{Page, Paging, User};
use crate::error::Error;
use crate::policy::{InOrg, InTeam, TeamRole};

/// Where a person stands in a list by name: the name in lower case and the id, separated by a character that no name has.
macro_rules! place {
    () => {
        "lower(user.name) || char(10) || user.id"
    };
}

macro_rules! is_sought {
    () => {
        "(instr(lower(user.name), lower(:sought)) > 0 OR instr(user.email, lower(:sought)) > 0)"
    };
}

/// Lists the people of the organization whose name or address contains a text, by name.
pub fn of_organization(tx: &Tx, org: &InOrg, sought: &str, paging: &Paging) -> Result<Page<OrgMember>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT user.id, user.email, user.name, org_member.role, ",
        place!(),
        " AS place
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND ",
        is_sought!(),
        " AND place > :after
         ORDER BY place
         LIMIT :rows_max"
    ))?;
    let params = named_params! {
        ":org_id": org.org_id(), ":sought": sought, ":after": paging.after, ":rows_max": paging.rows_max(),
    };
    let rows = query
        .query_map(params, |row| Ok((row.get("place")?, OrgMember { user: user(row)?, role: row.get("role")? })))?;
    Ok(without_places(paging.page(rows.collect::<Result<_, _>>()?, place)))
}

/// Lists the people of the team whose name or address contains a text, by name. Organization admins are in every team.
pub fn of_team(tx: &Tx, team: &InTeam, sought: &str, paging: &Paging) -> Result<Page<Member>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT user.id, user.email, user.name, coalesce(team_member.role, 'ADMIN') AS role,
                team_member.role IS NOT NULL AS is_explicit,
                coalesce(team_member.created_at, org_member.created_at) AS created_at, ",
        place!(),
        " AS place
         FROM org_member
         JOIN user ON user.id = org_member.user_id
         LEFT JOIN team_member ON team_member.org_id = org_member.org_id AND team_member.team_id = :team_id
                              AND team_member.user_id = org_member.user_id
         WHERE org_member.org_id = :org_id AND (org_member.role = 'ADMIN' OR team_member.role IS NOT NULL) AND ",
        is_sought!(),
        " AND place > :after
         ORDER BY place
         LIMIT :rows_max"
    ))?;
    let params = named_params! {
        ":org_id": team.team().org_id, ":team_id": team.team().id, ":sought": sought, ":after": paging.after,
        ":rows_max": paging.rows_max(),
    };
    let rows = query.query_map(params, |row| Ok((row.get("place")?, member(row)?)))?;
    Ok(without_places(paging.page(rows.collect::<Result<_, _>>()?, place)))
}

/// The people of the organization who have no role in the team, by name.
pub fn outside_team(tx: &Tx, team: &InTeam, sought: &str, rows_max: i64) -> Result<Vec<User>, Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT user.id, user.email, user.name
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND ",
        is_sought!(),
        " AND NOT EXISTS (
              SELECT 1 FROM team_member
              WHERE team_member.org_id = :org_id AND team_member.team_id = :team_id
                AND team_member.user_id = org_member.user_id
          )
         ORDER BY ",
        place!(),
        " LIMIT :rows_max"
    ))?;
    let params = named_params! {
        ":org_id": team.team().org_id, ":team_id": team.team().id, ":sought": sought, ":rows_max": rows_max,
    };
    let rows = query.query_map(params, user)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many people the organization has.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub people: i64,
    pub admins: i64,
}

/// Counts the people of the organization, and the admins among them.
pub fn count(tx: &Tx, org: &InOrg) -> Result<Count, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*) AS people, count(*) FILTER (WHERE role = 'ADMIN') AS admins
         FROM org_member
         WHERE org_id = :org_id",
    )?;
    Ok(query.query_row(named_params! { ":org_id": org.org_id() }, |row| {
        Ok(Count { people: row.get("people")?, admins: row.get("admins")? })
    })?)
}

/// What ends with a person's membership of the organization, and what stays.
#[derive(Debug)]
pub struct Dependent {
    pub teams: Vec<String>,
    pub personal_keys: i64,
    /// Keys that belong to no person, and that this person or their keys made. They stay unless they are revoked.
    pub made_keys: Vec<MadeKey>,
}

/// What depends on a person in the organization.
pub fn dependent(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<Dependent, Error> {
    let params = named_params! { ":org_id": org.org_id(), ":user_id": member.user.id };
    let mut query = tx.sql.prepare_cached(
        "SELECT team.name
         FROM team_member JOIN team ON team.id = team_member.team_id
         WHERE team_member.org_id = :org_id AND team_member.user_id = :user_id
         ORDER BY team.name_key",
    )?;
    let teams = query.query_map(params, |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*)
         FROM api_key
         WHERE user_id = :user_id AND org_id = :org_id AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > :now)",
    )?;
    let personal_keys = query
        .query_row(named_params! { ":org_id": org.org_id(), ":user_id": member.user.id, ":now": tx.now }, |row| {
            row.get(0)
        })?;
    let made_keys = api_keys::made_by(tx, org.org_id(), &member.user.id, None)?;
    Ok(Dependent { teams, personal_keys, made_keys })
}

fn place<T>(row: &(String, T)) -> &str {
    &row.0
}

fn without_places<T>(page: Page<(String, T)>) -> Page<T> {
    Page { items: page.items.into_iter().map(|(_, item)| item).collect(), next: page.next }
}

fn user(row: &Row) -> rusqlite::Result<User> {
    Ok(User { id: row.get("id")?, email: row.get("email")?, name: row.get("name")? })
}

fn member(row: &Row) -> rusqlite::Result<Member> {
    let via = if row.get("is_explicit")? { Via::Team } else { Via::Organization };
    let role: TeamRole = row.get("role")?;
    Ok(Member { user: user(row)?, role, via, created_at: row.get("created_at")? })
}
