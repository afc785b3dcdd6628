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
use crate::domain::training::JobStatus;
use crate::error::Error;
use crate::runner::engine::Engine;

mod files;
mod folders;
mod job;
mod log;
mod variables;

pub use files::open_inside;

/// How long the trainer sleeps at most. A commit or the end of a job wakes it.
const ROUNDS_EVERY: Duration = Duration::from_secs(1);
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
    /// The memory of all running jobs together, as they ask for it.
    pub memory_bytes_max: u64,
    /// The bytes of the checkpoints and caches of one team.
    pub team_bytes_max: u64,
    /// The bytes of the folders of one running job.
    pub job_bytes_max: u64,
    pub processes_max: u64,
    pub accelerators: Accelerators,
    /// How long the processes of a job that is stopped may take to end by themselves.
    pub grace: Duration,
}

/// What happens to jobs that ask for GPUs. This machine offers none to jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerators {
    /// The job is not started.
    Refused,
    /// The job runs without them.
    Ignored,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            jobs_max: 8,
            team_jobs_max: 4,
            memory_bytes_max: u64::MAX,
            team_bytes_max: 50 << 30,
            job_bytes_max: 20 << 30,
            processes_max: 512,
            accelerators: Accelerators::Refused,
            grace: Duration::from_secs(30),
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
    engine: &'a Engine,
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
pub fn run(db: &Db, engine: &Engine, settings: Settings, now: &(dyn Fn() -> Now + Sync), stopped: impl Fn() -> bool) {
    let site = Site { db, engine, settings, now };
    if let Err(cause) = site.write(running::end_abandoned) {
        tracing::error!(?cause, "training jobs that ran before are not ended");
    }
    folders::sweep_jobs(db);
    db::thread_parks();
    db.wake_on_commit(std::thread::current());
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel::<String>();
        let mut trainer = Trainer { site, running: HashMap::new(), served: HashMap::new(), begun: 0 };
        let mut swept: Option<Instant> = None;
        while !stopped() {
            match trainer.due() {
                Ok(due) => {
                    for order in due {
                        let (id, signal) = (order.job.id.clone(), trainer.enter(&order));
                        let (tell, thread) = (tell.clone(), std::thread::current());
                        let run = move || {
                            run_one(site, &order, &signal);
                            let _ = tell.send(order.job.id);
                            thread.unpark();
                        };
                        let started =
                            std::thread::Builder::new().name("training job".to_owned()).spawn_scoped(scope, run);
                        if let Err(cause) = started {
                            tracing::error!(training_job = id, ?cause, "cannot be started now");
                            trainer.running.remove(&id);
                        }
                    }
                }
                Err(cause) => tracing::error!(?cause, "training jobs do not move"),
            }
            trainer.stop_unwanted();
            if swept.is_none_or(|at| at.elapsed() >= SWEEPS_EVERY) {
                folders::sweep(db, (now)());
                swept = Some(Instant::now());
            }
            db::park();
            std::thread::park_timeout(ROUNDS_EVERY);
            told.try_iter().for_each(|id| drop(trainer.running.remove(&id)));
        }
        trainer.running.values().for_each(|running| running.signal.tell(Told::ServerStops));
    });
}

/// Runs a job and stores how it ended. A fault of this installation ends the job as failed, and no other job.
fn run_one(site: Site, order: &Order, signal: &Signal) {
    db::thread_parks();
    let id = &order.job.id;
    let ending = catch_unwind(AssertUnwindSafe(|| job::run(site, order, signal)));
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

struct Trainer<'a> {
    site: Site<'a>,
    running: HashMap<String, Running>,
    /// When a team was last served, as a count of jobs. Those that were never served come first.
    served: HashMap<String, u64>,
    begun: u64,
}

struct Running {
    team_id: String,
    memory_bytes: u64,
    signal: Arc<Signal>,
}

impl Trainer<'_> {
    /// The jobs that there is room for now. Teams take turns.
    fn due(&self) -> Result<Vec<Order>, Error> {
        let Site { db, now, settings, .. } = self.site;
        let mut waiting = db.read(now(), running::waiting)?;
        waiting.retain(|waiting| !self.running.contains_key(&waiting.id));
        waiting.sort_by_key(|waiting| (self.jobs_of(&waiting.team_id), self.served.get(&waiting.team_id).copied()));
        let (mut jobs, mut memory_bytes) = (self.running.len(), self.memory_bytes());
        let mut of_teams: HashMap<&str, usize> = HashMap::new();
        let mut due = Vec::new();
        for waiting in &waiting {
            let of_team = of_teams.entry(&waiting.team_id).or_insert_with(|| self.jobs_of(&waiting.team_id));
            if jobs >= settings.jobs_max {
                break;
            }
            if *of_team >= settings.team_jobs_max {
                continue;
            }
            let Some(order) = self.order(waiting)? else { continue };
            // A job that asks for more than there is runs alone: its processes are bounded all the same.
            if jobs > 0 && memory_bytes.saturating_add(order_bytes(&order)) > settings.memory_bytes_max {
                continue;
            }
            jobs += 1;
            *of_team += 1;
            memory_bytes = memory_bytes.saturating_add(order_bytes(&order));
            due.push(order);
        }
        Ok(due)
    }

    /// What a job needs. `None` if it was deleted, or is not begun again because it ended the server too often.
    fn order(&self, waiting: &Waiting) -> Result<Option<Order>, Error> {
        let order = match self.site.db.read((self.site.now)(), |tx| running::order(tx, waiting)) {
            Err(Error::NotFound(_)) => return Ok(None),
            order => order?,
        };
        let id = waiting.id.clone();
        if order.attempts >= ATTEMPTS_MAX {
            let why = "the server ended each time that it was begun: recreate the job".to_owned();
            self.site.write(move |tx| running::end(tx, &id, &Ending::DeployFailed(why)))?;
            return Ok(None);
        }
        self.site.write(move |tx| running::begin(tx, &id))?;
        Ok(Some(order))
    }

    fn enter(&mut self, order: &Order) -> Arc<Signal> {
        self.begun += 1;
        let team_id = order.team.id.as_str().to_owned();
        self.served.insert(team_id.clone(), self.begun);
        let signal = Arc::<Signal>::default();
        let running = Running { team_id, memory_bytes: order_bytes(order), signal: Arc::clone(&signal) };
        self.running.insert(order.job.id.clone(), running);
        signal
    }

    fn jobs_of(&self, team_id: &str) -> usize {
        self.running.values().filter(|running| running.team_id == team_id).count()
    }

    fn memory_bytes(&self) -> u64 {
        self.running.values().map(|running| running.memory_bytes).fold(0, u64::saturating_add)
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

fn order_bytes(order: &Order) -> u64 {
    (order.job.compute.memory_mib as u64) << 20
}
