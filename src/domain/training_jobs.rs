//! Training jobs, and what one met in the queue.

use crate::domain::Time;
use crate::domain::training::{Availability, Compute, JobStatus, Priority};
use crate::domain::training_capacity::Capacity;

#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub project: Project,
    pub name: Option<String>,
    pub status: JobStatus,
    pub priority: i64,
    pub compute: Compute,
    /// Of the person who pushed it; nothing where a team's key did.
    pub user_email: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// The project that a job is of.
#[derive(Clone, Debug)]
pub struct Project {
    pub id: String,
    pub name: String,
}

/// Which jobs a search is after; what is absent narrows nothing.
#[derive(Debug, Default)]
pub struct Filter {
    pub project_id: Option<String>,
    pub job_id: Option<String>,
    pub statuses: Option<Vec<JobStatus>>,
    pub order: Order,
}

/// By when jobs were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}

/// What a pending job is changed to. What is absent stays.
#[derive(Debug)]
pub struct Change {
    pub priority: Option<Priority>,
    pub availability: Option<Availability>,
}

/// What a job met when it came in: the status that the other jobs of its team and GPU type had then.
#[derive(Debug)]
pub struct QueueContext {
    pub job: Job,
    pub released_at: Option<Time>,
    pub capacity: Option<Capacity>,
    /// What held GPUs.
    pub active: Vec<OtherJob>,
    /// What waited and came first.
    pub pending_ahead: Vec<OtherJob>,
    /// What has happened to all of these until it was released, or until now.
    pub events: Vec<JobEvent>,
    pub until: Time,
}

/// Another job, with the status it had then and since when.
#[derive(Debug)]
pub struct OtherJob {
    pub job: Job,
    pub status: JobStatus,
    pub since: Time,
}

#[derive(Debug)]
pub struct JobEvent {
    pub job_id: String,
    pub job_name: Option<String>,
    pub status: JobStatus,
    pub at: Time,
}
