//! Model APIs on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Time, model_apis};
use crate::wire::schemas::Listed;

/// A Model API. Baseten's `ModelAPIV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPI")]
pub struct ModelApi<'a> {
    name: &'a str,
    display_name: &'a str,
    description: &'a str,
    model_family: &'a str,
    #[schemars(extend("format" = "date"))]
    release_date: &'a str,
    invoke_url: &'a str,
    context_length: u32,
    cost_per_million_input_tokens: f64,
    cost_per_million_output_tokens: f64,
    #[schemars(with = "Vec<RateLimit>")]
    rate_limits: [RateLimit; 2],
    org_details: Option<OrgDetails>,
}

impl Listed for ModelApi<'_> {
    const SCHEMA: &'static str = "ModelAPIs";
}

/// The rate limits of a Model API, per minute. Baseten's `RateLimitV1`.
#[derive(JsonSchema, Serialize)]
struct RateLimit {
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["REQUEST", "TOKEN"]))]
    kind: &'static str,
    #[schemars(extend("enum" = ["SECOND", "MINUTE"]))]
    unit: &'static str,
    threshold: u32,
}

/// When the organization added a Model API, and when it last used it. Baseten's `ModelAPIOrgDetailsV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPIOrgDetails")]
struct OrgDetails {
    added_at: Time,
    last_used_at: Option<Time>,
}

impl<'a> ModelApi<'a> {
    pub fn new(entry: &'a model_apis::ModelApi, added: Option<&model_apis::Added>, invoke_url: &'a str) -> Self {
        let a_minute = |kind, threshold| RateLimit { kind, unit: "MINUTE", threshold };
        ModelApi {
            name: entry.name,
            display_name: entry.display_name,
            description: entry.description,
            model_family: entry.family,
            release_date: entry.release_date,
            invoke_url,
            context_length: entry.context_tokens,
            cost_per_million_input_tokens: entry.usd_per_million_input_tokens,
            cost_per_million_output_tokens: entry.usd_per_million_output_tokens,
            rate_limits: [a_minute("REQUEST", entry.requests_per_minute), a_minute("TOKEN", entry.tokens_per_minute)],
            org_details: added.map(|added| OrgDetails { added_at: added.added_at, last_used_at: added.last_used_at }),
        }
    }
}
