//! Calls that were made, summed for storage.

use std::collections::HashMap;

use crate::domain::calls::{CallMade, Mode};
use crate::domain::latencies::Latencies;
use crate::domain::model_apis::{ModelApiUsed, Tokens};
use crate::domain::{OrgId, TeamId};

/// How many sums are kept while they cannot be stored. Calls beyond are counted only as lost.
const SUMS_MAX: usize = 100_000;

/// The calls of some time, summed by deployment, environment and caller, and by deployment, environment and status.
#[derive(Debug, Default)]
pub struct Batch {
    pub by_caller: HashMap<ByCaller, Sum>,
    pub by_status: HashMap<ByStatus, Sum>,
    pub of_model_apis: HashMap<OfModelApi, ModelApiSum>,
    /// How many calls were left out because the batch was full.
    pub lost: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByCaller {
    pub deployment_id: String,
    pub environment: String,
    /// The prefix of a key.
    pub caller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ByStatus {
    pub deployment_id: String,
    pub environment: String,
    pub status: u16,
    pub mode: Mode,
}

/// Calls to a Model API by one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfModelApi {
    pub org_id: OrgId,
    pub team_id: TeamId,
    pub slug: String,
    pub caller: String,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ModelApiSum {
    pub requests: u64,
    pub errors: u64,
    pub milliseconds: u64,
    pub tokens: Tokens,
}

#[derive(Clone, Debug, Default)]
pub struct Sum {
    pub requests: u64,
    pub errors: u64,
    pub milliseconds: u64,
    pub bytes: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub latencies: Latencies,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.by_caller.is_empty() && self.of_model_apis.is_empty()
    }

    pub fn add(&mut self, call: &CallMade) {
        if self.by_caller.len() >= SUMS_MAX || self.by_status.len() >= SUMS_MAX {
            self.lost += 1;
            return;
        }
        let environment = call.environment.clone().unwrap_or_default();
        let deployment_id = call.deployment_id.clone();
        let by_caller = ByCaller { deployment_id, environment, caller: call.caller.clone() };
        let by_status = ByStatus {
            deployment_id: by_caller.deployment_id.clone(),
            environment: by_caller.environment.clone(),
            status: call.status.clamp(100, 599),
            mode: call.mode,
        };
        self.by_caller.entry(by_caller).or_default().note(call);
        self.by_status.entry(by_status).or_default().note(call);
    }
}

impl Batch {
    pub fn add_model_api(&mut self, used: &ModelApiUsed) {
        if self.of_model_apis.len() >= SUMS_MAX {
            self.lost += 1;
            return;
        }
        let of = OfModelApi {
            org_id: used.org_id.clone(),
            team_id: used.team_id.clone(),
            slug: used.slug.clone(),
            caller: used.caller.clone(),
        };
        let (sum, tokens) = (self.of_model_apis.entry(of).or_default(), used.tokens.unwrap_or_default());
        sum.requests += 1;
        sum.errors += u64::from(used.status >= 400);
        sum.milliseconds += used.milliseconds;
        sum.tokens.input += tokens.input;
        sum.tokens.output += tokens.output;
        sum.tokens.cached += tokens.cached;
    }
}

impl Sum {
    fn note(&mut self, call: &CallMade) {
        self.requests += 1;
        self.errors += u64::from(call.status >= 400);
        self.milliseconds += call.milliseconds;
        self.bytes += call.bytes;
        self.input_tokens += call.input_tokens.unwrap_or_default();
        self.output_tokens += call.output_tokens.unwrap_or_default();
        self.latencies.note(call.milliseconds);
    }
}
