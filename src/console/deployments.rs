//! One deployment of a model: its state, its configuration and its logs.

use askama::Template;

use crate::api::Reply;
use crate::console::context::{PageContext, to};
use crate::console::frame::{Frame, Nav};
use crate::console::rendering::html;
use crate::console::view;
use crate::db::deployments::{self, Changeable, running};
use crate::db::{Tx, logs, models};
use crate::domain::Time;
use crate::domain::deployments::{Deployment, Which};
use crate::domain::logs::Line;
use crate::domain::models::Model;
use crate::domain::serving::Level;
use crate::error::Error;
use crate::policy::{Deployer, InTeam};

/// How many lines of a log a page shows.
const LINES_MAX: usize = 200;
/// How many characters of a line a page shows.
const LINE_CHARS_MAX: usize = 2000;
/// How long back a page looks for lines.
const LOOKS_BACK_SECONDS: i64 = 7 * 24 * 60 * 60;

#[derive(Template)]
#[template(path = "deployment.html")]
struct DeploymentPage {
    frame: Frame,
    model: Model,
    deployment: Deployment,
    config: Option<String>,
    log: Log,
}

/// The newest lines of a log.
pub(super) struct Log {
    pub lines: Vec<Line>,
    pub search: String,
    pub level: &'static str,
    pub levels: &'static [Level],
}

impl Log {
    /// Reads the lines that the query asks for, oldest first.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn read(
        tx: &Tx,
        ctx: &PageContext,
        read: impl FnOnce(&logs::Filter) -> Result<Vec<Line>, Error>,
    ) -> Result<Log, Error> {
        let asked = ctx.query("level");
        let level = Level::ALL.iter().find(|level| level.as_str() == asked).copied().unwrap_or(Level::Debug);
        let search = ctx.query("search");
        let filter = logs::Filter {
            start: tx.now.plus_seconds(-LOOKS_BACK_SECONDS),
            end: Time(i64::MAX),
            direction: logs::Direction::Descending,
            lines_max: LINES_MAX,
            min_level: level,
            includes: logs::Text::all(Some(search).filter(|text| !text.is_empty()).into_iter()),
            excludes: Vec::new(),
            replica: None,
            request_id: None,
        };
        let mut lines = read(&filter)?;
        lines.reverse();
        for line in &mut lines {
            if let Some((at, _)) = line.message.char_indices().nth(LINE_CHARS_MAX) {
                line.message.truncate(at);
                line.message.push('…');
            }
        }
        Ok(Log { lines, search: search.to_owned(), level: level.as_str(), levels: Level::ALL })
    }
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &PageContext) -> Result<Reply, Error> {
    let model = models::find(tx, team, ctx.param("model_id"))?;
    let deployment = deployments::find(tx, team, &model.id, Which::of_path(ctx.param("deployment_id")))?;
    html(&DeploymentPage {
        frame: Frame::new(tx, ctx, Nav::Models, Some(team.team()))?,
        config: deployments::config(tx, &deployment)?.raw,
        log: Log::read(tx, ctx, |filter| logs::list(tx, &deployment.id, filter))?,
        model,
        deployment,
    })
}

pub fn activate(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    running::activate(tx, &to_change(tx, deployer, ctx)?)?;
    Ok(back(ctx, "activated"))
}

pub fn deactivate(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    running::deactivate(tx, &to_change(tx, deployer, ctx)?)?;
    Ok(back(ctx, "deactivated"))
}

pub fn retry(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    match running::retry(tx, &to_change(tx, deployer, ctx)?)? {
        None => Ok(back(ctx, "retried")),
        Some(reason) => Err(Error::conflict(reason)),
    }
}

pub fn delete(tx: &Tx, deployer: &Deployer, ctx: &PageContext) -> Result<Reply, Error> {
    let changeable = to_change(tx, deployer, ctx)?;
    ctx.confirm(&changeable.deployment().name)?;
    deployments::delete(tx, &changeable)?;
    Ok(back(ctx, "deleted"))
}

fn to_change<'a>(tx: &Tx, deployer: &Deployer<'a>, ctx: &PageContext) -> Result<Changeable<'a>, Error> {
    deployments::to_change(tx, deployer, ctx.param("model_id"), Which::Id(ctx.param("deployment_id")))
}

fn back(ctx: &PageContext, done: &str) -> Reply {
    to(&format!("/t/{}/models/{}?done={done}", ctx.param("team_id"), ctx.param("model_id")))
}
