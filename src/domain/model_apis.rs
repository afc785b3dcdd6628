//! The catalog of Model APIs. It is the same for every organization.

use crate::domain::remote_url::RemoteUrl;
use crate::domain::{OrgId, SecretValue, TeamId, Time};
use crate::error::Error;

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

/// The name of a Model API in requests: `model` of their bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

const SLUG_BYTES_MAX: usize = 100;

impl Slug {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that is empty, too long, or has other characters than those of model names.
    pub fn parse(text: &str) -> Result<Slug, Error> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
        let is_bounded = (1..=SLUG_BYTES_MAX).contains(&text.len());
        if !is_bounded || !text.chars().all(is_allowed) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let why =
                format!("must be 1 to {SLUG_BYTES_MAX} letters, digits, `-`, `.`, `_` or `/`, a letter or digit first");
            return Err(Error::field("slug", &why));
        }
        Ok(Slug(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The server that answers a Model API.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub slug: String,
    pub url: String,
    pub has_credential: bool,
    pub created_at: Time,
}

/// How a Model API is called: where, and with which credential.
#[derive(Debug)]
pub struct Route {
    pub slug: String,
    pub url: RemoteUrl,
    pub credential: Option<SecretValue>,
}

/// A call to a Model API that was allowed.
#[derive(Debug)]
pub struct ModelApiCall {
    pub org_id: OrgId,
    /// The default team.
    pub team_id: TeamId,
    /// The prefix of the key that was sent.
    pub caller: String,
    pub route: Route,
    pub endpoint: Endpoint,
}

/// A call to a Model API that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelApiUsed {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub caller: String,
    pub slug: String,
    /// The status that was answered.
    pub status: u16,
    pub milliseconds: u64,
    /// What the upstream says it used. `None` if it did not say.
    pub tokens: Option<Tokens>,
}

/// The part of OpenAI's interface that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
}

impl Endpoint {
    /// The path below the base URL of an upstream.
    pub const fn path(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "chat/completions",
            Endpoint::Completions => "completions",
            Endpoint::Embeddings => "embeddings",
        }
    }
}

/// The tokens that an upstream says it used for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
    /// How many of the input tokens were cached.
    pub cached: u64,
}

impl Tokens {
    /// What these tokens of a Model API cost. Only those of the catalog have prices.
    pub fn micro_usd(&self, slug: &str) -> i64 {
        // A price per million tokens in dollars is a price per token in millionths of a dollar.
        let cost = |entry: &ModelApi| {
            self.input as f64 * entry.usd_per_million_input_tokens
                + self.output as f64 * entry.usd_per_million_output_tokens
        };
        find(slug).map_or(0, |entry| cost(entry).round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_model_name() {
        for slug in ["gpt-oss-120b", "meta-llama/Llama-3.1-8B_x"] {
            assert!(Slug::parse(slug).is_ok(), "{slug}");
        }
        for slug in ["", "-a", "/a", "a b", "é", &"a".repeat(101)] {
            assert!(Slug::parse(slug).is_err(), "{slug}");
        }
    }

    #[test]
    fn tokens_cost_what_the_catalog_says() {
        let tokens = Tokens { input: 1_000_000, output: 2_000_000, cached: 0 };
        assert_eq!(tokens.micro_usd("gpt-oss-120b"), 1_100_000);
        assert_eq!(tokens.micro_usd("ours"), 0);
    }
}
