//! The teams that a person is in.

use rusqlite::{Row, named_params};

use crate::db::Tx;
use crate::db::positions::columns;
use crate::domain::members::Via;
use crate::domain::users::{OrgMember, TeamOfUser};
use crate::domain::{Page, Paging};
use crate::error::Error;
use crate::policy::{InOrg, OrgRole, TeamRole};

/// Lists the teams that a person is in, by name. An organization admin is in all teams.
pub fn teams(tx: &Tx, org: &InOrg, member: &OrgMember, paging: &Paging) -> Result<Page<TeamOfUser>, Error> {
    let teams = match member.role {
        OrgRole::Admin => teams_of_admin(tx, org, member, paging)?,
        OrgRole::Member => teams_of_member(tx, org, member, paging)?,
    };
    Ok(paging.page(teams, |team| &team.team_name_key))
}

fn teams_of_admin(tx: &Tx, org: &InOrg, admin: &OrgMember, paging: &Paging) -> Result<Vec<TeamOfUser>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT team.id, team.name, team.name_key, team_member.role
         FROM team
         LEFT JOIN team_member ON team_member.org_id = team.org_id
                              AND team_member.team_id = team.id
                              AND team_member.user_id = :user_id
         WHERE team.org_id = :org_id AND team.name_key > :after
         ORDER BY team.name_key
         LIMIT :rows_max",
    )?;
    let at = TeamOfUserColumns::of(&query)?;
    let params = named_params! {
        ":org_id": org.org_id(),
        ":user_id": admin.user.id,
        ":after": paging.after,
        ":rows_max": paging.rows_max(),
    };
    let rows = query.query_map(params, |row| team_of_user_from_row(row, at))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The teams of an ordinary member. They are selected by the person and sorted here, because an organization can have
/// many more teams.
fn teams_of_member(tx: &Tx, org: &InOrg, member: &OrgMember, paging: &Paging) -> Result<Vec<TeamOfUser>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT team.id, team.name, team.name_key, team_member.role
         FROM team_member JOIN team ON team.id = team_member.team_id
         WHERE team_member.org_id = :org_id AND team_member.user_id = :user_id AND team.name_key > :after
         ORDER BY team_member.team_id",
    )?;
    let at = TeamOfUserColumns::of(&query)?;
    let params = named_params! { ":org_id": org.org_id(), ":user_id": member.user.id, ":after": paging.after };
    let rows = query.query_map(params, |row| team_of_user_from_row(row, at))?;
    let mut teams: Vec<TeamOfUser> = rows.collect::<Result<_, _>>()?;
    teams.sort_by(|one, other| one.team_name_key.cmp(&other.team_name_key));
    Ok(teams)
}

fn team_of_user_from_row(row: &Row, at: TeamOfUserColumns) -> rusqlite::Result<TeamOfUser> {
    let explicit: Option<TeamRole> = row.get(at.role)?;
    let (role, via) = explicit.map_or((TeamRole::Admin, Via::Organization), |role| (role, Via::Team));
    Ok(TeamOfUser {
        team_id: row.get(at.id)?,
        team_name: row.get(at.name)?,
        team_name_key: row.get(at.name_key)?,
        role,
        via,
    })
}

columns! { TeamOfUserColumns: id name name_key role }
