//! The states of a deployment, and the settings of deployments and environments.
//!
//! Defaults and bounds are those of Baseten's documentation, where it states one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::named::named;
use crate::error::Error;

/// The environment that every model and every Chain has.
pub const PRODUCTION: &str = "production";
pub const DEPLOYMENT_NAME_CHARS_MAX: usize = 255;
const RAMP_UP_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;
pub const REPLICAS_MAX: i64 = 1000;
pub const DEPLOY_TIMEOUT_MINUTES: std::ops::RangeInclusive<i64> = 10..=1440;

named! {
    /// The fourteen states of a deployment.
    Status {
        Building: BUILDING,
        Deploying: DEPLOYING,
        DeployFailed: DEPLOY_FAILED,
        LoadingModel: LOADING_MODEL,
        Active: ACTIVE,
        Unhealthy: UNHEALTHY,
        BuildFailed: BUILD_FAILED,
        BuildStopped: BUILD_STOPPED,
        Deactivating: DEACTIVATING,
        Inactive: INACTIVE,
        Failed: FAILED,
        Updating: UPDATING,
        ScaledToZero: SCALED_TO_ZERO,
        WakingUp: WAKING_UP,
    }
}

/// What a status means for a change of the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The deployment is becoming active.
    Starting,
    Serving,
    /// The deployment has no replicas, and serves again when it is called.
    Asleep,
    /// The deployment is deactivated or is being deactivated.
    Off,
    Failed,
}

impl Status {
    pub const fn phase(self) -> Phase {
        match self {
            Status::Building | Status::Deploying | Status::LoadingModel | Status::WakingUp => Phase::Starting,
            Status::Active | Status::Unhealthy | Status::Updating => Phase::Serving,
            Status::ScaledToZero => Phase::Asleep,
            Status::Deactivating | Status::Inactive => Phase::Off,
            Status::DeployFailed | Status::BuildFailed | Status::BuildStopped | Status::Failed => Phase::Failed,
        }
    }
}

impl Status {
    /// The combined status of several parts: that of the part with the worst status, or the one that is furthest
    /// behind. It is asleep only if all parts are asleep.
    pub fn of_parts(parts: impl IntoIterator<Item = Status>) -> Status {
        const WORST_FIRST: [Status; 14] = [
            Status::Failed,
            Status::BuildFailed,
            Status::BuildStopped,
            Status::DeployFailed,
            Status::Deactivating,
            Status::Inactive,
            Status::Building,
            Status::Deploying,
            Status::LoadingModel,
            Status::WakingUp,
            Status::Unhealthy,
            Status::Updating,
            Status::Active,
            Status::ScaledToZero,
        ];
        let rank = |status: &Status| WORST_FIRST.iter().position(|other| other == status);
        parts.into_iter().min_by_key(rank).unwrap_or(Status::Inactive)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

named! {
    /// What happens to requests that find every replica busy.
    Backpressure { Queue: QUEUE_ON_FULL, Reject: REJECT_ON_FULL }
}

named! {
    /// What happens to a deployment that another deployment has replaced.
    Cleanup { Keep: KEEP, ScaleToZero: SCALE_TO_ZERO, Deactivate: DEACTIVATE }
}

impl Cleanup {
    /// The status of a deployment after the cleanup. `status` is its status before.
    pub const fn of(self, status: Status) -> Status {
        match (self, status.phase()) {
            (Cleanup::ScaleToZero, Phase::Serving | Phase::Starting) => Status::ScaledToZero,
            (Cleanup::Deactivate, Phase::Serving | Phase::Starting | Phase::Asleep) => Status::Deactivating,
            (Cleanup::Keep, _)
            | (Cleanup::ScaleToZero, Phase::Asleep | Phase::Off | Phase::Failed)
            | (Cleanup::Deactivate, Phase::Off | Phase::Failed) => status,
        }
    }
}

named! {
    /// How a rolling deployment counts. Replicas are the only unit.
    RollingStrategy { Replica: REPLICA }
}

named! {
    Level { Debug: DEBUG, Info: INFO, Warning: WARNING, Error: ERROR }
}

impl Level {
    /// This level and the levels above it.
    pub fn and_above(self) -> &'static [Level] {
        &Level::ALL[self as usize..]
    }
}

/// How a deployment scales. Windows and delays are in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaling {
    pub min_replica: i64,
    pub max_replica: i64,
    pub autoscaling_window: i64,
    pub scale_down_delay: i64,
    pub concurrency_target: i64,
    pub target_utilization_percentage: i64,
    pub target_in_flight_tokens: Option<i64>,
    pub max_scale_down_rate: Option<i64>,
}

impl Default for Autoscaling {
    fn default() -> Autoscaling {
        Autoscaling {
            min_replica: 0,
            max_replica: 1,
            autoscaling_window: 60,
            scale_down_delay: 900,
            concurrency_target: 1,
            target_utilization_percentage: 70,
            target_in_flight_tokens: None,
            max_scale_down_rate: None,
        }
    }
}

impl Autoscaling {
    /// The number of replicas that run while the deployment serves and receives no calls.
    pub fn replicas_at_rest(&self) -> i64 {
        self.min_replica.max(1)
    }

    /// Checks every setting against its bounds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range, or `min_replica` if it is above `max_replica`.
    pub fn check(self) -> Result<Autoscaling, Error> {
        within("autoscaling_settings.min_replica", self.min_replica, 0, REPLICAS_MAX)?;
        within("autoscaling_settings.max_replica", self.max_replica, 1, REPLICAS_MAX)?;
        within("autoscaling_settings.autoscaling_window", self.autoscaling_window, 10, 3600)?;
        within("autoscaling_settings.scale_down_delay", self.scale_down_delay, 0, 3600)?;
        within("autoscaling_settings.concurrency_target", self.concurrency_target, 1, 1_000_000)?;
        within("autoscaling_settings.target_utilization_percentage", self.target_utilization_percentage, 1, 100)?;
        let tokens = self.target_in_flight_tokens.unwrap_or(1);
        within("autoscaling_settings.target_in_flight_tokens", tokens, 1, 1_000_000_000)?;
        within("autoscaling_settings.max_scale_down_rate", self.max_scale_down_rate.unwrap_or(1), 1, 50)?;
        if self.min_replica > self.max_replica {
            let why = format!("must be at most `max_replica`, which is {}", self.max_replica);
            return Err(Error::field("autoscaling_settings.min_replica", &why));
        }
        Ok(self)
    }
}

/// How a deployment takes over an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionSettings {
    pub redeploy_on_promotion: bool,
    pub rolling_deploy: bool,
    pub promotion_cleanup_strategy: Cleanup,
    pub rolling_deploy_config: RollingDeploy,
    /// A setting of an older kind of promotion. It is stored and shown, so that clients that set it read the same
    /// value.
    #[serde(default = "ramp_up_duration_seconds")]
    pub ramp_up_duration_seconds: i64,
}

const fn ramp_up_duration_seconds() -> i64 {
    600
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollingDeploy {
    pub rolling_deploy_strategy: RollingStrategy,
    pub max_surge_percent: i64,
    pub max_unavailable_percent: i64,
    pub stabilization_time_seconds: i64,
    pub replica_overhead_percent: i64,
}

impl Default for PromotionSettings {
    fn default() -> PromotionSettings {
        PromotionSettings {
            redeploy_on_promotion: false,
            rolling_deploy: false,
            promotion_cleanup_strategy: Cleanup::ScaleToZero,
            rolling_deploy_config: RollingDeploy {
                rolling_deploy_strategy: RollingStrategy::Replica,
                max_surge_percent: 25,
                max_unavailable_percent: 0,
                stabilization_time_seconds: 0,
                replica_overhead_percent: 0,
            },
            ramp_up_duration_seconds: ramp_up_duration_seconds(),
        }
    }
}

impl PromotionSettings {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names a setting that is out of range.
    pub fn check(self) -> Result<PromotionSettings, Error> {
        let rolling = &self.rolling_deploy_config;
        let field = |name: &str| format!("promotion_settings.rolling_deploy_config.{name}");
        within(&field("max_surge_percent"), rolling.max_surge_percent, 0, 50)?;
        within(&field("max_unavailable_percent"), rolling.max_unavailable_percent, 0, 50)?;
        within(&field("stabilization_time_seconds"), rolling.stabilization_time_seconds, 0, 3600)?;
        within(&field("replica_overhead_percent"), rolling.replica_overhead_percent, 0, 500)?;
        let (ramp_up, max) = (self.ramp_up_duration_seconds, RAMP_UP_SECONDS_MAX);
        within("promotion_settings.ramp_up_duration_seconds", ramp_up, 0, max)?;
        Ok(self)
    }
}

fn within(field: &str, value: i64, min: i64, max: i64) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::field(field, &format!("must be a number from {min} to {max}")))
}

/// The settings of an environment or a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub autoscaling: Autoscaling,
    pub backpressure: Backpressure,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { autoscaling: Autoscaling::default(), backpressure: Backpressure::Queue }
    }
}

/// The name of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentName(String);

impl DeploymentName {
    pub fn parse(field: &str, text: &str) -> Result<DeploymentName, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > DEPLOYMENT_NAME_CHARS_MAX || !text.chars().all(allowed) {
            let why = format!("must be 1 to {DEPLOYMENT_NAME_CHARS_MAX} letters, digits, `_`, `-` or `.`");
            return Err(Error::field(field, &why));
        }
        Ok(DeploymentName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks how long a deployment may take to become active, in minutes.
///
/// # Errors
///
/// [`Error::Invalid`] if the number is out of range.
pub fn check_deploy_timeout(minutes: i64) -> Result<i64, Error> {
    let (min, max) = (*DEPLOY_TIMEOUT_MINUTES.start(), *DEPLOY_TIMEOUT_MINUTES.end());
    within("deploy_timeout_minutes", minutes, min, max).map(|()| minutes)
}
