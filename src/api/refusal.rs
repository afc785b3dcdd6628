//! The shapes of refusals: the clients of each API read a different shape.

use crate::api::reply::Reply;
use crate::error::Error;
use crate::wire;

/// An API that has its own shape for refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Management,
    Inference,
    GraphQl,
    /// Sign-in of a person with a device code.
    OAuth,
    /// Model APIs, which speak OpenAI's interface.
    OpenAi,
}

impl Api {
    pub fn refusal(self, error: &Error, request_id: &str) -> Reply {
        let reply = Reply::refusal(error, request_id);
        let (message, code) = (error.to_string(), error.status().1.to_ascii_lowercase());
        let body = match self {
            // truss shows a message that is inside a GraphQL answer, and hides a message that comes with an error
            // status.
            Api::GraphQl if matches!(error, Error::Unauthenticated) => return within_graphql(error, request_id),
            Api::Management | Api::GraphQl => return reply,
            Api::Inference => serde_json::to_vec(&wire::InferenceRefusal { error: &message }),
            Api::OpenAi => serde_json::to_vec(&wire::openai::Refusal::new(error)),
            Api::OAuth => serde_json::to_vec(&wire::OAuthRefusal { error: &code, error_description: &message }),
        };
        Reply { body: body.expect("shapes of ours always serialize"), ..reply }
    }
}

/// The refusal of a whole GraphQL document, inside a GraphQL answer with the status 200.
pub(super) fn within_graphql(error: &Error, request_id: &str) -> Reply {
    let failure = wire::graphql::Failure::of_document(error);
    Reply::bytes("application/json", wire::graphql::answer(None, &[failure.of_request(error, request_id)]))
}
