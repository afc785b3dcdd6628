//! Limits on the GPUs of training, on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::training_capacity;
use crate::wire::schemas::Object;

/// The limits on the GPUs of training. Only teams have ceilings; the organization has none. Baseten's
/// `GetTrainingGpuCapacityResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingCapacities")]
pub struct Capacities<'a> {
    #[schemars(with = "Vec<Object>")]
    pub gpu_capacities: [(); 0],
    pub team_gpu_capacities: Vec<TeamCapacity<'a>>,
}

/// The limit on the GPUs of one type for a team's training, after a change. Baseten's
/// `PatchTeamTrainingGpuCapacityResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "OneTeamTrainingCapacity")]
pub struct OneTeamCapacity<'a> {
    pub team_gpu_capacity: TeamCapacity<'a>,
}

/// The limit on the GPUs of one type for a team's training, and how many it holds. No GPUs are reserved for a team, so
/// `baseline` is 0. Baseten's `TeamTrainingGpuCapacityItemV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TeamTrainingCapacity")]
pub struct TeamCapacity<'a> {
    team_id: &'a str,
    team_name: &'a str,
    gpu_type: &'static str,
    /// 0, because no GPUs are reserved for a team.
    baseline: i64,
    limit: i64,
    usage_count: i64,
    dedicated_usage_count: i64,
    spot_usage_count: i64,
}

impl<'a> From<&'a training_capacity::Capacity> for TeamCapacity<'a> {
    fn from(capacity: &'a training_capacity::Capacity) -> TeamCapacity<'a> {
        TeamCapacity {
            team_id: &capacity.team_id,
            team_name: &capacity.team_name,
            gpu_type: capacity.gpu_type.as_str(),
            baseline: 0,
            limit: capacity.max_gpus,
            usage_count: capacity.held_gpus(),
            dedicated_usage_count: capacity.dedicated_gpus,
            spot_usage_count: capacity.spot_gpus,
        }
    }
}

/// Sets the limit on the GPUs of one type for a team's training. Baseten's `PatchTeamTrainingGpuCapacityRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateTeamTrainingCapacityRequest")]
pub struct UpdateTeamCapacity {
    pub team_id: String,
    pub gpu_type: String,
    pub max_gpus: i64,
}
