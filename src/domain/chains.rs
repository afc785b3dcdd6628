//! Chains, their deployments and their environments.

use crate::domain::Time;
use crate::domain::deployments::Deployment;
use crate::domain::instance_types::SMALLEST;
use crate::domain::models::Model;
use crate::domain::serving::{Autoscaling, PRODUCTION, PromotionSettings, Status};

/// A Chain that exists. Its deployments are what runs.
#[derive(Clone, Debug)]
pub struct Chain {
    pub id: String,
    pub name: String,
    pub created_at: Time,
    pub team_name: String,
    pub deployments_count: u32,
}

/// A deployment of a Chain: one deployment of each chainlet. They are made, deactivated and deleted together.
#[derive(Clone, Debug)]
pub struct ChainDeployment {
    pub id: String,
    pub chain_id: String,
    pub name: String,
    /// The sequence number among the published deployments of a Chain. 0 is the development deployment.
    pub number: i64,
    /// The environment that this deployment serves.
    pub environment: Option<String>,
    /// The environment that this deployment takes over once all its chainlets are active.
    pub candidate_for: Option<String>,
    pub created_at: Time,
    /// The chainlets, the entrypoint first.
    pub chainlets: Vec<Chainlet>,
}

/// A chainlet of a Chain's deployment, with its own deployment.
#[derive(Clone, Debug)]
pub struct Chainlet {
    pub id: String,
    pub name: String,
    pub model: Model,
    pub deployment: Deployment,
}

impl ChainDeployment {
    /// The combined status of the chainlets.
    pub fn status(&self) -> Status {
        Status::of_parts(self.chainlets.iter().map(|chainlet| chainlet.deployment.status))
    }

    pub fn is_development(&self) -> bool {
        self.number == 0
    }

    pub fn is_production(&self) -> bool {
        self.environment.as_deref() == Some(PRODUCTION)
    }

    /// The environments that this deployment serves or is about to serve.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        [&self.environment, &self.candidate_for].into_iter().flatten().map(String::as_str)
    }

    pub fn entrypoint(&self) -> &Chainlet {
        self.chainlets.first().expect("a deployment of a Chain is made with its entrypoint")
    }

    pub fn chainlet(&self, name: &str) -> Option<&Chainlet> {
        self.chainlets.iter().find(|chainlet| chainlet.name == name)
    }
}

#[derive(Clone, Debug)]
pub struct ChainEnvironment {
    pub name: String,
    pub created_at: Time,
    pub promotion: PromotionSettings,
    /// The deployment that serves the environment.
    pub current: Option<ChainDeployment>,
    /// The deployment that takes over the environment once its chainlets are active.
    pub candidate: Option<ChainDeployment>,
    /// The settings of the environment for chainlets, by the names of chainlets.
    pub set: Vec<ChainletChange>,
}

/// A change of a chainlet's settings. `None` leaves a setting unchanged.
#[derive(Clone, Debug)]
pub struct ChainletChange {
    pub chainlet_name: String,
    pub autoscaling: Option<Autoscaling>,
    pub instance_type: Option<String>,
}

/// The settings of a chainlet in an environment. They come from the environment or from the deployment.
#[derive(Debug)]
pub struct ChainletSettings {
    pub chainlet_name: String,
    pub autoscaling: Autoscaling,
    pub instance_type: String,
}

impl ChainEnvironment {
    /// The settings of the chainlets of the current deployment, and of other chainlets that the environment has
    /// settings for.
    pub fn chainlets(&self) -> Vec<ChainletSettings> {
        let there = self.occupant().map(|deployment| deployment.chainlets.as_slice()).unwrap_or_default();
        let of = |name: &str| self.set.iter().find(|set| set.chainlet_name == name);
        let of_there = there.iter().map(|chainlet| ChainletSettings {
            chainlet_name: chainlet.name.clone(),
            autoscaling: of(&chainlet.name)
                .and_then(|set| set.autoscaling.clone())
                .unwrap_or_else(|| chainlet.deployment.settings.autoscaling.clone()),
            instance_type: self.instance_type_of(chainlet).to_owned(),
        });
        let of_others = self.set.iter().filter(|set| there.iter().all(|chainlet| chainlet.name != set.chainlet_name));
        let of_others = of_others.map(|set| ChainletSettings {
            chainlet_name: set.chainlet_name.clone(),
            autoscaling: set.autoscaling.clone().unwrap_or_default(),
            instance_type: set.instance_type.clone().unwrap_or_else(|| SMALLEST.to_owned()),
        });
        of_there.chain(of_others).collect()
    }

    /// The instance type of a chainlet in this environment.
    pub fn instance_type_of<'a>(&'a self, chainlet: &'a Chainlet) -> &'a str {
        self.instance_type_set(&chainlet.name).unwrap_or(&chainlet.deployment.instance_type)
    }

    /// The instance type that the environment sets for the chainlet with this name, whether or not it is deployed.
    pub fn instance_type_set(&self, chainlet_name: &str) -> Option<&str> {
        self.set.iter().find(|set| set.chainlet_name == chainlet_name)?.instance_type.as_deref()
    }

    /// Whether all chainlets of a deployment have the instance types that this environment needs.
    pub fn fits(&self, deployment: &ChainDeployment) -> bool {
        let fits = |chainlet: &Chainlet| self.instance_type_of(chainlet) == chainlet.deployment.instance_type;
        deployment.chainlets.iter().all(fits)
    }

    /// The deployment that serves the environment, or else the candidate.
    pub fn occupant(&self) -> Option<&ChainDeployment> {
        self.current.as_ref().or(self.candidate.as_ref())
    }
}
