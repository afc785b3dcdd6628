//! Instance types on the wire.

use serde::Serialize;

#[derive(Serialize)]
pub struct InstanceType {
    pub id: &'static str,
    pub name: &'static str,
    pub memory_limit_mib: u32,
    pub millicpu_limit: u32,
    pub gpu_count: u32,
    pub gpu_type: Option<&'static str>,
    /// Of one GPU.
    pub gpu_memory_limit_mib: Option<u32>,
}

#[derive(Serialize)]
pub struct InstanceTypeWithPrice {
    pub instance_type: InstanceType,
    /// US dollars a minute.
    pub price: f64,
}

#[derive(Serialize)]
pub struct InstanceTypes {
    pub instance_types: Vec<&'static InstanceType>,
}

#[derive(Serialize)]
pub struct InstanceTypePrices {
    pub instance_types: &'static [InstanceTypeWithPrice],
}
