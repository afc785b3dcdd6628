//! The catalog of Model APIs. It is the same for every organization.

use crate::domain::Time;

/// A model that can be called without a deployment.
#[derive(Debug)]
pub struct ModelApi {
    /// The name in paths and bodies: lower-case letters, digits and hyphens.
    pub name: &'static str,
    pub display_name: &'static str,
    pub description: &'static str,
    pub family: &'static str,
    /// The day, such as `2026-03-01`.
    pub release_date: &'static str,
    pub context_tokens: u32,
    pub usd_per_million_input_tokens: f64,
    pub usd_per_million_output_tokens: f64,
    pub requests_per_minute: u32,
    pub tokens_per_minute: u32,
}

/// Ordered by name. Prices, dates and limits are examples, because the operator of the installation runs the models.
pub const CATALOGUE: &[ModelApi] = &[
    ModelApi {
        name: "deepseek-v3-1",
        display_name: "DeepSeek V3.1",
        description: "A large mixture-of-experts model for chat, code and the use of tools.",
        family: "DEEPSEEK",
        release_date: "2026-01-12",
        context_tokens: 163_840,
        usd_per_million_input_tokens: 0.5,
        usd_per_million_output_tokens: 1.5,
        requests_per_minute: 120,
        tokens_per_minute: 500_000,
    },
    ModelApi {
        name: "gpt-oss-120b",
        display_name: "GPT OSS 120B",
        description: "An open-weight reasoning model that fits one large accelerator.",
        family: "OPENAI",
        release_date: "2026-01-12",
        context_tokens: 131_072,
        usd_per_million_input_tokens: 0.1,
        usd_per_million_output_tokens: 0.5,
        requests_per_minute: 240,
        tokens_per_minute: 1_000_000,
    },
    ModelApi {
        name: "llama-3-3-70b-instruct",
        display_name: "Llama 3.3 70B Instruct",
        description: "A dense model for chat in several languages.",
        family: "META",
        release_date: "2026-01-12",
        context_tokens: 131_072,
        usd_per_million_input_tokens: 0.6,
        usd_per_million_output_tokens: 0.6,
        requests_per_minute: 120,
        tokens_per_minute: 500_000,
    },
    ModelApi {
        name: "qwen3-coder-480b",
        display_name: "Qwen3 Coder 480B",
        description: "A mixture-of-experts model for work on whole repositories.",
        family: "QWEN",
        release_date: "2026-02-09",
        context_tokens: 262_144,
        usd_per_million_input_tokens: 0.4,
        usd_per_million_output_tokens: 1.6,
        requests_per_minute: 60,
        tokens_per_minute: 500_000,
    },
];

/// The entry with this name.
pub fn find(name: &str) -> Option<&'static ModelApi> {
    CATALOGUE.iter().find(|model_api| model_api.name == name)
}

/// The names in the catalog.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|model_api| model_api.name)
}

/// When an organization added a Model API, and when the organization last called it.
#[derive(Clone, Copy, Debug)]
pub struct Added {
    pub added_at: Time,
    pub last_used_at: Option<Time>,
}
