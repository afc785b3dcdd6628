//! Models on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::Time;
use crate::domain::models;

/// A model. Baseten's `ModelV1`.
#[derive(JsonSchema, Serialize)]
pub struct Model<'a> {
    id: &'a str,
    created_at: Time,
    name: &'a str,
    deployments_count: u32,
    production_deployment_id: Option<&'a str>,
    development_deployment_id: Option<&'a str>,
    instance_type_name: &'a str,
    team_name: &'a str,
}

/// The models that the caller sees. Baseten's `ModelsV1`.
#[derive(JsonSchema, Serialize)]
pub struct Models<'a> {
    pub models: Vec<Model<'a>>,
}

impl<'a> From<&'a models::Model> for Model<'a> {
    fn from(model: &'a models::Model) -> Model<'a> {
        Model {
            id: &model.id,
            created_at: model.created_at,
            name: &model.name,
            deployments_count: model.deployments_count,
            production_deployment_id: model.production_deployment_id.as_deref(),
            development_deployment_id: model.development_deployment_id.as_deref(),
            instance_type_name: &model.instance_type,
            team_name: &model.team_name,
        }
    }
}

/// Changes the given fields of a model. Guildhall's own `UpdateModelRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpdateModelRequest")]
pub struct UpdateModel {
    pub name: Option<String>,
}
