//! The queue at the time a training job was created, on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{Time, training_jobs};
use crate::wire::schemas::Object;
use crate::wire::training_jobs::InstanceType;

/// The queue at the time a training job was created. Baseten's `GetTrainingJobQueueContextResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct QueueContext<'a> {
    target_job_id: &'a str,
    target_job_name: Option<&'a str>,
    /// Empty for a job without GPUs.
    gpu_type: &'static str,
    requested_gpus: i64,
    submitted_at: Time,
    released_at: Option<Time>,
    pending_seconds: Option<i64>,
    /// Always null, because only teams have ceilings.
    #[schemars(with = "Option<Object>")]
    org_capacity: Option<()>,
    team_capacity: Option<CapacityAtSubmit>,
    active_at_submit: Vec<ActiveJob<'a>>,
    pending_ahead_at_submit: Vec<PendingJob<'a>>,
    events: Vec<QueueEvent<'a>>,
    events_window_end: Time,
}

/// The ceiling of a team when a job was created. Baseten's `CapacityAtSubmitV1`.
#[derive(JsonSchema, Serialize)]
struct CapacityAtSubmit {
    gpu_type: &'static str,
    max_gpus: i64,
    min_gpus: Option<i64>,
    last_modified: Time,
}

/// A job that held GPUs when another was created. Baseten's `ActiveJobAtSubmitV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ActiveJobAtSubmit")]
struct ActiveJob<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    instance_type_name: String,
    total_gpus: i64,
    workload_plane_name: &'static str,
    status_at_submit: &'static str,
    status_set_at: Time,
}

/// A job that was ahead of another in the queue when the other was created. Baseten's `PendingJobAheadAtSubmitV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "PendingJobAheadAtSubmit")]
struct PendingJob<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    instance_type_name: String,
    requested_gpus: i64,
    priority: i64,
    submitted_at: Time,
}

/// What happened to a job while another waited. Baseten's `QueueEventV1`.
#[derive(JsonSchema, Serialize)]
struct QueueEvent<'a> {
    training_job_id: &'a str,
    training_job_name: Option<&'a str>,
    status: &'static str,
    created: Time,
    #[schemars(with = "Option<String>")]
    event_message: Option<()>,
    #[schemars(with = "Option<i64>")]
    exit_code: Option<()>,
}

impl<'a> From<&'a training_jobs::QueueContext> for QueueContext<'a> {
    fn from(context: &'a training_jobs::QueueContext) -> QueueContext<'a> {
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

impl<'a> From<&'a training_jobs::OtherJob> for ActiveJob<'a> {
    fn from(other: &'a training_jobs::OtherJob) -> ActiveJob<'a> {
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

impl<'a> From<&'a training_jobs::OtherJob> for PendingJob<'a> {
    fn from(other: &'a training_jobs::OtherJob) -> PendingJob<'a> {
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

impl<'a> From<&'a training_jobs::JobEvent> for QueueEvent<'a> {
    fn from(event: &'a training_jobs::JobEvent) -> QueueEvent<'a> {
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
