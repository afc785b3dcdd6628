//! Queued calls over HTTP.

use crate::api::context::RequestContext;
use crate::api::reply::Reply;
use crate::db::async_requests::{self, Target};
use crate::db::{Tx, calls};
use crate::domain::calls::Callee;
use crate::error::Error;
use crate::policy::{Invoker, Invoking};
use crate::wire::async_requests::{AsyncRequestStatus, Cancellation, QueueStatus, Queued, QueuedRequest};

pub fn predict(tx: &Tx, invoker: &Invoker, ctx: &RequestContext) -> Result<Reply, Error> {
    match invoker.callee() {
        Callee::Model(_) => enqueue(tx, invoker, ctx, Queued::of_model),
        Callee::Chain(_) => Err(Error::NotFound("route: a Chain answers `async_run_remote`, a model `async_predict`")),
    }
}

pub fn run_remote(tx: &Tx, invoker: &Invoker, ctx: &RequestContext) -> Result<Reply, Error> {
    match invoker.callee() {
        Callee::Model(_) => Err(Error::NotFound("route: a model answers `async_predict`, a Chain `async_run_remote`")),
        Callee::Chain(_) => enqueue(tx, invoker, ctx, Queued::of_chain),
    }
}

fn enqueue(
    tx: &Tx,
    invoker: &Invoker,
    ctx: &RequestContext,
    read: fn(&[u8]) -> Result<Queued, Error>,
) -> Result<Reply, Error> {
    let target = Target::find(tx, invoker)?;
    let Queued { terms, input } = ctx.read(read)?;
    let request_id = async_requests::enqueue(tx, invoker, &target, &terms, input.as_bytes())?;
    Ok(Reply::created(&QueuedRequest { request_id }))
}

pub fn queue_status(tx: &Tx, invoker: &Invoker, _: &RequestContext) -> Result<Reply, Error> {
    let target = calls::target(tx, invoker)?;
    let length = async_requests::queue_length(tx, invoker, &target.deployment_id)?;
    Ok(Reply::ok(&QueueStatus::new(&target.model_id, &target.deployment_id, length)))
}

pub fn show(tx: &Tx, invoking: &Invoking, ctx: &RequestContext) -> Result<Reply, Error> {
    let request = async_requests::find(tx, invoking, ctx.param("request_id"))?;
    Ok(Reply::ok(&AsyncRequestStatus::from(&request)))
}

pub fn cancel(tx: &Tx, invoking: &Invoking, ctx: &RequestContext) -> Result<Reply, Error> {
    let (request, canceled) = async_requests::cancel(tx, invoking, ctx.param("request_id"))?;
    let message = if canceled { "the request was canceled" } else { "only a queued request can be canceled" };
    Ok(Reply::ok(&Cancellation { request_id: &request.id, canceled, message }))
}
