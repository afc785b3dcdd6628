//! The list of teams in a dialog: a box for each team, and the role in it.

use crate::console::form::Form;
use crate::domain::{Team, TeamRole};
use crate::error::Error;

/// One team of the list.
pub struct TeamChoice {
    pub id: String,
    pub name: String,
    pub is_chosen: bool,
    pub is_admin: bool,
}

impl TeamChoice {
    /// The choice as the form has it, if the form was sent, otherwise as it is stored.
    pub fn of_form(team: &Team, form: &Form, stored: Option<TeamRole>) -> TeamChoice {
        let id = team.id.as_str();
        let role = match wanted(form, id) {
            Ok(Some(typed)) => typed,
            Ok(None) | Err(_) => stored,
        };
        TeamChoice {
            id: id.to_owned(),
            name: team.name.clone(),
            is_chosen: role.is_some(),
            is_admin: role == Some(TeamRole::Admin),
        }
    }
}

/// The role that a form asks for in a team. The outer `None`: the form does not list the team, so nothing changes. The
/// inner `None`: its box is empty.
///
/// # Errors
///
/// [`Error::Invalid`] for a role that no team has.
pub fn wanted(form: &Form, team_id: &str) -> Result<Option<Option<TeamRole>>, Error> {
    let Some(role) = form.given(&format!("role-{team_id}")) else { return Ok(None) };
    if !form.has("team", team_id) {
        return Ok(Some(None));
    }
    team_role(role).map(|role| Some(Some(role)))
}

/// Reads a team role.
///
/// # Errors
///
/// [`Error::Invalid`] for a role that no team has.
pub fn team_role(name: &str) -> Result<TeamRole, Error> {
    let found = [TeamRole::Admin, TeamRole::Member].into_iter().find(|role| role.as_str() == name);
    found.ok_or_else(|| Error::field("role", "must be ADMIN or MEMBER"))
}
