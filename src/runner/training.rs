//! The trainer: runs the training jobs that the queue has deployed, as confined processes of this machine.
//!
//! A job has its archives unpacked, its start commands run one after another, and ends with the first that fails. What
//! is to be done is in the database, as the status of each job, so a stop or a crash loses nothing: a job that was only
//! deployed is begun again, and one that ran has failed, because its processes ended with the server.
//!
//! ```text
//! runner/training/TEAM/jobs/JOB/          what the job was pushed with and its scratch folder, until it ends
//! runner/training/TEAM/checkpoints/JOB/   the job's checkpoints, until the job is deleted
//! runner/training/TEAM/cache/PROJECT/     the cache of a project
//! runner/training/TEAM/team-cache/        the cache that all projects of the team share
//! ```
//!
//! A job may write to its own folders and to these caches, and reads no folder of another team.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::db::training_jobs::running::{self, Ending, Order, Waiting};
use crate::db::{self, Db, Now};
use crate::domain::capacity::{Accelerators, Needs, Refusal};
use crate::domain::serving::Level;
use crate::domain::training::{Compute, GpuType, JobStatus};
use crate::error::Error;
use crate::runner::machine::Machine;

mod files;
mod folders;
mod job;
mod log;
mod variables;

pub use files::open_inside;

/// How long the trainer sleeps at most. A commit or the end of a job wakes it, but never sooner than after the pause.
const ROUNDS_EVERY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// How often folders of jobs, projects and teams that were deleted are removed.
const SWEEPS_EVERY: Duration = Duration::from_secs(30);
/// A job that was begun so often, and ended the server each time, is not begun again.
const ATTEMPTS_MAX: i64 = 2;
const OUR_FAULT: &str = "a fault of this installation, which its log explains: recreate the job";

/// What the trainer may take.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many jobs run at the same time.
    pub jobs_max: usize,
    /// How many jobs of one team run at the same time.
    pub team_jobs_max: usize,
    /// The bytes of the checkpoints and caches of one team.
    pub team_bytes_max: u64,
    /// The bytes of the folders of one running job.
    pub job_bytes_max: u64,
    pub processes_max: u64,
    /// How long the processes of a job that is stopped may take to end by themselves.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            jobs_max: 8,
            team_jobs_max: 4,
            team_bytes_max: 50 << 30,
            job_bytes_max: 20 << 30,
            processes_max: 512,
            grace: Duration::from_secs(10),
        }
    }
}

/// What a running job is told.
#[derive(Default)]
struct Signal(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// The job was stopped or deleted.
    Unwanted,
    /// The server stops.
    ServerStops,
}

impl Signal {
    fn tell(&self, told: Told) {
        self.0.store(told as u8, Ordering::Relaxed);
    }

    fn told(&self) -> Told {
        match self.0.load(Ordering::Relaxed) {
            told if told == Told::Unwanted as u8 => Told::Unwanted,
            told if told == Told::ServerStops as u8 => Told::ServerStops,
            _ => Told::Nothing,
        }
    }
}

/// What all jobs share.
#[derive(Clone, Copy)]
struct Site<'a> {
    db: &'a Db,
    machine: &'a Machine,
    settings: Settings,
    now: &'a (dyn Fn() -> Now + Sync),
}

impl Site<'_> {
    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&db::Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.db.write_blocking((self.now)(), work)
    }
}

/// Runs until `stopped` returns true; then it ends all jobs. `now` is the clock. Call [`Db::attach_trainer`] before.
pub fn run(db: &Db, machine: &Machine, settings: Settings, now: &(dyn Fn() -> Now + Sync), stopped: impl Fn() -> bool) {
    let site = Site { db, machine, settings, now };
    if let Err(cause) = site.write(running::end_abandoned) {
        tracing::error!(?cause, "training jobs that ran before are not ended");
    }
    folders::sweep_jobs(db);
    db::thread_parks();
    db.wake_on_commit(std::thread::current());
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel::<String>();
        let mut trainer = Trainer::new(site);
        let mut swept: Option<Instant> = None;
        while !stopped() {
            match trainer.due() {
                Ok(due) => due.into_iter().for_each(|due| trainer.start(scope, due, &tell)),
                Err(cause) => tracing::error!(?cause, "training jobs do not move"),
            }
            trainer.stop_unwanted();
            if swept.is_none_or(|at| at.elapsed() >= SWEEPS_EVERY) {
                folders::sweep(db, (now)());
                swept = Some(Instant::now());
            }
            db::park();
            std::thread::sleep(PAUSE);
            std::thread::park_timeout(ROUNDS_EVERY);
            told.try_iter().for_each(|id| trainer.forget(&id));
        }
        trainer.running.values().for_each(|running| running.signal.tell(Told::ServerStops));
    });
}

/// Runs a job and stores how it ended. A fault of this installation ends the job as failed, and no other job.
fn run_one(site: Site, Due { order, accelerators }: &Due, signal: &Signal) {
    db::thread_parks();
    let id = &order.job.id;
    let ending = catch_unwind(AssertUnwindSafe(|| job::run(site, order, accelerators, signal)));
    let ending = ending.unwrap_or_else(|_| Err(Error::Defect("a training job panicked the trainer".to_owned())));
    let ending = ending.unwrap_or_else(|cause| {
        tracing::error!(training_job = id, ?cause, "a training job is given up");
        Some(Ending::Failed(OUR_FAULT.to_owned()))
    });
    let ended = id.clone();
    let stored = match ending {
        Some(ending) => site.write(move |tx| running::end(tx, &ended, &ending)),
        None => site.write(move |tx| running::give_back(tx, &ended)),
    };
    if let Err(cause) = stored {
        tracing::error!(training_job = id, ?cause, "the end of a training job is not stored");
    }
    db::park();
}

/// A job that begins now, and the accelerators that it has.
struct Due {
    order: Order,
    accelerators: Vec<u32>,
}

struct Trainer<'a> {
    site: Site<'a>,
    running: HashMap<String, Running>,
    /// When a team was last served, as a count of jobs. Those that were never served come first.
    served: HashMap<String, u64>,
    begun: u64,
    /// What jobs that wait for the machine were told.
    told: HashMap<String, String>,
}

struct Running {
    team_id: String,
    signal: Arc<Signal>,
}

impl<'a> Trainer<'a> {
    fn new(site: Site<'a>) -> Trainer<'a> {
        Trainer { site, running: HashMap::new(), served: HashMap::new(), begun: 0, told: HashMap::new() }
    }

    /// The jobs that there is room for now. Teams take turns.
    fn due(&mut self) -> Result<Vec<Due>, Error> {
        let Site { db, now, settings, .. } = self.site;
        let mut waiting = db.read(now(), running::waiting)?;
        waiting.retain(|waiting| !self.running.contains_key(&waiting.id));
        self.told.retain(|id, _| waiting.iter().any(|waiting| waiting.id == *id));
        waiting.sort_by_key(|waiting| (self.jobs_of(&waiting.team_id), self.served.get(&waiting.team_id).copied()));
        let mut jobs = self.running.len();
        let mut of_teams: HashMap<&str, usize> = HashMap::new();
        let mut due = Vec::new();
        for waiting in &waiting {
            let of_team = of_teams.entry(&waiting.team_id).or_insert_with(|| self.jobs_of(&waiting.team_id));
            if jobs >= settings.jobs_max {
                break;
            }
            if *of_team < settings.team_jobs_max
                && let Some(order) = self.admit(waiting)?
            {
                jobs += 1;
                *of_team += 1;
                due.push(order);
            }
        }
        Ok(due)
    }

    /// What a job needs, for which room of the machine is reserved. `None` if it was deleted, waits for room, or cannot
    /// run here.
    fn admit(&mut self, waiting: &Waiting) -> Result<Option<Due>, Error> {
        let id = waiting.id.clone();
        let order = match self.site.db.read((self.site.now)(), |tx| running::order(tx, waiting)) {
            Err(Error::NotFound(_)) => return Ok(None),
            order => order?,
        };
        if order.attempts >= ATTEMPTS_MAX {
            let why = "the server ended each time that it was begun: recreate the job".to_owned();
            self.site.write(move |tx| running::end(tx, &id, &Ending::DeployFailed(why)))?;
            return Ok(None);
        }
        let reserved = self.site.machine.capacity().reserve(&owner(&id), &needs(&order.job.compute));
        match reserved {
            Ok(accelerators) => {
                self.site.write(move |tx| running::begin(tx, &id)).inspect_err(|_| self.release(&waiting.id))?;
                Ok(Some(Due { order, accelerators }))
            }
            Err(Refusal::Never(why)) => {
                self.site.write(move |tx| running::end(tx, &id, &Ending::DeployFailed(why)))?;
                Ok(None)
            }
            Err(Refusal::Later(why)) => {
                if self.told.get(&id) != Some(&why) {
                    self.told.insert(id.clone(), why.clone());
                    let line = (Level::Info, format!("Waits: {why}."));
                    self.site.write(move |tx| running::append_lines(tx, &id, &[line]))?;
                }
                Ok(None)
            }
        }
    }

    /// Runs a job on a thread of its own.
    fn start<'scope>(&mut self, scope: &'scope std::thread::Scope<'scope, '_>, due: Due, tell: &mpsc::Sender<String>)
    where
        'a: 'scope,
    {
        self.begun += 1;
        let (id, team_id) = (due.order.job.id.clone(), due.order.team.id.as_str().to_owned());
        self.served.insert(team_id.clone(), self.begun);
        let signal = Arc::<Signal>::default();
        self.running.insert(id.clone(), Running { team_id, signal: Arc::clone(&signal) });
        let (site, tell, thread) = (self.site, tell.clone(), std::thread::current());
        let run = move || {
            run_one(site, &due, &signal);
            let _ = tell.send(due.order.job.id);
            thread.unpark();
        };
        if let Err(cause) = std::thread::Builder::new().name("training job".to_owned()).spawn_scoped(scope, run) {
            tracing::error!(training_job = id, ?cause, "cannot be started now");
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &str) {
        self.running.remove(id);
        self.release(id);
    }

    fn release(&self, id: &str) {
        self.site.machine.capacity().release(&owner(id));
    }

    fn jobs_of(&self, team_id: &str) -> usize {
        self.running.values().filter(|running| running.team_id == team_id).count()
    }

    /// Tells jobs that were stopped or deleted.
    fn stop_unwanted(&self) {
        for (id, running) in &self.running {
            match self.site.db.read((self.site.now)(), |tx| running::status(tx, id)) {
                Ok(Some(JobStatus::Deploying | JobStatus::Running)) => {}
                Ok(_) => running.signal.tell(Told::Unwanted),
                Err(cause) => tracing::error!(training_job = id, ?cause, "its status cannot be read"),
            }
        }
    }
}

/// The name under which a job has room of the machine, and under which its processes run.
fn owner(job_id: &str) -> String {
    format!("job-{job_id}")
}

fn needs(compute: &Compute) -> Needs {
    Needs {
        memory_bytes: (compute.memory_mib as u64) << 20,
        millicpus: u32::try_from(compute.cpus * 1000).unwrap_or(u32::MAX),
        accelerators: compute.gpus.map(|(kind, count)| Accelerators {
            kind: accelerator(kind).to_owned(),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }),
    }
}

/// The word of an accelerator's name that tells its kind.
fn accelerator(kind: GpuType) -> &'static str {
    match kind {
        GpuType::RtxPro6000 => "6000",
        other => other.as_str().trim_end_matches("_40GB"),
    }
}
