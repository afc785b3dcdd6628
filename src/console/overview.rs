//! The overview of a team.

use askama::Template;

use crate::api::Reply;
use crate::console::activity::{Happened, happened};
use crate::console::context::PageContext;
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::models::status_of;
use crate::console::rendering::html;
use crate::console::view;
use crate::db::audit::{AuditCursor, Direction, Filter};
use crate::db::teams::Contents;
use crate::db::{Tx, audit, models, teams, training_jobs, training_projects};
use crate::domain::models::Model;
use crate::domain::serving::Status;
use crate::domain::training_jobs::Job;
use crate::domain::training_projects::TrainingProject;
use crate::error::Error;
use crate::policy::{InTeam, OrgAct, TeamAct};

/// How many models and projects the page names.
const NAMED: usize = 6;
/// How many entries of the audit log it shows to those who may read it.
const EVENTS: usize = 6;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    contents: Contents,
    models: Vec<(Model, Option<Status>)>,
    projects: Vec<(TrainingProject, Option<Job>)>,
    happened: Vec<Happened>,
    refusal: Option<String>,
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let proofs = std::slice::from_ref(team);
    let named = models::list(tx, proofs, None)?.into_iter().take(NAMED);
    let latest = training_jobs::latest(tx, proofs)?;
    let projects = training_projects::list(tx, proofs)?.into_iter().take(NAMED);
    html(&Overview {
        frame: Frame::new(tx, ctx, Nav::Overview, Some(team.team()))?,
        contents: teams::contents(tx, team)?,
        models: named.map(|model| Ok((status_of(tx, team, &model)?, model))).map(swapped).collect::<Result<_, _>>()?,
        projects: projects
            .map(|project| (latest.get(&project.id).cloned(), project))
            .map(|(job, it)| (it, job))
            .collect(),
        happened: recent(tx, team)?,
        refusal: refusal_in(team.caller(), team.team(), TeamAct::Deploy),
    })
}

fn swapped<A, B>(pair: Result<(A, B), Error>) -> Result<(B, A), Error> {
    pair.map(|(one, other)| (other, one))
}

/// The newest entries of the audit log about the team, for those who may read it.
fn recent(tx: &Tx, team: &InTeam) -> Result<Vec<Happened>, Error> {
    let Ok(org) = team.caller().in_org(OrgAct::ManageMembers) else { return Ok(Vec::new()) };
    let filter = Filter { team_ids: vec![team.team().id.as_str()], ..Filter::default() };
    let cursor = AuditCursor { direction: Direction::NewestFirst, after: None };
    Ok(audit::list(tx, &org, &filter, cursor, EVENTS)?.items.into_iter().map(happened).collect())
}
