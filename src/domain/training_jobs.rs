//! Training jobs, and the queue at the time a job was created.

use std::path::{Path, PathBuf};

use crate::domain::named::named;
use crate::domain::training::{Availability, Compute, JobStatus, Priority};
use crate::domain::training_capacity::Capacity;
use crate::domain::{TeamId, Time};

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
    /// Why the job failed.
    pub error_message: Option<String>,
    /// `None` unless the job keeps checkpoints and has begun to run.
    pub checkpoint_sync: Option<CheckpointSync>,
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

/// Whether the checkpoints of a job are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointSync {
    /// The job runs, so that a checkpoint may still be written.
    Syncing,
    Completed,
}

named! {
    /// What a checkpoint holds.
    CheckpointKind { Full: full, Lora: lora, Whisper: whisper }
}

/// A folder in the checkpoint folder of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub name: String,
    pub kind: CheckpointKind,
    pub base_model: Option<String>,
    /// The adapter's configuration as JSON.
    pub lora_adapter_config: Option<String>,
    pub size_bytes: u64,
    pub created_at: Time,
}

/// A file in the checkpoint folder of a job or in the cache of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The path from that folder, with `/`. It holds no control character.
    pub path: String,
    pub size_bytes: u64,
    pub modified_at: Time,
    pub permissions: u32,
}

/// What the processes of a job took at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Time,
    pub millicpu: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

/// The folder of a team's training in the data directory. What jobs of different teams write is never below one folder.
pub fn folder_of_team(data: &Path, team_id: &TeamId) -> PathBuf {
    data.join("runner").join("training").join(team_id.as_str())
}

/// The folder that a job keeps its checkpoints in. It stays when the job has ended.
pub fn checkpoint_folder(data: &Path, team_id: &TeamId, job_id: &str) -> PathBuf {
    folder_of_team(data, team_id).join("checkpoints").join(job_id)
}
