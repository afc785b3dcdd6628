//! Model APIs on the wire.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::model_apis::Upstream;
use crate::domain::{Time, billing, model_apis};
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
    release_date: Cow<'a, str>,
    invoke_url: &'a str,
    context_length: u32,
    cost_per_million_input_tokens: f64,
    cost_per_million_output_tokens: f64,
    rate_limits: Vec<RateLimit>,
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
            release_date: entry.release_date.into(),
            invoke_url,
            context_length: entry.context_tokens,
            cost_per_million_input_tokens: entry.usd_per_million_input_tokens,
            cost_per_million_output_tokens: entry.usd_per_million_output_tokens,
            rate_limits: vec![
                a_minute("REQUEST", entry.requests_per_minute),
                a_minute("TOKEN", entry.tokens_per_minute),
            ],
            org_details: added.map(OrgDetails::from),
        }
    }

    /// A Model API that the operator has added under a name that the catalog does not have. Its size and its price are
    /// not known.
    pub fn of_upstream(upstream: &'a Upstream, added: Option<&model_apis::Added>, invoke_url: &'a str) -> Self {
        ModelApi {
            name: &upstream.slug,
            display_name: &upstream.slug,
            description: "Added by the operator of this installation.",
            model_family: "OTHER",
            release_date: billing::day(upstream.created_at).into(),
            invoke_url,
            context_length: 0,
            cost_per_million_input_tokens: 0.0,
            cost_per_million_output_tokens: 0.0,
            rate_limits: Vec::new(),
            org_details: added.map(OrgDetails::from),
        }
    }
}

impl From<&model_apis::Added> for OrgDetails {
    fn from(added: &model_apis::Added) -> OrgDetails {
        OrgDetails { added_at: added.added_at, last_used_at: added.last_used_at }
    }
}

/// An upstream that the operator adds. Guildhall's own `AddModelAPI`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddModelAPI")]
pub struct AddModelApi {
    pub slug: String,
    /// The base URL, below which `chat/completions` is.
    pub url: String,
    /// Sent to the upstream as `Authorization: Bearer …`.
    pub credential: Option<String>,
}

/// The server that answers a Model API. Guildhall's own `ModelAPIUpstream`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPIUpstream")]
pub struct ModelApiUpstream<'a> {
    slug: &'a str,
    url: &'a str,
    has_credential: bool,
    created_at: Time,
}

/// All upstreams. Guildhall's own `ModelAPIUpstreams`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPIUpstreams")]
pub struct ModelApiUpstreams<'a> {
    pub items: Vec<ModelApiUpstream<'a>>,
}

/// The upstreams, as the command line reads them.
#[derive(Deserialize)]
pub struct ListedUpstreams {
    pub items: Vec<ListedUpstream>,
}

#[derive(Deserialize)]
pub struct ListedUpstream {
    pub slug: String,
    pub url: String,
    pub has_credential: bool,
}

impl<'a> From<&'a Upstream> for ModelApiUpstream<'a> {
    fn from(upstream: &'a Upstream) -> ModelApiUpstream<'a> {
        ModelApiUpstream {
            slug: &upstream.slug,
            url: &upstream.url,
            has_credential: upstream.has_credential,
            created_at: upstream.created_at,
        }
    }
}
