//! How many GPUs of each type the training jobs of a team may hold at once.

use crate::domain::Time;
use crate::domain::training::GpuType;

/// The GPU ceiling of a team for one type, and the GPUs that are held under it.
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

    /// The number of free GPUs. It is 0 if the ceiling was lowered below the number of held GPUs.
    pub fn free_gpus(&self) -> i64 {
        (self.max_gpus - self.held_gpus()).max(0)
    }
}
