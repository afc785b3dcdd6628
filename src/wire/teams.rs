//! Teams on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain;
use crate::domain::Time;

/// A team. `icon` is one emoji, or null. Baseten's `TeamV1`.
#[derive(JsonSchema, Serialize)]
pub struct Team<'a> {
    id: &'a str,
    name: &'a str,
    default: bool,
    created_at: Time,
    icon: Option<&'a str>,
}

/// The teams that the caller sees. Baseten's `TeamsV1`.
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

/// Creates a team. Guildhall's own `CreateTeamRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CreateTeamRequest")]
pub struct CreateTeam {
    pub name: String,
    pub icon: Option<String>,
}

/// Changes the given fields of a team. An empty `icon` removes the icon. Guildhall's own `UpdateTeamRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateTeamRequest")]
pub struct UpdateTeam {
    pub name: Option<String>,
    pub icon: Option<String>,
}
