//! The shapes in which requests are refused: each API's clients read their own.

use crate::api::reply::Reply;
use crate::error::Error;
use crate::wire;

/// An API that has a shape of its own for refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Management,
    Inference,
    GraphQl,
    /// A person signs in by a device code.
    OAuth,
}

impl Api {
    pub fn refusal(self, error: &Error, request_id: &str) -> Reply {
        let reply = Reply::refusal(error, request_id);
        let (message, code) = (error.to_string(), error.status().1.to_ascii_lowercase());
        let body = match self {
            // truss shows a sentence from within GraphQL, and hides one that comes with another status.
            Api::GraphQl if matches!(error, Error::Unauthenticated) => return within_graphql(error, request_id),
            Api::Management | Api::GraphQl => return reply,
            Api::Inference => serde_json::to_vec(&wire::InferenceRefusal { error: &message }),
            Api::OAuth => serde_json::to_vec(&wire::OAuthRefusal { error: &code, error_description: &message }),
        };
        Reply { body: body.expect("shapes of ours always serialize"), ..reply }
    }
}

/// Refuses a whole GraphQL document inside GraphQL, with the status 200.
pub(super) fn within_graphql(error: &Error, request_id: &str) -> Reply {
    let failure = wire::graphql::Failure::of_document(error);
    Reply::bytes("application/json", wire::graphql::answer(None, &[failure.of_request(error, request_id)]))
}
