//! Builds a deployment: what has to be there before a replica can be started.
//!
//! A Python model needs its application and an environment, a custom server its application. An external endpoint needs
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::endings::told;
use super::engine::{Control, Ended, Exit, Launch, Limits, Network, Serves, StartError};
use super::machine::Machine;
use super::python::{Application, Failure, Job, Model, Watch};
use crate::domain::capacity::Needs;
use crate::domain::custom_servers::CustomServer;
use crate::domain::endpoints::Endpoint;

const NO_ARCHIVE: &str = "no archive was uploaded, so there is nothing to run: push it with its archive";
/// How long the command of a build may take.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30 * 60);
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// How many files a model may have whose code is reloaded when it is patched. One with more is started again.
const PATCHED_FILES_MAX: usize = 5000;
const GRACE: Duration = Duration::from_secs(2);
/// What the processes of one replica or of one build may have together, besides memory.
pub const PROCESSES_MAX: u64 = 1024;
pub const DISK_BYTES_MAX: u64 = 32 << 30;

/// What a deployment is built from. A build is used as long as this is what the deployment has.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file of the archive. `None`: the deployment consists of its configuration.
    pub archive: Option<PathBuf>,
    pub config: Map<String, Value>,
}

/// A deployment whose replicas can be started. Its folder is removed when this is dropped.
pub struct Built {
    pub source: Source,
    pub needs: Needs,
    pub runs: Runs,
    /// The files of its archive. `None` if there are too many to be patched while it runs.
    pub files: Option<BTreeSet<PathBuf>>,
    folder: PathBuf,
}

/// What runs.
pub enum Runs {
    Python(Box<Model>),
    Custom(Box<Application>, CustomServer),
    Endpoint(Endpoint),
}

impl Drop for Built {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// The folder of a build, removed unless the build succeeds.
struct Folder(Option<PathBuf>);

impl Drop for Folder {
    fn drop(&mut self) {
        self.0.as_deref().into_iter().for_each(remove);
    }
}

/// Removes the folder of a build, and that of its deployment if it was the last.
fn remove(folder: &Path) {
    if let Err(cause) = fs::remove_dir_all(folder)
        && cause.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %cause, "cannot be removed");
    }
    folder.parent().into_iter().for_each(|parent| drop(fs::remove_dir(parent))); // unless there are others
}

/// Builds a deployment into a new folder, whose name begins with `id`. It may take minutes.
///
/// # Errors
///
/// See [`Failure`]. Its sentences are for the deployment's log.
pub fn build(machine: &Machine, deployment_id: &str, id: &str, source: Source, watch: Watch) -> Result<Built, Failure> {
    let needs = Needs::of_config(&source.config).map_err(|cause| Failure::Build(cause.to_string()))?;
    let folder = machine.application(deployment_id, id);
    fs::create_dir_all(&folder)?;
    let mut unfinished = Folder(Some(folder.clone()));
    let refused = |why| Failure::Build(format!("config.yaml: model_metadata.guildhall.endpoint {why}"));
    let mut files = None;
    let runs = if let Some(endpoint) = Endpoint::of_config(&source.config).map_err(refused)? {
        Runs::Endpoint(endpoint)
    } else {
        let job = Job { archive: source.archive.as_deref(), config: &source.config, folder: &folder };
        match CustomServer::of_config(&source.config).map_err(Failure::Build)? {
            Some(server) => {
                let application = machine.installation.build_custom(&job, watch)?;
                let place = Place::of_application(&application);
                run_commands(machine, id, &application.build_commands, &place, &needs, watch)?;
                Runs::Custom(Box::new(application), server)
            }
            None if source.archive.is_none() => return Err(Failure::Build(NO_ARCHIVE.to_owned())),
            None => {
                let model = machine.installation.build(&job, watch)?;
                files = files_in(&model.directory);
                run_commands(machine, id, &model.build_commands, &Place::of_model(&model), &needs, watch)?;
                Runs::Python(Box::new(model))
            }
        }
    };
    unfinished.0 = None;
    Ok(Built { source, needs, runs, files, folder })
}

/// The files in a folder, by their paths in it. `None` if there are too many.
fn files_in(folder: &Path) -> Option<BTreeSet<PathBuf>> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).ok()? {
            let path = entry.ok()?.path();
            if path.symlink_metadata().ok()?.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).ok()?.to_owned());
            }
            if files.len() + folders.len() > PATCHED_FILES_MAX {
                return None;
            }
        }
    }
    Some(files)
}

/// Where the commands of a build run.
struct Place<'a> {
    directory: &'a Path,
    variables: &'a BTreeMap<String, String>,
    reads: &'a [PathBuf],
}

impl<'a> Place<'a> {
    fn of_model(model: &'a Model) -> Place<'a> {
        Place { directory: &model.directory, variables: &model.variables, reads: &model.reads }
    }

    fn of_application(application: &'a Application) -> Place<'a> {
        Place { directory: &application.directory, variables: &application.variables, reads: &application.reads }
    }
}

/// Runs the commands of a build one after the other, confined like the model itself.
fn run_commands(
    machine: &Machine,
    id: &str,
    commands: &[String],
    place: &Place,
    needs: &Needs,
    watch: Watch,
) -> Result<(), Failure> {
    for (number, command) in commands.iter().enumerate() {
        watch.check()?;
        (watch.log)(&format!("runs the build command: {command}"));
        run_command(machine, &format!("{id}-{number}"), command, place, needs, watch)?;
    }
    Ok(())
}

fn run_command(
    machine: &Machine,
    id: &str,
    command: &str,
    place: &Place,
    needs: &Needs,
    watch: Watch,
) -> Result<(), Failure> {
    let (print, printed) = std::sync::mpsc::sync_channel(1000);
    let launch = Launch {
        id: id.to_owned(),
        folder: machine.engine.folder(id),
        directory: place.directory.to_owned(),
        command: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        variables: place.variables.clone(),
        reads: place.reads.to_vec(),
        writes: Vec::new(),
        limits: limits(needs),
        accelerators: Vec::new(),
        network: Network::Outbound,
        serves: Serves::Nothing,
        control: Control::default(),
        output: Box::new(move |line| drop(print.try_send(line.text))), // what is too much is dropped
    };
    let process = machine.engine.start(launch).map_err(|cause| match cause {
        StartError::Command(why) => Failure::Build(why),
        StartError::Deploy(why) => Failure::Deploy(why),
        StartError::Ours(cause) => Failure::Ours(cause),
    })?;
    let begun = std::time::Instant::now();
    let ended = loop {
        printed.try_iter().for_each(|line| (watch.log)(&line));
        if let Some(ended) = process.ended() {
            break ended;
        }
        if let Err(stopped) = watch.check() {
            process.stop(GRACE);
            return Err(stopped);
        }
        if begun.elapsed() > COMMAND_TIME_MAX {
            process.stop(GRACE);
            let minutes = COMMAND_TIME_MAX.as_secs() / 60;
            return Err(Failure::Build(format!("a build command took longer than {minutes} minutes: {command}")));
        }
        std::thread::sleep(LOOKS_EVERY);
    };
    printed.try_iter().for_each(|line| (watch.log)(&line));
    match ended {
        Ended { exit: Exit::Code(0), why: None } => Ok(()),
        ended => {
            Err(Failure::Build(format!("a build command failed: {}: {command}", told(ended, "of its own accord"))))
        }
    }
}

/// The limits of a process tree with these needs.
pub fn limits(needs: &Needs) -> Limits {
    Limits {
        memory_bytes: needs.memory_bytes,
        processes: PROCESSES_MAX,
        cpus: f64::from(needs.millicpus) / 1000.0,
        disk_bytes: DISK_BYTES_MAX,
    }
}
