//! GraphQL on the wire: requests, replies, and the object types, with the names that truss uses.

use serde::de::{DeserializeSeed as _, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::domain::instance_types;
use crate::domain::serving::Status;
use crate::domain::{self, BaseUrl};
use crate::domain::{chains, deployments, models};
use crate::error::Error;
use crate::wire;
use crate::wire::graphql::shape::{Given, object};
use crate::wire::tree::{Budget, Tree};

pub mod arguments;
pub mod selection;
pub mod shape;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub query: String,
    pub variables: Option<Variables>,
    #[serde(rename = "operationName")]
    pub operation_name: Option<String>,
}

/// The values of variables. They may be many bytes, but not very many values.
pub struct Variables(pub Map<String, Value>);

const VARIABLE_VALUES_MAX: usize = 50_000;

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Variables, D::Error> {
        let budget = Budget::new(VARIABLE_VALUES_MAX, usize::MAX);
        match Tree(&budget).deserialize(from) {
            Ok(Value::Object(variables)) => Ok(Variables(variables)),
            Ok(_) => Err(D::Error::custom("must be an object")),
            Err(_) if budget.is_spent() => {
                Err(D::Error::custom(format!("must be at most {VARIABLE_VALUES_MAX} values")))
            }
            Err(cause) => Err(cause),
        }
    }
}

object! {
    pub struct Organization<'a> {
        pub id: &'a str,
        pub workspace_name: &'a str,
        /// Null, because no hosted cloud needs access to a customer's cloud.
        pub aws_customer_access_role_arn: Option<&'a str>,
        pub aws_external_id: Option<&'a str>,
    }

    /// The caller. A key that belongs to no person has its name in place of an e-mail address, because truss prints
    /// that field.
    pub struct User<'a> {
        pub id: &'a str,
        pub email: &'a str,
        pub name: &'a str,
    }

    pub struct Team<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub default: bool,
    }
}

impl<'a> From<&'a domain::Team> for Team<'a> {
    fn from(team: &'a domain::Team) -> Team<'a> {
        Team { id: team.id.as_str(), name: &team.name, default: team.is_default }
    }
}

object! {
    pub struct Model<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub hostname: String,
        pub team: Team<'a>,
        pub versions: Vec<ModelVersion<'a>>,
        /// The deployment that serves `production`, or else the development deployment.
        pub primary_version: Option<ModelVersion<'a>>,
    }

    /// A deployment, in the terms of truss.
    pub struct ModelVersion<'a> {
        pub id: &'a str,
        pub semver: String,
        pub truss_hash: Option<&'a str>,
        pub truss_signature: Option<&'a str>,
        pub is_draft: bool,
        pub is_primary: bool,
        pub current_model_deployment_status: VersionStatus,
        pub oracle: Oracle<'a>,
        pub instance_type: VersionInstance<'a>,
    }

    pub struct VersionStatus {
        pub status: &'static str,
    }

    /// A model, as its deployments refer to it.
    pub struct Oracle<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub hostname: String,
    }

    pub struct VersionInstance<'a> {
        pub name: &'a str,
    }

    pub struct CreatedVersion<'a> {
        pub model_version: ModelVersion<'a>,
    }

    pub struct InstanceType {
        pub id: &'static str,
        pub name: &'static str,
        pub display_name: &'static str,
        pub millicpu_limit: u32,
        /// In bytes, because truss compares it with a number of bytes.
        pub memory_limit: u64,
        pub gpu_count: u32,
        pub gpu_type: Option<&'static str>,
        /// The memory of one GPU, in MiB.
        pub gpu_memory: Option<u32>,
        /// Whether this instance type is used if a configuration states no requirements.
        pub default: bool,
        pub node_count: u32,
        /// US dollars per minute.
        pub price: f64,
        pub limited_capacity: bool,
    }

    pub struct Validation {
        pub success: bool,
        /// JSON as text.
        pub details: Option<String>,
    }

    /// Upload credentials. Every field except the key and the bucket is passed to the S3 client unchanged. truss
    /// requests only the first five fields. The other fields are always added, because without them the client would
    /// send the archive elsewhere.
    pub struct UploadCredentials<'a> {
        pub s3_bucket: &'a str,
        pub s3_key: &'a str,
        pub aws_access_key_id: &'a str,
        pub aws_secret_access_key: &'a str,
        pub aws_session_token: &'a str,
    }

    pub struct Chain<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub hostname: String,
        pub team: Team<'a>,
        pub deployments: Vec<ChainDeployment<'a>>,
    }

    pub struct ChainDeployment<'a> {
        pub id: &'a str,
        pub name: &'a str,
        /// In UTC without a time zone, because truss reads it so.
        pub created: String,
        pub is_draft: bool,
        pub environment: Option<&'a str>,
        pub status: &'static str,
        pub chainlets: Vec<Chainlet<'a>>,
        pub chain: ChainOfDeployment<'a>,
    }

    /// A Chain, as its deployments refer to it.
    pub struct ChainOfDeployment<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub hostname: String,
    }

    pub struct Chainlet<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub is_entrypoint: bool,
        pub oracle: Oracle<'a>,
        pub oracle_version: ModelVersion<'a>,
    }

    pub struct DeployedChain<'a> {
        pub chain_deployment: ChainDeployment<'a>,
    }

    pub struct WatchState<'a> {
        pub is_container_built_from_push: bool,
        pub django_patch_state: Option<PatchState<'a>>,
        pub container_patch_state: Option<PatchState<'a>>,
    }

    pub struct PatchState<'a> {
        pub current_hash: &'a str,
        pub current_signature: &'a str,
    }

    pub struct Patched<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub version_id: &'a str,
        pub succeeded: bool,
        pub needs_full_deploy: bool,
        pub error: Option<String>,
    }
}

impl<'a> Model<'a> {
    pub fn new(
        model: &'a models::Model,
        team: &'a domain::Team,
        deployments: &'a [deployments::Deployment],
        base_url: &BaseUrl,
    ) -> Model<'a> {
        let version = |deployment| ModelVersion::new(model, deployment, base_url);
        let primary = deployments.iter().find(|deployment| deployment.is_production());
        let primary = primary.or_else(|| deployments.iter().find(|deployment| deployment.is_development()));
        Model {
            id: &model.id,
            name: &model.name,
            hostname: base_url.of("model", &model.id),
            team: Team::from(team),
            versions: deployments.iter().map(version).collect(),
            primary_version: primary.map(version),
        }
    }
}

impl<'a> ModelVersion<'a> {
    pub fn new(
        model: &'a models::Model,
        deployment: &'a deployments::Deployment,
        base_url: &BaseUrl,
    ) -> ModelVersion<'a> {
        ModelVersion {
            id: &deployment.id,
            semver: format!("0.{}.0", deployment.number),
            truss_hash: deployment.truss_hash.as_deref(),
            truss_signature: deployment.truss_signature.as_deref(),
            is_draft: deployment.is_development(),
            is_primary: deployment.is_production(),
            current_model_deployment_status: VersionStatus { status: status(deployment.status) },
            oracle: Oracle::new(model, base_url),
            instance_type: VersionInstance { name: &deployment.instance_type },
        }
    }
}

impl<'a> Oracle<'a> {
    fn new(model: &'a models::Model, base_url: &BaseUrl) -> Oracle<'a> {
        Oracle { id: &model.id, name: &model.name, hostname: base_url.of("model", &model.id) }
    }
}

impl<'a> Chain<'a> {
    pub fn new(
        chain: &'a chains::Chain,
        team: &'a domain::Team,
        deployments: &'a [chains::ChainDeployment],
        base_url: &BaseUrl,
    ) -> Chain<'a> {
        Chain {
            id: &chain.id,
            name: &chain.name,
            hostname: base_url.of("chain", &chain.id),
            team: Team::from(team),
            deployments: deployments.iter().map(|it| ChainDeployment::new(chain, it, base_url)).collect(),
        }
    }
}

impl<'a> ChainDeployment<'a> {
    pub fn new(
        chain: &'a chains::Chain,
        deployment: &'a chains::ChainDeployment,
        base_url: &BaseUrl,
    ) -> ChainDeployment<'a> {
        let chainlet = |(place, chainlet): (usize, &'a chains::Chainlet)| Chainlet {
            id: &chainlet.id,
            name: &chainlet.name,
            is_entrypoint: place == 0,
            oracle: Oracle::new(&chainlet.model, base_url),
            oracle_version: ModelVersion::new(&chainlet.model, &chainlet.deployment, base_url),
        };
        ChainDeployment {
            id: &deployment.id,
            name: &deployment.name,
            created: deployment.created_at.to_string().trim_end_matches('Z').to_owned(),
            is_draft: deployment.is_development(),
            environment: deployment.environment.as_deref(),
            status: status(deployment.status()),
            chainlets: deployment.chainlets.iter().enumerate().map(chainlet).collect(),
            chain: ChainOfDeployment { id: &chain.id, name: &chain.name, hostname: base_url.of("chain", &chain.id) },
        }
    }
}

impl From<&'static instance_types::InstanceType> for InstanceType {
    fn from(instance: &'static instance_types::InstanceType) -> InstanceType {
        let gpus = instance.gpus.as_ref();
        InstanceType {
            id: instance.id,
            name: instance.id,
            display_name: instance.id,
            millicpu_limit: instance.millicpus,
            memory_limit: u64::from(instance.memory_mib) << 20,
            gpu_count: gpus.map_or(0, |gpus| gpus.count),
            gpu_type: gpus.map(|gpus| gpus.kind),
            gpu_memory: gpus.map(|gpus| gpus.memory_mib),
            default: instance.id == instance_types::SMALLEST,
            node_count: 1,
            price: instance.dollars_a_minute,
            limited_capacity: false,
        }
    }
}

/// The name of a status in GraphQL.
const fn status(status: Status) -> &'static str {
    match status {
        Status::Building => "BUILDING_MODEL",
        Status::Deploying => "DEPLOYING_MODEL",
        Status::DeployFailed => "MODEL_DEPLOY_FAILED",
        Status::LoadingModel => "MODEL_LOADING",
        Status::Active => "MODEL_READY",
        Status::Unhealthy => "MODEL_UNHEALTHY",
        Status::BuildFailed => "BUILDING_MODEL_FAILED",
        Status::BuildStopped => "BUILDING_MODEL_STOPPED",
        Status::Deactivating => "DEACTIVATING_MODEL",
        Status::Inactive => "DEACTIVATED_MODEL",
        Status::Failed => "MODEL_DNE_ERROR",
        Status::Updating => "UPDATING",
        Status::ScaledToZero => "SCALED_TO_ZERO",
        Status::WakingUp => "SCALING_FROM_ZERO",
    }
}

/// Why a part of the reply is missing.
#[derive(Serialize)]
pub struct Failure<'a> {
    message: String,
    /// The root field that failed. `None` if the whole document failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<[&'a str; 1]>,
    extensions: Extensions<'a>,
}

#[derive(Serialize)]
struct Extensions<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl<'a> Failure<'a> {
    pub fn of_field(key: &'a str, error: &Error) -> Failure<'a> {
        Failure { path: Some([key]), ..Failure::of_document(error) }
    }

    pub fn of_document(error: &Error) -> Failure<'a> {
        // truss recognizes a missing environment only by this code.
        let code =
            if matches!(error, Error::NotFound("environment")) { "RESOURCE_NOT_FOUND" } else { error.status().1 };
        let (details, retry_after) = (wire::details(error), error.retry_after_seconds());
        let extensions = Extensions { code, details, retry_after, request_id: None };
        Failure { message: error.to_string(), path: None, extensions }
    }

    /// Adds the id of the request to an internal error. The log has the cause under this id.
    pub fn of_request(mut self, error: &Error, request_id: &'a str) -> Failure<'a> {
        self.extensions.request_id = matches!(error, Error::Internal(_)).then_some(request_id);
        self
    }
}

/// The values of root fields, by the names that the document uses. `None` is a field that failed. Without data, nothing
/// was executed.
pub type Data<'a> = [(&'a str, Option<Given>)];

/// `{"data":{…},"errors":[…]}`
pub fn answer(data: Option<&Data>, failures: &[Failure]) -> Vec<u8> {
    let mut out = b"{\"data\":".to_vec();
    match data {
        Some(data) => write_data(data, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    if !failures.is_empty() {
        out.extend_from_slice(b",\"errors\":");
        serde_json::to_writer(&mut out, failures).expect("shapes of ours always serialize");
    }
    out.push(b'}');
    out
}

fn write_data(data: &Data, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (key, given)) in data.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key).expect("text always serializes");
        out.push(b':');
        out.extend_from_slice(given.as_ref().map_or(b"null", Given::as_json));
    }
    out.push(b'}');
}
