//! The replicas that can be called now.
//!
//! The runner adds a replica when its server is ready and removes it when its process ends. A call takes a [`Lease`] on
//! the replica with the fewest calls, or waits in a bounded queue until one is free. Nothing here is stored: after a
//! restart the runner adds every replica again.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::domain::serving::Backpressure;

/// All replicas of this installation, by deployment.
pub struct Fleet {
    is_on: bool,
    deployments: Mutex<HashMap<String, Entry>>,
}

/// How many calls a deployment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How many calls one replica answers at the same time.
    pub calls_per_replica_max: usize,
    /// How many calls may wait for a replica.
    pub waiting_max: usize,
    /// What happens to a call that finds every replica busy.
    pub on_full: Backpressure,
}

/// A server that answers calls of a deployment.
pub struct Replica {
    /// Unique in the installation. It is in logs, and names the replica to be terminated.
    pub id: String,
    pub address: Address,
    outstanding: AtomicUsize,
    has_ended: watch::Sender<bool>,
}

/// Where a replica listens.
pub enum Address {
    /// A process of this machine, which requires the token with each request.
    Process { socket: PathBuf, token: String, server: Server },
    /// A server elsewhere.
    Endpoint(Endpoint),
}

/// The interface of the server in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// The Truss server of the package `truss`.
    Truss,
    /// A command of the team, with the path that answers predictions.
    Custom { predict_path: String },
}

/// An external server that a deployment names in its configuration. The values of its headers may be secrets.
pub struct Endpoint {
    pub url: RemoteUrl,
    pub plain: PlainHttp,
    pub headers: Vec<(String, String)>,
}

/// Why no replica takes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The server was started with `--runner off`.
    Off,
    /// All replicas are busy, and the queue is full or the deployment does not queue.
    Full,
    /// No replica was free before the deadline.
    TimedOut,
    /// The deployment has ended or failed. The text says why.
    Gone(String),
}

/// The calls of a deployment at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub replicas: usize,
    /// Calls that replicas are answering.
    pub outstanding: usize,
    /// Calls that wait for a replica.
    pub waiting: usize,
    /// When the last call ended, if any did since the server started.
    pub last_call: Option<Instant>,
}

#[derive(Default)]
struct Entry {
    limits: Option<CallLimits>,
    replicas: Vec<Arc<Replica>>,
    waiting: usize,
    last_call: Option<Instant>,
    /// Why calls cannot be answered, and how often that was said. Calls that waited at that time are refused.
    gone: Option<String>,
    refusals: u64,
    changed: Arc<Notify>,
}

impl Replica {
    pub fn new(id: String, address: Address) -> Replica {
        Replica { id, address, outstanding: AtomicUsize::new(0), has_ended: watch::Sender::new(false) }
    }

    /// Ends the calls that wait for an answer of this replica, because its process has ended. Its socket alone does not
    /// tell: the server holds it open.
    pub fn end(&self) {
        self.has_ended.send_replace(true);
    }

    /// Waits until [`Replica::end`] is called.
    pub async fn ended(&self) {
        let _ = self.has_ended.subscribe().wait_for(|has_ended| *has_ended).await; // the sender lives as long as `self`
    }

    /// The number of calls that it is answering.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

impl Fleet {
    /// A fleet that refuses every call: models do not run.
    pub fn off() -> Fleet {
        Fleet { is_on: false, deployments: Mutex::default() }
    }

    pub fn on() -> Fleet {
        Fleet { is_on: true, ..Fleet::off() }
    }

    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Sets how many calls a deployment takes from now on.
    pub fn configure(&self, deployment_id: &str, limits: CallLimits) {
        self.change(deployment_id, |entry| entry.limits = Some(limits));
    }

    /// Adds a replica that is ready for calls.
    pub fn add(&self, deployment_id: &str, replica: Arc<Replica>) {
        self.change(deployment_id, |entry| {
            entry.gone = None;
            entry.replicas.push(replica);
        });
    }

    /// Removes a replica. Calls that it is answering go on as long as its process does.
    pub fn remove(&self, deployment_id: &str, replica_id: &str) {
        self.change(deployment_id, |entry| entry.replicas.retain(|replica| replica.id != replica_id));
    }

    /// Removes all replicas of a deployment, and refuses the calls that wait for one.
    pub fn refuse(&self, deployment_id: &str, why: &str) {
        self.change(deployment_id, |entry| {
            entry.replicas.clear();
            entry.gone = Some(why.to_owned());
            entry.refusals += 1;
        });
    }

    /// Lets calls wait again for a deployment that is being started.
    pub fn expect(&self, deployment_id: &str) {
        self.change(deployment_id, |entry| entry.gone = None);
    }

    /// Forgets a deployment that was deleted.
    pub fn forget(&self, deployment_id: &str) {
        self.refuse(deployment_id, "the deployment was deleted");
        let mut deployments = self.lock();
        if deployments.get(deployment_id).is_some_and(|entry| entry.waiting == 0) {
            deployments.remove(deployment_id);
        }
    }

    /// The replicas of a deployment that can be called.
    pub fn replicas(&self, deployment_id: &str) -> Vec<Arc<Replica>> {
        self.lock().get(deployment_id).map(|entry| entry.replicas.clone()).unwrap_or_default()
    }

    /// How many replicas each deployment has that has any.
    pub fn replica_counts(&self) -> Vec<(String, i64)> {
        let deployments = self.lock();
        let counts = deployments.iter().map(|(id, entry)| (id.clone(), entry.replicas.len() as i64));
        counts.filter(|(_, replicas)| *replicas > 0).collect()
    }

    /// The calls of a deployment at this moment.
    pub fn load(&self, deployment_id: &str) -> Load {
        let deployments = self.lock();
        let Some(entry) = deployments.get(deployment_id) else { return Load::default() };
        Load {
            replicas: entry.replicas.len(),
            outstanding: entry.replicas.iter().map(|replica| replica.outstanding()).sum(),
            waiting: entry.waiting,
            last_call: entry.last_call,
        }
    }

    /// Takes a replica for one call: the one that answers the fewest calls. Waits until one is free.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] says why no replica takes the call.
    pub async fn lease(self: &Arc<Self>, deployment_id: &str, deadline: Instant) -> Result<Lease, Unavailable> {
        if !self.is_on {
            return Err(Unavailable::Off);
        }
        let mut place: Option<Place> = None;
        loop {
            let changed = {
                let mut deployments = self.lock();
                let entry = deployments.entry(deployment_id.to_owned()).or_default();
                if let Some(why) = &entry.gone {
                    return Err(Unavailable::Gone(why.clone()));
                }
                if place.as_ref().is_some_and(|place| place.refusals != entry.refusals) {
                    return Err(Unavailable::Gone("the deployment was restarted".to_owned()));
                }
                // A call that arrives now does not overtake those that wait.
                let is_next = place.is_some() || entry.waiting == 0;
                if let Some(replica) = entry.free().filter(|_| is_next) {
                    replica.outstanding.fetch_add(1, Ordering::Relaxed);
                    if entry.free().is_some() {
                        entry.changed.notify_one(); // one release wakes one call, and there may be room for another
                    }
                    let lease = Lease { fleet: Arc::clone(self), deployment_id: deployment_id.to_owned(), replica };
                    drop(deployments); // before the place in the queue is given up, which locks it
                    return Ok(lease);
                }
                if place.is_none() {
                    if entry.refuses_to_queue() {
                        return Err(Unavailable::Full);
                    }
                    entry.waiting += 1;
                    let (fleet, deployment_id) = (Arc::clone(self), deployment_id.to_owned());
                    place = Some(Place { fleet, deployment_id, refusals: entry.refusals });
                }
                Arc::clone(&entry.changed).notified_owned()
            };
            if tokio::time::timeout_at(deadline.into(), changed).await.is_err() {
                return Err(Unavailable::TimedOut);
            }
        }
    }

    fn change(&self, deployment_id: &str, change: impl FnOnce(&mut Entry)) {
        let mut deployments = self.lock();
        let entry = deployments.entry(deployment_id.to_owned()).or_default();
        change(entry);
        entry.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.deployments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The replica with the fewest calls, if it takes one more. Until limits are set, no replica is free.
    fn free(&self) -> Option<Arc<Replica>> {
        let limits = self.limits?;
        let least = self.replicas.iter().min_by_key(|replica| replica.outstanding())?;
        (least.outstanding() < limits.calls_per_replica_max).then(|| Arc::clone(least))
    }

    fn refuses_to_queue(&self) -> bool {
        self.limits.is_some_and(|limits| {
            let rejects = limits.on_full == Backpressure::Reject && !self.replicas.is_empty();
            rejects || self.waiting >= limits.waiting_max
        })
    }
}

/// A place in the queue of a deployment, given up when it is dropped.
struct Place {
    fleet: Arc<Fleet>,
    deployment_id: String,
    refusals: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut deployments = self.fleet.lock();
        if let Some(entry) = deployments.get_mut(&self.deployment_id) {
            entry.waiting -= 1;
        }
    }
}

/// A replica that is answering one call. Dropping the lease frees the replica for the next call.
pub struct Lease {
    fleet: Arc<Fleet>,
    deployment_id: String,
    pub replica: Arc<Replica>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.outstanding.fetch_sub(1, Ordering::Relaxed);
        let mut deployments = self.fleet.lock();
        if let Some(entry) = deployments.get_mut(&self.deployment_id) {
            entry.last_call = Some(Instant::now());
            entry.changed.notify_one();
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Off => f.write_str("models do not run here: this server was started with `--runner off`"),
            Unavailable::Full => f.write_str("all replicas are busy: send the call again later"),
            Unavailable::TimedOut => f.write_str("no replica was free in time"),
            Unavailable::Gone(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: CallLimits = CallLimits { calls_per_replica_max: 1, waiting_max: 1, on_full: Backpressure::Queue };

    fn replica(id: &str) -> Arc<Replica> {
        let plain = PlainHttp::OnLoopback;
        let url = RemoteUrl::parse("url", "http://127.0.0.1", plain).unwrap();
        let address = Address::Endpoint(Endpoint { url, plain, headers: Vec::new() });
        Arc::new(Replica::new(id.to_owned(), address))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn calls_go_to_the_replica_with_the_fewest_and_wait_in_a_bounded_queue() {
        let fleet = Arc::new(Fleet::on());
        fleet.configure("d", LIMITS);
        fleet.add("d", replica("a"));
        fleet.add("d", replica("b"));
        let first = fleet.lease("d", soon()).await.unwrap();
        let second = fleet.lease("d", soon()).await.unwrap();
        assert_ne!(first.replica.id, second.replica.id);
        let later = Instant::now() + Duration::from_secs(10);
        let (waiting, full) = tokio::join!(fleet.lease("d", later), async {
            tokio::task::yield_now().await;
            let full = fleet.lease("d", soon()).await.err();
            drop(first);
            full
        });
        assert_eq!(full, Some(Unavailable::Full));
        assert!(waiting.is_ok());
        assert_eq!(fleet.lease("d", soon()).await.err(), Some(Unavailable::TimedOut));
        assert_eq!(fleet.load("d").waiting, 0);
    }

    #[tokio::test]
    async fn a_deployment_that_does_not_queue_refuses_at_once() {
        let fleet = Arc::new(Fleet::on());
        fleet.configure("d", CallLimits { on_full: Backpressure::Reject, ..LIMITS });
        fleet.add("d", replica("a"));
        let _held = fleet.lease("d", soon()).await.unwrap();
        assert_eq!(fleet.lease("d", soon()).await.err(), Some(Unavailable::Full));
    }

    #[tokio::test]
    async fn a_call_that_waits_learns_that_the_deployment_failed() {
        let fleet = Arc::new(Fleet::on());
        let later = Instant::now() + Duration::from_secs(10);
        let (waited, ()) = tokio::join!(fleet.lease("d", later), async {
            tokio::task::yield_now().await;
            fleet.refuse("d", "it does not load");
            fleet.expect("d");
        });
        assert!(matches!(waited.err(), Some(Unavailable::Gone(_))));
        assert_eq!(Arc::new(Fleet::off()).lease("d", later).await.err(), Some(Unavailable::Off));
    }
}
