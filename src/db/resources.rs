//! Which team owns a model, a Chain or a training project.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::{Tx, teams};
use crate::domain::Team;
use crate::error::Error;
use crate::policy::{InTeam, Reader};

/// A kind of resource whose names are unique within a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Chain,
    TrainingProject,
}

impl Kind {
    /// The name of the kind in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Model => "model",
            Kind::Chain => "Chain",
            Kind::TrainingProject => "training project",
        }
    }

    /// The name of the route parameter that holds its id.
    pub const fn param(self) -> &'static str {
        match self {
            Kind::Model => "model_id",
            Kind::Chain => "chain_id",
            Kind::TrainingProject => "training_project_id",
        }
    }
}

/// The team that owns the resource with this id, in any organization. `policy` decides whether the caller may see it.
pub fn team_of(tx: &Tx, kind: Kind, id: &str) -> Result<Option<Team>, Error> {
    let sql = match kind {
        Kind::Model => "SELECT team_id FROM model WHERE id = :id",
        Kind::Chain => "SELECT team_id FROM chain WHERE id = :id",
        Kind::TrainingProject => "SELECT team_id FROM training_project WHERE id = :id",
    };
    let team_id: Option<String> =
        tx.sql.prepare_cached(sql)?.query_row(named_params! { ":id": id }, |row| row.get(0)).optional()?;
    team_id.map(|id| teams::find(tx, &id)).transpose()
}

/// The one of these teams that owns the resource with this id.
///
/// # Errors
///
/// [`Error::NotFound`], with the same message for an id that does not exist and for one of another team.
pub fn owner<'p, P: Reader>(
    tx: &Tx,
    teams: impl IntoIterator<Item = &'p P>,
    kind: Kind,
    id: &str,
) -> Result<&'p P, Error> {
    let team = team_of(tx, kind, id)?;
    let found = team.and_then(|team| teams.into_iter().find(|proof| proof.team().id == team.id));
    found.ok_or(Error::NotFound(kind.as_str()))
}

/// The ids of these teams as a JSON array for `json_each`, so that one SQL statement serves any number of teams.
pub(super) fn ids(teams: &[InTeam]) -> String {
    serde_json::Value::from_iter(teams.iter().map(|team| team.team().id.as_str())).to_string()
}
