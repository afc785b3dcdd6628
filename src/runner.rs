//! Processes deployments: takes each from its push to an active deployment, one step at a time.
//!
//! The work to be done is in the database, as the status of each deployment. A stop or a crash therefore loses nothing:
//! the next start continues the work. Until models are really run, a deployment is built by reading its archive. If an
//! archive cannot be read, its deployment ends in `BUILD_FAILED` and its log says why. Archives are read outside of any
//! transaction, on their own threads. Organizations take turns, and archives with the same content are read once.
//!
//! A failure belongs to the deployment that caused it. An error in the content of the deployment ends it. A fault of
//! this installation (a full disk, a missing file descriptor) is retried later and is never written into a status.
//! Neither delays other deployments.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::db::deployments::patches::{self, Synced};
use crate::db::progress::{self, Part, Step, Waiting};
use crate::db::{self, Db, Now, Tx, archive_readings};
use crate::domain::deployments::Deployment;
use crate::domain::serving::{Level, Status};
use crate::domain::{Archive, OrgId, TeamId};
use crate::error::Error;

mod archive;
mod builds;
pub mod chain_keys;
mod endings;
mod endpoints;
pub mod engine;
pub mod fleet;
mod inspect;
pub mod lifecycle;
pub mod machine;
pub mod meter;
mod output;
mod patched;
mod plan;
mod probe;
pub mod python;
mod reloads;
mod replicas;
mod source;
mod task;
pub mod training;
mod tree;

use plan::{Plan, plan};
use task::{Done, Outcome, Subject, Task};

/// The minimum time between rounds while there are commits without a pause.
const ROUNDS_EVERY: Duration = Duration::from_millis(20);
/// How long the runner waits before a retry after a fault of this installation. The pause doubles each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How many archives are read or written at the same time: in total, and for one organization. A team has one at a
/// time.
const TASKS_MAX: usize = 4;
const ORGANIZATION_TASKS_MAX: usize = 2;

/// The message about a failure that clients cannot fix.
const OUR_FAULT: &str = "failed by a fault of this installation, which its log explains: push it again";

/// Runs until `stopped` returns true. `now` is the clock. This thread sleeps until [`std::thread::Thread::unpark`]
/// wakes it: on a commit, at the end of a task, or when the server stops.
pub fn run(db: &Db, part: Part, now: impl Fn() -> Now, stopped: impl Fn() -> bool) {
    let mut runner = Runner::new(db, part, &now);
    let (tell, told) = mpsc::channel();
    db::thread_parks();
    db.wake_on_commit(std::thread::current());
    std::thread::scope(|scope| {
        let mut seen = None;
        while !stopped() {
            let now = db.commits();
            if seen != Some(now) || runner.is_due() {
                seen = Some(now);
                let begun = Instant::now();
                let round = catch_unwind(AssertUnwindSafe(|| runner.round(&stopped)));
                match round.unwrap_or_else(|_| Err(Error::Internal("a round of the runner panicked".to_owned()))) {
                    Ok(round) => {
                        for task in round.begun {
                            start(scope, db, task, &tell);
                        }
                        if round.has_advanced {
                            seen = None;
                            continue;
                        }
                        db::park();
                        std::thread::sleep(ROUNDS_EVERY.saturating_sub(begun.elapsed()));
                    }
                    Err(cause) => {
                        tracing::error!(?cause, "deployments do not move");
                        seen = None;
                        std::thread::sleep(PAUSE_MIN);
                    }
                }
            }
            let done: Vec<Done> = told.try_iter().collect();
            // Checked just before the thread sleeps, because a wake-up that arrived while it waited for the writer is
            // lost.
            if done.is_empty() && seen == Some(db.commits()) && !stopped() {
                std::thread::park_timeout(runner.next_due());
            }
            for done in done {
                runner.end(done);
                seen = None;
            }
        }
        runner.stop_tasks();
        while runner.is_busy() {
            let Ok(done) = told.recv() else { return };
            runner.end(done);
        }
    });
}

fn start<'scope, 'env>(
    scope: &'scope std::thread::Scope<'scope, 'env>,
    db: &'env Db,
    task: Task,
    tell: &mpsc::Sender<Done>,
) {
    let (subject, answer, runner) = (task.subject(), tell.clone(), std::thread::current());
    let started = std::thread::Builder::new().name("archive".to_owned()).spawn_scoped(scope, move || {
        let _ = answer.send(task.run(db));
        runner.unpark();
    });
    if let Err(cause) = started {
        let _ = tell.send(Done { subject, outcome: Outcome::Ours(cause.to_string()) });
    }
}

/// Runs on this thread until no deployment can advance. Deployments that a fault of this installation delays are left
/// for the next call.
///
/// # Errors
///
/// [`Error`] of the database if a round cannot be read.
pub fn work(db: &Db, now: &impl Fn() -> Now, stopped: &impl Fn() -> bool) -> Result<(), Error> {
    let mut runner = Runner::new(db, Part::All, now);
    loop {
        let round = runner.round(stopped)?;
        if !round.has_advanced && round.begun.is_empty() {
            return Ok(());
        }
        for task in round.begun {
            let done = task.run(db);
            runner.end(done);
        }
    }
}

struct Runner<'a, M> {
    db: &'a Db,
    part: Part,
    now: &'a M,
    busy: HashMap<Subject, Running>,
    /// When a team or an organization was last served, as a count of tasks. Those that were never served come first.
    served: HashMap<String, u64>,
    tasks_begun: u64,
    /// Attempts that are recorded in the database but whose end could not be written. They are not recorded again,
    /// because this process did not crash.
    recorded: HashSet<Subject>,
    pauses: HashMap<Subject, Pause>,
}

/// A running task, with its organization and team.
struct Running {
    org_id: OrgId,
    team_id: TeamId,
    task: Task,
}

/// A task that may start.
struct Candidate {
    waiting: Waiting,
    task: Task,
    /// How many earlier attempts started and did not end.
    attempts: i64,
}

/// How long a subject is not retried after a fault of this installation.
struct Pause {
    until: Instant,
    length: Duration,
}

#[derive(Default)]
struct Round {
    has_advanced: bool,
    begun: Vec<Task>,
}

impl<'a, M: Fn() -> Now> Runner<'a, M> {
    fn new(db: &'a Db, part: Part, now: &'a M) -> Runner<'a, M> {
        Runner {
            db,
            part,
            now,
            busy: HashMap::new(),
            served: HashMap::new(),
            tasks_begun: 0,
            recorded: HashSet::new(),
            pauses: HashMap::new(),
        }
    }

    fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// The time until the next retry is due.
    fn next_due(&self) -> Duration {
        let waiting = self.pauses.iter().filter(|(subject, _)| !self.busy.contains_key(subject));
        let first = waiting.map(|(_, pause)| pause.until).min();
        first.map_or(PAUSE_MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether a retry is due.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        self.pauses.iter().any(|(subject, pause)| pause.until <= now && !self.busy.contains_key(subject))
    }

    /// Advances each deployment by one step where the step is quick, and starts the tasks that take longer.
    fn round(&mut self, stopped: &impl Fn() -> bool) -> Result<Round, Error> {
        let now = Instant::now();
        let mut steps = Steps::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        self.stop_unwanted()?;
        let all_waiting = self.db.read((self.now)(), |tx| progress::waiting(tx, inspect::RULES, self.part))?;
        let owners: HashSet<&str> =
            all_waiting.iter().flat_map(|one| [one.org_id.as_str(), one.team_id.as_str()]).collect();
        self.served.retain(|id, _| owners.contains(id.as_str()));
        for waiting in all_waiting {
            let row = Subject::Deployment(waiting.id.clone());
            // One candidate per team is enough. Planning more would make the time of a round grow with the queue.
            let has_candidate = candidates.iter().any(|candidate| candidate.waiting.team_id == waiting.team_id);
            if self.is_paused(&row, now)
                || self.busy.contains_key(&row)
                || waiting.is_slow && (has_candidate || self.has_its_share(&waiting))
            {
                continue;
            }
            match self.db.read((self.now)(), |tx| plan(tx, &waiting.id, self.part)) {
                Ok(Plan::Rest) => {}
                Ok(Plan::Step(..)) if stopped() => break,
                Ok(Plan::Step(deployment, step)) => {
                    steps.take(self.db, (self.now)(), waiting, move |tx| progress::advance(tx, &deployment, &step))
                }
                Ok(Plan::GiveUpPatches { deployment, synced, why }) => {
                    steps.take(self.db, (self.now)(), waiting, move |tx| {
                        progress::fail_patches(tx, &deployment, &synced, &why)
                    });
                }
                Ok(Plan::Task { task, attempts }) => {
                    let subject = task.subject();
                    if !self.is_paused(&subject, now) && !self.busy.contains_key(&subject) {
                        candidates.push(Candidate { waiting, task, attempts });
                    }
                }
                Err(cause) => self.settle(&row, cause),
            }
        }
        let mut round = Round { has_advanced: false, begun: self.begin(candidates) };
        for (id, done) in steps.wait() {
            match done {
                Ok(()) => round.has_advanced = true,
                Err(cause) => self.settle(&Subject::Deployment(id), cause),
            }
        }
        self.pauses.retain(|subject, pause| pause.until > now || self.busy.contains_key(subject));
        Ok(round)
    }

    fn is_paused(&self, subject: &Subject, now: Instant) -> bool {
        self.pauses.get(subject).is_some_and(|pause| pause.until > now)
    }

    /// Stops tasks whose result no deployment needs anymore.
    fn stop_unwanted(&self) -> Result<(), Error> {
        for Running { task, .. } in self.busy.values() {
            if !self.db.read((self.now)(), |tx| task.is_wanted(tx))? {
                task.stop();
            }
        }
        Ok(())
    }

    fn stop_tasks(&self) {
        self.busy.values().for_each(|running| running.task.stop());
    }

    /// Whether the team or its organization has reached its number of tasks.
    fn has_its_share(&self, waiting: &Waiting) -> bool {
        let of_organization = self.busy.values().filter(|running| running.org_id == waiting.org_id);
        self.busy.values().any(|running| running.team_id == waiting.team_id)
            || of_organization.count() >= ORGANIZATION_TASKS_MAX
    }

    /// Starts tasks, first those of the organization and the team that were served longest ago. A task that started
    /// before and did not end runs alone. If it crashes the process again, no other task is suspected.
    fn begin(&mut self, mut candidates: Vec<Candidate>) -> Vec<Task> {
        let is_suspected = |candidate: &Candidate, runner: &Self| {
            candidate.attempts > 0 && !runner.recorded.contains(&candidate.task.subject())
        };
        if let Some(at) = candidates.iter().position(|candidate| is_suspected(candidate, self)) {
            let Candidate { waiting, task, .. } = candidates.swap_remove(at);
            return if self.busy.is_empty() { Vec::from_iter(self.record(waiting, task.alone())) } else { Vec::new() };
        }
        let last_served = |id: &str| self.served.get(id).copied().unwrap_or_default();
        candidates.sort_by_key(|Candidate { waiting, .. }| {
            (last_served(waiting.org_id.as_str()), last_served(waiting.team_id.as_str()))
        });
        let mut begun = Vec::new();
        for Candidate { waiting, task, .. } in candidates {
            let is_full = self.busy.len() >= TASKS_MAX || self.busy.values().any(|running| running.task.is_alone());
            let is_busy = self.busy.contains_key(&task.subject()); // another team's deployment of one archive
            if !is_full && !is_busy && !self.has_its_share(&waiting) {
                begun.extend(self.record(waiting, task));
            }
        }
        begun
    }

    /// Records an attempt before it starts. `None` if it could not be recorded.
    fn record(&mut self, waiting: Waiting, task: Task) -> Option<Task> {
        let subject = task.subject();
        if !self.recorded.contains(&subject) {
            let begins = task.clone();
            if let Err(cause) = self.write(move |tx| begins.record(tx)) {
                self.settle(&subject, cause);
                return None;
            }
            self.recorded.insert(subject.clone());
        }
        self.tasks_begun += 1;
        let Waiting { org_id, team_id, .. } = waiting;
        self.served.insert(org_id.as_str().to_owned(), self.tasks_begun);
        self.served.insert(team_id.as_str().to_owned(), self.tasks_begun);
        self.busy.insert(subject, Running { org_id, team_id, task: task.clone() });
        Some(task)
    }

    /// Stores the outcome of a task.
    fn end(&mut self, Done { subject, outcome }: Done) {
        let Some(Running { task, .. }) = self.busy.remove(&subject) else { return };
        let fault = match &outcome {
            Outcome::Ours(why) => Some(why.clone()),
            Outcome::Stopped | Outcome::Read(_) | Outcome::Patched(_) => None,
        };
        match self.write(move |tx| task.end(tx, outcome)) {
            Ok(()) => {
                self.recorded.remove(&subject);
                if let Some(why) = fault {
                    self.pause(&subject, &why);
                }
            }
            Err(cause) => self.settle(&subject, cause),
        }
    }

    /// Handles a failure. If it would happen again, the deployment or the reading of the archive ends as failed. A
    /// fault of this installation is retried.
    fn settle(&mut self, subject: &Subject, cause: Error) {
        if !cause.would_recur() {
            return self.pause(subject, &format!("{cause:?}"));
        }
        tracing::error!(%subject, ?cause, "is given up");
        let ended = subject.clone();
        let given_up = self.write(move |tx| match &ended {
            Subject::Archive(hash) => archive_readings::end(tx, hash, Err(OUR_FAULT)),
            Subject::Deployment(id) => progress::give_up(tx, id, OUR_FAULT),
        });
        if let Err(cause) = given_up {
            self.pause(subject, &format!("{cause:?}"));
        }
    }

    fn pause(&mut self, subject: &Subject, why: &str) {
        let length = self.pauses.get(subject).map_or(PAUSE_MIN, |before| PAUSE_MAX.min(before.length * 2));
        tracing::warn!(%subject, why, seconds = length.as_secs(), "waits to be tried again");
        self.pauses.insert(subject.clone(), Pause { until: Instant::now() + length, length });
    }

    fn write(&self, work: impl FnOnce(&Tx) -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
        self.db.write_blocking((self.now)(), work)
    }
}

/// Quick steps. Each is its own write; they are committed in groups.
struct Steps {
    tell: mpsc::Sender<(String, Result<(), Error>)>,
    told: mpsc::Receiver<(String, Result<(), Error>)>,
}

impl Steps {
    fn new() -> Steps {
        let (tell, told) = mpsc::channel();
        Steps { tell, told }
    }

    fn take(
        &mut self,
        db: &Db,
        now: Now,
        Waiting { id, .. }: Waiting,
        step: impl FnOnce(&Tx) -> Result<(), Error> + Send + 'static,
    ) {
        let answer = self.tell.clone();
        let failed = (id.clone(), answer.clone());
        if let Err(cause) = db.queue(now, step, move |done| drop(answer.send((id, done)))) {
            let _ = failed.1.send((failed.0, Err(cause)));
        }
    }

    fn wait(self) -> Vec<(String, Result<(), Error>)> {
        drop(self.tell);
        self.told.iter().collect()
    }
}
