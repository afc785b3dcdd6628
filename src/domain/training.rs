//! Training: the states of a job, the types of GPUs, and the resources that a job requests.

use crate::domain::ResourceName;
use crate::domain::named::named;
use crate::error::Error;

// The bounds of a job.
pub const NODES_MAX: i64 = 256;
pub const CPUS_MAX: i64 = 1024;
pub const MEMORY_MIB_MAX: i64 = 16 << 20;
/// The maximum for one node.
pub const GPUS_MAX: i64 = 64;
/// The maximum distance from zero, in both directions.
pub const PRIORITY_MAX: i64 = 1_000_000;
/// The maximum value of a GPU ceiling.
pub const CEILING_GPUS_MAX: i64 = 1_000_000;

named! {
    /// The status of a job.
    JobStatus {
        Pending: TRAINING_JOB_PENDING,
        Created: TRAINING_JOB_CREATED,
        Queued: TRAINING_JOB_QUEUED,
        Deploying: TRAINING_JOB_DEPLOYING,
        Running: TRAINING_JOB_RUNNING,
        Completed: TRAINING_JOB_COMPLETED,
        Failed: TRAINING_JOB_FAILED,
        Stopped: TRAINING_JOB_STOPPED,
        DeployFailed: TRAINING_JOB_DEPLOY_FAILED,
    }
}

impl JobStatus {
    /// Whether the job has reached its final status.
    pub const fn has_ended(self) -> bool {
        match self {
            JobStatus::Completed | JobStatus::Failed | JobStatus::Stopped | JobStatus::DeployFailed => true,
            JobStatus::Pending | JobStatus::Created | JobStatus::Queued | JobStatus::Deploying | JobStatus::Running => {
                false
            }
        }
    }
}

named! {
    /// The kind of capacity that a job runs on. GPU ceilings apply to both.
    Availability { Dedicated: dedicated, Spot: spot }
}

named! {
    /// The types of GPUs that clients can name. The list is closed, because a misspelled type must not escape its
    /// ceiling.
    GpuType {
        T4: T4,
        L4: L4,
        L40s: L40S,
        A10g: A10G,
        V100: V100,
        A100: A100,
        A100Of40: A100_40GB,
        H100: H100,
        H100Of40: H100_40GB,
        H200: H200,
        B200: B200,
        B300: B300,
        Gb300: GB300,
        RtxPro6000: RTX_PRO_6000,
    }
}

impl GpuType {
    /// Reads the name of a GPU type in either spelling: `a100-40gb` is the same as `A100_40GB`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names `field` if there is no such type.
    pub fn parse_any_case(field: &str, name: &str) -> Result<GpuType, Error> {
        GpuType::parse(&name.to_ascii_uppercase().replace('-', "_")).ok_or_else(|| {
            let names: Vec<_> = GpuType::ALL.iter().map(|gpu_type| gpu_type.as_str()).collect();
            Error::field(field, &format!("must be one of {}", names.join(", ")))
        })
    }

    pub const fn memory_gib(self) -> i64 {
        match self {
            GpuType::T4 | GpuType::V100 => 16,
            GpuType::L4 | GpuType::A10g => 24,
            GpuType::A100Of40 | GpuType::H100Of40 => 40,
            GpuType::L40s => 48,
            GpuType::A100 | GpuType::H100 => 80,
            GpuType::RtxPro6000 => 96,
            GpuType::H200 => 141,
            GpuType::B200 => 180,
            GpuType::B300 | GpuType::Gb300 => 288,
        }
    }
}

/// The resources of one node of a job, and the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    pub nodes: i64,
    pub cpus: i64,
    pub memory_mib: i64,
    pub gpus: Option<(GpuType, i64)>,
    pub availability: Availability,
}

impl Compute {
    pub fn gpu_type(&self) -> Option<GpuType> {
        self.gpus.map(|(gpu_type, _)| gpu_type)
    }

    /// The number of GPUs of all nodes together.
    pub fn gpu_count(&self) -> i64 {
        self.gpus.map_or(0, |(_, count)| self.nodes * count)
    }
}

/// How early a pending job leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(i64);

impl Priority {
    /// Checks a priority.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names `field` if the priority is out of range.
    pub fn parse(field: &str, priority: i64) -> Result<Priority, Error> {
        within(field, priority, -PRIORITY_MAX..=PRIORITY_MAX).map(Priority)
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A job to be created.
#[derive(Debug)]
pub struct NewJob {
    pub name: Option<ResourceName>,
    pub priority: Priority,
    pub compute: Compute,
    /// The known fields of the request, as JSON.
    pub spec: String,
}

/// Checks that a number is within its bounds.
///
/// # Errors
///
/// [`Error::Invalid`] that names `field` if it is not.
pub fn within(field: &str, number: i64, bounds: std::ops::RangeInclusive<i64>) -> Result<i64, Error> {
    if bounds.contains(&number) {
        return Ok(number);
    }
    Err(Error::field(field, &format!("must be a number from {} to {}", bounds.start(), bounds.end())))
}

/// Reads an amount of memory as Kubernetes writes it, such as `512Mi` or `2Gi`, and returns it in MiB.
///
/// # Errors
///
/// [`Error::Invalid`] that names `field` if the text is no such amount, or the amount is out of range.
pub fn memory_mib(field: &str, text: &str) -> Result<i64, Error> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mib_a_unit = match &text[digits..] {
        "Mi" => 1,
        "Gi" => 1 << 10,
        "Ti" => 1 << 20,
        _ => 0,
    };
    let mib = text[..digits].parse::<i64>().ok().and_then(|number| number.checked_mul(mib_a_unit));
    mib.filter(|mib| (1..=MEMORY_MIB_MAX).contains(mib)).ok_or_else(|| {
        Error::field(field, &format!("must be memory such as 512Mi, 2Gi or 1Ti, up to {}Ti", MEMORY_MIB_MAX >> 20))
    })
}
