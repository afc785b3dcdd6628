//! Training jobs on the wire.
//!
//! The body that makes one is open: what is not known here is left out of what is kept. The others are closed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::db::training_jobs::{self, logs, queue};
use crate::model::Time;
use crate::model::training::Compute as Asked;
use crate::wire::training_projects::TrainingProject;

// ---- what makes a job ----

#[derive(Deserialize)]
pub struct CreateTrainingJob {
    pub training_job: Spec,
}

/// What is understood of a job that is pushed; it is kept like this, to be recreated from.
#[derive(Deserialize, Serialize)]
pub struct Spec {
    pub image: Image,
    pub compute: Option<Compute>,
    pub runtime: Option<Runtime>,
    pub name: Option<String>,
    pub priority: Option<i64>,
    pub interactive_session: Option<Map<String, Value>>,
    pub weights: Option<Vec<Weights>>,
    pub enable_baseten_workdir: Option<bool>,
    pub truss_user_env: Option<Map<String, Value>>,
}

#[derive(Deserialize, Serialize)]
pub struct Image {
    pub base_image: String,
    pub docker_auth: Option<DockerAuth>,
}

#[derive(Deserialize, Serialize)]
pub struct DockerAuth {
    registry: String,
    auth_method: String,
    gcp_service_account_json_docker_auth: Option<ByServiceAccount>,
    aws_iam_docker_auth: Option<ByAccessKey>,
    registry_secret_docker_auth: Option<ByPassword>,
    aws_oidc_docker_auth: Option<Map<String, Value>>,
    gcp_oidc_docker_auth: Option<Map<String, Value>>,
    aws_assume_role_docker_auth: Option<Map<String, Value>>,
}

#[derive(Deserialize, Serialize)]
struct ByServiceAccount {
    service_account_json_secret_ref: SecretReference,
}

#[derive(Deserialize, Serialize)]
struct ByAccessKey {
    access_key_secret_ref: SecretReference,
    secret_access_key_secret_ref: SecretReference,
}

#[derive(Deserialize, Serialize)]
struct ByPassword {
    secret_ref: SecretReference,
}

#[derive(Default, Deserialize, Serialize)]
pub struct Compute {
    pub node_count: Option<i64>,
    pub cpu_count: Option<i64>,
    pub memory: Option<String>,
    pub accelerator: Option<Accelerator>,
    pub availability_model: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub struct Accelerator {
    pub accelerator: String,
    pub count: i64,
}

#[derive(Deserialize, Serialize)]
pub struct Runtime {
    pub start_commands: Option<Vec<String>>,
    pub environment_variables: Option<BTreeMap<String, Variable>>,
    pub artifacts: Option<Vec<Artifact>>,
    pub enable_cache: Option<bool>,
    pub cache_config: Option<Map<String, Value>>,
    pub checkpointing_config: Option<Map<String, Value>>,
    pub load_checkpoint_config: Option<LoadCheckpoints>,
}

/// The value of an environment variable, or the secret that holds it.
#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "must be a text, or {\"name\": the name of a secret}")]
pub enum Variable {
    Text(String),
    Secret(SecretReference),
}

#[derive(Deserialize, Serialize)]
pub struct SecretReference {
    name: String,
}

#[derive(Deserialize, Serialize)]
pub struct Artifact {
    pub s3_bucket: String,
    pub s3_key: String,
}

#[derive(Deserialize, Serialize)]
pub struct LoadCheckpoints {
    enabled: Option<bool>,
    download_folder: Option<String>,
    pub checkpoints: Option<Vec<Checkpoint>>,
}

/// Which checkpoint to begin with: one of a job, the last of a project, or one of a run.
#[derive(Deserialize, Serialize)]
pub struct Checkpoint {
    typ: Option<String>,
    pub job_id: Option<String>,
    pub project_name: Option<String>,
    run_id: Option<String>,
    checkpoint_name: Option<String>,
    target: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub struct Weights {
    source: String,
    mount_location: String,
    allow_patterns: Option<Vec<String>>,
    ignore_patterns: Option<Vec<String>>,
    auth_secret_name: Option<String>,
    auth: Option<WeightsAuth>,
}

#[derive(Deserialize, Serialize)]
struct WeightsAuth {
    auth_method: String,
    auth_secret_name: Option<String>,
    aws_oidc_role_arn: Option<String>,
    aws_oidc_region: Option<String>,
    gcp_oidc_service_account: Option<String>,
    gcp_oidc_workload_id_provider: Option<String>,
    aws_assume_role_arn: Option<String>,
    aws_assume_role_region: Option<String>,
}

impl Spec {
    /// Every secret that the job names, with the field that names it.
    pub fn secrets(&self) -> Vec<(String, &str)> {
        let auth = self.image.docker_auth.iter().flat_map(DockerAuth::secrets);
        let variables = self.runtime.iter().flat_map(|runtime| runtime.environment_variables.iter().flatten());
        let in_variables = variables.filter_map(|(name, variable)| match variable {
            Variable::Text(_) => None,
            Variable::Secret(secret) => Some((format!("runtime.environment_variables.{name}"), secret.name.as_str())),
        });
        let in_weights = self.weights.iter().flatten().enumerate().flat_map(|(place, weights)| weights.secrets(place));
        auth.chain(in_variables).chain(in_weights).collect()
    }

    pub fn artifacts(&self) -> &[Artifact] {
        self.runtime.as_ref().and_then(|runtime| runtime.artifacts.as_deref()).unwrap_or_default()
    }

    pub fn checkpoints(&self) -> &[Checkpoint] {
        let load = self.runtime.as_ref().and_then(|runtime| runtime.load_checkpoint_config.as_ref());
        load.and_then(|load| load.checkpoints.as_deref()).unwrap_or_default()
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("shapes of ours always serialize")
    }
}

impl DockerAuth {
    fn secrets(&self) -> Vec<(String, &str)> {
        let account = self.gcp_service_account_json_docker_auth.iter().map(|by| {
            (
                "gcp_service_account_json_docker_auth.service_account_json_secret_ref",
                &by.service_account_json_secret_ref,
            )
        });
        let access_key = self.aws_iam_docker_auth.iter().flat_map(|by| {
            [
                ("aws_iam_docker_auth.access_key_secret_ref", &by.access_key_secret_ref),
                ("aws_iam_docker_auth.secret_access_key_secret_ref", &by.secret_access_key_secret_ref),
            ]
        });
        let password = self
            .registry_secret_docker_auth
            .iter()
            .map(|by| ("registry_secret_docker_auth.secret_ref", &by.secret_ref));
        account
            .chain(access_key)
            .chain(password)
            .map(|(field, secret)| (format!("image.docker_auth.{field}"), secret.name.as_str()))
            .collect()
    }
}

impl Weights {
    fn secrets(&self, place: usize) -> Vec<(String, &str)> {
        let own = self.auth_secret_name.iter().map(|name| ("auth_secret_name", name));
        let of_auth = self.auth.iter().flat_map(|auth| &auth.auth_secret_name);
        own.chain(of_auth.map(|name| ("auth.auth_secret_name", name)))
            .map(|(field, name)| (format!("weights[{place}].{field}"), name.as_str()))
            .collect()
    }
}

// ---- what else is asked ----

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateTrainingJob {
    pub priority: Option<i64>,
    pub availability_model: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub project_id: Option<String>,
    pub job_id: Option<String>,
    pub statuses: Option<Vec<String>>,
    pub order_by: Option<Vec<OrderBy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderBy {
    pub field: String,
    pub order: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsOf {
    pub start_epoch_millis: Option<i64>,
    pub end_epoch_millis: Option<i64>,
    pub direction: Option<String>,
    pub limit: Option<i64>,
    pub min_level: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsOf {
    pub start_epoch_millis: Option<i64>,
    pub end_epoch_millis: Option<i64>,
    pub step_seconds: Option<i64>,
}

// ---- answers ----

#[derive(Serialize)]
pub struct TrainingJob<'a> {
    id: &'a str,
    created_at: Time,
    current_status: &'static str,
    error_message: Option<()>,
    instance_type: InstanceType,
    node_count: i64,
    updated_at: Time,
    training_project_id: &'a str,
    training_project: ProjectSummary<'a>,
    name: Option<&'a str>,
    checkpoint_sync_status: Option<()>,
    priority: i64,
    availability_model: &'static str,
    user: User<'a>,
}

#[derive(Serialize)]
struct ProjectSummary<'a> {
    id: &'a str,
    name: &'a str,
}

/// Clients look into it without asking whether it is there.
#[derive(Serialize)]
struct User<'a> {
    email: Option<&'a str>,
}

/// One node of the job: jobs say what they need, and need not fit what deployments run on.
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

impl From<&Asked> for InstanceType {
    /// Named like the types that deployments run on: the GPU and how many, then virtual CPUs by GiB.
    fn from(compute: &Asked) -> InstanceType {
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

#[derive(Serialize)]
pub struct TrainingJobs<'a> {
    pub training_jobs: Vec<TrainingJob<'a>>,
}

#[derive(Serialize)]
pub struct JobsOfProject<'a> {
    pub training_project: TrainingProject<'a>,
    pub training_jobs: Vec<TrainingJob<'a>>,
}

#[derive(Serialize)]
pub struct OneTrainingJob<'a> {
    pub training_job: TrainingJob<'a>,
}

#[derive(Serialize)]
pub struct JobInProject<'a> {
    pub training_project: TrainingProject<'a>,
    pub training_job: TrainingJob<'a>,
}

#[derive(Serialize)]
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

#[derive(Serialize)]
pub struct Logs<'a> {
    pub logs: Vec<Line<'a>>,
}

/// Lines of ours come from no replica; clients want the key all the same.
#[derive(Serialize)]
pub struct Line<'a> {
    timestamp: String,
    message: &'a str,
    replica: Option<()>,
    request_id: Option<()>,
    level: &'static str,
}

impl<'a> From<&'a logs::Line> for Line<'a> {
    fn from(line: &'a logs::Line) -> Line<'a> {
        Line {
            timestamp: format!("{}000000", line.at.0),
            message: &line.message,
            replica: None,
            request_id: None,
            level: line.level.as_str(),
        }
    }
}

/// Nothing runs that could be measured: every series is empty.
#[derive(Serialize)]
pub struct Metrics<'a> {
    gpu_memory_usage_bytes: Map<String, Value>,
    gpu_utilization: Map<String, Value>,
    cpu_usage: [(); 0],
    cpu_memory_usage_bytes: [(); 0],
    ephemeral_storage: Storage,
    training_job: TrainingJob<'a>,
    cache: Option<()>,
    per_node_metrics: [(); 0],
}

#[derive(Default, Serialize)]
struct Storage {
    usage_bytes: [(); 0],
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

/// No job has run, so none has saved anything.
#[derive(Serialize)]
pub struct Checkpoints<'a> {
    training_job: TrainingJob<'a>,
    checkpoints: [(); 0],
}

impl<'a> Checkpoints<'a> {
    pub fn of(job: &'a training_jobs::Job) -> Checkpoints<'a> {
        Checkpoints { training_job: TrainingJob::from(job), checkpoints: [] }
    }
}

#[derive(Default, Serialize)]
pub struct CheckpointFiles {
    presigned_urls: [(); 0],
    next_page_token: Option<()>,
    total_count: u32,
}

#[derive(Default, Serialize)]
pub struct AuthCodes {
    auth_codes: [(); 0],
}

#[derive(Serialize)]
pub struct CacheSummary<'a> {
    pub timestamp: Time,
    pub project_id: &'a str,
    pub file_summaries: [(); 0],
}

#[derive(Serialize)]
pub struct Download {
    pub artifact_presigned_urls: Vec<String>,
}

// ---- what a job met in the queue ----

#[derive(Serialize)]
pub struct QueueContext<'a> {
    target_job_id: &'a str,
    target_job_name: Option<&'a str>,
    /// Empty for a job without GPUs.
    gpu_type: &'static str,
    requested_gpus: i64,
    submitted_at: Time,
    released_at: Option<Time>,
    pending_seconds: Option<i64>,
    /// Ceilings are of teams alone.
    org_capacity: Option<()>,
    team_capacity: Option<CapacityAtSubmit>,
    active_at_submit: Vec<ActiveJob<'a>>,
    pending_ahead_at_submit: Vec<PendingJob<'a>>,
    events: Vec<QueueEvent<'a>>,
    events_window_end: Time,
}

#[derive(Serialize)]
struct CapacityAtSubmit {
    gpu_type: &'static str,
    max_gpus: i64,
    min_gpus: Option<i64>,
    last_modified: Time,
}

#[derive(Serialize)]
struct ActiveJob<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    instance_type_name: String,
    total_gpus: i64,
    workload_plane_name: &'static str,
    status_at_submit: &'static str,
    status_set_at: Time,
}

#[derive(Serialize)]
struct PendingJob<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    instance_type_name: String,
    requested_gpus: i64,
    priority: i64,
    submitted_at: Time,
}

#[derive(Serialize)]
struct QueueEvent<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    status: &'static str,
    created: Time,
    event_message: Option<()>,
    exit_code: Option<()>,
}

impl<'a> From<&'a queue::Context> for QueueContext<'a> {
    fn from(context: &'a queue::Context) -> QueueContext<'a> {
        let job = &context.job;
        QueueContext {
            target_job_id: &job.id,
            target_job_name: job.name.as_deref(),
            gpu_type: job.compute.gpu_type().map_or("", |gpu| gpu.as_str()),
            requested_gpus: job.compute.gpu_count(),
            submitted_at: job.created_at,
            released_at: context.released_at,
            pending_seconds: context.released_at.map(|at| (at.0 - job.created_at.0) / 1000),
            org_capacity: None,
            team_capacity: context.capacity.as_ref().map(|capacity| CapacityAtSubmit {
                gpu_type: capacity.gpu_type.as_str(),
                max_gpus: capacity.max_gpus,
                min_gpus: None,
                last_modified: capacity.updated_at,
            }),
            active_at_submit: context.active.iter().map(ActiveJob::from).collect(),
            pending_ahead_at_submit: context.pending_ahead.iter().map(PendingJob::from).collect(),
            events: context.events.iter().map(QueueEvent::from).collect(),
            events_window_end: context.until,
        }
    }
}

impl<'a> From<&'a queue::Other> for ActiveJob<'a> {
    fn from(other: &'a queue::Other) -> ActiveJob<'a> {
        ActiveJob {
            training_job_id: &other.job.id,
            training_job_name: other.job.name.as_deref(),
            instance_type_name: InstanceType::from(&other.job.compute).name,
            total_gpus: other.job.compute.gpu_count(),
            workload_plane_name: "guildhall",
            status_at_submit: other.status.as_str(),
            status_set_at: other.since,
        }
    }
}

impl<'a> From<&'a queue::Other> for PendingJob<'a> {
    fn from(other: &'a queue::Other) -> PendingJob<'a> {
        PendingJob {
            training_job_id: &other.job.id,
            training_job_name: other.job.name.as_deref(),
            instance_type_name: InstanceType::from(&other.job.compute).name,
            requested_gpus: other.job.compute.gpu_count(),
            priority: other.job.priority,
            submitted_at: other.job.created_at,
        }
    }
}

impl<'a> From<&'a queue::Happened> for QueueEvent<'a> {
    fn from(event: &'a queue::Happened) -> QueueEvent<'a> {
        QueueEvent {
            training_job_id: &event.job_id,
            training_job_name: event.job_name.as_deref(),
            status: event.status.as_str(),
            created: event.at,
            event_message: None,
            exit_code: None,
        }
    }
}
