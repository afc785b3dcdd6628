//! The requests of `truss watch`, over GraphQL. If something cannot be patched, the answer says so, and not an error:
//! truss shows it to the user and continues.

use std::any::Any;

use crate::api::graphql::context::FieldContext;
use crate::api::graphql::pushes::{decode, object};
use crate::api::rest::patches::ReadPatch;
use crate::db::Tx;
use crate::db::deployments::patches::{self, Verdict};
use crate::db::deployments::{self, Changeable};
use crate::domain::deployments::{Content, Which};
use crate::error::Error;
use crate::policy::{Deployer, InTeam};
use crate::wire;
use crate::wire::graphql::arguments::{PatchRequest, StagePatch};
use crate::wire::graphql::selection::Selected;
use crate::wire::graphql::shape::Given;
use crate::wire::graphql::{PatchState, Patched, WatchState};

/// Shows what runs, and what it is patched to. truss reads the versions of a model once and sends this query before
/// each patch, so the answer contains the patch state from the first patch until the next push.
pub fn state(tx: &Tx, team: &InTeam, ctx: &FieldContext) -> Result<Given, Error> {
    let development = deployments::find(tx, team, ctx.id("id")?, Which::Development)?;
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

pub fn stage(tx: &Tx, deployer: &Deployer, ctx: &FieldContext) -> Result<Given, Error> {
    let changeable = deployments::to_patch(tx, deployer, ctx.id("id")?, Which::Development)?;
    let read: ReadPatch = ctx.prepared()?;
    let patch = read.of(&deployments::config(tx, changeable.deployment())?.parsed);
    patched(&changeable, patches::stage(tx, &changeable, &patch).map(|()| Verdict::Synced), ctx)
}

/// Reads the arguments of a patch. Call it on the pool.
///
/// # Errors
///
/// [`Error::Invalid`] for an argument that is malformed.
pub fn read(selected: &Selected) -> Result<Box<dyn Any + Send>, Error> {
    let asked: StagePatch = selected.read()?;
    let request: PatchRequest = wire::read("`patch`", object("patch", &decode("patch", &asked.patch)?)?)?;
    let read = ReadPatch::read(request.prev_hash, request.next_hash, &request.next_signature, request.patch_ops)?;
    Ok(Box::new(read))
}

pub fn sync(tx: &Tx, deployer: &Deployer, ctx: &FieldContext) -> Result<Given, Error> {
    let changeable = deployments::to_patch(tx, deployer, ctx.id("id")?, Which::Development)?;
    patched(&changeable, patches::sync(tx, &changeable), ctx)
}

fn patched(changeable: &Changeable, done: Result<Verdict, Error>, ctx: &FieldContext) -> Result<Given, Error> {
    let (needs_full_deploy, error) = match done {
        Ok(Verdict::Synced) => (false, None),
        Ok(Verdict::NeedsFullDeploy(why)) => (true, Some(why)),
        Err(none_uploaded @ Error::NotFound(_)) => (true, Some(none_uploaded.to_string())),
        Err(refused @ (Error::Conflict(_) | Error::Unavailable(_))) => (false, Some(refused.to_string())),
        Err(cause) => return Err(cause),
    };
    let model = changeable.model();
    ctx.give(&Patched {
        id: &model.id,
        name: &model.name,
        version_id: &changeable.deployment().id,
        succeeded: error.is_none(),
        needs_full_deploy,
        error,
    })
}
