//! What the engine of models tells the supervisor of a process, and what the supervisor answers: one JSON document each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A process to be started: everything but its descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub command: Vec<String>,
    /// The whole environment.
    pub variables: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// Files and folders that may be read and executed.
    pub reads: Vec<PathBuf>,
    /// Folders in which everything is allowed.
    pub writes: Vec<PathBuf>,
    /// Devices that may be opened, besides those that everybody may open.
    pub devices: Vec<PathBuf>,
    pub limits: Limits,
    pub landlock: Landlock,
    pub network: Network,
    pub namespaces: Namespaces,
    /// What is seen in a mount namespace of its own.
    pub mounts: Option<Mounts>,
    /// The user and group that the process runs as, if not those of the server.
    pub user: Option<Ids>,
    pub bubblewrap: Option<Bubblewrap>,
    pub bridge: Option<Bridge>,
    /// Folders of control groups that the process joins.
    pub control_groups: Vec<PathBuf>,
}

/// Limits of each process, besides those that the engine watches.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// The processes of the user: only in a user namespace of its own.
    pub processes: Option<u64>,
    pub file_bytes: u64,
    pub open_files: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landlock {
    Required,
    Unavailable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network of the machine, or one that the process makes itself.
    AsNamespaces,
    /// A network of its own, which bubblewrap makes.
    OwnByBubblewrap,
}

/// The namespaces that a process makes itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    pub user: bool,
    /// With a loopback interface alone.
    pub network: bool,
    pub mounts: bool,
}

/// What a process sees as its own in a mount namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mounts {
    /// The folder that is `/tmp`.
    pub temporary: PathBuf,
    /// The size of `/dev/shm`.
    pub shared_memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    pub user: u32,
    pub group: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Bubblewrap {
    pub program: PathBuf,
    /// Its options, without the command.
    pub options: Vec<String>,
}

/// How the bridge of a custom server reaches it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bridge {
    pub port: u16,
    /// The folder of the secrets.
    pub secrets: PathBuf,
}

/// What a supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Started {
        pid: i32,
    },
    /// The command cannot be executed.
    NoCommand {
        why: String,
    },
    /// The process was not started for another reason.
    Failed {
        why: String,
    },
    /// The process ended, and everything that it started is gone.
    Ended {
        code: Option<i32>,
        signal: Option<i32>,
    },
}

/// What a starting process reports to its supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Ready,
    NoCommand { why: String },
    Failed { why: String },
}

/// A line of the control pipe: everything that changes while a process runs.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub secrets: BTreeMap<String, String>,
    pub dynamic_config: Map<String, Value>,
    /// What callers of the process must know.
    pub token: String,
}

/// Names without values: the values are secret.
impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("secrets", &self.secrets.keys())
            .field("dynamic_config", &self.dynamic_config.keys())
            .finish_non_exhaustive()
    }
}
