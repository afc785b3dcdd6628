//! The routes at which Model APIs are called, in OpenAI's interface: at the host `inference.…`, or below `/inference`.

use crate::api::access::TeamRule;
use crate::api::context::{Access, RequestContext};
use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::api::rest::openai;
use crate::api::route::{Route, get, post};
use crate::api::routes::DEFAULT;
use crate::api::shapes::Shapes;
use crate::db::Tx;
use crate::error::Error;
use crate::policy::InTeam;

#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    get("/inference/v1/models", access(openai::list_models), Shapes::UNDESCRIBED).of_api(Api::OpenAi).ours(),
    call("/inference/v1/chat/completions", openai::complete_chat),
    call("/inference/v1/completions",      openai::complete),
    call("/inference/v1/embeddings",       openai::embed),
];

type Handler = fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>;

const fn access(handler: Handler) -> Access {
    Access::Team(DEFAULT, TeamRule::CallModelApis, handler)
}

/// A body may be large, so it is read on the pool. Nothing is written.
const fn call(template: &'static str, handler: Handler) -> Route {
    post(template, access(handler), Shapes::UNDESCRIBED).searching().of_api(Api::OpenAi).ours()
}
