//! Models over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, models};
use crate::domain::ResourceName;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::Tombstone;
use crate::wire::models::{Model, Models, UpdateModel};

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    list_all(tx, std::slice::from_ref(team), ctx)
}

pub fn list_all(tx: &Tx, teams: &[InTeam], ctx: &RequestContext) -> Result<Reply, Error> {
    let models = models::list(tx, teams, ctx.query("name"))?;
    Ok(Reply::ok(&Models { models: models.iter().map(Model::from).collect() }))
}

pub fn show(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&Model::from(&models::find(tx, team, ctx.param("model_id"))?)))
}

pub fn update(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, team, ctx.param("model_id"))?;
    let asked: UpdateModel = ctx.json()?;
    let model = match asked.name {
        Some(name) => models::rename(tx, team, &model, &ResourceName::parse("name", &name)?)?,
        None => model,
    };
    Ok(Reply::ok(&Model::from(&model)))
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, team, ctx.param("model_id"))?;
    models::delete(tx, team, &model)?;
    Ok(Reply::ok(&Tombstone::of(&model.id)))
}
