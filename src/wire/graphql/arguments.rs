//! The arguments of GraphQL root fields.

use serde::Deserialize;
use serde_json::Value;

use crate::wire::deployments::PatchOp;

#[derive(Deserialize)]
pub struct WhichModels {
    pub team_id: Option<String>,
    pub chainlets_only: Option<bool>,
}

#[derive(Deserialize)]
pub struct WhichModel {
    pub id: Option<String>,
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub struct WhichChains {
    pub team_id: Option<String>,
}

#[derive(Deserialize)]
pub struct WhichById {
    pub id: String,
}

/// A whole Chain. An existing Chain is named by its id; a new Chain or the development deployment by its name.
#[derive(Deserialize)]
pub struct DeployChain {
    pub chain_id: Option<String>,
    pub chain_name: Option<String>,
    pub environment: Option<String>,
    pub original_source_artifact_s3_key: Option<String>,
    pub team_id: Option<String>,
    pub is_draft: Option<bool>,
    pub allow_truss_download: Option<bool>,
    pub deployment_name: Option<String>,
    pub entrypoint: PushedChainlet,
    pub dependencies: Option<Vec<PushedChainlet>>,
    pub truss_user_env: Option<String>,
}

#[derive(Deserialize)]
pub struct PushedChainlet {
    pub name: String,
    pub oracle: PushedOracle,
}

#[derive(Deserialize)]
pub struct PushedOracle {
    pub model_name: String,
    pub s3_key: String,
    pub encoded_config_str: String,
}

/// JSON in base64.
#[derive(Deserialize)]
pub struct Validate {
    pub config: String,
}

/// The content of a push, for every mutation that pushes.
#[derive(Deserialize)]
pub struct Push {
    /// The name of a new model or of the model of a development deployment. For a version, the version's own name.
    pub name: Option<String>,
    pub version_name: Option<String>,
    pub s3_key: String,
    pub config: String,
    pub raw_config: Option<String>,
    pub truss_user_env: Option<String>,
    pub user_deploy_metadata: Option<String>,
    pub allow_truss_download: Option<bool>,
    pub environment_name: Option<String>,
    pub deploy_timeout_minutes: Option<i64>,
    pub team_id: Option<String>,
    pub scale_down_old_production: Option<bool>,
    pub preserve_env_instance_type: Option<bool>,
}

#[derive(Deserialize)]
pub struct DeployCheckpoints {
    pub request: InferenceTemplate,
}

#[derive(Deserialize)]
pub struct InferenceTemplate {
    pub metadata: TemplateMetadata,
    pub weights_sources: Vec<WeightsSource>,
    pub instance_type_id: String,
}

#[derive(Deserialize)]
pub struct TemplateMetadata {
    pub oracle_name: String,
}

/// A checkpoint of a training job, or another source that is not stored here.
#[derive(Deserialize)]
pub struct WeightsSource {
    pub b10_training_checkpoint_weights_source: Option<CheckpointWeights>,
}

#[derive(Deserialize)]
pub struct CheckpointWeights {
    pub checkpoint: CheckpointOfJob,
}

#[derive(Deserialize)]
pub struct CheckpointOfJob {
    pub training_job_id: String,
    pub checkpoint_name: Option<String>,
}

#[derive(Deserialize)]
pub struct StagePatch {
    pub patch: String,
}

/// The content of a staged patch.
#[derive(Deserialize)]
pub struct PatchRequest {
    pub prev_hash: String,
    pub next_hash: String,
    pub next_signature: Value,
    pub patch_ops: Vec<PatchOp>,
}
