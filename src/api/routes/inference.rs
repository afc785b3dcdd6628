//! The routes at which models and Chains are called: at the host of a model or a Chain, or below `/models/ID` and
//! `/chains/ID`, which is not part of these paths.
//!
//! A path without an environment or a deployment is about the environment `production`.

use crate::api::access::At;
use crate::api::context::{Access, RequestContext};
use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::api::rest::{async_requests, calls};
use crate::api::route::{Route, Run, delete, get, post};
use crate::api::shapes::Shapes;
use crate::db::Tx;
use crate::error::Error;
use crate::policy::Invoker;

#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    call("/production/predict",                              At::Production,  calls::predict),
    call("/development/predict",                             At::Development, calls::predict),
    call("/environments/{env_name}/predict",                 At::Environment, calls::predict),
    call("/deployment/{deployment_id}/predict",              At::Deployment,  calls::predict),
    call("/predict",                                         At::Production,  calls::predict),

    call("/production/run_remote",                           At::Production,  calls::run_remote),
    call("/development/run_remote",                          At::Development, calls::run_remote),
    call("/environments/{env_name}/run_remote",              At::Environment, calls::run_remote),
    call("/deployment/{deployment_id}/run_remote",           At::Deployment,  calls::run_remote),
    call("/run_remote",                                      At::Production,  calls::run_remote),

    queue("/production/async_predict",                       At::Production,  async_requests::predict),
    queue("/development/async_predict",                      At::Development, async_requests::predict),
    queue("/environments/{env_name}/async_predict",          At::Environment, async_requests::predict),
    queue("/deployment/{deployment_id}/async_predict",       At::Deployment,  async_requests::predict),
    queue("/async_predict",                                  At::Production,  async_requests::predict),

    queue("/production/async_run_remote",                    At::Production,  async_requests::run_remote),
    queue("/development/async_run_remote",                   At::Development, async_requests::run_remote),
    queue("/environments/{env_name}/async_run_remote",       At::Environment, async_requests::run_remote),
    queue("/deployment/{deployment_id}/async_run_remote",    At::Deployment,  async_requests::run_remote),
    queue("/async_run_remote",                               At::Production,  async_requests::run_remote),

    get("/async_request/{request_id}", Access::Invoking(async_requests::show), Shapes::UNDESCRIBED).of_api(Api::Inference),
    delete("/async_request/{request_id}", Access::Invoking(async_requests::cancel), Shapes::UNDESCRIBED).of_api(Api::Inference),
    length("/production/async_queue_status",                 At::Production),
    length("/development/async_queue_status",                At::Development),
    length("/environments/{env_name}/async_queue_status",    At::Environment),
    length("/deployment/{deployment_id}/async_queue_status", At::Deployment),
    length("/async_queue_status",                            At::Production),

    wake("/production/wake",                                 At::Production),
    wake("/development/wake",                                At::Development),
    wake("/environments/{env_name}/wake",                    At::Environment),
    wake("/deployment/{deployment_id}/wake",                 At::Deployment),
    wake("/wake",                                            At::Production),

    // paths of the model's own
    call("/production/sync/{path...}",                       At::Production,  calls::sync),
    look("/production/sync/{path...}",                       At::Production,  calls::sync),
    call("/development/sync/{path...}",                      At::Development, calls::sync),
    look("/development/sync/{path...}",                      At::Development, calls::sync),
    call("/environments/{env_name}/sync/{path...}",          At::Environment, calls::sync),
    look("/environments/{env_name}/sync/{path...}",          At::Environment, calls::sync),
    call("/deployment/{deployment_id}/sync/{path...}",       At::Deployment,  calls::sync),
    look("/deployment/{deployment_id}/sync/{path...}",       At::Deployment,  calls::sync),
    call("/sync/{path...}",                                  At::Production,  calls::sync),
    look("/sync/{path...}",                                  At::Production,  calls::sync),

    look("/production/websocket",                            At::Production,  calls::websocket),
    look("/development/websocket",                           At::Development, calls::websocket),
    look("/environments/{env_name}/websocket",               At::Environment, calls::websocket),
    look("/deployment/{deployment_id}/websocket",            At::Deployment,  calls::websocket),
    look("/websocket",                                       At::Production,  calls::websocket),
];

type Handler = fn(&Tx, &Invoker, &RequestContext) -> Result<Reply, Error>;

const fn call(template: &'static str, at: At, handler: Handler) -> Route {
    post(template, Access::Invoke(at, handler), Shapes::UNDESCRIBED).runs(Run::Call).of_api(Api::Inference)
}

const fn look(template: &'static str, at: At, handler: Handler) -> Route {
    get(template, Access::Invoke(at, handler), Shapes::UNDESCRIBED).runs(Run::Call).of_api(Api::Inference)
}

const fn wake(template: &'static str, at: At) -> Route {
    post(template, Access::Invoke(at, calls::wake), Shapes::UNDESCRIBED).of_api(Api::Inference)
}

const fn queue(template: &'static str, at: At, handler: Handler) -> Route {
    post(template, Access::Invoke(at, handler), Shapes::UNDESCRIBED).runs(Run::Queue).of_api(Api::Inference)
}

const fn length(template: &'static str, at: At) -> Route {
    get(template, Access::Invoke(at, async_requests::queue_status), Shapes::UNDESCRIBED).of_api(Api::Inference)
}
