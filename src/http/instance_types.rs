//! Instance types over HTTP: what a deployment can run on, and what a minute of it costs.

use crate::db::Tx;
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::policy::InTeam;
use crate::wire::instance_types::{InstanceType, InstanceTypePrices, InstanceTypeWithPrice, InstanceTypes};

/// CPUs first, then by the size of the GPU. An id says the GPU and how many, then virtual CPUs by GiB of memory.
#[rustfmt::skip]
const INSTANCE_TYPES: &[InstanceTypeWithPrice] = &[
    cpu("1x2",                    1,    2, 0.00058),
    cpu("1x4",                    1,    4, 0.00086),
    cpu("2x8",                    2,    8, 0.00173),
    cpu("4x16",                   4,   16, 0.00346),
    cpu("8x32",                   8,   32, 0.00691),
    cpu("16x64",                 16,   64, 0.01382),
    gpu("T4:4x16",                4,   16, 0.01052, (1, "T4",        16)),
    gpu("T4:8x32",                8,   32, 0.01504, (1, "T4",        16)),
    gpu("T4:16x64",              16,   64, 0.02408, (1, "T4",        16)),
    gpu("L4:4x16",                4,   16, 0.01414, (1, "L4",        24)),
    gpu("L4:2:24x96",            24,   96, 0.04002, (2, "L4",        24)),
    gpu("L4:4:48x192",           48,  192, 0.08003, (4, "L4",        24)),
    gpu("A10G:4x16",              4,   16, 0.02012, (1, "A10G",      24)),
    gpu("A10G:8x32",              8,   32, 0.02424, (1, "A10G",      24)),
    gpu("A10G:2:24x96",          24,   96, 0.05672, (2, "A10G",      24)),
    gpu("A10G:4:48x192",         48,  192, 0.11344, (4, "A10G",      24)),
    gpu("A100:12x144",           12,  144, 0.06667, (1, "A100",      80)),
    gpu("A100:2:24x288",         24,  288, 0.13333, (2, "A100",      80)),
    gpu("A100:4:48x576",         48,  576, 0.26667, (4, "A100",      80)),
    gpu("A100:8:96x1152",        96, 1152, 0.53333, (8, "A100",      80)),
    gpu("H100_40GB:13x117",      13,  117, 0.0625,  (1, "H100_40GB", 40)),
    gpu("H100:26x234",           26,  234, 0.10833, (1, "H100",      80)),
    gpu("H100:2:52x468",         52,  468, 0.21667, (2, "H100",      80)),
    gpu("H100:4:104x936",       104,  936, 0.43333, (4, "H100",      80)),
    gpu("H100:8:208x1872",      208, 1872, 0.86667, (8, "H100",      80)),
    gpu("B200:28x384",           28,  384, 0.16633, (1, "B200",     180)),
    gpu("B200:2:56x768",         56,  768, 0.33267, (2, "B200",     180)),
    gpu("B200:4:112x1536",      112, 1536, 0.66533, (4, "B200",     180)),
    gpu("B200:8:224x3072",      224, 3072, 1.33067, (8, "B200",     180)),
];

pub fn list(_: &Tx, _: &[InTeam], _: &Ask) -> Result<Reply, Error> {
    let instance_types = INSTANCE_TYPES.iter().map(|priced| &priced.instance_type).collect();
    Ok(Reply::ok(&InstanceTypes { instance_types }))
}

pub fn prices(_: &Tx, _: &[InTeam], _: &Ask) -> Result<Reply, Error> {
    Ok(Reply::ok(&InstanceTypePrices { instance_types: INSTANCE_TYPES }))
}

const fn cpu(id: &'static str, cpus: u32, memory_gib: u32, price: f64) -> InstanceTypeWithPrice {
    let instance_type = InstanceType {
        id,
        name: id,
        memory_limit_mib: memory_gib << 10,
        millicpu_limit: cpus * 1000,
        gpu_count: 0,
        gpu_type: None,
        gpu_memory_limit_mib: None,
    };
    InstanceTypeWithPrice { instance_type, price }
}

/// `gpu` is how many there are, their type, and the memory of each in GiB.
const fn gpu(
    id: &'static str,
    cpus: u32,
    memory_gib: u32,
    price: f64,
    gpu: (u32, &'static str, u32),
) -> InstanceTypeWithPrice {
    let without = cpu(id, cpus, memory_gib, price);
    let instance_type = InstanceType {
        gpu_count: gpu.0,
        gpu_type: Some(gpu.1),
        gpu_memory_limit_mib: Some(gpu.2 << 10),
        ..without.instance_type
    };
    InstanceTypeWithPrice { instance_type, price }
}
