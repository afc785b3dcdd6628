//! The request that creates a training job. The body is open: unknown fields are not stored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::training::Availability;

/// Creates a training job. Baseten's `CreateTrainingJobRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreateTrainingJobRequest")]
pub struct CreateTrainingJob {
    pub training_job: Spec,
}

/// The description of a new training job. It is stored in this form, so that the job can be created again. Baseten's
/// `CreateTrainingJobV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJob")]
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

/// The image that a training job runs in. Baseten's `CreateTrainingJobImageV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJobImage")]
pub struct Image {
    pub base_image: String,
    pub docker_auth: Option<DockerAuth>,
}

/// How to sign in to the registry of an image. Baseten's `DockerAuthV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
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

/// Signs in to a registry by a service account of Google Cloud. Baseten's `GcpServiceAccountJsonDockerAuthV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "DockerAuthByServiceAccount")]
struct ByServiceAccount {
    service_account_json_secret_ref: SecretReference,
}

/// Signs in to a registry by an access key of AWS. Baseten's `AwsIamDockerAuthV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "DockerAuthByAccessKey")]
struct ByAccessKey {
    access_key_secret_ref: SecretReference,
    secret_access_key_secret_ref: SecretReference,
}

/// Signs in to a registry by a password. Baseten's `RegistrySecretDockerAuthV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "DockerAuthByPassword")]
struct ByPassword {
    secret_ref: SecretReference,
}

/// The resources of a training job. Baseten's `CreateTrainingJobComputeV1`.
#[derive(Default, Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJobCompute")]
pub struct Compute {
    pub node_count: Option<i64>,
    pub cpu_count: Option<i64>,
    pub memory: Option<String>,
    pub accelerator: Option<Accelerator>,
    pub availability_model: Option<Availability>,
}

/// The kind and number of GPUs of one node of a training job. Baseten's `CreateTrainingJobAcceleratorV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJobAccelerator")]
pub struct Accelerator {
    pub accelerator: String,
    pub count: i64,
}

/// How a training job runs. Baseten's `CreateTrainingJobRuntimeV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJobRuntime")]
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
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(untagged, expecting = "must be a text, or {\"name\": the name of a secret}")]
#[schemars(rename = "EnvironmentVariable")]
pub enum Variable {
    Text(String),
    Secret(SecretReference),
}

/// The name of a secret. Baseten's `SecretReferenceV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct SecretReference {
    pub name: String,
}

/// An uploaded file for a training job. Baseten's `CreateTrainingJobS3Artifact`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CreateTrainingJobArtifact")]
pub struct Artifact {
    pub s3_bucket: String,
    pub s3_key: String,
}

/// The checkpoints that a training job starts from. Baseten's `LoadCheckpointConfig`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "LoadCheckpointConfig")]
pub struct LoadCheckpoints {
    pub enabled: Option<bool>,
    download_folder: Option<String>,
    pub checkpoints: Option<Vec<Checkpoint>>,
}

/// A checkpoint to start from: one of a job, the last one of a project, or one of a run. Baseten's
/// `BasetenNamedCheckpointConfig`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "CheckpointToLoad")]
pub struct Checkpoint {
    typ: Option<String>,
    pub job_id: Option<String>,
    pub project_name: Option<String>,
    run_id: Option<String>,
    pub checkpoint_name: Option<String>,
    target: Option<String>,
}

/// Weights for a training job. Baseten's `CreateJobWeightConfigV1`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "TrainingWeights")]
pub struct Weights {
    source: String,
    mount_location: String,
    allow_patterns: Option<Vec<String>>,
    ignore_patterns: Option<Vec<String>>,
    auth_secret_name: Option<String>,
    auth: Option<WeightsAuth>,
}

/// How to sign in to the source of weights.
#[derive(Deserialize, JsonSchema, Serialize)]
#[schemars(rename = "TrainingWeightsAuth")]
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
    /// Every secret that the job uses, with the field that names it.
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

    /// The commands that run one after another.
    pub fn start_commands(&self) -> &[String] {
        self.runtime.as_ref().and_then(|runtime| runtime.start_commands.as_deref()).unwrap_or_default()
    }

    /// The environment variables of the job.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Variable)> {
        let variables = self.runtime.iter().flat_map(|runtime| runtime.environment_variables.iter().flatten());
        variables.map(|(name, variable)| (name.as_str(), variable))
    }

    /// Whether the job keeps checkpoints.
    pub fn keeps_checkpoints(&self) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| is_enabled(runtime.checkpointing_config.as_ref()))
    }

    /// Whether the job has the caches of its project and team.
    pub fn has_cache(&self) -> bool {
        self.runtime
            .as_ref()
            .is_some_and(|runtime| runtime.enable_cache == Some(true) || is_enabled(runtime.cache_config.as_ref()))
    }

    /// The checkpoints that the job begins with.
    pub fn loads(&self) -> &[Checkpoint] {
        let load = self.runtime.as_ref().and_then(|runtime| runtime.load_checkpoint_config.as_ref());
        let is_enabled = load.is_some_and(|load| load.enabled == Some(true));
        if is_enabled { self.checkpoints() } else { &[] }
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

fn is_enabled(config: Option<&Map<String, Value>>) -> bool {
    config.and_then(|config| config.get("enabled")).and_then(Value::as_bool) == Some(true)
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
