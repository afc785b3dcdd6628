//! Models made from checkpoints of training jobs, over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::{Tx, training_jobs};
use crate::domain::instance_types::InstanceType;
use crate::domain::{NAMED_MAX, ResourceName};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::graphql::arguments::{DeployCheckpoints, WeightsSource};
use crate::wire::graphql::shape::Given;

/// Deploys a model from checkpoints of training jobs. No trainer is attached, so no job has saved a checkpoint, and a
/// valid request is refused too.
///
/// # Errors
///
/// [`Error::Invalid`] for a malformed request, [`Error::NotFound`] for a job that does not exist or belongs to a team
/// that the caller may not use, and otherwise [`Error::NotFound`] for the checkpoint.
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
    asked.weights_sources.iter().try_for_each(|source| check_job(tx, teams, source))?;
    Err(Error::NotFound("checkpoint"))
}

fn check_job(tx: &Tx, teams: &[InTeam], source: &WeightsSource) -> Result<(), Error> {
    let Some(weights) = &source.b10_training_checkpoint_weights_source else { return Ok(()) };
    for team in teams {
        if training_jobs::exists(tx, team, &weights.checkpoint.training_job_id)? {
            return Ok(());
        }
    }
    Err(Error::NotFound("training job"))
}
