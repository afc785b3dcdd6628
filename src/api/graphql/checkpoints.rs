//! Models made from checkpoints of training jobs, over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::Tx;
use crate::db::training_jobs::{self, checkpoints};
use crate::domain::instance_types::InstanceType;
use crate::domain::{NAMED_MAX, ResourceName};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::graphql::arguments::{DeployCheckpoints, WeightsSource};
use crate::wire::graphql::shape::Given;

/// Refuses to deploy a model from checkpoints of training jobs. Such a model runs on an image of vLLM, and there are no
/// images here. A valid request is refused too.
///
/// # Errors
///
/// [`Error::NotFound`] for a job or checkpoint that does not exist or belongs to a team that the caller may not use, and
/// otherwise [`Error::Invalid`], which says what is not possible.
pub fn deploy(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked = ctx.arguments::<DeployCheckpoints>()?.request;
    ResourceName::parse("request.metadata.oracle_name", &asked.metadata.oracle_name)?;
    if InstanceType::find(&asked.instance_type_id).is_none() {
        return Err(Error::field("request.instance_type_id", "must be one of GET /v1/instance_types"));
    }
    if asked.weights_sources.is_empty() {
        return Err(Error::field("request.weights_sources", "must name a checkpoint"));
    }
    Error::check_count("request.weights_sources", asked.weights_sources.len(), NAMED_MAX)?;
    asked.weights_sources.iter().try_for_each(|source| check_checkpoint(tx, teams, source))?;
    Err(Error::field(
        "request.inference_stack",
        "needs an image of vLLM, and there are no images here: download the files of the checkpoint, and push a model \
         that has them",
    ))
}

fn check_checkpoint(tx: &Tx, teams: &[InTeam], source: &WeightsSource) -> Result<(), Error> {
    let missing = Error::NotFound("checkpoint");
    let Some(weights) = &source.b10_training_checkpoint_weights_source else { return Err(missing) };
    let job_id = &weights.checkpoint.training_job_id;
    for team in teams {
        if training_jobs::exists(tx, team, job_id)? {
            let Some(name) = &weights.checkpoint.checkpoint_name else { return Err(missing) };
            let is_there = checkpoints::exists(tx, team.team().id.as_str(), job_id, name)?;
            return if is_there { Ok(()) } else { Err(missing) };
        }
    }
    Err(Error::NotFound("training job"))
}
