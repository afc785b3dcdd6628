//! Quotas on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::quotas;

/// All quotas of a team. Guildhall's own `Quotas`.
#[derive(JsonSchema, Serialize)]
pub struct Quotas {
    items: Vec<Quota>,
}

/// How much of a quota a team uses, and how much it may use. Guildhall's own `Quota`.
#[derive(JsonSchema, Serialize)]
struct Quota {
    name: &'static str,
    used: u64,
    allowed: u64,
    unit: &'static str,
}

impl From<Vec<quotas::Quota>> for Quotas {
    fn from(items: Vec<quotas::Quota>) -> Quotas {
        let item = |quota: quotas::Quota| Quota {
            name: quota.name,
            used: quota.used,
            allowed: quota.allowed,
            unit: quota.unit.as_str(),
        };
        Quotas { items: items.into_iter().map(item).collect() }
    }
}
