//! Training projects of a team.

use crate::domain::Time;

/// A training project that exists. It contains jobs.
#[derive(Clone, Debug)]
pub struct TrainingProject {
    pub id: String,
    pub name: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub team_name: String,
}
