//! What is to be started, and why it was not.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::output::Output;
use crate::wire::processes::Control;

/// A process to be started.
pub struct Launch {
    /// A unique name of letters, digits, `-` and `_`.
    pub id: String,
    /// The private folder: home, temporary files, socket. It is made by the start, and removed after the end.
    pub folder: PathBuf,
    /// The current directory. It may be written.
    pub directory: PathBuf,
    pub command: Vec<String>,
    /// The whole environment besides `HOME` and `TMPDIR`, and `PORT` and `GUILDHALL_SECRETS_FOLDER` of a custom server.
    pub variables: BTreeMap<String, String>,
    /// Files and folders that may be read and executed besides the system's.
    pub reads: Vec<PathBuf>,
    /// Folders that may be written besides its own.
    pub writes: Vec<PathBuf>,
    pub limits: Limits,
    /// The indices of its accelerators.
    pub accelerators: Vec<u32>,
    pub network: Network,
    pub serves: Serves,
    pub control: Control,
    pub output: Output,
}

/// What a process and its descendants may have together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub memory_bytes: u64,
    /// Processes and their threads.
    pub processes: u64,
    pub cpus: f64,
    /// The disk space of its own folders and of what it adds to others.
    pub disk_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The machine's.
    Outbound,
    /// One of its own, with a loopback interface alone, if this machine can make one.
    Private,
}

/// How a process is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Descriptor 3 is a listening Unix socket, descriptor 4 the control pipe.
    Socket,
    /// A server on a port of the loopback interface, behind a bridge. Without a network of its own it must listen on the
    /// port that the variable `PORT` names, which is then another one.
    Port(u16),
    /// Not at all. There is no control pipe.
    Nothing,
}

/// Why a process was not started.
#[derive(Debug)]
pub enum StartError {
    /// The command cannot be executed. The team can fix it.
    Command(String),
    /// Something that this machine lacks. The operator can fix it.
    Deploy(String),
    /// A fault of this installation, which may be temporary.
    Ours(io::Error),
}

impl From<io::Error> for StartError {
    fn from(cause: io::Error) -> StartError {
        StartError::Ours(cause)
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Command(why) | StartError::Deploy(why) => f.write_str(why),
            StartError::Ours(cause) => write!(f, "{cause}"),
        }
    }
}
