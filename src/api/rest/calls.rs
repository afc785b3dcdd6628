//! Calls to models and Chains. A handler decides which deployment answers; the server then makes the call and passes
//! the bodies on.

use crate::api::context::RequestContext;
use crate::api::reply::Reply;
use crate::db::{self, Tx};
use crate::domain::calls::{Asks, Callee};
use crate::error::Error;
use crate::policy::Invoker;
use crate::wire;

pub fn predict(tx: &Tx, invoker: &Invoker, _: &RequestContext) -> Result<Reply, Error> {
    match invoker.callee() {
        Callee::Model(_) => make(tx, invoker, Asks::Prediction),
        Callee::Chain(_) => Err(Error::NotFound("route: a Chain answers `run_remote`, a model `predict`")),
    }
}

/// Chainlets are models, and call each other by this route too.
pub fn run_remote(tx: &Tx, invoker: &Invoker, _: &RequestContext) -> Result<Reply, Error> {
    match invoker.callee() {
        Callee::Model(_) if !db::calls::is_chainlet(tx, invoker)? => {
            Err(Error::NotFound("route: a model answers `predict`, a Chain `run_remote`"))
        }
        Callee::Model(_) | Callee::Chain(_) => make(tx, invoker, Asks::Prediction),
    }
}

/// Passes on a path that the model itself defines.
pub fn sync(tx: &Tx, invoker: &Invoker, ctx: &RequestContext) -> Result<Reply, Error> {
    make(tx, invoker, Asks::Path { segments: ctx.rest_count() })
}

pub fn websocket(tx: &Tx, invoker: &Invoker, _: &RequestContext) -> Result<Reply, Error> {
    make(tx, invoker, Asks::Websocket)
}

pub fn wake(tx: &Tx, invoker: &Invoker, _: &RequestContext) -> Result<Reply, Error> {
    db::calls::wake(tx, invoker)?;
    Ok(Reply::accepted(&wire::Empty {}))
}

fn make(tx: &Tx, invoker: &Invoker, asks: Asks) -> Result<Reply, Error> {
    db::calls::call(tx, invoker, asks).map(Reply::call)
}
