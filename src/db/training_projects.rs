//! Training projects of a team.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, resources, training_jobs};
use crate::domain::training_projects::TrainingProject;
use crate::domain::{ResourceName, Team};
use crate::error::Error;
use crate::policy::InTeam;

/// The training projects of these teams, newest first.
pub fn list(tx: &Tx, teams: &[InTeam]) -> Result<Vec<TrainingProject>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT training_project.id, training_project.name, training_project.created_at, training_project.updated_at,
                team.name AS team_name
         FROM training_project JOIN team ON team.id = training_project.team_id
         WHERE training_project.team_id IN (SELECT value FROM json_each(:team_ids))
         ORDER BY training_project.created_at DESC, training_project.rowid DESC",
    )?;
    let rows = query.query_map(named_params! { ":team_ids": resources::ids(teams) }, from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The team's training project with this id.
///
/// # Errors
///
/// [`Error::NotFound`] for an id that no training project of the team has.
pub fn find(tx: &Tx, team: &InTeam, id: &str) -> Result<TrainingProject, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT training_project.id, training_project.name, training_project.created_at, training_project.updated_at,
                team.name AS team_name
         FROM training_project JOIN team ON team.id = training_project.team_id
         WHERE training_project.team_id = :team_id AND training_project.id = :id",
    )?;
    let found = query.query_row(named_params! { ":team_id": team.team().id, ":id": id }, from_row);
    found.optional()?.ok_or(Error::NotFound("training project"))
}

/// Whether the team has a training project with this name.
pub fn is_named(tx: &Tx, team: &InTeam, name: &str) -> Result<bool, Error> {
    let mut query = tx
        .sql
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM training_project WHERE team_id = :team_id AND name = :name)")?;
    Ok(query.query_row(named_params! { ":team_id": team.team().id, ":name": name }, |row| row.get(0))?)
}

/// Creates the team's training project with this name, or updates the time of its last use if it exists.
pub fn upsert(tx: &Tx, team: &InTeam, name: &ResourceName) -> Result<TrainingProject, Error> {
    let (id, event_type) = match insert(tx, team.team(), name) {
        Ok(id) => (id, "TRAINING_PROJECT_CREATED"),
        Err(cause) if Error::is_unique_violation(&cause) => (touch(tx, team, name)?, "TRAINING_PROJECT_UPDATED"),
        Err(cause) => return Err(cause.into()),
    };
    let project = find(tx, team, &id)?;
    record(tx, team, event_type, &project)?;
    Ok(project)
}

/// Updates the time at which the project was last used. This counts as a change, although only a time changes.
fn touch(tx: &Tx, team: &InTeam, name: &ResourceName) -> Result<String, Error> {
    tx.note_change();
    let id = tx
        .sql
        .prepare_cached(
            "UPDATE training_project
             SET updated_at = :now
             WHERE team_id = :team_id AND name = :name
             RETURNING id",
        )?
        .query_row(named_params! { ":now": tx.now, ":team_id": team.team().id, ":name": name.as_str() }, |row| {
            row.get("id")
        })?;
    Ok(id)
}

/// Deletes a training project with all its jobs. Their GPUs are free for the waiting jobs of other projects.
pub fn delete(tx: &Tx, team: &InTeam, project: &TrainingProject) -> Result<(), Error> {
    tx.sql
        .prepare_cached("DELETE FROM training_project WHERE team_id = :team_id AND id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": project.id })?;
    record(tx, team, "TRAINING_PROJECT_DELETED", project)?;
    training_jobs::queue::release_all(tx, team.team())
}

/// Inserts a training project. The calling code must translate the error for a name that another project of the team
/// has.
pub(super) fn insert(tx: &Tx, team: &Team, name: &ResourceName) -> Result<String, rusqlite::Error> {
    let id = tx.id();
    tx.sql
        .prepare_cached(
            "INSERT INTO training_project (id, org_id, team_id, name, created_at, updated_at)
             VALUES (:id, :org_id, :team_id, :name, :now, :now)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": team.org_id,
            ":team_id": team.id,
            ":name": name.as_str(),
            ":now": tx.now,
        })?;
    Ok(id)
}

fn from_row(row: &Row) -> rusqlite::Result<TrainingProject> {
    Ok(TrainingProject {
        id: row.get("id")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        team_name: row.get("team_name")?,
    })
}

fn record(tx: &Tx, team: &InTeam, event_type: &'static str, project: &TrainingProject) -> Result<(), Error> {
    let data = json!({ "training_project_id": project.id, "training_project_name": project.name });
    let event = Event::new(event_type, data);
    audit::record(tx, Actor::Caller(team.caller()), &team.team().org_id, Some(team.team()), event)
}
