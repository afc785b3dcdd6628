//! Logs of deployments and training jobs.

use crate::domain::Time;
use crate::domain::serving::Level;

/// A line of a log.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Time,
    pub level: Level,
    pub message: String,
}
