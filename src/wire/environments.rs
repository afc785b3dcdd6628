//! Environments on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Time;
use crate::domain::environments::{self, Change};
use crate::domain::serving::{self, Cleanup, RollingStrategy, Settings};
use crate::error::Error;
use crate::wire::deployments::Deployment;
use crate::wire::instance_types::InstanceType;
use crate::wire::schemas::Object;
use crate::wire::settings::{
    AutoscalingSettings, BackpressureSettings, UpdateAutoscaling, UpdateBackpressure, refuse_unserved,
};

/// An environment of a model. Baseten's `EnvironmentV1`.
#[derive(JsonSchema, Serialize)]
pub struct Environment<'a> {
    name: &'a str,
    created_at: Time,
    model_id: &'a str,
    current_deployment: Option<Deployment<'a>>,
    candidate_deployment: Option<Deployment<'a>>,
    in_progress_promotion: Option<InProgressPromotion>,
    autoscaling_settings: AutoscalingSettings,
    promotion_settings: PromotionSettings,
    instance_type: InstanceType<'a>,
    request_backpressure_settings: BackpressureSettings,
    #[schemars(with = "Option<Object>")]
    autoscaling_schedules: Option<()>,
    #[schemars(with = "Option<Object>")]
    traffic_routing: Option<()>,
}

/// The environments of a model. Baseten's `EnvironmentsV1`.
#[derive(JsonSchema, Serialize)]
pub struct Environments<'a> {
    pub environments: Vec<Environment<'a>>,
}

impl<'a> Environment<'a> {
    pub fn new(environment: &'a environments::Environment, model_id: &'a str) -> Environment<'a> {
        Environment {
            name: &environment.name,
            created_at: environment.created_at,
            model_id,
            current_deployment: environment.current.as_ref().map(Deployment::from),
            candidate_deployment: environment.candidate.as_ref().map(Deployment::from),
            in_progress_promotion: environment.candidate.as_ref().map(|_| InProgressPromotion::RELEASING),
            autoscaling_settings: AutoscalingSettings::from(&environment.settings.autoscaling),
            promotion_settings: PromotionSettings::from(&environment.promotion),
            instance_type: InstanceType::named(&environment.instance_type),
            request_backpressure_settings: BackpressureSettings { policy: environment.settings.backpressure },
            autoscaling_schedules: None,
            traffic_routing: None,
        }
    }
}

/// A promotion that waits until its deployment is active. It then receives all traffic at once. Baseten's
/// `InProgressPromotionV1`.
#[derive(JsonSchema, Serialize)]
pub struct InProgressPromotion {
    status: &'static str,
    percent_traffic_to_new_version: u8,
    error_message: Option<&'static str>,
    rolling_deploy: bool,
}

impl InProgressPromotion {
    pub const RELEASING: InProgressPromotion = InProgressPromotion {
        status: "RELEASING",
        percent_traffic_to_new_version: 0,
        error_message: None,
        rolling_deploy: false,
    };
}

/// How a deployment takes over an environment. Baseten's `PromotionSettingsV1`.
#[derive(JsonSchema, Serialize)]
pub struct PromotionSettings {
    redeploy_on_promotion: bool,
    rolling_deploy: bool,
    promotion_cleanup_strategy: Cleanup,
    rolling_deploy_config: RollingDeployConfig,
    ramp_up_while_promoting: bool,
    ramp_up_duration_seconds: i64,
}

impl From<&serving::PromotionSettings> for PromotionSettings {
    fn from(settings: &serving::PromotionSettings) -> PromotionSettings {
        PromotionSettings {
            redeploy_on_promotion: settings.redeploy_on_promotion,
            rolling_deploy: settings.rolling_deploy,
            promotion_cleanup_strategy: settings.promotion_cleanup_strategy,
            rolling_deploy_config: RollingDeployConfig::from(&settings.rolling_deploy_config),
            ramp_up_while_promoting: false, // an older way to promote
            ramp_up_duration_seconds: settings.ramp_up_duration_seconds,
        }
    }
}

/// How a rolling promotion replaces replicas. Baseten's `RollingDeployConfigV1`.
#[derive(JsonSchema, Serialize)]
struct RollingDeployConfig {
    rolling_deploy_strategy: RollingStrategy,
    max_surge_percent: i64,
    max_unavailable_percent: i64,
    stabilization_time_seconds: i64,
    replica_overhead_percent: i64,
}

impl From<&serving::RollingDeploy> for RollingDeployConfig {
    fn from(config: &serving::RollingDeploy) -> RollingDeployConfig {
        RollingDeployConfig {
            rolling_deploy_strategy: config.rolling_deploy_strategy,
            max_surge_percent: config.max_surge_percent,
            max_unavailable_percent: config.max_unavailable_percent,
            stabilization_time_seconds: config.stabilization_time_seconds,
            replica_overhead_percent: config.replica_overhead_percent,
        }
    }
}

/// The result of a change of settings. Baseten's `UpdateAutoscalingSettingsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct SettingsUpdated {
    status: &'static str,
    message: &'static str,
}

impl SettingsUpdated {
    pub const ACCEPTED: SettingsUpdated = SettingsUpdated { status: "ACCEPTED", message: "the settings are in force" };
    pub const UNCHANGED: SettingsUpdated =
        SettingsUpdated { status: "UNCHANGED", message: "the settings are as they were" };
}

/// An environment after a change, and the result of the change. Baseten's `UpdateEnvironmentResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct EnvironmentUpdated<'a> {
    pub environment: Environment<'a>,
    #[serde(flatten)]
    pub outcome: SettingsUpdated,
}

/// An environment that was deleted. Baseten's `EnvironmentTombstoneV1`.
#[derive(JsonSchema, Serialize)]
pub struct EnvironmentTombstone<'a> {
    pub name: &'a str,
    pub model_id: &'a str,
    pub deleted: bool,
}

/// The result of canceling a promotion. Baseten's `CancelPromotionResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct PromotionCanceled {
    status: &'static str,
    message: &'static str,
}

impl PromotionCanceled {
    pub const CANCELED: PromotionCanceled = PromotionCanceled {
        status: "CANCELED",
        message: "the promotion is canceled; the deployment before still serves",
    };
}

/// Confirms that a promotion was asked to end. Baseten's `SignalPromotionResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct Success {
    pub success: bool,
}

// ---- bodies ----

/// Changes the given settings of how a deployment takes over an environment. Baseten's `UpdatePromotionSettingsV1`.
#[derive(Deserialize, JsonSchema)]
pub struct UpdatePromotionSettings {
    redeploy_on_promotion: Option<bool>,
    rolling_deploy: Option<bool>,
    promotion_cleanup_strategy: Option<Cleanup>,
    rolling_deploy_config: Option<UpdateRollingDeploy>,
    ramp_up_while_promoting: Option<bool>,
    ramp_up_duration_seconds: Option<i64>,
}

/// Changes the given settings of how a promotion replaces replicas. Baseten's `UpdateRollingDeployConfigV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "UpdateRollingDeployConfig")]
struct UpdateRollingDeploy {
    rolling_deploy_strategy: Option<RollingStrategy>,
    max_surge_percent: Option<i64>,
    max_unavailable_percent: Option<i64>,
    stabilization_time_seconds: Option<i64>,
    replica_overhead_percent: Option<i64>,
}

impl UpdatePromotionSettings {
    /// The settings after this change of `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range or no longer supported.
    pub fn onto(&self, before: &serving::PromotionSettings) -> Result<serving::PromotionSettings, Error> {
        if self.ramp_up_while_promoting == Some(true) {
            let why = "is no longer there: a promotion rolls, or takes over at once";
            return Err(Error::field("promotion_settings.ramp_up_while_promoting", why));
        }
        let rolling = self.rolling_deploy_config.as_ref();
        let config = &before.rolling_deploy_config;
        let or = |new: Option<i64>, before: i64| new.unwrap_or(before);
        let settings = serving::PromotionSettings {
            redeploy_on_promotion: self.redeploy_on_promotion.unwrap_or(before.redeploy_on_promotion),
            rolling_deploy: self.rolling_deploy.unwrap_or(before.rolling_deploy),
            promotion_cleanup_strategy: self.promotion_cleanup_strategy.unwrap_or(before.promotion_cleanup_strategy),
            rolling_deploy_config: serving::RollingDeploy {
                rolling_deploy_strategy: rolling
                    .and_then(|rolling| rolling.rolling_deploy_strategy)
                    .unwrap_or(config.rolling_deploy_strategy),
                max_surge_percent: or(rolling.and_then(|r| r.max_surge_percent), config.max_surge_percent),
                max_unavailable_percent: or(
                    rolling.and_then(|r| r.max_unavailable_percent),
                    config.max_unavailable_percent,
                ),
                stabilization_time_seconds: or(
                    rolling.and_then(|r| r.stabilization_time_seconds),
                    config.stabilization_time_seconds,
                ),
                replica_overhead_percent: or(
                    rolling.and_then(|r| r.replica_overhead_percent),
                    config.replica_overhead_percent,
                ),
            },
            ramp_up_duration_seconds: or(self.ramp_up_duration_seconds, before.ramp_up_duration_seconds),
        };
        settings.check()
    }
}

/// Changes the settings of an environment. Settings that are not supported are refused. Baseten's
/// `UpdateEnvironmentRequestV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateEnvironmentRequest")]
pub struct UpdateSettings {
    pub autoscaling_settings: Option<UpdateAutoscaling>,
    pub promotion_settings: Option<UpdatePromotionSettings>,
    pub request_backpressure_settings: Option<UpdateBackpressure>,
    #[schemars(skip)]
    autoscaling_schedule_settings: Option<Value>,
    #[schemars(skip)]
    traffic_routing_settings: Option<Value>,
}

impl UpdateSettings {
    /// The change of an environment whose settings are `before` and `promotion`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range or not supported.
    pub fn change(&self, before: &Settings, promotion: &serving::PromotionSettings) -> Result<Change, Error> {
        refuse_unserved("autoscaling_schedule_settings", self.autoscaling_schedule_settings.as_ref())?;
        refuse_unserved("traffic_routing_settings", self.traffic_routing_settings.as_ref())?;
        let autoscaling = self.autoscaling_settings.as_ref();
        Ok(Change {
            autoscaling: autoscaling.map(|update| update.onto(&before.autoscaling)).transpose()?,
            backpressure: self.request_backpressure_settings.as_ref().and_then(|update| update.policy),
            promotion: self.promotion_settings.as_ref().map(|update| update.onto(promotion)).transpose()?,
        })
    }
}

/// Settings of an environment that a promotion changes. Settings that are not supported are refused. Baseten's
/// `UpdateEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateEnvironmentOnPromotion")]
pub struct UpdateOnPromotion {
    autoscaling_settings: Option<UpdateAutoscaling>,
    promotion_settings: Option<UpdatePromotionSettings>,
    request_backpressure_settings: Option<UpdateBackpressure>,
    #[schemars(skip)]
    autoscaling_schedule_settings: Option<Value>,
    #[schemars(skip)]
    region: Option<Value>,
    #[schemars(skip)]
    instance_type_id: Option<Value>,
}

impl UpdateOnPromotion {
    /// The change of an environment whose settings are `before` and `promotion`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range or not supported.
    pub fn change(self, before: &Settings, promotion: &serving::PromotionSettings) -> Result<Change, Error> {
        refuse_unserved("environment_settings_update.region", self.region.as_ref())?;
        refuse_unserved("environment_settings_update.instance_type_id", self.instance_type_id.as_ref())?;
        let settings = UpdateSettings {
            autoscaling_settings: self.autoscaling_settings,
            promotion_settings: self.promotion_settings,
            request_backpressure_settings: self.request_backpressure_settings,
            autoscaling_schedule_settings: self.autoscaling_schedule_settings,
            traffic_routing_settings: None,
        };
        settings.change(before, promotion)
    }
}

/// Creates an environment of a model. Baseten's `CreateEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "CreateEnvironmentRequest")]
pub struct CreateEnvironment {
    pub name: String,
    pub autoscaling_settings: Option<UpdateAutoscaling>,
    pub promotion_settings: Option<UpdatePromotionSettings>,
    pub request_backpressure_settings: Option<UpdateBackpressure>,
    #[schemars(skip)]
    autoscaling_schedule_settings: Option<Value>,
    #[schemars(skip)]
    traffic_routing_settings: Option<Value>,
}

impl CreateEnvironment {
    /// The name of the new environment, and the change of the default settings.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range or not supported.
    pub fn change(self) -> Result<(String, Change), Error> {
        let settings = UpdateSettings {
            autoscaling_settings: self.autoscaling_settings,
            promotion_settings: self.promotion_settings,
            request_backpressure_settings: self.request_backpressure_settings,
            autoscaling_schedule_settings: self.autoscaling_schedule_settings,
            traffic_routing_settings: self.traffic_routing_settings,
        };
        let change = settings.change(&Settings::default(), &serving::PromotionSettings::default())?;
        Ok((self.name, change))
    }
}

/// Promotes a deployment to `production`. Baseten's `PromoteRequestV1`.
#[derive(Default, Deserialize, JsonSchema)]
#[schemars(rename = "PromoteRequest")]
pub struct PromoteToProduction {
    scale_down_previous_production: Option<bool>,
    /// Also accepted: the name of this field in the other promotion route.
    #[schemars(skip)]
    scale_down_previous_deployment: Option<bool>,
    preserve_env_instance_type: Option<bool>,
    #[schemars(with = "Option<UpdateSettings>")]
    environment_settings_update: Option<Value>,
    #[schemars(skip)]
    promotion_settings_override: Option<Value>,
}

/// Promotes a deployment to the environment of the path. Baseten's `PromoteToEnvironmentRequestV1`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PromoteToEnvironmentRequest")]
pub struct PromoteToEnvironment {
    pub deployment_id: String,
    scale_down_previous_deployment: Option<bool>,
    /// Also accepted: the name of this field in the other promotion route.
    #[schemars(skip)]
    scale_down_previous_production: Option<bool>,
    preserve_env_instance_type: Option<bool>,
    #[schemars(with = "Option<UpdateSettings>")]
    environment_settings_update: Option<Value>,
    #[schemars(skip)]
    promotion_settings_override: Option<Value>,
}

/// The fields that both promotion routes have.
pub struct Promote {
    pub scale_down_previous: Option<bool>,
    pub preserve_env_instance_type: Option<bool>,
    pub environment_settings_update: Option<Value>,
    pub promotion_settings_override: Option<Value>,
}

impl From<PromoteToProduction> for Promote {
    fn from(asked: PromoteToProduction) -> Promote {
        Promote {
            scale_down_previous: asked.scale_down_previous_production.or(asked.scale_down_previous_deployment),
            preserve_env_instance_type: asked.preserve_env_instance_type,
            environment_settings_update: asked.environment_settings_update,
            promotion_settings_override: asked.promotion_settings_override,
        }
    }
}

impl From<PromoteToEnvironment> for Promote {
    fn from(asked: PromoteToEnvironment) -> Promote {
        Promote {
            scale_down_previous: asked.scale_down_previous_production.or(asked.scale_down_previous_deployment),
            preserve_env_instance_type: asked.preserve_env_instance_type,
            environment_settings_update: asked.environment_settings_update,
            promotion_settings_override: asked.promotion_settings_override,
        }
    }
}
