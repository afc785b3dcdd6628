//! Training projects over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, training_jobs, training_projects};
use crate::domain::{self, ResourceName, Team};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::Tombstone;
use crate::wire::training_projects::{OneTrainingProject, TrainingProject, TrainingProjects, UpsertTrainingProject};

pub fn list_all(tx: &Tx, teams: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    let projects = training_projects::list(tx, teams)?;
    let latest = training_jobs::latest(tx, teams)?;
    let training_projects =
        projects.iter().map(|project| TrainingProject::new(project, latest.get(&project.id))).collect();
    Ok(Reply::ok(&TrainingProjects { training_projects }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    answer(tx, team, &training_projects::find(tx, team, ctx.param("training_project_id"))?)
}

pub fn upsert(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked = ctx.json::<UpsertTrainingProject>()?.training_project;
    let name = ResourceName::parse("training_project.name", &asked.name)?;
    if let Some(meant) = asked.team_name {
        is_of(team.team(), &meant)?;
    }
    answer(tx, team, &training_projects::upsert(tx, team, &name)?)
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let project = training_projects::find(tx, team, ctx.param("training_project_id"))?;
    training_projects::delete(tx, team, &project)?;
    Ok(Reply::ok(&Tombstone::of(&project.id)))
}

fn answer(tx: &Tx, team: &InTeam, project: &domain::training_projects::TrainingProject) -> Result<Reply, Error> {
    let latest = training_jobs::latest(tx, std::slice::from_ref(team))?;
    let training_project = TrainingProject::new(project, latest.get(&project.id));
    Ok(Reply::ok(&OneTrainingProject { training_project }))
}

/// Checks the team that a body names. The project is created in the team of the path, so a body that names another team
/// is refused.
fn is_of(team: &Team, meant: &str) -> Result<(), Error> {
    if meant == team.name {
        return Ok(());
    }
    let why =
        format!("must be \"{}\", the team that this path is about: name another team by its id in the path", team.name);
    Err(Error::field("training_project.team_name", &why))
}
