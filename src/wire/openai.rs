//! OpenAI's interface, as Model APIs speak it: what is read from bodies, the list of models, and refusals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::model_apis::{Tokens, Upstream};
use crate::error::Error;

/// What is read from a body before it is passed on. All else is for the upstream.
#[derive(Deserialize)]
pub struct Asked {
    pub model: String,
}

/// The models that can be called. OpenAI's `ListModelsResponse`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "OpenAIModels")]
pub struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

/// A model that can be called. OpenAI's `Model`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "OpenAIModel")]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

impl<'a> From<&'a [Upstream]> for Models<'a> {
    fn from(upstreams: &'a [Upstream]) -> Models<'a> {
        let model = |upstream: &'a Upstream| Model {
            id: &upstream.slug,
            object: "model",
            created: upstream.created_at.0 / 1000,
            owned_by: "guildhall",
        };
        Models { object: "list", data: upstreams.iter().map(model).collect() }
    }
}

/// A refusal as OpenAI's clients read it.
#[derive(Serialize)]
pub struct Refusal {
    error: Problem,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<()>,
    code: &'static str,
}

impl Refusal {
    pub fn new(error: &Error) -> Refusal {
        let (status, code) = error.status();
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        Refusal { error: Problem { message: error.to_string(), kind, param: None, code } }
    }
}

/// How many tokens were used, as an answer or the last event of a stream says.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: u64,
}

/// The tokens that were used, where an answer says so. `rest` is what follows the name `"usage"` in it.
pub fn tokens(rest: &[u8]) -> Option<Tokens> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    let mut reader = serde_json::Deserializer::from_slice(rest).into_iter::<Usage>();
    let usage = reader.next()?.ok()?;
    let cached = usage.prompt_tokens_details.map_or(0, |details| details.cached_tokens);
    Some(Tokens { input: usage.prompt_tokens, output: usage.completion_tokens, cached })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_many_tokens_were_used() {
        let rest = br#": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}}"#;
        assert_eq!(tokens(rest), Some(Tokens { input: 7, output: 3, cached: 2 }));
        assert_eq!(tokens(br#": {"prompt_tokens": 7}"#), Some(Tokens { input: 7, output: 0, cached: 0 }));
        for other in [&b""[..], b": null", b": [DONE]", br#": {"prompt_tokens": -1}"#] {
            assert_eq!(tokens(other), None);
        }
    }
}
