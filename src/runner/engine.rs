//! Starts processes of models, custom servers and training jobs, confined and limited, and ends them with everything that
//! they started.
//!
//! Each process has a supervisor: a small process of our own binary that outlives nothing (see [`supervisor`]). A process
//! sees its own folders, what it may read, and the system's programs; it has no capabilities; its environment is what the
//! launch says. Secrets reach it by a pipe, so they are in no argument, variable or file.
//!
//! The engine is synchronous: a start takes milliseconds, an end at most the grace period.

use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

mod bridge;
mod bubblewrap;
mod check;
mod confinement;
mod control;
mod descendants;
mod devices;
mod disk;
mod folder;
mod groups;
mod launch;
mod leash;
mod machine;
pub mod namespaces;
mod output;
mod plan;
mod process;
mod secrets;
mod snapshot;
mod spawn;
pub mod stage;
pub mod supervisor;
mod system;
mod system_files;
mod view;
mod watcher;

pub use crate::wire::processes::{Control, Ids};
pub use check::{Finding, Level};
pub use launch::{Launch, Limits, Network, Serves, StartError};
pub use machine::{Machine, Use};
pub use output::{LINE_BYTES_MAX, Line, Output, Source};
pub use process::{Ended, Excess, Exit, Process, Usage};

use crate::wire::processes::Answer;
use control::ControlPipe;
use groups::Groups;
use output::Lines;
use plan::Planned;
use process::{Belongings, Ears, Parts};
use watcher::Watcher;

/// How long a start may take until the process runs its command.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
const ID_BYTES_MAX: usize = 64;

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
    /// What of this machine is used.
    pub use_of: Use,
    /// The user that processes run as: only root may choose one.
    pub user: Option<Ids>,
}

/// The live processes of this server, and what this machine has for them.
pub struct Engine {
    settings: Settings,
    machine: Machine,
    groups: Groups,
    watcher: Arc<Watcher>,
    processes: Mutex<Vec<Weak<Process>>>,
}

impl Engine {
    /// Looks at what this machine has, and removes what an earlier server left.
    ///
    /// # Errors
    /// If the folder cannot be made or emptied, or no thread can be started.
    pub fn open(settings: Settings) -> io::Result<Engine> {
        std::fs::create_dir_all(&settings.folder)?;
        for entry in std::fs::read_dir(&settings.folder)? {
            folder::remove(&entry?.path())?;
        }
        let machine = Machine::look(settings.program.as_deref(), settings.use_of);
        let groups = Groups::find(&settings.folder);
        groups.sweep();
        machine.memory.iter().for_each(|memory| secrets::sweep(&settings.folder, memory));
        Ok(Engine { settings, machine, groups, watcher: Watcher::start()?, processes: Mutex::default() })
    }

    /// What this machine has for models, in sentences for its operator.
    pub fn check(&self) -> Vec<Finding> {
        check::look(&self.machine, &self.settings.folder)
    }

    /// What was found on this machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
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
        self.check_confinement()?;
        self.check_user()?;
        if self.live().iter().any(|process| process.id() == launch.id && process.ended().is_none()) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a process of this name is running").into());
        }
        folder::make(&launch.folder)?;
        let folder = launch.folder.clone();
        let process = self.start_in_folder(launch).inspect_err(|_| {
            let _ = folder::remove(&folder); // the next start with this name tries again
        })?;
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.retain(|process| process.strong_count() > 0);
        processes.push(Arc::downgrade(&process));
        Ok(process)
    }

    /// Another user reaches its files in a mount namespace alone: the data directory is closed to everybody else.
    fn check_user(&self) -> Result<(), StartError> {
        let has_mounts = self.machine.bubblewrap.is_ok() || self.machine.namespaces.mounts;
        match self.settings.user {
            Some(_) if !machine::is_root() => {
                Err(StartError::Deploy("only root can run models as another user".to_owned()))
            }
            Some(_) if !has_mounts => Err(StartError::Deploy(
                "models that run as another user need bubblewrap or mount namespaces: `guildhall runner check` says \
                 what is missing; or serve without `--runner-user`"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn live(&self) -> Vec<Arc<Process>> {
        let processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.iter().filter_map(Weak::upgrade).collect()
    }

    fn check_confinement(&self) -> Result<(), StartError> {
        let is_confined = self.machine.landlock.is_some() || self.machine.bubblewrap.is_ok();
        if is_confined || self.settings.unconfined == Unconfined::Allowed {
            return Ok(());
        }
        Err(StartError::Deploy(
            "this machine cannot confine models: it has neither Landlock (Linux 5.13) nor a working bubblewrap; \
             `guildhall runner check` says more"
                .to_owned(),
        ))
    }

    fn start_in_folder(&self, launch: Launch) -> Result<Arc<Process>, StartError> {
        let Planned { plan, mut bounds, groups, secrets } =
            plan::plan(&launch, &self.machine, &self.groups, self.settings.user)?;
        let made = Belongings::make(&launch, groups, secrets)?;
        if let Some(user) = self.settings.user {
            folder::give(&launch, user)?;
        }
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
        let (Some(stdout), Some(stderr)) = (supervisor.stdout.take(), supervisor.stderr.take()) else {
            return Err(io::Error::other("a supervisor has no output").into());
        };
        let mut answers = BufReader::new(leash.try_clone()?);
        let sent: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let started = leash::send(&leash, &plan, &sent).map_err(StartError::from);
        drop(files); // who listens is the process alone: nobody, once it ended
        let pid = match started.and_then(|()| read_start(&leash, &mut answers)) {
            Ok(pid) => pid,
            Err(error) => {
                drop((leash, answers)); // the supervisor ends everything
                let _ = supervisor.wait();
                return Err(error);
            }
        };
        let process = Arc::new(Process::new(Parts {
            id: launch.id,
            pid,
            supervisor: supervisor.id() as i32,
            belongings: made,
            leash,
            control,
        }));
        let ears = Ears {
            answers,
            stdout: OwnedFd::from(stdout).into(),
            stderr: OwnedFd::from(stderr).into(),
            lines: Lines::new(launch.output),
        };
        bounds.bridge = plan.bridge.is_some().then_some(pid);
        self.watcher.add(&process, bounds);
        let followed = Arc::clone(&process);
        std::thread::Builder::new().name("process".to_owned()).stack_size(256 << 10).spawn(move || {
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
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.watcher.close();
        self.live().iter().for_each(|process| process.kill());
    }
}

/// What this machine has for models, without an engine: a server may be running.
pub fn check(folder: &Path) -> Vec<Finding> {
    check::look(&Machine::look(None, Use::Everything), folder)
}

/// Whether models can run confined.
pub fn can_confine(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.level != Level::Missing)
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
fn read_start(leash: &UnixStream, answers: &mut BufReader<UnixStream>) -> Result<i32, StartError> {
    let mut line = String::new();
    leash.set_read_timeout(Some(STARTED_WITHIN))?;
    let read = answers.read_line(&mut line);
    leash.set_read_timeout(None)?;
    match read {
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
