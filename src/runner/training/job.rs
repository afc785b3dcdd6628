//! One job from its archives to its end.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::folders::{Folders, remove_or_note};
use super::log::Log;
use super::{Signal, Site, Told, files, owner, variables};
use crate::db::training_jobs::checkpoints;
use crate::db::training_jobs::running::{self, Ending, Order};
use crate::domain::serving::Level;
use crate::domain::training_jobs::{Sample, StoredFile, checkpoint_folder, folder_of_team};
use crate::error::{Error, quoted};
use crate::runner::archive::{ArchiveError, Limits};
use crate::runner::engine::{self, Control, Ended, Excess, Exit, Launch, Network, Process, Serves, StartError, Usage};
use crate::runner::python::{bytes_of, unpack};
use crate::wire;
use crate::wire::training_jobs::pushed::{Checkpoint, Spec};

/// How often a running job is looked after, its checkpoints are listed, and its processes are measured.
const LOOKS_EVERY: Duration = Duration::from_millis(200);
const LISTS_EVERY: Duration = Duration::from_secs(3);
const MEASURES_EVERY: Duration = Duration::from_secs(10);
const COMMANDS_MAX: usize = 100;
/// Runs each argument as a command of a shell, and ends with the first that fails. It passes SIGTERM on.
const DRIVER: &str = "\
trap 'stopped=yes; [ -z \"$child\" ] || kill -TERM \"$child\" 2>/dev/null' TERM
number=0
for command do
    number=$((number + 1))
    echo \"Start command $number of $#.\"
    \"$0\" -c \"$command\" &
    child=$!
    [ -z \"$stopped\" ] || kill -TERM \"$child\"
    wait \"$child\"
    status=$?
    while kill -0 \"$child\" 2>/dev/null; do
        wait \"$child\"
        status=$?
    done
    [ \"$status\" = 0 ] || exit \"$status\"
done";

/// Runs a job. `None` if the server stopped before the job ran, so that it is begun again.
///
/// # Errors
///
/// A fault of this installation.
pub fn run(site: Site, order: &Order, accelerators: &[u32], signal: &Signal) -> Result<Option<Ending>, Error> {
    let log = Arc::new(Log::default());
    let folders = Folders::make(site.db.directory(), order).map_err(ours)?;
    let ending = Run { site, order, accelerators, signal, log: &log, folders: &folders }.run();
    log.store(site, &order.job.id);
    remove_or_note(&folders.own);
    ending
}

struct Run<'a> {
    site: Site<'a>,
    order: &'a Order,
    accelerators: &'a [u32],
    signal: &'a Signal,
    log: &'a Arc<Log>,
    folders: &'a Folders,
}

impl Run<'_> {
    fn run(&self) -> Result<Option<Ending>, Error> {
        let spec: Spec = wire::parse(self.order.spec.as_bytes())?;
        let variables = match self.prepare(&spec)? {
            Ok(variables) => variables,
            Err(why) => return Ok(Some(Ending::DeployFailed(why))),
        };
        match self.signal.told() {
            Told::Nothing => {}
            Told::Unwanted => return Ok(Some(Ending::Failed("it was stopped".to_owned()))), // `end` leaves it as it is
            Told::ServerStops => return Ok(None),
        }
        let process = match self.site.machine.engine.start(self.launch(&spec, variables)) {
            Ok(process) => process,
            Err(StartError::Command(why) | StartError::Deploy(why)) => return Ok(Some(Ending::DeployFailed(why))),
            Err(StartError::Ours(cause)) => return Err(ours(cause)),
        };
        let id = self.order.job.id.clone();
        let ending = match self.site.write(move |tx| running::run(tx, &id)) {
            Ok(true) => self.watch(&spec, &process),
            Ok(false) => Ok(Ending::Failed("it was stopped".to_owned())),
            Err(cause) => Err(cause),
        };
        process.stop(self.site.settings.grace);
        self.list(&spec, &mut Vec::new(), Which::Last)?;
        ending.map(Some)
    }

    // ---- before the start ----

    /// Unpacks what the job was pushed with, and gives the variables of its commands. `Err` is why it cannot be started.
    fn prepare(&self, spec: &Spec) -> Result<Result<BTreeMap<String, String>, String>, Error> {
        if let Some(why) = self.refusal(spec) {
            return Ok(Err(why));
        }
        let image = quoted(&spec.image.base_image);
        self.log.add(
            Level::Info,
            format!("The image {image} is not used: commands run with the programs of this machine."),
        );
        if spec.interactive_session.is_some() {
            self.log.add(Level::Warning, "There are no interactive sessions on this installation.".to_owned());
        }
        if let Err(why) = self.unpack()? {
            return Ok(Err(why));
        }
        for checkpoint in spec.loads() {
            if let Err(why) = self.load(checkpoint)? {
                return Ok(Err(why));
            }
        }
        let (order, folders, gpus) = (self.order, self.folders, self.accelerators.len());
        self.site.db.read((self.site.now)(), |tx| variables::variables(tx, order, spec, folders, gpus))
    }

    /// What the job asks for and one machine does not have.
    fn refusal(&self, spec: &Spec) -> Option<String> {
        let compute = &self.order.job.compute;
        if compute.nodes > 1 {
            return Some(format!(
                "it asks for {} nodes, and this installation has one: set node_count to 1",
                compute.nodes
            ));
        }
        if spec.weights.as_ref().is_some_and(|weights| !weights.is_empty()) {
            return Some(
                "it asks for weights, which this installation does not fetch: download them in a start command"
                    .to_owned(),
            );
        }
        match spec.start_commands().len() {
            0 => Some("it has no start commands".to_owned()),
            count if count > COMMANDS_MAX => Some(format!("it has more than {COMMANDS_MAX} start commands")),
            _ => None,
        }
    }

    fn unpack(&self) -> Result<Result<(), String>, Error> {
        let never = AtomicBool::new(false);
        for archive in &self.order.archives {
            let Some(archive) = archive else {
                return Ok(Err("an archive that it was pushed with is gone: push it again".to_owned()));
            };
            let path = archive.path(self.site.db.directory());
            let limits = Limits { unpacked_bytes_max: self.site.settings.job_bytes_max, ..Limits::default() };
            match unpack(&path, &self.folders.working, limits, &never) {
                Ok(()) => {}
                Err(ArchiveError::Content(why)) => return Ok(Err(format!("its archive cannot be unpacked: {why}"))),
                Err(ArchiveError::Ours(cause)) => return Err(ours(cause)),
            }
        }
        Ok(Ok(()))
    }

    /// Links a checkpoint of the team into the folder of loaded checkpoints. The job can read it there, not write it.
    fn load(&self, checkpoint: &Checkpoint) -> Result<Result<(), String>, Error> {
        let Some((job_id, name)) = self.site.db.read((self.site.now)(), |tx| self.find(tx, checkpoint))? else {
            return Ok(Err("there is no checkpoint as its load_checkpoint_config names it".to_owned()));
        };
        let from = checkpoint_folder(self.site.db.directory(), &self.order.team.id, &job_id).join(&name);
        match symlink(&from, self.folders.loaded.join(&name)) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(ours(cause)),
            _ => {
                self.log.add(Level::Info, format!("Loaded checkpoint {} of job {job_id}.", quoted(&name)));
                Ok(Ok(()))
            }
        }
    }

    fn find(&self, tx: &crate::db::Tx, asked: &Checkpoint) -> Result<Option<(String, String)>, Error> {
        let team_id = self.order.team.id.as_str();
        match (&asked.checkpoint_name, &asked.job_id) {
            (Some(name), Some(job_id)) => {
                let is_there = checkpoints::exists(tx, team_id, job_id, name)?;
                Ok(is_there.then(|| (job_id.clone(), name.clone())))
            }
            (None, Some(job_id)) => {
                Ok(checkpoints::latest_of_job(tx, team_id, job_id)?.map(|name| (job_id.clone(), name)))
            }
            (Some(name), None) => {
                let project = asked.project_name.as_deref().unwrap_or(&self.order.job.project.name);
                let latest = checkpoints::latest_of_project(tx, team_id, project)?;
                Ok(latest.filter(|(_, latest)| latest == name))
            }
            (None, None) => {
                let project = asked.project_name.as_deref().unwrap_or(&self.order.job.project.name);
                checkpoints::latest_of_project(tx, team_id, project)
            }
        }
    }

    fn launch(&self, spec: &Spec, variables: BTreeMap<String, String>) -> Launch {
        let settings = &self.site.settings;
        let compute = &self.order.job.compute;
        let shell = ["/bin/bash", "/bin/sh"].into_iter().find(|shell| Path::new(shell).exists()).unwrap_or("/bin/sh");
        let mut command = ["/bin/sh", "-c", DRIVER, shell].map(str::to_owned).to_vec();
        command.extend_from_slice(spec.start_commands());
        let mut writes = vec![self.folders.scratch.clone()];
        if spec.keeps_checkpoints() {
            writes.push(self.folders.checkpoints.clone());
        }
        if spec.has_cache() {
            writes.extend([self.folders.project_cache.clone(), self.folders.team_cache.clone()]);
        }
        let log = Arc::clone(self.log);
        let id = owner(&self.order.job.id);
        Launch {
            folder: self.site.machine.engine.folder(&id),
            id,
            directory: self.folders.working.clone(),
            command,
            variables,
            reads: self.reads(),
            writes,
            limits: engine::Limits {
                memory_bytes: (compute.memory_mib as u64) << 20,
                processes: settings.processes_max,
                cpus: compute.cpus as f64,
                disk_bytes: settings.job_bytes_max,
            },
            accelerators: self.accelerators.to_vec(),
            network: Network::Outbound,
            serves: Serves::Nothing,
            control: Control::default(),
            output: Box::new(move |line| log.print(&line.text)),
        }
    }

    /// The folder of loaded checkpoints, and where its links lead.
    fn reads(&self) -> Vec<PathBuf> {
        let links = std::fs::read_dir(&self.folders.loaded).into_iter().flatten().flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        targets.chain([self.folders.loaded.clone()]).collect()
    }

    // ---- while it runs ----

    /// Looks after the processes of a job until they end or must be stopped.
    fn watch(&self, spec: &Spec, process: &Process) -> Result<Ending, Error> {
        let mut known = Vec::new();
        let (mut listed, mut measured) = (Instant::now(), None);
        loop {
            self.log.store(self.site, &self.order.job.id);
            if let Some(ended) = process.ended() {
                return Ok(self.ending(ended));
            }
            match self.signal.told() {
                Told::Nothing => {}
                Told::Unwanted => return Ok(Ending::Failed("it was stopped".to_owned())),
                Told::ServerStops => {
                    return Ok(Ending::Failed("the server was stopped while the job ran: recreate the job".to_owned()));
                }
            }
            if listed.elapsed() >= LISTS_EVERY {
                self.list(spec, &mut known, Which::Running)?;
                listed = Instant::now();
            }
            if measured.as_ref().is_none_or(|(at, _): &(Instant, Usage)| at.elapsed() >= MEASURES_EVERY) {
                let usage = process.usage();
                self.measure(&usage, measured.as_ref())?;
                measured = Some((Instant::now(), usage));
                if let Some(why) = self.excess() {
                    return Ok(Ending::Failed(why));
                }
            }
            std::thread::sleep(LOOKS_EVERY);
        }
    }

    fn ending(&self, ended: Ended) -> Ending {
        let compute = &self.order.job.compute;
        match (ended.why, ended.exit) {
            (Some(Excess::Memory), _) => Ending::Failed(format!(
                "its processes took more than {} MiB of memory: ask for more",
                compute.memory_mib
            )),
            (Some(Excess::Disk), _) => {
                let max = self.site.settings.job_bytes_max;
                Ending::Failed(format!("its files took more than {max} bytes of disk"))
            }
            (Some(Excess::Processes), _) => {
                Ending::Failed(format!("it had more than {} processes", self.site.settings.processes_max))
            }
            (None, Exit::Code(0)) => Ending::Completed,
            (None, Exit::Code(code)) => Ending::Failed(format!("a start command ended with status {code}")),
            (None, Exit::Signal(signal)) => Ending::Failed(format!("its shell was ended by signal {signal}")),
        }
    }

    /// Why the checkpoints and caches of the team take too much, if they do.
    fn excess(&self) -> Option<String> {
        let team = folder_of_team(self.site.db.directory(), &self.order.team.id);
        let kept = ["checkpoints", "cache", "team-cache"].map(|name| team.join(name));
        let (bytes, max) = (bytes_of(kept.iter().map(PathBuf::as_path)), self.site.settings.team_bytes_max);
        (bytes > max).then(|| {
            format!("the checkpoints and caches of the team take {bytes} bytes, and it may have {max}: delete jobs")
        })
    }

    /// Stores what is in the checkpoint folder, if it differs from `known`; at the end also what is in the cache.
    fn list(&self, spec: &Spec, known: &mut Vec<StoredFile>, which: Which) -> Result<(), Error> {
        if spec.keeps_checkpoints() {
            let folder = &self.folders.checkpoints;
            let found = files::list(folder);
            if found != *known || which == Which::Last {
                let checkpoints = files::checkpoints(folder, &found);
                known.clone_from(&found);
                let id = self.order.job.id.clone();
                let stored = self.site.write(move |tx| checkpoints::replace(tx, &id, &checkpoints, &found));
                self.note_lack(stored)?;
            }
        }
        if spec.has_cache() && which == Which::Last {
            let found = files::list(&self.folders.project_cache);
            let id = self.order.job.project.id.clone();
            self.note_lack(self.site.write(move |tx| checkpoints::replace_cached(tx, &id, &found)))?;
        }
        Ok(())
    }

    /// A team without room in the database keeps its files, and they are not listed.
    fn note_lack(&self, stored: Result<(), Error>) -> Result<(), Error> {
        match stored {
            Err(Error::QuotaExceeded(_) | Error::StorageFull) => {
                let why = "Files are not listed: the team's quota of the database has no room for them.";
                self.log.add(Level::Warning, why.to_owned());
                Ok(())
            }
            stored => stored,
        }
    }

    fn measure(&self, usage: &Usage, before: Option<&(Instant, Usage)>) -> Result<(), Error> {
        let millicpu = before.map_or(0, |(at, before)| {
            let seconds = at.elapsed().as_secs_f64().max(0.001);
            ((usage.cpu_seconds - before.cpu_seconds).max(0.0) / seconds * 1000.0) as u64
        });
        let at = (self.site.now)().time;
        let sample = Sample { at, millicpu, memory_bytes: usage.memory_bytes, disk_bytes: usage.disk_bytes };
        let id = self.order.job.id.clone();
        match self.site.write(move |tx| running::add_sample(tx, &id, sample)) {
            Err(Error::QuotaExceeded(_) | Error::StorageFull) => Ok(()),
            stored => stored,
        }
    }
}

/// When files are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Running,
    Last,
}

fn ours(cause: io::Error) -> Error {
    Error::Internal(format!("a training job: {cause}"))
}
