//! Deployments of models.

use serde_json::Value;

use crate::domain::Time;
use crate::domain::serving::{Cleanup, PRODUCTION, Phase, Settings, Status};

/// The name of the development deployment of a model or a Chain.
pub const DEVELOPMENT: &str = "development";

#[derive(Clone, Debug)]
pub struct Deployment {
    pub id: String,
    pub model_id: String,
    pub name: String,
    /// The sequence number among the published deployments of a model. 0 is the development deployment.
    pub number: i64,
    pub status: Status,
    /// The environment that this deployment serves.
    pub environment: Option<String>,
    /// The environment that this deployment takes over once it is active.
    pub candidate_for: Option<String>,
    /// What then happens to the previous deployment.
    pub cleanup: Option<Cleanup>,
    pub labels: Option<Value>,
    pub instance_type: String,
    pub settings: Settings,
    /// The key of the upload that the deployment was made from. `None`: it was made from its configuration alone.
    pub s3_key: Option<String>,
    /// The hash of the content, as truss computes it.
    pub truss_hash: Option<String>,
    /// The text that [`Deployment::truss_hash`] is the hash of. It may be large, so it is `None` until it is loaded.
    pub truss_signature: Option<String>,
    /// How many replicas serve. `None` while models do not run here.
    pub replicas: Option<i64>,
    /// Whether the deployment was patched since it was pushed.
    pub is_patched: bool,
    pub created_at: Time,
}

impl Deployment {
    pub fn is_development(&self) -> bool {
        self.number == 0
    }

    pub fn is_production(&self) -> bool {
        self.environment.as_deref() == Some(PRODUCTION)
    }

    /// The number of replicas that run. While models do not run here, it is that which the status stands for.
    pub fn active_replicas(&self) -> i64 {
        self.replicas.unwrap_or_else(|| self.settings.active_replicas(self.status))
    }

    /// The environments that this deployment serves or is about to serve.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        [&self.environment, &self.candidate_for].into_iter().flatten().map(String::as_str)
    }
}

impl Settings {
    /// The number of replicas that run if the deployment has this status.
    pub fn active_replicas(&self, status: Status) -> i64 {
        match status.phase() {
            Phase::Serving => self.autoscaling.replicas_at_rest(),
            Phase::Starting | Phase::Asleep | Phase::Off | Phase::Failed => 0,
        }
    }
}

/// Which deployment of a model is requested.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    Id(&'a str),
    Development,
    /// The deployment that serves this environment.
    In(&'a str),
}

impl<'a> Which<'a> {
    /// The id, the number and the environment. One of them is known, the others are `None`.
    pub const fn columns(self) -> (Option<&'a str>, Option<i64>, Option<&'a str>) {
        match self {
            Which::Id(id) => (Some(id), None, None),
            Which::Development => (None, Some(0), None),
            Which::In(environment) => (None, None, Some(environment)),
        }
    }

    /// Reads the form used in paths: an id, `development`, or `production` for the deployment that serves that
    /// environment.
    pub fn of_path(text: &'a str) -> Which<'a> {
        match text {
            DEVELOPMENT => Which::Development,
            PRODUCTION => Which::In(PRODUCTION),
            id => Which::Id(id),
        }
    }
}

/// The content of an archive, in the form that `truss watch` compares.
#[derive(Clone, Debug)]
pub struct Content {
    pub hash: String,
    pub signature: String,
}
