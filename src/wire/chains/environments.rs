//! Environments of Chains on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Time;
use crate::domain::chains::{self, ChainletSettings};
use crate::domain::instance_types::SMALLEST;
use crate::domain::serving::Settings;
use crate::wire::chains::deployments::ChainDeployment;
use crate::wire::environments::{InProgressPromotion, PromotionSettings, UpdatePromotionSettings};
use crate::wire::instance_types::InstanceType;
use crate::wire::settings::{AutoscalingSettings, BackpressureSettings, UpdateAutoscaling};

/// An environment of a Chain. Baseten's `ChainEnvironmentV1`.
#[derive(JsonSchema, Serialize)]
pub struct ChainEnvironment<'a> {
    name: &'a str,
    created_at: Time,
    chain_id: &'a str,
    promotion_settings: PromotionSettings,
    chainlet_settings: Vec<ChainletEnvironmentSettings<'a>>,
    current_deployment: Option<ChainDeployment<'a>>,
    candidate_deployment: Option<ChainDeployment<'a>>,
    in_progress_promotion: Option<InProgressPromotion>,
}

impl<'a> ChainEnvironment<'a> {
    pub fn new(
        environment: &'a chains::ChainEnvironment,
        chain_id: &'a str,
        settings: &'a [ChainletSettings],
    ) -> ChainEnvironment<'a> {
        ChainEnvironment {
            name: &environment.name,
            created_at: environment.created_at,
            chain_id,
            promotion_settings: PromotionSettings::from(&environment.promotion),
            chainlet_settings: settings.iter().map(ChainletEnvironmentSettings::from).collect(),
            current_deployment: environment.current.as_ref().map(ChainDeployment::from),
            candidate_deployment: environment.candidate.as_ref().map(ChainDeployment::from),
            in_progress_promotion: environment.candidate.as_ref().map(|_| InProgressPromotion::RELEASING),
        }
    }
}

/// The settings of a chainlet in an environment. Baseten's `ChainletEnvironmentSettingsV1`.
#[derive(JsonSchema, Serialize)]
pub struct ChainletEnvironmentSettings<'a> {
    chainlet_name: &'a str,
    autoscaling_settings: AutoscalingSettings,
    instance_type: InstanceType<'a>,
}

impl<'a> From<&'a ChainletSettings> for ChainletEnvironmentSettings<'a> {
    fn from(settings: &'a ChainletSettings) -> ChainletEnvironmentSettings<'a> {
        ChainletEnvironmentSettings {
            chainlet_name: &settings.chainlet_name,
            autoscaling_settings: AutoscalingSettings::from(&settings.autoscaling),
            instance_type: InstanceType::named(&settings.instance_type),
        }
    }
}

/// An environment of a Chain in the list of all environments. The specification uses the shape of a model's environment
/// there, so this shape has the fields of both. The fields of a model are those of the entrypoint. Baseten's
/// `EnvironmentV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ListedChainEnvironment")]
pub struct ListedEnvironment<'a> {
    name: &'a str,
    created_at: Time,
    chain_id: &'a str,
    /// The Chain's id if nothing was deployed.
    model_id: &'a str,
    promotion_settings: PromotionSettings,
    chainlet_settings: Vec<ChainletEnvironmentSettings<'a>>,
    autoscaling_settings: AutoscalingSettings,
    instance_type: InstanceType<'a>,
    request_backpressure_settings: BackpressureSettings,
    current_deployment: Option<ListedDeployment<'a>>,
    candidate_deployment: Option<ListedDeployment<'a>>,
    in_progress_promotion: Option<InProgressPromotion>,
}

/// The environments of a Chain. Baseten's `EnvironmentsV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ListedChainEnvironments")]
pub struct Environments<'a> {
    pub environments: Vec<ListedEnvironment<'a>>,
}

impl<'a> ListedEnvironment<'a> {
    pub fn new(
        environment: &'a chains::ChainEnvironment,
        chain_id: &'a str,
        settings: &'a [ChainletSettings],
        otherwise: &'a Settings,
    ) -> ListedEnvironment<'a> {
        let entrypoint = environment.occupant().map(chains::ChainDeployment::entrypoint);
        let first = settings.first();
        ListedEnvironment {
            name: &environment.name,
            created_at: environment.created_at,
            chain_id,
            model_id: entrypoint.map_or(chain_id, |entrypoint| &entrypoint.model.id),
            promotion_settings: PromotionSettings::from(&environment.promotion),
            chainlet_settings: settings.iter().map(ChainletEnvironmentSettings::from).collect(),
            autoscaling_settings: AutoscalingSettings::from(
                first.map_or(&otherwise.autoscaling, |first| &first.autoscaling),
            ),
            instance_type: InstanceType::named(first.map_or(SMALLEST, |first| &first.instance_type)),
            request_backpressure_settings: BackpressureSettings {
                policy: entrypoint.map_or(otherwise.backpressure, |it| it.deployment.settings.backpressure),
            },
            current_deployment: environment.current.as_ref().map(ListedDeployment::from),
            candidate_deployment: environment.candidate.as_ref().map(ListedDeployment::from),
            in_progress_promotion: environment.candidate.as_ref().map(|_| InProgressPromotion::RELEASING),
        }
    }
}

/// A deployment of a Chain in the list of environments. The fields of a model's deployment are those of the entrypoint.
/// Baseten's `DeploymentV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ListedChainDeployment")]
struct ListedDeployment<'a> {
    #[serde(flatten)]
    deployment: ChainDeployment<'a>,
    name: &'a str,
    model_id: &'a str,
    is_production: bool,
    is_development: bool,
    active_replica_count: i64,
    autoscaling_settings: AutoscalingSettings,
    instance_type_name: &'a str,
    request_backpressure_settings: BackpressureSettings,
}

impl<'a> From<&'a chains::ChainDeployment> for ListedDeployment<'a> {
    fn from(deployment: &'a chains::ChainDeployment) -> ListedDeployment<'a> {
        let entrypoint = deployment.entrypoint();
        ListedDeployment {
            deployment: ChainDeployment::from(deployment),
            name: &deployment.name,
            model_id: &entrypoint.model.id,
            is_production: deployment.is_production(),
            is_development: deployment.is_development(),
            active_replica_count: entrypoint.deployment.active_replicas(),
            autoscaling_settings: AutoscalingSettings::from(&entrypoint.deployment.settings.autoscaling),
            instance_type_name: &entrypoint.deployment.instance_type,
            request_backpressure_settings: BackpressureSettings { policy: entrypoint.deployment.settings.backpressure },
        }
    }
}

/// Confirms that an environment of a Chain was changed. Baseten's `UpdateChainEnvironmentResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ChainEnvironmentUpdated")]
pub struct Updated {
    pub ok: bool,
}

/// The result of a change of instance types. Baseten's `UpdateChainletEnvironmentInstanceTypeResponseV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ChainletInstanceTypesUpdated")]
pub struct InstanceTypesUpdated<'a> {
    pub requires_redeployment: bool,
    pub chain_deployment: Option<ChainDeployment<'a>>,
    pub chainlet_environment_settings: Vec<ChainletEnvironmentSettings<'a>>,
}

// ---- bodies ----

/// Creates an environment of a Chain. Baseten's `CreateChainEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreateChainEnvironmentRequest")]
pub struct CreateChainEnvironment {
    pub name: String,
    pub promotion_settings: Option<UpdatePromotionSettings>,
    pub chainlet_settings: Option<Vec<NewChainletSettings>>,
}

/// The settings of a chainlet in a new environment. Baseten's `ChainletEnvironmentSettingsRequestV1`.
#[derive(Deserialize, JsonSchema)]
pub struct NewChainletSettings {
    pub chainlet_name: String,
    pub autoscaling_settings: Option<UpdateAutoscaling>,
    pub instance_type_id: Option<String>,
}

/// Changes the settings of an environment of a Chain. Baseten's `UpdateChainEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UpdateChainEnvironmentRequest")]
pub struct UpdateChainEnvironment {
    pub promotion_settings: Option<UpdatePromotionSettings>,
}

/// Sets how some chainlets scale. Baseten's `UpdateChainletEnvironmentAutoscalingSettingsRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UpdateChainletAutoscalingRequest")]
pub struct UpdateChainletAutoscaling {
    pub updates: Vec<AutoscalingUpdate>,
}

/// Sets the instance types of some chainlets. Baseten's `UpdateChainletEnvironmentInstanceTypeRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UpdateChainletInstanceTypesRequest")]
pub struct UpdateChainletInstanceTypes {
    pub updates: Vec<InstanceTypeUpdate>,
}

/// How one chainlet is to scale. Baseten's `ChainletEnvironmentAutoscalingSettingsUpdateV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChainletAutoscalingUpdate")]
pub struct AutoscalingUpdate {
    pub chainlet_name: String,
    pub autoscaling_settings: UpdateAutoscaling,
}

/// The instance type of one chainlet. Baseten's `ChainletEnvironmentInstanceTypeUpdateV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChainletInstanceTypeUpdate")]
pub struct InstanceTypeUpdate {
    pub chainlet_name: String,
    pub instance_type_id: String,
}

/// Promotes a deployment of a Chain to the environment of the path. Baseten's `PromoteToChainEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PromoteToChainEnvironmentRequest")]
pub struct PromoteChain {
    pub deployment_id: String,
    pub scale_down_previous_deployment: Option<bool>,
}
