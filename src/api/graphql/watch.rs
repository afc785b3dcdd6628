//! What `truss watch` asks and sends, over GraphQL. What cannot be patched is told in the answer, not as an error: truss
//! shows it to whoever watches and goes on.

use std::any::Any;

use crate::api::graphql::FieldContext;
use crate::api::graphql::pushes::{decode, object};
use crate::api::rest::patches::ReadPatch;
use crate::db::Tx;
use crate::db::deployments;
use crate::db::deployments::patches::{self, Verdict};
use crate::domain::deployments::{Content, Which};
use crate::domain::models::Model;
use crate::error::Error;
use crate::policy::{Deployer, InTeam};
use crate::wire;
use crate::wire::graphql::arguments::{PatchRequest, StagePatch};
use crate::wire::graphql::selected::Selected;
use crate::wire::graphql::shape::Given;
use crate::wire::graphql::{PatchState, Patched, WatchState};

/// What runs, and what it is patched to. truss reads the versions of a model once and asks this before each patch, so it is
/// told from the first patch on until the next push.
pub fn state(tx: &Tx, team: &InTeam, model: &Model, ctx: &FieldContext) -> Result<Given, Error> {
    let development = deployments::find(tx, team, &model.id, Which::Development)?;
    let state = patches::state(tx, &development)?;
    let running = state.running.as_ref().filter(|_| state.is_patched || state.pending.is_some());
    ctx.give(&WatchState {
        is_container_built_from_push: !state.is_patched,
        django_patch_state: state.pending.as_ref().or(running).map(patch_state),
        container_patch_state: running.map(patch_state),
    })
}

fn patch_state(content: &Content) -> PatchState<'_> {
    PatchState { current_hash: &content.hash, current_signature: &content.signature }
}

pub fn stage(tx: &Tx, deployer: &Deployer, model: &Model, ctx: &FieldContext) -> Result<Given, Error> {
    let changeable = deployments::to_patch(tx, deployer, &model.id, Which::Development)?;
    let read: ReadPatch = ctx.prepared()?;
    let patch = read.of(&deployments::config(tx, changeable.deployment())?.parsed);
    told(model, &changeable.deployment().id, patches::stage(tx, &changeable, &patch).map(|()| Verdict::Synced), ctx)
}

pub fn read(selected: &Selected) -> Result<Box<dyn Any + Send>, Error> {
    let asked: StagePatch = selected.read()?;
    let request: PatchRequest = wire::read("`patch`", object("patch", &decode("patch", &asked.patch)?)?)?;
    let read = ReadPatch::read(request.prev_hash, request.next_hash, &request.next_signature, request.patch_ops)?;
    Ok(Box::new(read))
}

pub fn sync(tx: &Tx, deployer: &Deployer, model: &Model, ctx: &FieldContext) -> Result<Given, Error> {
    let changeable = deployments::to_patch(tx, deployer, &model.id, Which::Development)?;
    told(model, &changeable.deployment().id, patches::sync(tx, &changeable), ctx)
}

fn told(model: &Model, version_id: &str, done: Result<Verdict, Error>, ctx: &FieldContext) -> Result<Given, Error> {
    let (needs_full_deploy, error) = match done {
        Ok(Verdict::Synced) => (false, None),
        Ok(Verdict::NeedsFullDeploy(why)) => (true, Some(why)),
        Err(none_uploaded @ Error::NotFound(_)) => (true, Some(none_uploaded.to_string())),
        Err(refused @ (Error::Conflict(_) | Error::Unavailable(_))) => (false, Some(refused.to_string())),
        Err(cause) => return Err(cause),
    };
    ctx.give(&Patched {
        id: &model.id,
        name: &model.name,
        version_id,
        succeeded: error.is_none(),
        needs_full_deploy,
        error,
    })
}
