//! Instance types: the sizes in which deployments run.

use serde_json::{Map, Value};

use crate::error::Error;

#[derive(Debug)]
pub struct InstanceType {
    /// The id, which is also the name.
    pub id: &'static str,
    pub millicpus: u32,
    pub memory_mib: u32,
    pub gpus: Option<Gpus>,
    pub dollars_a_minute: f64,
}

#[derive(Debug)]
pub struct Gpus {
    pub kind: &'static str,
    pub count: u32,
    /// The memory of each GPU.
    pub memory_mib: u32,
}

/// The instance type that is shown for a chainlet whose needs are not known.
pub const SMALLEST: &str = "1x2";

/// CPU types first, then by the size of the GPU. An id has the GPU and the number of GPUs, then virtual CPUs by GiB of
/// memory.
#[rustfmt::skip]
pub static INSTANCE_TYPES: &[InstanceType] = &[
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

const fn cpu(id: &'static str, cpus: u32, memory_gib: u32, dollars_a_minute: f64) -> InstanceType {
    InstanceType { id, millicpus: cpus * 1000, memory_mib: memory_gib << 10, gpus: None, dollars_a_minute }
}

/// `gpus` is the number of GPUs, their kind, and the memory of each in GiB.
const fn gpu(
    id: &'static str,
    cpus: u32,
    memory_gib: u32,
    dollars_a_minute: f64,
    gpus: (u32, &'static str, u32),
) -> InstanceType {
    let gpus = Gpus { kind: gpus.1, count: gpus.0, memory_mib: gpus.2 << 10 };
    InstanceType { gpus: Some(gpus), ..cpu(id, cpus, memory_gib, dollars_a_minute) }
}

/// The requirements that a configuration states under `resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub millicpus: u32,
    pub memory_mib: u32,
    /// The kind of GPU and the number of GPUs.
    pub gpus: Option<(String, u32)>,
}

impl InstanceType {
    pub fn find(id: &str) -> Option<&'static InstanceType> {
        INSTANCE_TYPES.iter().find(|instance| instance.id == id)
    }

    /// The smallest instance type that meets these requirements.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is no such type.
    pub fn for_resources(asked: &Resources) -> Result<&'static InstanceType, Error> {
        let fits = |instance: &&InstanceType| {
            let gpus = match (&asked.gpus, &instance.gpus) {
                (None, None) => true,
                (Some((kind, count)), Some(gpus)) => gpus.kind == kind && gpus.count == *count,
                (Some(_), None) | (None, Some(_)) => false,
            };
            gpus && instance.millicpus >= asked.millicpus && instance.memory_mib >= asked.memory_mib
        };
        INSTANCE_TYPES.iter().find(fits).ok_or_else(|| {
            let what = match &asked.gpus {
                Some((kind, count)) => format!("{kind}:{count} with "),
                None => String::new(),
            };
            let why = format!(
                "asks for {what}{} millicpu and {} MiB, and no instance type holds that: see GET /v1/instance_types",
                asked.millicpus, asked.memory_mib
            );
            Error::field("config.resources", &why)
        })
    }

    /// The instance type that a configuration names, or the smallest one that meets its requirements.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the named type does not exist, a requirement cannot be read, or no type meets the
    /// requirements.
    pub fn of_config(config: &Map<String, Value>) -> Result<&'static InstanceType, Error> {
        let resources = config.get("resources");
        let text = |name: &str| resources.and_then(|resources| resources.get(name)).and_then(Value::as_str);
        if let Some(id) = text("instance_type") {
            return InstanceType::find(id).ok_or_else(|| {
                Error::field("config.resources.instance_type", "must be one of GET /v1/instance_types")
            });
        }
        InstanceType::for_resources(&Resources::of_config(config)?)
    }
}

impl Resources {
    /// The requirements that a configuration states.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if a requirement cannot be read.
    pub fn of_config(config: &Map<String, Value>) -> Result<Resources, Error> {
        let resources = config.get("resources");
        let text = |name: &str| resources.and_then(|resources| resources.get(name)).and_then(Value::as_str);
        let gpus = text("accelerator").map(|asked| match asked.split_once(':') {
            Some((kind, count)) => (kind.to_owned(), count.parse().unwrap_or(0)),
            None => (asked.to_owned(), 1),
        });
        let unreadable = |name: &str| Error::field(&format!("config.resources.{name}"), "cannot be read");
        let millicpus = text("cpu").map(|cpu| millicpus(cpu).ok_or_else(|| unreadable("cpu"))).transpose()?;
        let memory_mib =
            text("memory").map(|memory| mebibytes(memory).ok_or_else(|| unreadable("memory"))).transpose()?;
        Ok(Resources { millicpus: millicpus.unwrap_or_default(), memory_mib: memory_mib.unwrap_or_default(), gpus })
    }
}

/// Reads CPUs, written as `1`, `0.5` or `500m`.
fn millicpus(text: &str) -> Option<u32> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<f64>().ok()?,
        None => text.parse::<f64>().ok()? * 1000.0,
    };
    whole(millis)
}

/// Reads memory, written as `2Gi`, `512Mi`, `1.5G` or a number of bytes.
fn mebibytes(text: &str) -> Option<u32> {
    const UNITS: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1.0));
    whole((number.parse::<f64>().ok()? * bytes / 1_048_576.0).ceil())
}

fn whole(number: f64) -> Option<u32> {
    (number.is_finite() && (0.0..=1e9).contains(&number)).then_some(number.ceil() as u32)
}
