//! The training projects of a team, their jobs and the logs of a job.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::deployments::Log;
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::{Tx, logs, training_jobs, training_projects};
use crate::domain::training_jobs::{Filter, Job};
use crate::domain::training_projects::TrainingProject;
use crate::error::Error;
use crate::policy::{InTeam, TeamAct};

#[derive(Template)]
#[template(path = "training.html")]
struct Training {
    frame: Frame,
    rows: Vec<(TrainingProject, Option<Job>)>,
    pager: Pager,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let proofs = std::slice::from_ref(team);
    let latest = training_jobs::latest(tx, proofs)?;
    let (projects, pager) = Pager::of(ctx, training_projects::list(tx, proofs)?, "training project");
    let row = |project: TrainingProject| {
        let job = latest.get(&project.id).cloned();
        (project, job)
    };
    html(&Training {
        frame: Frame::new(tx, ctx, Nav::Training, Some(team.team()))?,
        rows: projects.into_iter().map(row).collect(),
        pager,
    })
}

#[derive(Template)]
#[template(path = "training_project.html")]
struct Project {
    frame: Frame,
    project: TrainingProject,
    jobs: Vec<Job>,
    pager: Pager,
    refusal: Option<String>,
    delete: bool,
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let project = training_projects::find(tx, team, ctx.param("training_project_id"))?;
    let filter = Filter { project_id: Some(project.id.clone()), ..Filter::default() };
    let (jobs, pager) = Pager::of(ctx, training_jobs::search(tx, std::slice::from_ref(team), &filter)?, "job");
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::Deploy);
    html(&Project {
        frame: Frame::new(tx, ctx, Nav::Training, Some(team.team()))?,
        project,
        jobs,
        pager,
        delete: refusal.is_none() && ctx.shows("delete"),
        refusal,
    })
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let project = training_projects::find(tx, team, ctx.param("training_project_id"))?;
    ctx.confirm(&project.name)?;
    training_projects::delete(tx, team, &project)?;
    Ok(to(&format!("/t/{}/training?done=deleted", team.team().id)))
}

#[derive(Template)]
#[template(path = "training_job.html")]
struct JobPage {
    frame: Frame,
    job: Job,
    log: Log,
    refusal: Option<String>,
    is_over: bool,
}

pub fn job(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let job = find(tx, team, ctx)?;
    html(&JobPage {
        frame: Frame::new(tx, ctx, Nav::Training, Some(team.team()))?,
        log: Log::read(tx, ctx, |filter| logs::list_of_job(tx, &job.id, filter))?,
        refusal: refusal_in(team.caller(), team.team(), TeamAct::Deploy),
        is_over: job.status.has_ended(),
        job,
    })
}

pub fn stop(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let job = training_jobs::stop(tx, team, &find(tx, team, ctx)?)?;
    Ok(to(&format!("/t/{}/training/{}/jobs/{}?done=stopped", team.team().id, job.project.id, job.id)))
}

fn find(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Job, Error> {
    training_jobs::find(tx, team, ctx.param("training_project_id"), ctx.param("training_job_id"))
}
