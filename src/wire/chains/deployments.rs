//! Deployments of Chains on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Time;
use crate::domain::chains;
use crate::domain::serving::Status;
use crate::wire::settings::AutoscalingSettings;

/// A deployment of a Chain. Baseten's `ChainDeploymentV1`.
#[derive(JsonSchema, Serialize)]
pub struct ChainDeployment<'a> {
    id: &'a str,
    created_at: Time,
    chain_id: &'a str,
    environment: Option<&'a str>,
    chainlets: Vec<Chainlet<'a>>,
    status: Status,
}

/// The deployments of a Chain. Baseten's `ChainDeploymentsV1`.
#[derive(JsonSchema, Serialize)]
pub struct ChainDeployments<'a> {
    pub deployments: Vec<ChainDeployment<'a>>,
}

impl<'a> From<&'a chains::ChainDeployment> for ChainDeployment<'a> {
    fn from(deployment: &'a chains::ChainDeployment) -> ChainDeployment<'a> {
        ChainDeployment {
            id: &deployment.id,
            created_at: deployment.created_at,
            chain_id: &deployment.chain_id,
            environment: deployment.environment.as_deref(),
            chainlets: deployment.chainlets.iter().map(Chainlet::from).collect(),
            status: deployment.status(),
        }
    }
}

/// A chainlet of a deployment of a Chain. Baseten's `ChainletV1`.
#[derive(JsonSchema, Serialize)]
struct Chainlet<'a> {
    id: &'a str,
    name: &'a str,
    autoscaling_settings: AutoscalingSettings,
    instance_type_name: &'a str,
    active_replica_count: i64,
    status: Status,
}

impl<'a> From<&'a chains::Chainlet> for Chainlet<'a> {
    fn from(chainlet: &'a chains::Chainlet) -> Chainlet<'a> {
        Chainlet {
            id: &chainlet.id,
            name: &chainlet.name,
            autoscaling_settings: AutoscalingSettings::from(&chainlet.deployment.settings.autoscaling),
            instance_type_name: &chainlet.deployment.instance_type,
            active_replica_count: chainlet.deployment.active_replicas(),
            status: chainlet.deployment.status,
        }
    }
}

/// A deployment of a Chain that was deleted. Baseten's `ChainDeploymentTombstoneV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ChainDeploymentTombstone")]
pub struct Tombstone<'a> {
    pub id: &'a str,
    pub deleted: bool,
    pub chain_id: &'a str,
}
