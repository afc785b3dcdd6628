//! Carries out what was committed: takes deployments from their push to being active, one step at a time.
//!
//! What is to be done is in the database as a status, so a stop or a crash loses nothing: the next start picks up what is
//! under way. Until models are really run, a deployment is built by reading its archive: one that cannot be read ends in
//! `BUILD_FAILED`, and its log says why. Archives are read outside of any transaction, on threads of their own, in turns of
//! the organizations, and once for each content.
//!
//! A failure belongs to the deployment that it is about. What is wrong with that ends it. A fault of ours (a full disk, a
//! missing descriptor) is tried again after a while, and is never written into a status. Neither keeps others waiting.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::db::deployments::patches::{self, Synced};
use crate::db::progress::{self, Step, Waiting};
use crate::db::{Db, Now, Tx, archive_readings};
use crate::domain::deployments::Deployment;
use crate::domain::serving::{Level, Status};
use crate::domain::{Archive, OrgId};
use crate::error::Error;

mod archive;
mod inspect;
mod patched;
mod plan;
pub mod python;
mod source;
mod task;
mod tree;

use plan::{Plan, plan};
use task::{Done, Outcome, Subject, Task};

/// How often it looks for commits.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// How long it waits after a fault of ours: twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How many archives are read or written at once; no organization has more than one of them.
const TASKS_MAX: usize = 4;
/// How many steps of one organization are taken before the others have their turn again.
const STEPS_IN_TURN_MAX: usize = 32;

/// What is said of a failure that nobody outside can mend.
const OUR_FAULT: &str = "failed by a fault of this installation, which its log explains: push it again";

/// Works until told to stop. `now` is the clock.
pub fn run(db: &Db, now: impl Fn() -> Now, stopped: impl Fn() -> bool) {
    let mut runner = Runner::new(db, &now);
    let stop = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut seen = None;
        while !stopped() {
            let now = db.commits();
            if seen != Some(now) || runner.is_due() {
                seen = Some(now);
                let round = catch_unwind(AssertUnwindSafe(|| runner.round(&stopped)));
                match round.unwrap_or_else(|_| Err(Error::Internal("a round of the runner panicked".to_owned()))) {
                    Ok(round) => {
                        for task in round.begun {
                            start(scope, db, task, &stop, &tell);
                        }
                        if round.has_advanced {
                            seen = None;
                            continue;
                        }
                    }
                    Err(cause) => {
                        tracing::error!(?cause, "deployments do not move");
                        seen = None;
                        std::thread::sleep(PAUSE_MIN);
                    }
                }
            }
            if let Ok(done) = told.recv_timeout(LOOKS_EVERY) {
                runner.end(done);
                seen = None;
            }
        }
        stop.store(true, Ordering::Relaxed);
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
    stop: &'env AtomicBool,
    tell: &mpsc::Sender<Done>,
) {
    let (subject, answer) = (task.subject(), tell.clone());
    let started = std::thread::Builder::new().name("archive".to_owned()).spawn_scoped(scope, move || {
        let _ = answer.send(task.run(db, stop));
    });
    if let Err(cause) = started {
        let _ = tell.send(Done { subject, outcome: Outcome::Ours(cause.to_string()) });
    }
}

/// Takes everything that is under way to where it comes to rest, on this thread. What a fault of ours holds up is left for
/// the next time.
pub fn work(db: &Db, now: &impl Fn() -> Now, stopped: &impl Fn() -> bool) -> Result<(), Error> {
    let mut runner = Runner::new(db, now);
    loop {
        let round = runner.round(stopped)?;
        if !round.has_advanced && round.begun.is_empty() {
            return Ok(());
        }
        for task in round.begun {
            let done = task.run(db, &AtomicBool::new(false));
            runner.end(done);
        }
    }
}

struct Runner<'a, M> {
    db: &'a Db,
    now: &'a M,
    /// Tasks that run, and for which organization.
    busy: HashMap<Subject, (OrgId, Task)>,
    /// Attempts that this process recorded and could not end in the database. They are not recorded again: it lives.
    recorded: HashSet<Subject>,
    pauses: HashMap<Subject, Pause>,
}

/// Until when something is left alone after a fault of ours.
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
    fn new(db: &'a Db, now: &'a M) -> Runner<'a, M> {
        Runner { db, now, busy: HashMap::new(), recorded: HashSet::new(), pauses: HashMap::new() }
    }

    fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Whether something may be tried again.
    fn is_due(&self) -> bool {
        let now = Instant::now();
        self.pauses.iter().any(|(subject, pause)| pause.until <= now && !self.busy.contains_key(subject))
    }

    /// Takes each deployment one step on, where that is quick, and begins what takes longer.
    fn round(&mut self, stopped: &impl Fn() -> bool) -> Result<Round, Error> {
        let now = Instant::now();
        let mut steps = Steps::new();
        let mut tasks = Vec::new();
        for waiting in self.db.read((self.now)(), progress::waiting)? {
            let row = Subject::Deployment(waiting.id.clone());
            if self.is_paused(&row, now) || self.busy.contains_key(&row) || steps.are_enough(&waiting.org_id) {
                continue;
            }
            match self.db.read((self.now)(), |tx| plan(tx, &waiting.id)) {
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
                Ok(Plan::Task { task, attempts }) => tasks.push((waiting.org_id, task, attempts)),
                Err(cause) => self.settle(&row, cause),
            }
        }
        let mut round = Round { has_advanced: false, begun: self.begin(tasks, now) };
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

    /// Begins tasks in turns of the organizations. One that was begun before and never ended runs alone: if it takes the
    /// process with it again, no other is suspected.
    fn begin(&mut self, tasks: Vec<(OrgId, Task, i64)>, now: Instant) -> Vec<Task> {
        let mut begun = Vec::new();
        let is_suspected = |(_, task, attempts): &(OrgId, Task, i64), runner: &Self| {
            *attempts > 0 && !runner.recorded.contains(&task.subject())
        };
        let free = |(_, task, _): &(OrgId, Task, i64), runner: &Self| {
            !runner.is_paused(&task.subject(), now) && !runner.busy.contains_key(&task.subject())
        };
        let suspect_runs = self.busy.values().any(|(_, task)| task.is_alone());
        if let Some(at) = tasks.iter().position(|task| is_suspected(task, self) && free(task, self)) {
            let (org_id, task, _) = tasks.into_iter().nth(at).expect("it was just found");
            if self.busy.is_empty() {
                begun.extend(self.record(org_id, task.alone()));
            }
            return begun;
        }
        for entry in tasks {
            let is_full = suspect_runs || self.busy.len() >= TASKS_MAX;
            if is_full || !free(&entry, self) || self.busy.values().any(|(org_id, _)| *org_id == entry.0) {
                continue;
            }
            begun.extend(self.record(entry.0, entry.1));
        }
        begun
    }

    /// Records an attempt before it begins.
    fn record(&mut self, org_id: OrgId, task: Task) -> Option<Task> {
        let subject = task.subject();
        if !self.recorded.contains(&subject) {
            let begins = task.clone();
            if let Err(cause) = self.write(move |tx| begins.record(tx)) {
                self.settle(&subject, cause);
                return None;
            }
            self.recorded.insert(subject.clone());
        }
        self.busy.insert(subject, (org_id, task.clone()));
        Some(task)
    }

    /// Takes down what came of a task.
    fn end(&mut self, Done { subject, outcome }: Done) {
        let Some((_, task)) = self.busy.remove(&subject) else { return };
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

    /// Decides whose a failure is: what would happen again ends the row, a fault of ours is tried again.
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

/// Quick steps, each a write of its own, committed in groups.
struct Steps {
    tell: mpsc::Sender<(String, Result<(), Error>)>,
    told: mpsc::Receiver<(String, Result<(), Error>)>,
    taken: HashMap<OrgId, usize>,
}

impl Steps {
    fn new() -> Steps {
        let (tell, told) = mpsc::channel();
        Steps { tell, told, taken: HashMap::new() }
    }

    fn are_enough(&self, org_id: &OrgId) -> bool {
        self.taken.get(org_id).is_some_and(|taken| *taken >= STEPS_IN_TURN_MAX)
    }

    fn take(
        &mut self,
        db: &Db,
        now: Now,
        Waiting { id, org_id }: Waiting,
        step: impl FnOnce(&Tx) -> Result<(), Error> + Send + 'static,
    ) {
        *self.taken.entry(org_id).or_default() += 1;
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
