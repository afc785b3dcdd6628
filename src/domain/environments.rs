//! Environments of models, and their settings.

use crate::domain::Time;
use crate::domain::deployments::Deployment;
use crate::domain::serving::{Autoscaling, Backpressure, PromotionSettings, Settings};

#[derive(Clone, Debug)]
pub struct Environment {
    pub name: String,
    pub created_at: Time,
    pub settings: Settings,
    pub promotion: PromotionSettings,
    pub instance_type: String,
    /// The deployment that serves the environment.
    pub current: Option<Deployment>,
    /// The deployment that takes over the environment once it is active.
    pub candidate: Option<Deployment>,
}

/// A change of an environment's settings. `None` leaves a setting unchanged.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub autoscaling: Option<Autoscaling>,
    pub backpressure: Option<Backpressure>,
    pub promotion: Option<PromotionSettings>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.autoscaling.is_none() && self.backpressure.is_none() && self.promotion.is_none()
    }
}
