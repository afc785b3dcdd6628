//! How many GPUs of each type the training jobs of a team may hold at once.

use crate::domain::Time;
use crate::domain::training::GpuType;

/// A ceiling, and what is held under it.
#[derive(Clone, Debug)]
pub struct Capacity {
    pub team_id: String,
    pub team_name: String,
    pub gpu_type: GpuType,
    pub max_gpus: i64,
    pub dedicated_gpus: i64,
    pub spot_gpus: i64,
    pub updated_at: Time,
}

impl Capacity {
    pub fn held_gpus(&self) -> i64 {
        self.dedicated_gpus + self.spot_gpus
    }

    /// Nothing is free under a ceiling that was lowered below what is held.
    pub fn free_gpus(&self) -> i64 {
        (self.max_gpus - self.held_gpus()).max(0)
    }
}
