//! Teams on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain;
use crate::domain::Time;

#[derive(JsonSchema, Serialize)]
pub struct Team<'a> {
    id: &'a str,
    name: &'a str,
    default: bool,
    created_at: Time,
    icon: Option<&'a str>,
}

#[derive(JsonSchema, Serialize)]
pub struct Teams<'a> {
    pub teams: Vec<Team<'a>>,
}

impl<'a> From<&'a domain::Team> for Team<'a> {
    fn from(team: &'a domain::Team) -> Team<'a> {
        Team {
            id: team.id.as_str(),
            name: &team.name,
            default: team.is_default,
            created_at: team.created_at,
            icon: team.icon.as_deref(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CreateTeamRequest")]
pub struct CreateTeam {
    pub name: String,
    pub icon: Option<String>,
}

/// An empty `icon` takes the icon away.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateTeamRequest")]
pub struct UpdateTeam {
    pub name: Option<String>,
    pub icon: Option<String>,
}
