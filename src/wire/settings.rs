//! Settings that deployments and environments share, on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::serving::{Autoscaling, Backpressure};
use crate::error::Error;

/// How a deployment scales. Windows and delays are in seconds. Baseten's `AutoscalingSettingsV1`.
#[derive(JsonSchema, Serialize)]
pub struct AutoscalingSettings {
    min_replica: i64,
    max_replica: i64,
    autoscaling_window: i64,
    scale_down_delay: i64,
    concurrency_target: i64,
    target_utilization_percentage: i64,
    target_in_flight_tokens: Option<i64>,
    max_scale_down_rate: Option<i64>,
}

impl From<&Autoscaling> for AutoscalingSettings {
    fn from(settings: &Autoscaling) -> AutoscalingSettings {
        AutoscalingSettings {
            min_replica: settings.min_replica,
            max_replica: settings.max_replica,
            autoscaling_window: settings.autoscaling_window,
            scale_down_delay: settings.scale_down_delay,
            concurrency_target: settings.concurrency_target,
            target_utilization_percentage: settings.target_utilization_percentage,
            target_in_flight_tokens: settings.target_in_flight_tokens,
            max_scale_down_rate: settings.max_scale_down_rate,
        }
    }
}

/// Changes the given settings of how a deployment scales. Baseten's `UpdateAutoscalingSettingsV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateAutoscalingSettings")]
pub struct UpdateAutoscaling {
    min_replica: Option<i64>,
    max_replica: Option<i64>,
    autoscaling_window: Option<i64>,
    scale_down_delay: Option<i64>,
    concurrency_target: Option<i64>,
    target_utilization_percentage: Option<i64>,
    target_in_flight_tokens: Option<i64>,
    max_scale_down_rate: Option<i64>,
}

impl UpdateAutoscaling {
    /// The settings after this change of `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range.
    pub fn onto(&self, before: &Autoscaling) -> Result<Autoscaling, Error> {
        let settings = Autoscaling {
            min_replica: self.min_replica.unwrap_or(before.min_replica),
            max_replica: self.max_replica.unwrap_or(before.max_replica),
            autoscaling_window: self.autoscaling_window.unwrap_or(before.autoscaling_window),
            scale_down_delay: self.scale_down_delay.unwrap_or(before.scale_down_delay),
            concurrency_target: self.concurrency_target.unwrap_or(before.concurrency_target),
            target_utilization_percentage: self
                .target_utilization_percentage
                .unwrap_or(before.target_utilization_percentage),
            target_in_flight_tokens: self.target_in_flight_tokens.or(before.target_in_flight_tokens),
            max_scale_down_rate: self.max_scale_down_rate.or(before.max_scale_down_rate),
        };
        settings.check()
    }
}

/// What happens to requests while every replica is busy. Baseten's `RequestBackpressureSettingsV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RequestBackpressureSettings")]
pub struct BackpressureSettings {
    pub policy: Backpressure,
}

/// Changes what happens to requests while every replica is busy. Baseten's `UpdateRequestBackpressureSettingsV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateRequestBackpressureSettings")]
pub struct UpdateBackpressure {
    pub policy: Option<Backpressure>,
}

/// Refuses a field that is not supported.
///
/// # Errors
///
/// [`Error::Invalid`] that names the field, if it is given. The status is not 501, because clients retry after a 501.
pub fn refuse_unserved(field: &str, given: Option<&Value>) -> Result<(), Error> {
    match given {
        None => Ok(()),
        Some(_) => Err(Error::field(field, "is not served here: leave it out")),
    }
}
