//! Training jobs on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::training::{Availability, Compute, JobStatus};
use crate::domain::{Time, training_jobs};
use crate::wire::instance_types;
use crate::wire::schemas::Object;

pub mod pushed;
pub mod queue;

// ---- other requests ----

/// Changes the given fields of a training job. Baseten's `UpdateTrainingJobRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateTrainingJobRequest")]
pub struct UpdateTrainingJob {
    pub priority: Option<i64>,
    pub availability_model: Option<Availability>,
}

/// Which training jobs to list. Baseten's `SearchTrainingJobsRequestV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SearchTrainingJobsRequest")]
pub struct Search {
    pub project_id: Option<String>,
    pub job_id: Option<String>,
    pub statuses: Option<Vec<JobStatus>>,
    pub order_by: Option<Vec<OrderBy>>,
}

/// A field to sort by, and the order. Baseten's `OrderByV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderBy {
    pub field: String,
    pub order: String,
}

/// Which metrics of a training job to show. A GET request has the same fields as query parameters. Baseten's
/// `GetTrainingJobMetricsRequestV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TrainingJobMetricsRequest")]
pub struct MetricsOf {
    pub start_epoch_millis: Option<i64>,
    pub end_epoch_millis: Option<i64>,
    pub step_seconds: Option<i64>,
}

// ---- answers ----

/// A training job. Baseten's `TrainingJobV1`.
#[derive(JsonSchema, Serialize)]
pub struct TrainingJob<'a> {
    id: &'a str,
    created_at: Time,
    current_status: &'static str,
    #[schemars(with = "Option<String>")]
    error_message: Option<()>,
    #[schemars(with = "instance_types::InstanceType")]
    instance_type: InstanceType,
    node_count: i64,
    updated_at: Time,
    training_project_id: &'a str,
    training_project: ProjectSummary<'a>,
    name: Option<&'a str>,
    #[schemars(with = "Option<String>")]
    checkpoint_sync_status: Option<()>,
    priority: i64,
    availability_model: &'static str,
    user: User<'a>,
}

/// The training project of a job. Baseten's `TrainingProjectSummaryV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingProjectSummary")]
struct ProjectSummary<'a> {
    id: &'a str,
    name: &'a str,
}

/// The person who started a training job. Clients read it without a check for null. Baseten's `UserV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobUser")]
struct User<'a> {
    email: Option<&'a str>,
}

/// One node of a training job. Jobs state the resources that they need, which may differ from the instance types of
/// deployments. Baseten's `InstanceTypeV1`.
#[derive(Serialize)]
struct InstanceType {
    id: String,
    name: String,
    memory_limit_mib: i64,
    millicpu_limit: i64,
    gpu_count: i64,
    gpu_type: Option<&'static str>,
    gpu_memory_limit_mib: Option<i64>,
}

impl<'a> From<&'a training_jobs::Job> for TrainingJob<'a> {
    fn from(job: &'a training_jobs::Job) -> TrainingJob<'a> {
        TrainingJob {
            id: &job.id,
            created_at: job.created_at,
            current_status: job.status.as_str(),
            error_message: None,
            instance_type: InstanceType::from(&job.compute),
            node_count: job.compute.nodes,
            updated_at: job.updated_at,
            training_project_id: &job.project.id,
            training_project: ProjectSummary { id: &job.project.id, name: &job.project.name },
            name: job.name.as_deref(),
            checkpoint_sync_status: None,
            priority: job.priority,
            availability_model: job.compute.availability.as_str(),
            user: User { email: job.user_email.as_deref() },
        }
    }
}

impl From<&Compute> for InstanceType {
    /// The name has the form of the instance types of deployments: the GPU and the number of GPUs, then virtual CPUs by
    /// GiB.
    fn from(compute: &Compute) -> InstanceType {
        let size = format!("{}x{}", compute.cpus, (compute.memory_mib + 1023) / 1024);
        let id = match compute.gpus {
            None => size,
            Some((gpu, 1)) => format!("{}:{size}", gpu.as_str()),
            Some((gpu, count)) => format!("{}:{count}:{size}", gpu.as_str()),
        };
        InstanceType {
            name: id.clone(),
            id,
            memory_limit_mib: compute.memory_mib,
            millicpu_limit: compute.cpus * 1000,
            gpu_count: compute.gpus.map_or(0, |(_, count)| count),
            gpu_type: compute.gpus.map(|(gpu, _)| gpu.as_str()),
            gpu_memory_limit_mib: compute.gpus.map(|(gpu, _)| gpu.memory_gib() << 10),
        }
    }
}

/// Training jobs. Baseten's `SearchTrainingJobsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct TrainingJobs<'a> {
    pub training_jobs: Vec<TrainingJob<'a>>,
}

/// A training job that was created, changed or stopped. Baseten's `CreateTrainingJobResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct OneTrainingJob<'a> {
    pub training_job: TrainingJob<'a>,
}

/// A training job that was deleted. Baseten's `TrainingJobTombstoneV1`.
#[derive(JsonSchema, Serialize)]
pub struct TrainingJobTombstone<'a> {
    id: &'a str,
    deleted: bool,
    training_project_id: &'a str,
}

impl<'a> TrainingJobTombstone<'a> {
    pub fn of(job: &'a training_jobs::Job) -> TrainingJobTombstone<'a> {
        TrainingJobTombstone { id: &job.id, deleted: true, training_project_id: &job.project.id }
    }
}

/// The metrics of a training job. Jobs do not run yet, so every series is empty. Baseten's
/// `GetTrainingJobMetricsResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobMetrics")]
pub struct Metrics<'a> {
    gpu_memory_usage_bytes: Map<String, Value>,
    gpu_utilization: Map<String, Value>,
    #[schemars(with = "Vec<Object>")]
    cpu_usage: [(); 0],
    #[schemars(with = "Vec<Object>")]
    cpu_memory_usage_bytes: [(); 0],
    ephemeral_storage: Storage,
    training_job: TrainingJob<'a>,
    #[schemars(with = "Option<Object>")]
    cache: Option<()>,
    #[schemars(with = "Vec<Object>")]
    per_node_metrics: [(); 0],
}

/// How much storage a training job used. Baseten's `StorageMetricsV1`.
#[derive(Default, JsonSchema, Serialize)]
#[schemars(rename = "StorageMetrics")]
struct Storage {
    #[schemars(with = "Vec<Object>")]
    usage_bytes: [(); 0],
    #[schemars(with = "Vec<Object>")]
    utilization: [(); 0],
}

impl<'a> Metrics<'a> {
    pub fn of(job: &'a training_jobs::Job) -> Metrics<'a> {
        Metrics {
            gpu_memory_usage_bytes: Map::new(),
            gpu_utilization: Map::new(),
            cpu_usage: [],
            cpu_memory_usage_bytes: [],
            ephemeral_storage: Storage::default(),
            training_job: TrainingJob::from(job),
            cache: None,
            per_node_metrics: [],
        }
    }
}

/// The checkpoints of a training job. Jobs do not run yet, so the list is empty. Baseten's
/// `GetTrainingJobCheckpointsResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobCheckpoints")]
pub struct Checkpoints<'a> {
    training_job: TrainingJob<'a>,
    #[schemars(with = "Vec<Object>")]
    checkpoints: [(); 0],
}

impl<'a> Checkpoints<'a> {
    pub fn of(job: &'a training_jobs::Job) -> Checkpoints<'a> {
        Checkpoints { training_job: TrainingJob::from(job), checkpoints: [] }
    }
}

/// The files of checkpoints. Jobs do not run yet, so the list is empty. Baseten's
/// `GetTrainingJobCheckpointFilesResponseV1`.
#[derive(Default, JsonSchema, Serialize)]
pub struct CheckpointFiles {
    #[schemars(with = "Vec<Object>")]
    presigned_urls: [(); 0],
    #[schemars(with = "Option<u32>")]
    next_page_token: Option<()>,
    total_count: u32,
}

/// Codes for interactive sessions. There are no sessions, so the list is empty. Baseten's `GetAuthCodesResponseV1`.
#[derive(Default, JsonSchema, Serialize)]
pub struct AuthCodes {
    #[schemars(with = "Vec<Object>")]
    auth_codes: [(); 0],
}

/// The content of the cache of a training project. Baseten's `GetCacheSummaryResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct CacheSummary<'a> {
    pub timestamp: Time,
    pub project_id: &'a str,
    #[schemars(with = "Vec<Object>")]
    pub file_summaries: [(); 0],
}

/// Where the files of a training job can be downloaded. Baseten's `DownloadTrainingJobResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobDownload")]
pub struct Download {
    pub artifact_presigned_urls: Vec<String>,
}
