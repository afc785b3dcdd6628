//! Deployments on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::logs::Line;
use crate::domain::serving::{Level, Status};
use crate::domain::{Time, deployments};
use crate::wire::schemas::Object;
use crate::wire::settings::{AutoscalingSettings, BackpressureSettings, UpdateAutoscaling, UpdateBackpressure};

/// A deployment of a model. Baseten's `DeploymentV1`.
#[derive(JsonSchema, Serialize)]
pub struct Deployment<'a> {
    id: &'a str,
    created_at: Time,
    name: &'a str,
    model_id: &'a str,
    is_production: bool,
    is_development: bool,
    status: Status,
    active_replica_count: i64,
    autoscaling_settings: AutoscalingSettings,
    instance_type_name: &'a str,
    environment: Option<&'a str>,
    #[schemars(with = "Option<Object>")]
    labels: Option<&'a Value>,
    #[schemars(with = "Option<Object>")]
    region: Option<()>,
    request_backpressure_settings: BackpressureSettings,
}

impl<'a> From<&'a deployments::Deployment> for Deployment<'a> {
    fn from(deployment: &'a deployments::Deployment) -> Deployment<'a> {
        Deployment {
            id: &deployment.id,
            created_at: deployment.created_at,
            name: &deployment.name,
            model_id: &deployment.model_id,
            is_production: deployment.is_production(),
            is_development: deployment.is_development(),
            status: deployment.status,
            active_replica_count: deployment.active_replicas(),
            autoscaling_settings: AutoscalingSettings::from(&deployment.settings.autoscaling),
            instance_type_name: &deployment.instance_type,
            environment: deployment.environment.as_deref(),
            labels: deployment.labels.as_ref(),
            region: None,
            request_backpressure_settings: BackpressureSettings { policy: deployment.settings.backpressure },
        }
    }
}

/// The deployments of a model. Baseten's `DeploymentsV1`.
#[derive(JsonSchema, Serialize)]
pub struct Deployments<'a> {
    pub deployments: Vec<Deployment<'a>>,
}

/// A deployment that was deleted. Baseten's `DeploymentTombstoneV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DeploymentTombstone")]
pub struct Tombstone<'a> {
    pub id: &'a str,
    pub deleted: bool,
    pub model_id: &'a str,
}

/// The result of activating or deactivating. `no_op` says that nothing had to be done. Baseten's
/// `DeactivateResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct Switched {
    pub success: bool,
    pub no_op: bool,
}

/// Whether a deployment is retried, or why not. Baseten's `RetryDeploymentResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "RetriedDeployment")]
pub struct Retried<'a> {
    pub retried: bool,
    pub reason: Option<String>,
    pub deployment: Deployment<'a>,
}

/// Changes the given fields of a deployment. Baseten's `UpdateDeploymentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateDeploymentRequest")]
pub struct UpdateDeployment {
    pub name: Option<String>,
}

/// A replica was terminated. Baseten's `TerminateReplicaResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct TerminatedReplica {
    pub success: bool,
}

/// Where the archive of a deployment can be downloaded. Baseten's `DownloadDeploymentResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DeploymentDownload")]
pub struct Download<'a> {
    pub download_url: &'a str,
}

/// The configuration of a deployment, parsed or as it was written. Baseten's `DeploymentConfigResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DeploymentConfig")]
pub struct Config<'a> {
    pub config: Option<&'a Map<String, Value>>,
    pub raw_config: Option<&'a str>,
}

// ---- logs and metrics ----

/// A line of a log. `timestamp` is in nanoseconds since the epoch, as text. Baseten's `LogV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "LogLine")]
pub struct Log<'a> {
    /// Nanoseconds since the epoch, as text.
    timestamp: String,
    message: &'a str,
    replica: Option<&'a str>,
    request_id: Option<&'a str>,
    level: Level,
}

/// Lines of a log. Baseten's `GetLogsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct Logs<'a> {
    pub logs: Vec<Log<'a>>,
}

impl<'a> From<&'a Line> for Log<'a> {
    fn from(line: &'a Line) -> Log<'a> {
        let timestamp = format!("{}000000", line.at.0);
        let Line { message, level, replica, request_id, .. } = line;
        let (replica, request_id) = (replica.as_deref(), request_id.as_deref());
        Log { timestamp, message, replica, request_id, level: *level }
    }
}

/// Which lines of a log to show. A GET request has the same fields as query parameters. Baseten's
/// `GetDeploymentLogsRequestV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LogsRequest")]
pub struct LogsAsked {
    pub start_epoch_millis: Option<i64>,
    pub end_epoch_millis: Option<i64>,
    pub direction: Option<String>,
    pub limit: Option<usize>,
    #[schemars(with = "Option<Level>")]
    pub min_level: Option<String>,
    pub replica: Option<String>,
    pub request_id: Option<String>,
    pub component: Option<String>,
    pub search_pattern: Option<String>,
    pub includes: Option<Vec<String>>,
    pub excludes: Option<Vec<String>>,
}

// ---- pushing ----

/// A pushed archive and its settings. Unknown fields are ignored. Fields that are known but not supported are refused.
/// Baseten's `DeploymentArchivePayloadV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeploymentPayload")]
pub struct Payload {
    pub config: Map<String, Value>,
    pub raw_config: Option<String>,
    #[schemars(with = "Option<Object>")]
    pub user_env: Option<Value>,
    pub environment_name: Option<String>,
    pub create_environment_if_missing: Option<bool>,
    pub preserve_env_instance_type: Option<bool>,
    pub deploy_timeout_minutes: Option<i64>,
    pub deployment_name: Option<String>,
    #[schemars(with = "Option<Object>")]
    pub labels: Option<Value>,
    pub is_development: Option<bool>,
    pub autoscaling_settings: Option<UpdateAutoscaling>,
    pub request_backpressure_settings: Option<UpdateBackpressure>,
    pub instance_type_id: Option<String>,
    // These fields are not supported. They are refused, so that clients do not rely on them.
    #[schemars(skip)]
    pub region: Option<Value>,
    #[schemars(skip)]
    pub autoscaling_schedule_settings: Option<Value>,
    #[schemars(skip)]
    pub promotion_settings_override: Option<Value>,
}

/// Pushes a new model. Baseten's `CreateModelRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreateModelRequest")]
pub struct CreateModel {
    pub source: ModelSource,
}

/// The source of a new model. Baseten's `ModelArchiveSourceV1`.
#[derive(Deserialize, JsonSchema)]
pub struct ModelSource {
    pub kind: Option<String>,
    #[schemars(required)]
    pub name: Option<String>,
    #[schemars(required)]
    pub deployment: Option<Payload>,
    pub s3_key: Option<String>,
    pub disable_archive_download: Option<bool>,
}

/// Pushes a new deployment of a model. Baseten's `CreateModelDeploymentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreateDeploymentRequest")]
pub struct CreateDeployment {
    pub source: DeploymentSource,
}

/// The source of a new deployment. Baseten's `DeploymentArchiveSourceV1`.
#[derive(Deserialize, JsonSchema)]
pub struct DeploymentSource {
    pub kind: Option<String>,
    #[schemars(required)]
    pub deployment: Option<Payload>,
    pub s3_key: Option<String>,
}

/// Requests credentials for an archive that is to be pushed. Baseten's `PrepareModelUploadRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PrepareModelUploadRequest")]
pub struct PrepareUpload {
    pub deployment: Payload,
    pub name: Option<String>,
    pub team_id: Option<String>,
    pub model_id: Option<String>,
    pub dry_run: Option<bool>,
}

/// Where to upload an archive. Without credentials, a client pushes only the configuration. Baseten's
/// `PrepareModelUploadResponseV1`.
#[derive(Default, JsonSchema, Serialize)]
#[schemars(rename = "PreparedModelUpload")]
pub struct PreparedUpload<'a> {
    pub creds: Option<crate::wire::uploads::AwsCredentials<'a>>,
    pub s3_bucket: Option<&'a str>,
    pub s3_key: Option<&'a str>,
    pub s3_region: Option<&'a str>,
}

/// A deployment that was pushed, with its model. Baseten's `CreatedModelDeploymentV1`.
#[derive(JsonSchema, Serialize)]
pub struct CreatedModelDeployment<'a> {
    pub model: crate::wire::models::Model<'a>,
    pub deployment: Deployment<'a>,
}

// ---- patches ----

/// The content of an archive: the hash of each file, the configuration and the requirements. Baseten's
/// `DeploymentPatchPointV1`.
#[derive(Deserialize, JsonSchema)]
pub struct PatchPoint {
    pub content_hashes: Map<String, Value>,
    pub config: String,
    pub requirements: Option<Vec<String>>,
}

/// The content of an archive, in the form that truss computes and the database stores.
#[derive(Deserialize)]
pub struct Signature {
    pub content_hashes_by_path: Map<String, Value>,
    pub config: String,
    pub requirements_file_requirements: Vec<String>,
}

/// A stored signature that is shown again. It may have a hundred thousand paths, so its parts are copied without
/// parsing.
#[derive(Deserialize)]
pub struct StoredSignature<'a> {
    #[serde(borrow)]
    pub content_hashes_by_path: &'a RawValue,
    #[serde(borrow)]
    pub config: &'a RawValue,
    #[serde(borrow)]
    pub requirements_file_requirements: &'a RawValue,
}

/// The content of a deployment, with the hash that a patch refers to. Baseten's `DeploymentPatchPointWithHashV1`.
#[derive(JsonSchema, Serialize)]
pub struct PatchPointWithHash<'a> {
    #[schemars(with = "Object")]
    pub content_hashes: &'a RawValue,
    #[schemars(with = "String")]
    pub config: &'a RawValue,
    #[schemars(with = "Option<Vec<String>>")]
    pub requirements: &'a RawValue,
    pub hash: &'a str,
}

/// Stages a patch of a development deployment. Baseten's `CreateDeploymentPatchRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreatePatchRequest")]
pub struct CreatePatch {
    pub prev_patch_hash: String,
    pub next_patch_point: PatchPoint,
    pub patch_ops: Vec<PatchOp>,
}

/// An operation of a patch. In REST its fields are not nested; in GraphQL they are in `body`. Baseten's
/// `DeploymentPatchOpModelCodeV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PatchOperation")]
pub struct PatchOp {
    #[serde(rename = "type")]
    pub kind: String,
    pub action: Option<String>,
    pub path: Option<String>,
    pub content: Option<String>,
    pub content_bytes: Option<String>,
    pub body: Option<Box<PatchBody>>,
}

/// The body of an operation of a patch in GraphQL.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PatchOperationBody")]
pub struct PatchBody {
    pub action: String,
    pub path: Option<String>,
    pub content: Option<String>,
    pub content_bytes: Option<String>,
}

/// The content of a deployment after the patch is applied. Baseten's `CreateDeploymentPatchResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct CreatedPatch<'a> {
    pub patch_point: PatchPointWithHash<'a>,
}

/// The content of a running development deployment, and its staged patches. Baseten's
/// `GetDeploymentPatchesStateResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct PatchesState<'a> {
    pub running_patch_point: PatchPointWithHash<'a>,
    pub pending_patch_point: Option<PatchPointWithHash<'a>>,
}

/// Whether staged patches were applied, or why the model must be pushed again. Baseten's
/// `SyncDeploymentPatchesResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct PatchesSynced {
    pub needs_full_deploy_reason: Option<String>,
}
