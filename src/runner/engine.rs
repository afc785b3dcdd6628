//! Starts processes of models, custom servers and training jobs, confined and limited, and ends them with everything that
//! they started.
//!
//! Each process has a supervisor: a small process of our own binary that outlives nothing (see [`supervisor`]). A process
//! sees its own folders, what it may read, and the system's programs; it has no capabilities; its environment is what the
//! launch says. Secrets reach it by a pipe, so they are in no argument, variable or file.
//!
//! The engine is synchronous: a start takes milliseconds, an end at most the grace period.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

mod confinement;
mod control;
mod descendants;
mod folder;
mod leash;
mod output;
mod process;
mod spawn;
pub mod stage;
pub mod supervisor;
mod system;

pub use crate::wire::processes::{Control, Ids};
pub use output::{LINE_BYTES_MAX, Line, Output, Source};
pub use process::{Ended, Excess, Exit, Process, Usage};

use crate::wire::processes::{self as wire, Answer, Plan};
use control::ControlPipe;
use output::Lines;
use process::{Ears, Parts};

/// How long a start may take until the process runs its command.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
const OPEN_FILES: u64 = 65_536;
const ID_BYTES_MAX: usize = 64;
/// What a process maps without using it, such as the stacks of its threads.
const MAPPED_BYTES: u64 = 1 << 30;

/// Whether processes may run without confinement on a machine that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfined {
    Refused,
    /// The operator decided so. What the machine has is still used.
    Allowed,
}

/// What the operator decides about processes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The parent of the folders of processes. The engine has it alone.
    pub folder: PathBuf,
    /// The program of supervisors: `guildhall`. Without it, the program of this process.
    pub program: Option<PathBuf>,
    pub unconfined: Unconfined,
    /// The user that processes run as: only root may choose one.
    pub user: Option<Ids>,
}

/// A process to be started.
pub struct Launch {
    /// A unique name of letters, digits, `-` and `_`.
    pub id: String,
    /// The private folder: home, temporary files, socket. It is made by the start, and removed after the end.
    pub folder: PathBuf,
    /// The current directory. It may be written.
    pub directory: PathBuf,
    pub command: Vec<String>,
    /// The whole environment besides `HOME` and `TMPDIR`.
    pub variables: BTreeMap<String, String>,
    pub reads: Vec<PathBuf>,
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
    pub processes: u64,
    pub cpus: f64,
    pub disk_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The machine's.
    Outbound,
    /// One of its own, with a loopback interface alone.
    Private,
}

/// How a process is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Descriptor 3 is a listening Unix socket, descriptor 4 the control pipe.
    Socket,
    /// A server on a port of the loopback interface, behind a bridge.
    Port(u16),
    /// Not at all.
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

/// The live processes of this server, and what this machine has for them.
pub struct Engine {
    settings: Settings,
    landlock: wire::Landlock,
    processes: Mutex<Vec<Weak<Process>>>,
}

impl Engine {
    /// Looks at what this machine has, and removes what an earlier server left.
    ///
    /// # Errors
    /// If the folder cannot be made or emptied.
    pub fn open(settings: Settings) -> io::Result<Engine> {
        std::fs::create_dir_all(&settings.folder)?;
        for entry in std::fs::read_dir(&settings.folder)? {
            folder::remove(&entry?.path())?;
        }
        let landlock = match confinement::landlock_version() {
            Some(_) => wire::Landlock::Required,
            None => wire::Landlock::Unavailable,
        };
        Ok(Engine { settings, landlock, processes: Mutex::default() })
    }

    /// The folder of a process of this name.
    pub fn folder(&self, id: &str) -> PathBuf {
        self.settings.folder.join(id)
    }

    /// Starts a process. It returns when the command runs.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(&self, launch: Launch) -> Result<Arc<Process>, StartError> {
        check_id(&launch.id)?;
        if self.landlock == wire::Landlock::Unavailable && self.settings.unconfined == Unconfined::Refused {
            return Err(StartError::Deploy("this machine has neither Landlock nor bubblewrap".to_owned()));
        }
        folder::make(&launch.folder)?;
        let started = self.start_in_folder(launch);
        let process = started.map_err(|(folder, error)| {
            let _ = folder::remove(&folder); // the next start with this name tries again
            error
        })?;
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|process| process.strong_count() > 0);
        processes.push(Arc::downgrade(&process));
        Ok(process)
    }

    fn start_in_folder(&self, launch: Launch) -> Result<Arc<Process>, (PathBuf, StartError)> {
        let folder = launch.folder.clone();
        self.start_made(launch).map_err(|error| (folder, error))
    }

    fn start_made(&self, launch: Launch) -> Result<Arc<Process>, StartError> {
        let plan = self.plan(&launch);
        let mut files: Vec<OwnedFd> = Vec::new();
        let mut control = None;
        if launch.serves != Serves::Nothing {
            let (mut ours, theirs) = ControlPipe::new()?;
            ours.put(&launch.control)?;
            files.extend([UnixListener::bind(folder::socket(&launch.folder))?.into(), theirs]);
            control = Some(ours);
        }
        let (leash, theirs) = UnixStream::pair()?;
        let mut supervisor = self.supervisor(theirs.into())?;
        let (stdout, stderr) = (supervisor.stdout.take(), supervisor.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(io::Error::other("a supervisor has no output").into());
        };
        leash.set_read_timeout(Some(STARTED_WITHIN))?;
        let sent: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        leash::send(&leash, &plan, &sent)?;
        drop(files); // who listens is the process alone: nobody, once it ended
        let mut answers = BufReader::new(leash.try_clone()?);
        let pid = read_start(&mut answers)?;
        leash.set_read_timeout(None)?;
        let process = Arc::new(Process::new(Parts {
            id: launch.id,
            pid,
            supervisor: supervisor.id() as i32,
            folder: launch.folder,
            leash,
            control,
        }));
        let ears = Ears {
            answers,
            stdout: OwnedFd::from(stdout).into(),
            stderr: OwnedFd::from(stderr).into(),
            lines: Lines::new(launch.output),
        };
        let followed = Arc::clone(&process);
        std::thread::Builder::new().name("process".to_owned()).stack_size(128 << 10).spawn(move || {
            ears.follow(&followed);
            let _ = supervisor.wait(); // it has told its end
        })?;
        Ok(process)
    }

    fn supervisor(&self, leash: OwnedFd) -> io::Result<Child> {
        let program = self.settings.program.as_deref().unwrap_or(Path::new(spawn::SELF));
        Command::new(program)
            .arg0("guildhall")
            .args(["process", "supervise"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(leash))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    fn plan(&self, launch: &Launch) -> Plan {
        let (home, temporary) = (folder::home(&launch.folder), folder::temporary(&launch.folder));
        let mut variables = launch.variables.clone();
        variables.insert("HOME".to_owned(), home.to_string_lossy().into_owned());
        variables.insert("TMPDIR".to_owned(), temporary.to_string_lossy().into_owned());
        let mut writes = launch.writes.clone();
        writes.extend([launch.directory.clone(), home, temporary]);
        Plan {
            command: launch.command.clone(),
            variables,
            directory: launch.directory.clone(),
            reads: launch.reads.clone(),
            writes,
            devices: Vec::new(),
            limits: wire::Limits {
                memory_bytes: Some(launch.limits.memory_bytes.saturating_add(MAPPED_BYTES)),
                processes: None,
                file_bytes: launch.limits.disk_bytes,
                open_files: OPEN_FILES,
            },
            landlock: self.landlock,
            network: wire::Network::Shared,
            user: self.settings.user,
            bubblewrap: None,
            bridge: None,
            control_groups: Vec::new(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let processes = self.processes.get_mut().unwrap_or_else(PoisonError::into_inner);
        processes.iter().filter_map(Weak::upgrade).for_each(|process| process.kill());
    }
}

fn check_id(id: &str) -> Result<(), StartError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(is_plain) {
        let why = format!("the id of a process must be 1 to {ID_BYTES_MAX} letters, digits, - and _");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
    }
    Ok(())
}

/// Waits until the command runs. The number of its process.
fn read_start(answers: &mut BufReader<UnixStream>) -> Result<i32, StartError> {
    let mut line = String::new();
    match answers.read_line(&mut line) {
        Ok(0) => return Err(io::Error::other("the supervisor of a process ended before it answered").into()),
        Ok(_) => {}
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            let why = format!("a process did not start within {} seconds", STARTED_WITHIN.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why).into());
        }
        Err(cause) => return Err(cause.into()),
    }
    match serde_json::from_str(&line).map_err(io::Error::from)? {
        Answer::Started { pid } => Ok(pid),
        Answer::NoCommand { why } => Err(StartError::Command(why)),
        Answer::Failed { why } => Err(io::Error::other(format!("a process cannot be started: {why}")).into()),
        Answer::Ended { .. } => Err(io::Error::other("a process ended before it started").into()),
    }
}
