//! Training projects on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::training_jobs::Job;
use crate::domain::{Time, training_projects};
use crate::wire::training_jobs::TrainingJob;

/// A training project, with its latest job. Baseten's `TrainingProjectV1`.
#[derive(JsonSchema, Serialize)]
pub struct TrainingProject<'a> {
    id: &'a str,
    name: &'a str,
    created_at: Time,
    updated_at: Time,
    team_name: &'a str,
    latest_job: Option<TrainingJob<'a>>,
}

/// The training projects that the caller sees. Baseten's `ListTrainingProjectsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct TrainingProjects<'a> {
    pub training_projects: Vec<TrainingProject<'a>>,
}

/// A training project. Baseten's `GetTrainingProjectResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct OneTrainingProject<'a> {
    pub training_project: TrainingProject<'a>,
}

/// The jobs of a training project. Baseten's `ListTrainingJobsResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "JobsOfTrainingProject")]
pub struct JobsOfProject<'a> {
    pub training_project: TrainingProject<'a>,
    pub training_jobs: Vec<TrainingJob<'a>>,
}

/// A training job with its project. Baseten's `GetTrainingJobResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TrainingJobInProject")]
pub struct JobInProject<'a> {
    pub training_project: TrainingProject<'a>,
    pub training_job: TrainingJob<'a>,
}

impl<'a> TrainingProject<'a> {
    pub fn new(project: &'a training_projects::TrainingProject, latest: Option<&'a Job>) -> TrainingProject<'a> {
        TrainingProject {
            id: &project.id,
            name: &project.name,
            created_at: project.created_at,
            updated_at: project.updated_at,
            team_name: &project.team_name,
            latest_job: latest.map(TrainingJob::from),
        }
    }
}

/// Creates a training project, or finds the one with this name. Baseten's `UpsertTrainingProjectRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpsertTrainingProjectRequest")]
pub struct UpsertTrainingProject {
    pub training_project: TrainingProjectFields,
}

/// The name of a training project. truss also sends the team, which is already in the path. Baseten's
/// `UpsertTrainingProjectV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpsertTrainingProject")]
pub struct TrainingProjectFields {
    pub name: String,
    pub team_name: Option<String>,
}
