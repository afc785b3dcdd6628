//! Models and their versions over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::resources::{Kind, owner};
use crate::db::{Tx, deployments, models};
use crate::domain::deployments::{Deployment, Which};
use crate::domain::models::Model;
use crate::error::{Error, quoted};
use crate::policy::InTeam;
use crate::wire::graphql::arguments::{WhichById, WhichModel, WhichModels};
use crate::wire::graphql::shape::Given;
use crate::wire::graphql::{self as wire, ModelVersion};

/// Lists the models of one team, or of all teams. A request lists either the models that belong to Chains or the other
/// models.
pub fn list(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichModels = ctx.arguments()?;
    let list = if asked.chainlets_only == Some(true) { models::list_of_chains } else { models::list };
    // truss asks for the names of all models with every push, and for no versions.
    let wanted = ctx.wants("versions") || ctx.wants("primary_version");
    let mut found = Vec::new();
    for team in of_team(teams, asked.team_id.as_deref()) {
        let models = list(tx, std::slice::from_ref(team), None)?;
        ctx.count(models.len())?;
        for model in models {
            let mut deployments = if wanted { deployments::list(tx, team, &model.id, None)? } else { Vec::new() };
            ctx.count(deployments.len())?;
            load_signatures(tx, ctx, &mut deployments)?;
            found.push((team.team(), model, deployments));
        }
    }
    let base_url = &ctx.request.base_url;
    let shapes: Vec<_> =
        found.iter().map(|(team, model, deployments)| wire::Model::new(model, team, deployments, base_url)).collect();
    ctx.give(&shapes)
}

/// All of these teams, or only the team with this id.
pub(super) fn of_team<'p, 'c>(teams: &'p [InTeam<'c>], team_id: Option<&str>) -> impl Iterator<Item = &'p InTeam<'c>> {
    teams.iter().filter(move |team| team_id.is_none_or(|id| team.team().id.as_str() == id))
}

/// Shows the model with an id, or the only model with a name. If no model has the name, it shows the model of a
/// chainlet.
pub fn show(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichModel = ctx.arguments()?;
    let (team, model) = match (asked.id, asked.name) {
        (Some(id), None) => {
            let team = owner(tx, teams, Kind::Model, &id)?;
            (team, models::find(tx, team, &id)?)
        }
        (None, Some(name)) => only_named(tx, teams, &name)?,
        (Some(_), Some(_)) | (None, None) => return Err(Error::field("id", "or `name` must be given, and not both")),
    };
    let mut deployments = deployments::list(tx, team, &model.id, None)?;
    ctx.count(deployments.len())?;
    load_signatures(tx, ctx, &mut deployments)?;
    ctx.give(&wire::Model::new(&model, team.team(), &deployments, &ctx.request.base_url))
}

pub fn show_version(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichById = ctx.arguments()?;
    let missing = || Error::NotFound("model version");
    let model_id = deployments::model_of(tx, &asked.id)?.ok_or_else(missing)?;
    let team = owner(tx, teams, Kind::Model, &model_id).map_err(|_| missing())?;
    let model = models::find(tx, team, &model_id)?;
    let mut deployment = deployments::find(tx, team, &model_id, Which::Id(&asked.id))?;
    load_signatures(tx, ctx, std::slice::from_mut(&mut deployment))?;
    ctx.give(&ModelVersion::new(&model, &deployment, &ctx.request.base_url))
}

/// Loads the signatures of deployments. They may be large, so they are read only if the query selects them.
fn load_signatures(tx: &Tx, ctx: &FieldContext, deployments: &mut [Deployment]) -> Result<(), Error> {
    if ctx.wants_anywhere("truss_signature") { deployments::load_signatures(tx, deployments) } else { Ok(()) }
}

fn only_named<'p, 'c>(tx: &Tx, teams: &'p [InTeam<'c>], name: &str) -> Result<(&'p InTeam<'c>, Model), Error> {
    let mut named = Vec::new();
    for list in [models::list, models::list_of_chains] {
        for team in teams {
            let models = list(tx, std::slice::from_ref(team), Some(name))?;
            named.extend(models.into_iter().map(|model| (team, model)));
        }
        if !named.is_empty() {
            break;
        }
    }
    match (named.pop(), named.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => {
            Err(Error::conflict(format!("several teams have a model named \"{}\": ask by its id", quoted(name))))
        }
        (None, _) => Err(Error::NotFound("model")),
    }
}
