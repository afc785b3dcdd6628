//! Billing on the wire.
//!
//! Sums are computed exactly. Each is then shown in whole cents, so the shown parts may not add up to the shown sum.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::domain::billing::{Amount, Day, Kind, Resource, Used};
use crate::domain::model_apis;
use crate::wire::schemas::Object;

/// What an organization used in some days, and what it costs in US dollars. Baseten's `UsageSummaryV1`.
#[derive(JsonSchema, Serialize)]
pub struct UsageSummary<'a> {
    dedicated_usage: DedicatedUsage<'a>,
    training_usage: TrainingUsage<'a>,
    model_apis_usage: ModelApisUsage<'a>,
}

/// US dollars. They are stored in millionths and shown as a number in whole cents.
#[derive(JsonSchema)]
#[schemars(with = "f64", inline)]
struct Usd {
    micro: i64,
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let cents = (self.micro + 5_000) / 10_000; // no usage costs less than nothing
        to.serialize_f64(cents as f64 / 100.0)
    }
}

/// The amount to pay. There are no credits, so it is the cost of all usage.
#[derive(JsonSchema, Serialize)]
struct Bill {
    subtotal: Usd,
    credits_used: Usd,
    total: Usd,
}

/// The cost of a deployment, which is the cost of its instances.
#[derive(JsonSchema, Serialize)]
struct DedicatedCost {
    subtotal: Usd,
    compute_cost: Usd,
    surcharge_cost: Usd,
}

/// The use of deployments. Baseten's `DedicatedUsageV1`.
#[derive(JsonSchema, Serialize)]
struct DedicatedUsage<'a> {
    #[serde(flatten)]
    bill: Bill,
    minutes: i64,
    breakdown: Vec<DedicatedItem<'a>>,
}

/// The use of one deployment. Baseten's `DedicatedItemV1`.
#[derive(JsonSchema, Serialize)]
struct DedicatedItem<'a> {
    billable_resource: BillableResource<'a>,
    #[serde(flatten)]
    cost: DedicatedCost,
    minutes: i64,
    inference_requests: i64,
    daily: Vec<DailyDedicatedUsage<'a>>,
}

/// The use of one deployment on one day. Baseten's `DailyDedicatedUsageV1`.
#[derive(JsonSchema, Serialize)]
struct DailyDedicatedUsage<'a> {
    date: &'a str,
    #[serde(flatten)]
    cost: DedicatedCost,
    minutes: i64,
    inference_requests: i64,
}

/// The use of training. Baseten's `TrainingUsageV1`.
#[derive(JsonSchema, Serialize)]
struct TrainingUsage<'a> {
    #[serde(flatten)]
    bill: Bill,
    minutes: i64,
    breakdown: Vec<TrainingItem<'a>>,
}

/// The use of one training job. Baseten's `TrainingItemV1`.
#[derive(JsonSchema, Serialize)]
struct TrainingItem<'a> {
    billable_resource: BillableResource<'a>,
    subtotal: Usd,
    minutes: i64,
    daily: Vec<DailyTrainingUsage<'a>>,
}

/// The use of one training job on one day. Baseten's `DailyTrainingUsageV1`.
#[derive(JsonSchema, Serialize)]
struct DailyTrainingUsage<'a> {
    date: &'a str,
    subtotal: Usd,
    minutes: i64,
}

/// The use of Model APIs. Baseten's `ModelApisUsageV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPIsUsage")]
struct ModelApisUsage<'a> {
    #[serde(flatten)]
    bill: Bill,
    breakdown: Vec<ModelApiItem<'a>>,
}

/// The use of one Model API. Baseten's `ModelApiItemV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ModelAPIItem")]
struct ModelApiItem<'a> {
    model_name: &'a str,
    model_family: Option<&'a str>,
    subtotal: Usd,
    #[serde(flatten)]
    tokens: Tokens,
    daily: Vec<DailyModelApiUsage<'a>>,
}

/// The use of one Model API on one day. Baseten's `DailyModelApiUsageV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DailyModelAPIUsage")]
struct DailyModelApiUsage<'a> {
    date: &'a str,
    subtotal: Usd,
    #[serde(flatten)]
    tokens: Tokens,
}

/// The number of tokens that were read and written.
#[derive(JsonSchema, Serialize)]
struct Tokens {
    input_tokens: i64,
    output_tokens: i64,
    cached_input_tokens: i64,
}

/// The resource that was used. Baseten's `BillableResourceV1`.
#[derive(JsonSchema, Serialize)]
struct BillableResource<'a> {
    id: &'a str,
    kind: &'static str,
    name: &'a str,
    /// Only for a deployment of a model, because a chainlet is not shown as a model here.
    model_id: Option<&'a str>,
    model_name: Option<&'a str>,
    is_deleted: bool,
    instance_type: Option<&'a str>,
    environment_name: Option<&'a str>,
    /// Not known until Chains have deployments.
    #[schemars(with = "Option<Object>")]
    chain_metadata: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_name: Option<&'a str>,
}

impl<'a> From<&'a [Used]> for UsageSummary<'a> {
    fn from(usage: &'a [Used]) -> UsageSummary<'a> {
        let of = |kinds: &[Kind]| usage.iter().filter(|used| kinds.contains(&used.resource.kind)).collect::<Vec<_>>();
        let dedicated = of(&[Kind::ModelDeployment, Kind::Chainlet]);
        let training = of(&[Kind::TrainingJob]);
        let model_apis = of(&[Kind::ModelApi]);
        UsageSummary {
            dedicated_usage: DedicatedUsage {
                bill: Bill::of(&dedicated),
                minutes: total(&dedicated).minutes,
                breakdown: dedicated.into_iter().map(DedicatedItem::from).collect(),
            },
            training_usage: TrainingUsage {
                bill: Bill::of(&training),
                minutes: total(&training).minutes,
                breakdown: training.into_iter().map(TrainingItem::from).collect(),
            },
            model_apis_usage: ModelApisUsage {
                bill: Bill::of(&model_apis),
                breakdown: model_apis.into_iter().map(ModelApiItem::from).collect(),
            },
        }
    }
}

fn total(usage: &[&Used]) -> Amount {
    usage.iter().map(|used| used.total()).sum()
}

impl Bill {
    fn of(usage: &[&Used]) -> Bill {
        let micro = total(usage).micro_usd;
        Bill { subtotal: Usd { micro }, credits_used: Usd { micro: 0 }, total: Usd { micro } }
    }
}

impl From<Amount> for DedicatedCost {
    fn from(amount: Amount) -> DedicatedCost {
        let micro = amount.micro_usd;
        DedicatedCost { subtotal: Usd { micro }, compute_cost: Usd { micro }, surcharge_cost: Usd { micro: 0 } }
    }
}

impl<'a> From<&'a Used> for DedicatedItem<'a> {
    fn from(used: &'a Used) -> DedicatedItem<'a> {
        let total = used.total();
        let daily = |day: &'a Day| DailyDedicatedUsage {
            date: &day.date,
            cost: day.amount.into(),
            minutes: day.amount.minutes,
            inference_requests: day.amount.requests,
        };
        DedicatedItem {
            billable_resource: BillableResource::from(&used.resource),
            cost: total.into(),
            minutes: total.minutes,
            inference_requests: total.requests,
            daily: used.days.iter().map(daily).collect(),
        }
    }
}

impl<'a> From<&'a Used> for TrainingItem<'a> {
    fn from(used: &'a Used) -> TrainingItem<'a> {
        let total = used.total();
        let daily = |day: &'a Day| DailyTrainingUsage {
            date: &day.date,
            subtotal: Usd { micro: day.amount.micro_usd },
            minutes: day.amount.minutes,
        };
        TrainingItem {
            billable_resource: BillableResource::from(&used.resource),
            subtotal: Usd { micro: total.micro_usd },
            minutes: total.minutes,
            daily: used.days.iter().map(daily).collect(),
        }
    }
}

impl<'a> From<&'a Used> for ModelApiItem<'a> {
    fn from(used: &'a Used) -> ModelApiItem<'a> {
        let total = used.total();
        let daily = |day: &'a Day| DailyModelApiUsage {
            date: &day.date,
            subtotal: Usd { micro: day.amount.micro_usd },
            tokens: day.amount.into(),
        };
        ModelApiItem {
            model_name: &used.resource.name,
            model_family: model_apis::find(&used.resource.name).map(|entry| entry.family),
            subtotal: Usd { micro: total.micro_usd },
            tokens: total.into(),
            daily: used.days.iter().map(daily).collect(),
        }
    }
}

impl From<Amount> for Tokens {
    fn from(amount: Amount) -> Tokens {
        Tokens {
            input_tokens: amount.input_tokens,
            output_tokens: amount.output_tokens,
            cached_input_tokens: amount.cached_tokens,
        }
    }
}

impl<'a> From<&'a Resource> for BillableResource<'a> {
    fn from(resource: &'a Resource) -> BillableResource<'a> {
        let model_id = match resource.kind {
            Kind::ModelDeployment => resource.parent_id.as_deref(),
            Kind::Chainlet | Kind::TrainingJob | Kind::ModelApi => None,
        };
        BillableResource {
            id: &resource.id,
            kind: resource.kind.as_str(),
            name: &resource.name,
            model_id,
            model_name: resource.parent_name.as_deref(),
            is_deleted: resource.is_deleted,
            instance_type: resource.instance_type.as_deref(),
            environment_name: resource.environment.as_deref(),
            chain_metadata: None,
            team_id: resource.team.as_ref().map(|(id, _)| id.as_str()),
            team_name: resource.team.as_ref().map(|(_, name)| name.as_str()),
        }
    }
}
