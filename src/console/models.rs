//! The models of a team: the list, and the page of one model with its environments and deployments.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav, refusal_in};
use crate::console::pager::Pager;
use crate::console::rendering::{html, sentence};
use crate::console::view;
use crate::db::environments::{self, promotion};
use crate::db::{Tx, deployments, environment_groups, models};
use crate::domain::deployments::{Deployment, Which};
use crate::domain::environments::{Change, Environment};
use crate::domain::models::Model;
use crate::domain::promotion::Previous;
use crate::domain::serving::{Autoscaling, Phase, Status};
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{Deployer, InTeam, TeamAct};

#[derive(Template)]
#[template(path = "models.html")]
struct Models {
    frame: Frame,
    rows: Vec<Row>,
    pager: Pager,
    search: String,
    status: String,
    refusal: Option<String>,
    is_empty: bool,
}

struct Row {
    model: Model,
    status: Option<Status>,
}

pub fn list(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let (search, status) = (ctx.query("q"), ctx.query("status"));
    let all = models::list(tx, std::slice::from_ref(team), None)?;
    let is_empty = all.is_empty();
    let named = all.into_iter().filter(|model| model.name.to_lowercase().contains(&search.to_lowercase()));
    let row = |model: Model| Ok(Row { status: status_of(tx, team, &model)?, model });
    let (rows, pager) = if status.is_empty() {
        let (models, pager) = Pager::of(ctx, named.collect(), "model");
        (models.into_iter().map(row).collect::<Result<_, Error>>()?, pager)
    } else {
        let rows = named.map(row).collect::<Result<Vec<Row>, Error>>()?;
        let with_status = |row: &Row| row.status.is_some_and(|found| found.as_str() == status);
        Pager::of(ctx, rows.into_iter().filter(with_status).collect(), "model")
    };
    html(&Models {
        frame: Frame::new(tx, ctx, Nav::Models, Some(team.team()))?,
        rows,
        pager,
        search: search.to_owned(),
        status: status.to_owned(),
        refusal: refusal_in(team.caller(), team.team(), TeamAct::Deploy),
        is_empty,
    })
}

#[derive(Template)]
#[template(path = "deploy.html")]
struct Deploy {
    frame: Frame,
    base_url: String,
}

/// Says how a model is deployed to the team.
pub fn deploy(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Models, Some(team.team()))?;
    html(&Deploy { frame, base_url: ctx.request.base_url.to_string() })
}

/// The status of the deployment that serves production, or else of the development deployment.
pub(super) fn status_of(tx: &Tx, team: &InTeam, model: &Model) -> Result<Option<Status>, Error> {
    let shown = model.production_deployment_id.as_deref().or(model.development_deployment_id.as_deref());
    let Some(id) = shown else { return Ok(None) };
    deployments::find(tx, team, &model.id, Which::Id(id)).map(|deployment| Some(deployment.status))
}

// ---- one model ----

#[derive(Template)]
#[template(path = "model.html")]
struct ModelPage {
    frame: Frame,
    model: Model,
    environments: Vec<Shown>,
    deployments: Vec<Deployed>,
    pager: Pager,
    /// Why the viewer may deploy nothing here.
    refusal: Option<String>,
    base_url: String,
    promote: Option<Promote>,
    autoscaling: Option<(String, Autoscaling)>,
    new_environment: Option<String>,
    rename: Option<String>,
    calls: bool,
    delete: bool,
    delete_deployment: Option<Deployment>,
}

/// An environment, and whether the viewer may change it.
struct Shown {
    environment: Environment,
    /// Who is on its list, if it is restricted.
    list: Option<Vec<String>>,
    /// Why the viewer may not change it.
    refusal: Option<String>,
}

struct Deployed {
    deployment: Deployment,
    environments: Vec<String>,
    refusal: Option<String>,
    can_activate: bool,
    can_retry: bool,
}

struct Promote {
    deployments: Vec<Deployment>,
    chosen: String,
    environment: String,
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let environments = environments::list(tx, team, &model)?;
    let environments: Vec<Shown> =
        environments.into_iter().map(|environment| shown(tx, team, environment)).collect::<Result<_, _>>()?;
    let refusal = refusal_in(team.caller(), team.team(), TeamAct::Deploy);
    let all = deployments::list(tx, team, &model.id, None)?;
    let (dialog, about) = ctx.dialog();
    let may = refusal.is_none();
    let open = |name: &str| may && dialog == name;
    let changeable = |name: &str| environments.iter().find(|at| at.refusal.is_none() && at.environment.name == name);
    let promote = changeable(about).filter(|_| open("promote")).map(|at| Promote {
        deployments: promotable(&all, &at.environment),
        chosen: ctx.form.text("deployment_id").to_owned(),
        environment: at.environment.name.clone(),
    });
    let autoscaling = changeable(about)
        .filter(|_| open("autoscaling"))
        .map(|at| (at.environment.name.clone(), at.environment.settings.autoscaling.clone()));
    let delete_deployment = all.iter().find(|deployment| open("delete-deployment") && deployment.id == about).cloned();
    let deployed: Vec<Deployed> = all
        .into_iter()
        .map(|deployment| deployed(tx, team, deployment, refusal.as_deref()))
        .collect::<Result<_, _>>()?;
    let (deployments, pager) = Pager::of(ctx, deployed, "deployment");
    html(&ModelPage {
        frame: Frame::new(tx, ctx, Nav::Models, Some(team.team()))?,
        new_environment: open("environment").then(|| ctx.form.text("name").to_owned()),
        rename: open("rename").then(|| ctx.form.given("name").unwrap_or(&model.name).to_owned()),
        calls: dialog == "call",
        delete: open("delete"),
        base_url: ctx.request.base_url.to_string(),
        environments,
        deployments,
        pager,
        refusal,
        promote,
        autoscaling,
        delete_deployment,
        model,
    })
}

/// The deployments that can be promoted to an environment: those that have not failed and do not serve it already.
fn promotable(all: &[Deployment], environment: &Environment) -> Vec<Deployment> {
    let serves = |deployment: &&Deployment| environment.current.as_ref().is_some_and(|now| now.id == deployment.id);
    let can = |deployment: &&Deployment| deployment.status.phase() != Phase::Failed && !serves(deployment);
    all.iter().filter(can).cloned().collect()
}

fn shown(tx: &Tx, team: &InTeam, environment: Environment) -> Result<Shown, Error> {
    let name = EnvironmentName::parse("environment", &environment.name)?;
    let group = environment_groups::find(tx, team, name)?;
    let names = |access: crate::domain::environment_groups::Access| {
        access.users.into_iter().map(|user| user.name).collect::<Vec<_>>()
    };
    Ok(Shown { refusal: refusal_of(tx, team, &environment.name)?, list: group.access.map(names), environment })
}

/// Why the viewer may not change an environment.
fn refusal_of(tx: &Tx, team: &InTeam, name: &str) -> Result<Option<String>, Error> {
    let opened = team
        .caller()
        .to_deploy(team.team())
        .and_then(|deployer| environment_groups::open(tx, &deployer, name).map(drop));
    match opened {
        Ok(()) => Ok(None),
        Err(error @ Error::Forbidden(_)) => Ok(Some(sentence(&error))),
        Err(error) => Err(error),
    }
}

fn deployed(tx: &Tx, team: &InTeam, deployment: Deployment, refusal: Option<&str>) -> Result<Deployed, Error> {
    let environments: Vec<String> = deployment.environments().map(str::to_owned).collect();
    let mut refusal = refusal.map(str::to_owned);
    for name in &environments {
        refusal = refusal.or(refusal_of(tx, team, name)?);
    }
    let phase = deployment.status.phase();
    Ok(Deployed {
        can_activate: phase == Phase::Off,
        can_retry: phase == Phase::Failed,
        deployment,
        environments,
        refusal,
    })
}

pub fn rename(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, team, ctx.param("model_id"))?;
    let name = ResourceName::parse("name", ctx.form.text("name"))?;
    models::rename(tx, team, &model, &name)?;
    Ok(back(ctx, "saved"))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, team, ctx.param("model_id"))?;
    ctx.confirm(&model.name)?;
    models::delete(tx, team, &model)?;
    Ok(to(&format!("/t/{}/models?done=deleted", team.team().id)))
}

pub fn create_environment(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, deployer, ctx.param("model_id"))?;
    let name = EnvironmentName::parse("name", ctx.form.text("name").trim())?;
    let at = environment_groups::open(tx, deployer, name.as_str())?;
    environments::create(tx, &at, &model, &Change::default())?;
    Ok(back(ctx, "created"))
}

pub fn promote(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    let at = environment_groups::open(tx, deployer, ctx.param("env_name"))?;
    let model = models::find_own(tx, &at, ctx.param("model_id"))?;
    let deployment = deployments::find(tx, &at, &model.id, Which::Id(ctx.form.text("deployment_id")))?;
    let promotion = promotion::Promotion {
        previous: if ctx.form.is_ticked("scale_down") { Previous::AsSet } else { Previous::Keep },
        instance: promotion::Instance::OfEnvironment,
        change: Change::default(),
        asked: Default::default(),
    };
    promotion::promote(tx, &at, &model, &deployment.id, &promotion)?;
    Ok(back(ctx, "promoted"))
}

pub fn scale(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    let at = environment_groups::open(tx, deployer, ctx.param("env_name"))?;
    let model = models::find_own(tx, &at, ctx.param("model_id"))?;
    let before = environments::find(tx, &at, &model, at.name().as_str())?.settings.autoscaling;
    let number = |name: &str, before: i64| match ctx.form.text(name).trim() {
        "" => Ok(before),
        text => text.parse().map_err(|_| Error::field(name, "must be a number")),
    };
    let after = Autoscaling {
        min_replica: number("min_replica", before.min_replica)?,
        max_replica: number("max_replica", before.max_replica)?,
        concurrency_target: number("concurrency_target", before.concurrency_target)?,
        scale_down_delay: number("scale_down_delay", before.scale_down_delay)?,
        ..before.clone()
    };
    let after = after.check()?;
    if after != before {
        environments::update(tx, &at, &model, &Change { autoscaling: Some(after), ..Change::default() })?;
    }
    Ok(back(ctx, "saved"))
}

fn back(ctx: &PageContext, done: &str) -> Reply {
    to(&format!("/t/{}/models/{}?done={done}", ctx.param("team_id"), ctx.param("model_id")))
}
