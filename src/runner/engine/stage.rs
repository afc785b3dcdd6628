//! A model's process before it runs the model's command: it limits and confines itself, and then becomes the command.
//!
//! There are two steps. `enter` joins the control groups, and starts the second step, inside of bubblewrap where that is
//! used. `confine` gives up everything that the command may not have. What fails is reported, and nothing is run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{bridge, confinement, spawn, system};
use crate::wire::processes::{Bubblewrap, Limits, Plan, Report};

/// Where commands are looked for if the variables do not say.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The kernel ends models before it ends the server or a supervisor.
const OOM_SCORE: &str = "500";

/// Why a command was not run.
enum Refusal {
    NoCommand(String),
    Failed(String),
}

impl Refusal {
    fn report(&self) -> Report {
        match self {
            Refusal::NoCommand(why) => Report::NoCommand { why: why.clone() },
            Refusal::Failed(why) => Report::Failed { why: why.clone() },
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Refusal {
        Refusal::Failed(cause.to_string())
    }
}

/// Runs the first step.
pub fn enter() -> ExitCode {
    match entered() {
        Ok(Entered::Plan(plan)) => confine_by(&plan),
        Ok(Entered::Bubblewrap(cause)) => refuse(&Refusal::Failed(format!("bubblewrap cannot be run: {cause}"))),
        Err(cause) => refuse(&cause.into()),
    }
}

/// Runs the second step.
pub fn confine() -> ExitCode {
    match read_plan() {
        Ok(plan) => confine_by(&plan),
        Err(cause) => refuse(&cause.into()),
    }
}

/// Refuses before the second step.
fn refuse(refusal: &Refusal) -> ExitCode {
    let told =
        system::take_inherited(spawn::REPORT).and_then(|report| tell(&UnixStream::from(report), &refusal.report()));
    if let Err(cause) = told {
        let _ = writeln!(io::stderr(), "guildhall: a process cannot report: {cause}");
    }
    ExitCode::FAILURE
}

enum Entered {
    Plan(Box<Plan>),
    Bubblewrap(io::Error),
}

fn entered() -> io::Result<Entered> {
    let plan = read_plan()?;
    for group in &plan.control_groups {
        fs::write(group.join("cgroup.procs"), "0")?;
    }
    fs::write("/proc/self/oom_score_adj", OOM_SCORE)?;
    let Some(Bubblewrap { program, options }) = &plan.bubblewrap else { return Ok(Entered::Plan(Box::new(plan))) };
    let _own = system::place(&spawn::above(File::open(spawn::SELF)?)?, spawn::PROGRAM)?;
    let inside = format!("/proc/self/fd/{}", spawn::PROGRAM);
    Ok(Entered::Bubblewrap(
        Command::new(program).args(options).args(["--", &inside, "process", "confine"]).env_clear().exec(),
    ))
}

fn read_plan() -> io::Result<Plan> {
    let mut text = Vec::new();
    File::open(format!("/proc/self/fd/{}", spawn::PLAN))?.read_to_end(&mut text)?; // from its beginning
    Ok(serde_json::from_slice(&text)?)
}

fn confine_by(plan: &Plan) -> ExitCode {
    let supervisor = match system::take_inherited(spawn::REPORT) {
        Ok(report) => UnixStream::from(report),
        Err(_) => return ExitCode::FAILURE, // nobody is there to be told
    };
    match confined(plan, &supervisor) {
        Ok(never) => match never {},
        Err(refusal) => {
            let _ = tell(&supervisor, &refusal.report()); // without a report, the supervisor sees the end
            ExitCode::FAILURE
        }
    }
}

fn confined(plan: &Plan, supervisor: &UnixStream) -> Result<Infallible, Refusal> {
    drop(system::take_inherited(spawn::PLAN)?);
    drop(system::take_inherited(spawn::PROGRAM)); // only bubblewrap needs it
    system::heed_terminations();
    limit(&plan.limits)?;
    confinement::apply(plan).map_err(Refusal::Failed)?;
    std::env::set_current_dir(&plan.directory)
        .map_err(|cause| Refusal::Failed(format!("{} cannot be entered: {cause}", plan.directory.display())))?;
    let program = find(&plan.command, &plan.variables)?;
    let name = &plan.command[0];
    let mut command = Command::new(&program);
    command.arg0(name).args(&plan.command[1..]).env_clear().envs(&plan.variables);
    if let Some(bridge) = &plan.bridge {
        let listener = UnixListener::from(system::take_inherited(spawn::LISTENER)?);
        let control = File::from(system::take_inherited(spawn::CONTROL)?);
        let started = |started: io::Result<()>| match started {
            Ok(()) => tell(supervisor, &Report::Ready),
            Err(cause) => tell(supervisor, &no_command(name, &cause.to_string()).report()),
        };
        return Ok(bridge::run(bridge, &mut command, listener, control, started)?);
    }
    tell(supervisor, &Report::Ready)?;
    let cause = command.exec();
    let _ = writeln!(io::stderr(), "guildhall: {name} cannot be executed: {cause}"); // it counts as started
    Err(no_command(name, &cause.to_string()))
}

/// Limits each process. Limits that are lower already stay.
fn limit(limits: &Limits) -> io::Result<()> {
    let wanted = [
        (Resource::Core, Some(0)),
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, Some(limits.file_bytes)),
        (Resource::Nofile, Some(limits.open_files)),
        (Resource::Nproc, limits.processes),
    ];
    for (resource, wanted) in wanted.into_iter().filter_map(|(resource, wanted)| Some((resource, wanted?))) {
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(wanted);
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    Ok(())
}

/// The file of the command.
fn find(command: &[String], variables: &BTreeMap<String, String>) -> Result<PathBuf, Refusal> {
    let name = command.first().map(String::as_str).unwrap_or_default();
    if name.contains('/') {
        return match access(name, Access::EXEC_OK) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(cause) => Err(no_command(name, &io::Error::from(cause).to_string())),
        };
    }
    let folders = variables.get("PATH").map_or(PATH, String::as_str);
    let mut found = folders.split(':').map(|folder| Path::new(folder).join(name));
    found
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
        .ok_or_else(|| no_command(name, "it is in no folder of PATH"))
}

fn no_command(name: &str, why: &str) -> Refusal {
    Refusal::NoCommand(format!("the command \"{}\" cannot be executed: {why}", crate::error::quoted(name)))
}

fn tell(mut supervisor: &UnixStream, report: &Report) -> io::Result<()> {
    supervisor.write_all(&serde_json::to_vec(report)?)
}
