//! The routes at which models and Chains are called. None is served: each answers 501 and names the route, in the shape
//! that clients of inference read.

use crate::api::refusal::Api;
use crate::api::route::{Route, not_served};

#[rustfmt::skip]
pub(super) const ROUTES: &[Route] = &[
    inference("POST",   "/production/predict"),
    inference("POST",   "/development/predict"),
    inference("POST",   "/environments/{env_name}/predict"),
    inference("POST",   "/deployment/{deployment_id}/predict"),
    inference("POST",   "/predict"),

    inference("POST",   "/production/run_remote"),
    inference("POST",   "/development/run_remote"),
    inference("POST",   "/environments/{env_name}/run_remote"),
    inference("POST",   "/deployment/{deployment_id}/run_remote"),
    inference("POST",   "/run_remote"),

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

    inference("POST",   "/production/wake"),
    inference("POST",   "/development/wake"),
    inference("POST",   "/environments/{env_name}/wake"),
    inference("POST",   "/deployment/{deployment_id}/wake"),
    inference("POST",   "/wake"),
];

const fn inference(method: &'static str, template: &'static str) -> Route {
    not_served(method, template).of_api(Api::Inference)
}
