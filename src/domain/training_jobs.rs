//! Training jobs, and the queue at the time a job was created.

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
    /// The address of the person who pushed the job. `None` if a team's key pushed it.
    pub user_email: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
}

/// The project that a job belongs to.
#[derive(Clone, Debug)]
pub struct Project {
    pub id: String,
    pub name: String,
}

/// The filter of a search for jobs. An absent field does not filter.
#[derive(Debug, Default)]
pub struct Filter {
    pub project_id: Option<String>,
    pub job_id: Option<String>,
    pub statuses: Option<Vec<JobStatus>>,
    pub order: Order,
}

/// The order of jobs by their creation time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    #[default]
    NewestFirst,
}

/// A change of a pending job. An absent field stays unchanged.
#[derive(Debug)]
pub struct Change {
    pub priority: Option<Priority>,
    pub availability: Option<Availability>,
}

/// The queue when a job was created: the status that the other jobs of its team and GPU type had at that time.
#[derive(Debug)]
pub struct QueueContext {
    pub job: Job,
    pub released_at: Option<Time>,
    pub capacity: Option<Capacity>,
    /// The jobs that held GPUs.
    pub active: Vec<OtherJob>,
    /// The pending jobs that were ahead of this job.
    pub pending_ahead: Vec<OtherJob>,
    /// Changes of these jobs until this job was released, or until now.
    pub events: Vec<JobEvent>,
    pub until: Time,
}

/// Another job, with its status at that time and since when it had this status.
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
