//! Teams on the wire.

use serde::{Deserialize, Serialize};

use crate::model;
use crate::model::Time;

#[derive(Serialize)]
pub struct Team<'a> {
    id: &'a str,
    name: &'a str,
    default: bool,
    created_at: Time,
    icon: Option<&'a str>,
}

#[derive(Serialize)]
pub struct Teams<'a> {
    pub teams: Vec<Team<'a>>,
}

impl<'a> From<&'a model::Team> for Team<'a> {
    fn from(team: &'a model::Team) -> Team<'a> {
        Team {
            id: team.id.as_str(),
            name: &team.name,
            default: team.is_default,
            created_at: team.created_at,
            icon: team.icon.as_deref(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTeam {
    pub name: String,
    pub icon: Option<String>,
}

/// An empty `icon` takes the icon away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateTeam {
    pub name: Option<String>,
    pub icon: Option<String>,
}
