//! The routes at which models and Chains are called: at the host of a model or a Chain, or below `/models/ID` and
//! `/chains/ID`, which is not part of these paths.
//!
//! A path without an environment or a deployment is about the environment `production`. Routes that are not served answer
//! 501 in the shape that clients of inference read.

use crate::api::access::At;
use crate::api::context::{Access, RequestContext};
use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::api::rest::calls;
use crate::api::route::{Route, Run, get, not_served, post};
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

    inference("POST",   "/production/async_predict"),
    inference("POST",   "/development/async_predict"),
    inference("POST",   "/environments/{env_name}/async_predict"),
    inference("POST",   "/deployment/{deployment_id}/async_predict"),
    inference("POST",   "/async_predict"),

    inference("POST",   "/production/async_run_remote"),
    inference("POST",   "/development/async_run_remote"),
    inference("POST",   "/environments/{env_name}/async_run_remote"),
    inference("POST",   "/deployment/{deployment_id}/async_run_remote"),
    inference("POST",   "/async_run_remote"),

    inference("GET",    "/async_request/{request_id}"),
    inference("DELETE", "/async_request/{request_id}"),
    inference("GET",    "/production/async_queue_status"),
    inference("GET",    "/development/async_queue_status"),
    inference("GET",    "/environments/{env_name}/async_queue_status"),
    inference("GET",    "/deployment/{deployment_id}/async_queue_status"),
    inference("GET",    "/async_queue_status"),

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

const fn inference(method: &'static str, template: &'static str) -> Route {
    not_served(method, template).of_api(Api::Inference)
}
