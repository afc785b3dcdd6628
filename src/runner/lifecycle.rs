//! Keeps deployments in the state that their rows say: builds them, starts their replicas, restarts what ended, scales, and
//! stops what nobody wants any more.
//!
//! What is wanted is in the database. One thread compares it with what is there, after each commit that may have changed
//! it, after each report of a build or a replica, and at deadlines. Each step is decided from the row and the replicas
//! alone, so that a step that failed is tried again. While nothing happens, the thread sleeps.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::db::progress::Step;
use crate::db::secrets::Mark;
use crate::db::serving::{self, Kept};
use crate::db::{self, Db, Followed, Now, Tx};
use crate::domain::TeamId;
use crate::domain::serving::{Level, Status};
use crate::domain::turns::Turns;
use crate::error::Error;
use crate::runner::chain_keys::ChainKeys;
use crate::runner::fleet::Fleet;
use crate::runner::machine::Machine;
use crate::runner::output::Journal;
use crate::runner::python;
use crate::token::PlainKey;

mod building;
mod chains;
mod control;
mod entry;
mod replacing;
mod starting;
mod steps;

use building::BuildEnd;
use entry::Entry;

/// The minimum time between rounds.
const ROUNDS_EVERY: Duration = Duration::from_millis(10);
/// The longest time between rounds.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long the runner waits before a retry after a fault of this installation.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// When the server stops: how long the last calls are waited for, and then the end of the replicas.
const CALLS_AT_END: Duration = Duration::from_secs(6);
const GRACE_AT_END: Duration = Duration::from_secs(3);
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// What the lifecycle works with.
pub struct Parts<'a> {
    pub db: &'a Db,
    pub machine: &'a Arc<Machine>,
    pub fleet: &'a Arc<Fleet>,
    pub chain_keys: &'a ChainKeys,
    /// Where this server listens. Chainlets call each other there.
    pub address: SocketAddr,
    /// The clock.
    pub now: fn() -> Now,
}

/// Runs until `stopped` returns true, then ends all replicas. This thread sleeps until [`std::thread::Thread::unpark`]
/// wakes it.
pub fn run(parts: Parts, stopped: impl Fn() -> bool) {
    let (db, now) = (parts.db, parts.now);
    db::thread_parks();
    db.wake_on_commit(std::thread::current());
    let journal = Arc::new(Journal::default());
    std::thread::scope(|scope| {
        let (written, clock) = (Arc::clone(&journal), now);
        scope.spawn(move || written.keep_written(db, clock));
        let mut lifecycle = Lifecycle::new(parts, Arc::clone(&journal));
        while !stopped() {
            let begun = Instant::now();
            let round = catch_unwind(AssertUnwindSafe(|| lifecycle.round()));
            match round.unwrap_or_else(|_| Err(Error::Internal("a round of the lifecycle panicked".to_owned()))) {
                Ok(()) => {}
                Err(cause) => {
                    tracing::error!(?cause, "models are not looked after");
                    lifecycle.look_again();
                    std::thread::sleep(RETRY_AFTER);
                }
            }
            db::park();
            std::thread::sleep(ROUNDS_EVERY.saturating_sub(begun.elapsed()));
            if !lifecycle.has_news() && !stopped() {
                std::thread::park_timeout(lifecycle.next_due());
            }
        }
        lifecycle.end();
        journal.close();
    });
}

/// Reports of the threads of builds and replicas.
enum Report {
    Built { deployment_id: String, build_id: String, end: BuildEnd },
    Replica { deployment_id: String, replica_id: String, report: crate::runner::replicas::Report },
    Replaced { deployment_id: String, end: replacing::End },
}

/// Sends reports to the lifecycle, and wakes it.
#[derive(Clone)]
struct Tell {
    reports: mpsc::Sender<Report>,
    thread: Thread,
}

impl Tell {
    fn send(&self, report: Report) {
        let _ = self.reports.send(report); // the lifecycle may have ended
        self.thread.unpark();
    }
}

struct Lifecycle<'a> {
    db: &'a Db,
    machine: &'a Arc<Machine>,
    fleet: &'a Arc<Fleet>,
    chain_keys: &'a ChainKeys,
    address: SocketAddr,
    now: fn() -> Now,
    /// The keys of Chains that run, by the ids of their deployments.
    keys: RefCell<HashMap<String, PlainKey>>,
    journal: Arc<Journal>,
    tell: Tell,
    told: mpsc::Receiver<Report>,
    entries: HashMap<String, Entry>,
    /// Deployments that are to be looked at in this round.
    touched: BTreeSet<String>,
    turns: Turns,
    /// The state of the secrets that the replicas of each team have.
    secrets: HashMap<TeamId, Mark>,
    has_begun: bool,
    seen_deployments: Option<u64>,
    seen_secrets: Option<u64>,
    /// Reports that were received and not handled yet.
    news: Vec<Report>,
}

impl<'a> Lifecycle<'a> {
    fn new(parts: Parts<'a>, journal: Arc<Journal>) -> Lifecycle<'a> {
        let (reports, told) = mpsc::channel();
        let Parts { db, machine, fleet, chain_keys, address, now } = parts;
        Lifecycle {
            db,
            machine,
            fleet,
            chain_keys,
            address: reachable(address),
            now,
            keys: RefCell::default(),
            journal,
            tell: Tell { reports, thread: std::thread::current() },
            told,
            entries: HashMap::new(),
            touched: BTreeSet::new(),
            turns: Turns::default(),
            secrets: HashMap::new(),
            has_begun: false,
            seen_deployments: None,
            seen_secrets: None,
            news: Vec::new(),
        }
    }

    fn round(&mut self) -> Result<(), Error> {
        if !self.has_begun {
            self.write(serving::begin)?;
            self.has_begun = true;
        }
        self.receive();
        for report in std::mem::take(&mut self.news) {
            self.handle(report);
        }
        let deployments = self.db.changes(Followed::Deployments);
        if self.seen_deployments != Some(deployments) {
            self.scan()?;
            self.seen_deployments = Some(deployments);
        }
        let secrets = self.db.changes(Followed::Secrets);
        if self.seen_secrets != Some(secrets) {
            self.rotate()?;
            self.seen_secrets = Some(secrets);
        }
        self.touch_due();
        for id in std::mem::take(&mut self.touched) {
            self.step(&id);
        }
        self.begin_builds();
        self.begin_starts();
        self.revoke_keys();
        Ok(())
    }

    fn receive(&mut self) {
        self.news.extend(self.told.try_iter());
    }

    /// Whether there is something to do at once.
    fn has_news(&mut self) -> bool {
        self.receive();
        !self.news.is_empty()
            || !self.touched.is_empty()
            || self.seen_deployments != Some(self.db.changes(Followed::Deployments))
            || self.seen_secrets != Some(self.db.changes(Followed::Secrets))
    }

    /// Makes the next round look at everything.
    fn look_again(&mut self) {
        self.seen_deployments = None;
        self.touched.extend(self.entries.keys().cloned());
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Built { deployment_id, build_id, end } => self.end_build(&deployment_id, &build_id, end),
            Report::Replica { deployment_id, replica_id, report } => {
                self.note(&deployment_id, &replica_id, report);
            }
            Report::Replaced { deployment_id, end } => self.end_replacing(&deployment_id, end),
        }
    }

    /// Reads the rows, and touches the deployments that differ from what is known.
    fn scan(&mut self) -> Result<(), Error> {
        let (kept, unwanted) = self.read(|tx| Ok((serving::kept(tx)?, serving::unwanted_replicas(tx)?)))?;
        let ids: HashSet<&str> = kept.iter().map(|kept| kept.deployment.id.as_str()).collect();
        let gone: Vec<String> = self.entries.keys().filter(|id| !ids.contains(id.as_str())).cloned().collect();
        let owners: HashSet<&str> =
            kept.iter().flat_map(|kept| [kept.org_id.as_str(), kept.team_id.as_str()]).collect();
        self.turns.keep(&owners);
        for id in gone {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_gone = true;
                self.touched.insert(id);
            }
        }
        for kept in kept {
            self.take_over(kept);
        }
        for (deployment_id, replica_id) in unwanted {
            self.terminate(&deployment_id, &replica_id);
        }
        Ok(())
    }

    /// Takes over a row.
    fn take_over(&mut self, kept: Kept) {
        let id = kept.deployment.id.clone();
        let Some(entry) = self.entries.get_mut(&id) else {
            self.entries.insert(id.clone(), Entry::new(kept));
            self.touched.insert(id);
            return;
        };
        let before = std::mem::replace(&mut entry.kept, kept);
        let (was, is) = (&before.deployment, &entry.kept.deployment);
        let is_new_settings = was.settings != is.settings;
        let is_new_environment = before.environment() != entry.kept.environment();
        let is_pushed_again = is.status == Status::Building
            && (was.status != Status::Building
                || was.s3_key != is.s3_key
                || was.truss_hash.is_some() && is.truss_hash.is_none());
        let is_changed = is_new_settings
            || is_new_environment
            || entry.is_gone
            || was.status != is.status
            || before.waits_for_archive != entry.kept.waits_for_archive
            || was.s3_key != is.s3_key;
        if was.status != Status::Updating && is.status == Status::Updating {
            entry.failure = None;
        }
        entry.is_gone = false;
        if is_pushed_again {
            entry.start_over();
        }
        if is_new_settings {
            entry.reset_scaling();
            self.configure(&id);
        }
        if is_new_environment {
            self.tell_replicas(&id);
        }
        if is_changed {
            self.touched.insert(id);
        }
    }

    /// Touches deployments whose deadline has passed.
    fn touch_due(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .entries
            .iter()
            .filter(|(_, entry)| self.deadline(entry).is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.pause = entry.pause.filter(|until| *until > now);
                let load = self.fleet.load(&id);
                if entry.look_at(&load, self.machine.settings.replicas_max).is_some_and(|at| at <= now) {
                    entry.scale(&load, self.machine.settings.replicas_max, now);
                }
            }
            self.touched.insert(id);
        }
    }

    /// When a deployment must be looked at, whatever happens.
    fn deadline(&self, entry: &Entry) -> Option<Instant> {
        let look = match entry.status() {
            Status::Active => entry.look_at(&self.fleet.load(entry.id()), self.machine.settings.replicas_max),
            _ => None,
        };
        entry.pause.into_iter().chain(look).min()
    }

    fn next_due(&self) -> Duration {
        let first = self.entries.values().filter_map(|entry| self.deadline(entry)).chain(self.next_start()).min();
        first.map_or(SLEEP_MAX, |at| at.saturating_duration_since(Instant::now()).min(SLEEP_MAX))
    }

    /// Stops everything, because the server stops. Replicas get time to answer their last calls.
    fn end(&mut self) {
        for entry in self.entries.values_mut() {
            entry.build = None;
            entry.replicas.iter().for_each(|slot| slot.halt.tell());
        }
        std::thread::scope(|scope| {
            for slot in self.entries.values().flat_map(|entry| &entry.replicas) {
                let Some(process) = &slot.process else { continue };
                let is_busy = || slot.replica.as_ref().is_some_and(|replica| replica.outstanding() > 0);
                scope.spawn(move || {
                    let until = Instant::now() + CALLS_AT_END;
                    while is_busy() && Instant::now() < until && process.ended().is_none() {
                        std::thread::sleep(LOOKS_EVERY);
                    }
                    process.stop(GRACE_AT_END);
                });
            }
        });
        let ids: Vec<String> = self.entries.keys().cloned().collect();
        let ended = self.write(move |tx| serving::end(tx, &ids));
        if let Err(cause) = ended {
            tracing::warn!(?cause, "the end of replicas is not recorded");
        }
    }

    // ---- the database ----

    fn read<T>(&self, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
        self.db.read((self.now)(), work)
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.db.write_blocking((self.now)(), work)
    }

    /// Takes a deployment to a status, if it still has the status that is known here. The next scan sees it.
    fn advance(&mut self, id: &str, status: Status, level: Level, message: &str) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let (from, id) = (entry.status(), id.to_owned());
        let step = Step { status, level, message: message.to_owned(), truss_hash: None };
        let written = self.write({
            let id = id.clone();
            move |tx| serving::advance(tx, &id, &[from], &step)
        });
        match written {
            Ok(is_done) => {
                if let Some(entry) = self.entries.get_mut(&id).filter(|_| is_done) {
                    entry.kept.deployment.status = status;
                    entry.told = None;
                }
                is_done
            }
            Err(cause) => {
                self.postpone(&id, &format!("{cause:?}"));
                false
            }
        }
    }

    /// Writes a line into the log of a deployment.
    fn log(&self, id: &str, level: Level, message: String) {
        let id = id.to_owned();
        self.db.write_later((self.now)(), move |tx| serving::tell(tx, &id, level, &message));
    }

    /// Tries a deployment again later, because of a fault of this installation.
    fn postpone(&mut self, id: &str, why: &str) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let pause = entry.wait_longer(Instant::now());
        tracing::warn!(deployment_id = id, why, seconds = pause.as_secs(), "waits to be tried again");
    }
}

/// An address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The reason of a build's failure, in the form of [`BuildEnd`].
impl From<python::Failure> for BuildEnd {
    fn from(failure: python::Failure) -> BuildEnd {
        match failure {
            python::Failure::Build(why) => BuildEnd::Failed(why),
            python::Failure::Deploy(why) => BuildEnd::Machine(why),
            python::Failure::Ours(cause) => BuildEnd::Ours(cause.to_string()),
            python::Failure::Stopped => BuildEnd::Stopped,
        }
    }
}
