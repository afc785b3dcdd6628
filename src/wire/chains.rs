//! Chains on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::Time;
use crate::domain::chains;

pub mod deployments;
pub mod environments;

/// A Chain. Baseten's `ChainV1`.
#[derive(JsonSchema, Serialize)]
pub struct Chain<'a> {
    id: &'a str,
    created_at: Time,
    name: &'a str,
    deployments_count: u32,
    team_name: &'a str,
}

/// The Chains that the caller sees. Baseten's `ChainsV1`.
#[derive(JsonSchema, Serialize)]
pub struct Chains<'a> {
    pub chains: Vec<Chain<'a>>,
}

impl<'a> From<&'a chains::Chain> for Chain<'a> {
    fn from(chain: &'a chains::Chain) -> Chain<'a> {
        Chain {
            id: &chain.id,
            created_at: chain.created_at,
            name: &chain.name,
            deployments_count: chain.deployments_count,
            team_name: &chain.team_name,
        }
    }
}
