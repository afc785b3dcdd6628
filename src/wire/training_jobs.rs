//! Training jobs on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::training::{Availability, Compute, JobStatus};
use crate::domain::training_jobs::{CheckpointSync, Sample};
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
    error_message: Option<&'a str>,
    #[schemars(with = "instance_types::InstanceType")]
    instance_type: InstanceType,
    node_count: i64,
    updated_at: Time,
    training_project_id: &'a str,
    training_project: ProjectSummary<'a>,
    name: Option<&'a str>,
    /// `SYNCING` while the job runs, then `COMPLETED`.
    checkpoint_sync_status: Option<&'static str>,
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
            error_message: job.error_message.as_deref(),
            instance_type: InstanceType::from(&job.compute),
            node_count: job.compute.nodes,
            updated_at: job.updated_at,
            training_project_id: &job.project.id,
            training_project: ProjectSummary { id: &job.project.id, name: &job.project.name },
            name: job.name.as_deref(),
            checkpoint_sync_status: job.checkpoint_sync.map(|sync| match sync {
                CheckpointSync::Syncing => "SYNCING",
                CheckpointSync::Completed => "COMPLETED",
            }),
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

/// The metrics of a training job: CPU, memory and disk of its processes. Series of GPUs are empty. Baseten's
/// `GetTrainingJobMetricsResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobMetrics")]
pub struct Metrics<'a> {
    gpu_memory_usage_bytes: Map<String, Value>,
    gpu_utilization: Map<String, Value>,
    /// In cores.
    cpu_usage: Vec<Metric>,
    cpu_memory_usage_bytes: Vec<Metric>,
    ephemeral_storage: Storage,
    training_job: TrainingJob<'a>,
    #[schemars(with = "Option<Object>")]
    cache: Option<()>,
    #[schemars(with = "Vec<Object>")]
    per_node_metrics: [(); 0],
}

/// A value at a time. Baseten's `TrainingJobMetricV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobMetric")]
struct Metric {
    value: f64,
    timestamp: Time,
}

/// How much storage a training job used. Baseten's `StorageMetricsV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "StorageMetrics")]
struct Storage {
    usage_bytes: Vec<Metric>,
    #[schemars(with = "Vec<Object>")]
    utilization: [(); 0],
}

impl<'a> Metrics<'a> {
    pub fn of(job: &'a training_jobs::Job, samples: &[Sample]) -> Metrics<'a> {
        let series = |value: fn(&Sample) -> f64| {
            samples.iter().map(|sample| Metric { value: value(sample), timestamp: sample.at }).collect()
        };
        Metrics {
            gpu_memory_usage_bytes: Map::new(),
            gpu_utilization: Map::new(),
            cpu_usage: series(|sample| sample.millicpu as f64 / 1000.0),
            cpu_memory_usage_bytes: series(|sample| sample.memory_bytes as f64),
            ephemeral_storage: Storage { usage_bytes: series(|sample| sample.disk_bytes as f64), utilization: [] },
            training_job: TrainingJob::from(job),
            cache: None,
            per_node_metrics: [],
        }
    }
}

/// The checkpoints of a training job. Baseten's `GetTrainingJobCheckpointsResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobCheckpoints")]
pub struct Checkpoints<'a> {
    training_job: TrainingJob<'a>,
    checkpoints: Vec<Checkpoint<'a>>,
}

/// A folder in the checkpoint folder of a training job. Baseten's `TrainingJobCheckpointV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobCheckpoint")]
struct Checkpoint<'a> {
    checkpoint_id: &'a str,
    created_at: Time,
    checkpoint_type: &'static str,
    base_model: Option<&'a str>,
    #[schemars(with = "Option<Object>")]
    lora_adapter_config: Option<&'a RawValue>,
    size_bytes: u64,
    /// `SYNCING` while the job runs, then `COMPLETE`.
    sync_status: Option<&'static str>,
    training_job_id: &'a str,
}

impl<'a> Checkpoints<'a> {
    pub fn of(job: &'a training_jobs::Job, checkpoints: &'a [training_jobs::Checkpoint]) -> Checkpoints<'a> {
        let sync_status = if job.status.has_ended() { "COMPLETE" } else { "SYNCING" };
        let shown = |checkpoint: &'a training_jobs::Checkpoint| Checkpoint {
            checkpoint_id: &checkpoint.name,
            created_at: checkpoint.created_at,
            checkpoint_type: checkpoint.kind.as_str(),
            base_model: checkpoint.base_model.as_deref(),
            lora_adapter_config: checkpoint
                .lora_adapter_config
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok()),
            size_bytes: checkpoint.size_bytes,
            sync_status: Some(sync_status),
            training_job_id: &job.id,
        };
        Checkpoints { training_job: TrainingJob::from(job), checkpoints: checkpoints.iter().map(shown).collect() }
    }
}

/// A part of the files of checkpoints. Baseten's `GetTrainingJobCheckpointFilesResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct CheckpointFiles<'a> {
    pub presigned_urls: Vec<CheckpointFile<'a>>,
    /// The offset of the next part.
    pub next_page_token: Option<u64>,
    pub total_count: u64,
}

/// A file of a checkpoint, with a link to its content that works without a key for ten minutes. Baseten's
/// `CheckpointFile`.
#[derive(JsonSchema, Serialize)]
pub struct CheckpointFile<'a> {
    pub url: String,
    /// The path from the checkpoint folder. It begins with the name of the checkpoint.
    pub relative_file_name: &'a str,
    pub node_rank: u32,
    pub size_bytes: u64,
    pub last_modified: Time,
}

/// Codes for interactive sessions. There are no sessions, so the list is empty. Baseten's `GetAuthCodesResponseV1`.
#[derive(Default, JsonSchema, Serialize)]
pub struct AuthCodes {
    #[schemars(with = "Vec<Object>")]
    auth_codes: [(); 0],
}

/// The content of the cache of a training project when its last job ended. Baseten's `GetCacheSummaryResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct CacheSummary<'a> {
    timestamp: Time,
    project_id: &'a str,
    file_summaries: Vec<FileSummary<'a>>,
}

/// A file in a cache. Baseten's `FileSummary`.
#[derive(JsonSchema, Serialize)]
struct FileSummary<'a> {
    path: &'a str,
    size_bytes: u64,
    modified: Time,
    file_type: &'static str,
    permissions: String,
}

impl<'a> CacheSummary<'a> {
    pub fn of(project_id: &'a str, files: &'a [training_jobs::StoredFile], now: Time) -> CacheSummary<'a> {
        let shown = |file: &'a training_jobs::StoredFile| FileSummary {
            path: &file.path,
            size_bytes: file.size_bytes,
            modified: file.modified_at,
            file_type: "file",
            permissions: format!("{:o}", file.permissions),
        };
        CacheSummary { timestamp: now, project_id, file_summaries: files.iter().map(shown).collect() }
    }
}

/// Where the files of a training job can be downloaded. Baseten's `DownloadTrainingJobResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobDownload")]
pub struct Download {
    pub artifact_presigned_urls: Vec<String>,
}
