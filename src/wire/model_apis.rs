//! Model APIs on the wire.

use serde::Serialize;

use crate::domain::{Time, model_apis};

#[derive(Serialize)]
pub struct ModelApi<'a> {
    name: &'a str,
    display_name: &'a str,
    description: &'a str,
    model_family: &'a str,
    release_date: &'a str,
    invoke_url: &'a str,
    context_length: u32,
    cost_per_million_input_tokens: f64,
    cost_per_million_output_tokens: f64,
    rate_limits: [RateLimit; 2],
    org_details: Option<OrgDetails>,
}

#[derive(Serialize)]
struct RateLimit {
    #[serde(rename = "type")]
    kind: &'static str,
    unit: &'static str,
    threshold: u32,
}

#[derive(Serialize)]
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
