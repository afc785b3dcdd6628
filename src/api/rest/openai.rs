//! Model APIs as OpenAI's clients call them. A handler decides which upstream answers; the server then passes the body on,
//! and the answer back.

use crate::api::context::RequestContext;
use crate::api::reply::Reply;
use crate::db::{Tx, model_apis};
use crate::domain::model_apis::Endpoint;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;
use crate::wire::openai::{Asked, Models};

pub fn list_models(tx: &Tx, team: &InTeam, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&Models::from(model_apis::list(tx, team)?.as_slice())))
}

pub fn complete_chat(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    call(tx, team, ctx, Endpoint::ChatCompletions)
}

pub fn complete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    call(tx, team, ctx, Endpoint::Completions)
}

pub fn embed(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    call(tx, team, ctx, Endpoint::Embeddings)
}

fn call(tx: &Tx, team: &InTeam, ctx: &RequestContext, endpoint: Endpoint) -> Result<Reply, Error> {
    let asked: Asked = ctx.read(wire::parse)?;
    model_apis::call(tx, team, &asked.model, endpoint).map(Reply::model_api)
}
