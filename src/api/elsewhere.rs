//! Routes beside the management API that Baseten's clients ask and this server does not serve. They answer 501 and name
//! themselves in the shape of the API that they belong to, because clients read nothing else there.

use crate::api::graphql::endpoint;
use crate::api::routes::{Answer, Effect, Origin, Route};
use crate::api::{Reply, Request};
use crate::error::Error;
use crate::wire;

/// An API that has a shape of its own for what it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Management,
    Inference,
    GraphQl,
    /// A person signs in by a device code: whoever begins has no key yet.
    OAuth,
}

#[rustfmt::skip]
pub const UNSERVED_ELSEWHERE: &[Route] = &[
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

    oauth("POST", "/v1/users/auth/device/authorize"),
    oauth("POST", "/v1/users/auth/device/token"),
    oauth("POST", "/v1/users/auth/logout"),
];

const fn inference(method: &'static str, template: &'static str) -> Route {
    Route { method, template, answer: Answer::UnservedInference, origin: Origin::Baseten, effect: Effect::Reads }
}

const fn oauth(method: &'static str, template: &'static str) -> Route {
    Route { method, template, answer: Answer::UnservedOAuth, origin: Origin::Baseten, effect: Effect::Reads }
}

impl Route {
    pub fn not_served(&self) -> Error {
        Error::NotImplemented(format!("{} {}", self.method, self.template))
    }
}

impl Api {
    /// Whose shape a request is answered in. At the host of a model or a Chain, what no route has is inference's too.
    pub fn of(route: Option<&Route>, request: &Request) -> Api {
        match route.map(|route| route.answer) {
            Some(Answer::UnservedInference) => Api::Inference,
            Some(Answer::UnservedOAuth) => Api::OAuth,
            Some(Answer::GraphQl) => Api::GraphQl,
            None if request.is_for_model => Api::Inference,
            Some(_) | None => Api::Management,
        }
    }

    pub fn refusal(self, error: &Error, request_id: &str) -> Reply {
        let reply = Reply::refusal(error, request_id);
        let (message, code) = (error.to_string(), error.status().1.to_ascii_lowercase());
        let body = match self {
            // truss shows a sentence from within GraphQL, and hides one that comes with another status.
            Api::GraphQl if matches!(error, Error::Unauthenticated) => return endpoint::error_reply(error, request_id),
            Api::Management | Api::GraphQl => return reply,
            Api::Inference => serde_json::to_vec(&wire::InferenceRefusal { error: &message }),
            Api::OAuth => serde_json::to_vec(&wire::OAuthRefusal { error: &code, error_description: &message }),
        };
        Reply { body: body.expect("shapes of ours always serialize"), ..reply }
    }
}
