//! One replica from its start to its end: it is started, waited for until it is ready, and watched until it ends.
//!
//! A replica has a thread of its own, which sleeps while the replica serves. What happens is reported to the lifecycle,
//! which decides.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::builds::{Built, Runs, limits};
use super::endings::told;
use super::engine::{Control, Launch, Line, Network, Process, Serves, StartError};
use super::machine::Machine;
use super::probe::Probe;
use crate::domain::custom_servers::CustomServer;

/// The header that names the token of a process.
const TOKEN_HEADER: &str = "x-guildhall-token";
const TRUSS_READY: &str = "/v1/models/model";
/// How often a replica is asked whether it is ready: the pause grows from the first to the second.
const ASKS_AFTER: Duration = Duration::from_millis(20);
const ASKS_EVERY: Duration = Duration::from_secs(1);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// How often a replica that serves is asked whether it is alive, if its configuration says how, and how often it may
/// fail to answer.
const LIVENESS_EVERY: Duration = Duration::from_secs(30);
const LIVENESS_FAILURES_MAX: u32 = 3;
/// How long a replica that did not become ready may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// Variables that say what a process is.
const DEPLOYMENT_VARIABLE: &str = "GUILDHALL_DEPLOYMENT_ID";

/// The variable that names our own program, which a custom server may run.
const PROGRAM_VARIABLE: &str = "GUILDHALL_PROGRAM";

/// A replica that is to be started.
pub struct Start {
    pub deployment_id: String,
    pub replica_id: String,
    pub built: Arc<Built>,
    pub control: Control,
    pub accelerators: Vec<u32>,
    /// How long it may take to become ready.
    pub ready_within: Duration,
}

/// What happened to a replica.
pub enum Report {
    Started(Arc<Process>),
    Ready,
    /// It does not answer as it should, and goes on. The sentence says why.
    Unwell(String),
    /// It answers as it should again.
    Well,
    /// It ended, or was never started. The end comes once, and nothing after it.
    Ended(End),
}

/// Why a replica is no longer there.
#[derive(Debug)]
pub enum End {
    /// The command cannot be executed, or it did not become ready. A further start would not help.
    Failed(String),
    /// This machine lacks something.
    Machine(String),
    /// A fault of this installation, which may be temporary.
    Ours(io::Error),
    /// It served and ended by itself, or was killed for what it used.
    Crashed(String),
    /// It was stopped.
    Stopped,
}

/// Tells the thread of a replica to stop it.
#[derive(Default)]
pub struct Halt {
    is_told: Mutex<bool>,
    told: Condvar,
}

impl Halt {
    pub fn tell(&self) {
        *self.lock() = true;
        self.told.notify_all();
    }

    pub fn is_told(&self) -> bool {
        *self.lock()
    }

    /// Waits until it is told.
    pub fn wait(&self) {
        let waited = self.told.wait_while(self.lock(), |is_told| !*is_told);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until it is told, but not longer than a time. Returns whether it was.
    pub fn wait_for(&self, time: Duration) -> bool {
        let waited = self.told.wait_timeout_while(self.lock(), time, |is_told| !*is_told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a replica of a model or a custom server to its end.
pub fn run(
    machine: &Machine,
    start: Start,
    print: impl Fn(Line) + Send + Sync + 'static,
    halt: &Halt,
    report: impl Fn(Report),
) {
    let interface = Interface::of(&start);
    let ready_within = start.ready_within;
    let begun = Instant::now();
    let process = match launch(machine, start, print) {
        Ok(process) => process,
        Err(end) => return report(Report::Ended(end)),
    };
    report(Report::Started(Arc::clone(&process)));
    if let Err(end) = wait_until_ready(&process, &interface, begun + ready_within, halt) {
        return report(Report::Ended(end));
    }
    report(Report::Ready);
    let end = watch(&process, &interface, halt);
    report(Report::Ended(end));
}

/// How a replica is asked.
struct Interface {
    token: String,
    ready_path: String,
    /// The path that is asked while it serves.
    live_path: Option<String>,
}

impl Interface {
    fn of(start: &Start) -> Interface {
        let token = start.control.token.clone();
        match &start.built.runs {
            Runs::Custom(_, CustomServer { readiness_path, liveness_path, .. }) => {
                Interface { token, ready_path: readiness_path.clone(), live_path: Some(liveness_path.clone()) }
            }
            Runs::Python(_) | Runs::Endpoint(_) => {
                let checks = start.built.source.config.get("runtime").and_then(|runtime| runtime.get("health_checks"));
                let is_set = checks.and_then(Value::as_object).is_some_and(|set| set.values().any(|v| !v.is_null()));
                let live_path = is_set.then(|| TRUSS_READY.to_owned());
                Interface { token, ready_path: TRUSS_READY.to_owned(), live_path }
            }
        }
    }

    fn is_well(&self, process: &Process, path: &str) -> bool {
        let headers = [(TOKEN_HEADER.to_owned(), self.token.clone())];
        let probe = Probe { method: "GET", host: "localhost", path, headers: &headers };
        probe.of_socket(process.socket(), ANSWERS_WITHIN).is_ok_and(|status| (200..400).contains(&status))
    }
}

fn launch(machine: &Machine, start: Start, print: impl Fn(Line) + Send + Sync + 'static) -> Result<Arc<Process>, End> {
    let Start { deployment_id, replica_id, built, control, accelerators, .. } = start;
    let Command { command, directory, mut variables, reads, network, serves } = command_of(&built, &machine.program)?;
    variables.insert(DEPLOYMENT_VARIABLE.to_owned(), deployment_id);
    let launch = Launch {
        folder: machine.engine.folder(&replica_id),
        id: replica_id,
        directory,
        command,
        variables,
        reads,
        writes: Vec::new(),
        limits: limits(&built.needs),
        accelerators,
        network,
        serves,
        control,
        // The build is held as long as its process may print.
        output: Box::new(move |line| {
            let _ = &built;
            print(line);
        }),
    };
    machine.engine.start(launch).map_err(|cause| match cause {
        StartError::Command(why) => End::Failed(why),
        StartError::Deploy(why) => End::Machine(why),
        StartError::Ours(cause) => End::Ours(cause),
    })
}

/// What a build runs as a process.
struct Command {
    command: Vec<String>,
    directory: PathBuf,
    variables: BTreeMap<String, String>,
    reads: Vec<PathBuf>,
    network: Network,
    serves: Serves,
}

fn command_of(built: &Built, program: &Path) -> Result<Command, End> {
    match &built.runs {
        Runs::Python(model) => Ok(Command {
            command: model.command.clone(),
            directory: model.directory.clone(),
            variables: model.variables.clone(),
            reads: model.reads.clone(),
            network: Network::Outbound,
            serves: Serves::Socket,
        }),
        Runs::Custom(application, server) => {
            let mut variables = application.variables.clone();
            variables.insert("PORT".to_owned(), server.port.to_string());
            variables.insert(PROGRAM_VARIABLE.to_owned(), program.to_string_lossy().into_owned());
            let mut reads = application.reads.clone();
            reads.push(program.to_owned());
            Ok(Command {
                command: ["/bin/sh", "-c", &server.start_command].map(str::to_owned).to_vec(),
                directory: application.directory.clone(),
                variables,
                reads,
                network: Network::Private,
                serves: Serves::Port(server.port),
            })
        }
        Runs::Endpoint(_) => Err(End::Ours(io::Error::other("an external endpoint has no process"))),
    }
}

/// Waits until a started process is ready. Any end before that is a failure, whatever its exit code.
fn wait_until_ready(process: &Process, interface: &Interface, until: Instant, halt: &Halt) -> Result<(), End> {
    let mut pause = ASKS_AFTER;
    loop {
        if let Some(ended) = process.wait_for(pause) {
            return Err(if halt.is_told() { End::Stopped } else { End::Failed(told(ended, "before it was ready")) });
        }
        if halt.is_told() {
            process.stop(GRACE);
            return Err(End::Stopped);
        }
        if interface.is_well(process, &interface.ready_path) {
            return Ok(());
        }
        if Instant::now() >= until {
            process.stop(GRACE);
            return Err(End::Failed("it did not become ready in time: see deploy_timeout_minutes".to_owned()));
        }
        pause = ASKS_EVERY.min(pause * 3 / 2);
    }
}

/// Waits until a process that serves ends.
fn watch(process: &Process, interface: &Interface, halt: &Halt) -> End {
    let mut failures = 0;
    let ended = loop {
        let Some(path) = &interface.live_path else { break process.wait() };
        if let Some(ended) = process.wait_for(LIVENESS_EVERY) {
            break ended;
        }
        failures = if interface.is_well(process, path) { 0 } else { failures + 1 };
        if failures >= LIVENESS_FAILURES_MAX && !halt.is_told() {
            process.stop(GRACE);
            return End::Crashed(format!("it did not answer at {path} {failures} times and was stopped"));
        }
    };
    if halt.is_told() { End::Stopped } else { End::Crashed(told(ended, "while it served")) }
}
