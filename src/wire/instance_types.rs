//! Instance types on the wire.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::instance_types;

/// The machine that a replica runs on. Baseten's `InstanceTypeV1`.
#[derive(JsonSchema, Serialize)]
pub struct InstanceType<'a> {
    id: &'a str,
    name: &'a str,
    memory_limit_mib: u32,
    millicpu_limit: u32,
    gpu_count: u32,
    gpu_type: Option<&'static str>,
    /// The memory of one GPU.
    gpu_memory_limit_mib: Option<u32>,
}

impl<'a> InstanceType<'a> {
    /// Shows only the name of an instance type that is not in the catalog. Fixtures can contain such a type.
    pub fn named(id: &'a str) -> InstanceType<'a> {
        let unknown = InstanceType {
            id,
            name: id,
            memory_limit_mib: 0,
            millicpu_limit: 0,
            gpu_count: 0,
            gpu_type: None,
            gpu_memory_limit_mib: None,
        };
        instance_types::InstanceType::find(id).map_or(unknown, InstanceType::from)
    }
}

impl From<&'static instance_types::InstanceType> for InstanceType<'_> {
    fn from(instance: &'static instance_types::InstanceType) -> Self {
        InstanceType {
            id: instance.id,
            name: instance.id,
            memory_limit_mib: instance.memory_mib,
            millicpu_limit: instance.millicpus,
            gpu_count: instance.gpus.as_ref().map_or(0, |gpus| gpus.count),
            gpu_type: instance.gpus.as_ref().map(|gpus| gpus.kind),
            gpu_memory_limit_mib: instance.gpus.as_ref().map(|gpus| gpus.memory_mib),
        }
    }
}

/// An instance type with its price in US dollars per minute. Baseten's `InstanceTypeWithPriceV1`.
#[derive(JsonSchema, Serialize)]
pub struct InstanceTypeWithPrice {
    instance_type: InstanceType<'static>,
    /// US dollars per minute.
    price: f64,
}

impl From<&'static instance_types::InstanceType> for InstanceTypeWithPrice {
    fn from(instance: &'static instance_types::InstanceType) -> InstanceTypeWithPrice {
        InstanceTypeWithPrice { instance_type: InstanceType::from(instance), price: instance.dollars_a_minute }
    }
}

/// The available instance types. Baseten's `InstanceTypesV1`.
#[derive(JsonSchema, Serialize)]
pub struct InstanceTypes {
    pub instance_types: Vec<InstanceType<'static>>,
}

/// The available instance types, with their prices. Baseten's `InstanceTypePricesV1`.
#[derive(JsonSchema, Serialize)]
pub struct InstanceTypePrices {
    pub instance_types: Vec<InstanceTypeWithPrice>,
}
