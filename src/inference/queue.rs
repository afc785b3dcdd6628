//! Carries out queued calls.
//!
//! For each deployment with queued requests, one task waits for a replica. When it has one, the next request is marked
//! as in progress and sent. A request is therefore sent at most once, unless its sender asked for retries: one that was in
//! progress when the server stopped has failed. Teams take turns, and each has a bounded number of requests in progress.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;

use super::{Calls, collect, webhooks};
use crate::api::App;
use crate::db::async_requests::work::{self, Start, Started, Waiting};
use crate::db::{self, Now};
use crate::domain::TeamId;
use crate::domain::async_requests::{Failure, FailureCode, OUTPUT_BYTES_MAX};
use crate::domain::calls::Call;
use crate::error::{CallFailure, Error};
use crate::runner::fleet::Lease;

/// How long a queued call may take.
const CALL_MAX: Duration = Duration::from_secs(60 * 60);
/// How long one task waits for a replica before it looks again whether a request still waits.
const LEASE_MAX: Duration = Duration::from_secs(30);
/// How many requests are in progress: in all, and of one team.
const RUNNING_MAX: usize = 128;
const TEAM_RUNNING_MAX: usize = 32;
/// How many webhooks are called at the same time: in all, and of one team.
const DELIVERIES_MAX: usize = 64;
const TEAM_DELIVERIES_MAX: usize = 8;
/// How soon a new commit is noticed.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// How long a deployment that takes no calls is left alone.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a stopping server waits for requests in progress.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait before the database is written again after it failed.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
const FORGOTTEN_EVERY: Duration = Duration::from_secs(60);

/// Runs until the server stops.
pub async fn run(app: Arc<App>, calls: Arc<Calls>, now: fn() -> Now, mut stopped: watch::Receiver<bool>) {
    let queue = Rc::new(Queue { app, calls, now, state: RefCell::default(), changed: Notify::new() });
    let tasks = LocalSet::new();
    tasks
        .run_until(async {
            queue.fail_interrupted().await;
            let mut seen = None;
            while !*stopped.borrow() {
                if seen != Some(queue.app.db.commits()) || queue.is_due() {
                    seen = Some(queue.app.db.commits());
                    if let Err(cause) = queue.round(&tasks).await {
                        tracing::error!(?cause, "queued calls do not move");
                        tokio::time::sleep(WRITE_AGAIN).await;
                    }
                }
                tokio::select! {
                    () = queue.changed.notified() => seen = None,
                    () = tokio::time::sleep(LOOKS_EVERY) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
            }
            let drained = async {
                while !queue.state.borrow().is_idle() {
                    queue.changed.notified().await;
                }
            };
            let _ = tokio::time::timeout(DRAIN, drained).await;
        })
        .await;
    db::park();
}

struct Queue {
    app: Arc<App>,
    calls: Arc<Calls>,
    now: fn() -> Now,
    state: RefCell<State>,
    /// Told when a task ends.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Deployments for which a task waits for a replica.
    leasing: HashSet<String>,
    /// Deployments that are left alone for a while.
    paused: HashMap<String, Instant>,
    running: HashMap<TeamId, usize>,
    /// Requests whose webhooks are being called.
    delivering: HashMap<String, TeamId>,
    /// When the next request expires or the next webhook is due, in milliseconds since the epoch.
    due: Option<i64>,
    forgotten: Option<Instant>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.delivering.is_empty()
    }

    fn running_of(&self, team_id: &TeamId) -> usize {
        self.running.get(team_id).copied().unwrap_or_default()
    }

    fn may_start(&self, waiting: &Waiting) -> bool {
        let is_paused = self.paused.get(&waiting.deployment_id).is_some_and(|until| *until > Instant::now());
        !is_paused
            && !self.leasing.contains(&waiting.deployment_id)
            && self.running_of(&waiting.team_id) < TEAM_RUNNING_MAX
            && self.running.values().sum::<usize>() < RUNNING_MAX
    }

    fn may_deliver(&self, id: &str, team_id: &TeamId) -> bool {
        let of_team = self.delivering.values().filter(|other| *other == team_id).count();
        !self.delivering.contains_key(id) && of_team < TEAM_DELIVERIES_MAX && self.delivering.len() < DELIVERIES_MAX
    }
}

impl Queue {
    /// Whether something is due although nothing was written.
    fn is_due(&self) -> bool {
        let state = self.state.borrow();
        let now = Instant::now();
        state.due.is_some_and(|due| due <= (self.now)().time.0)
            || state.paused.values().any(|until| *until <= now)
            || state.forgotten.is_none_or(|at| at.elapsed() >= FORGOTTEN_EVERY)
    }

    async fn fail_interrupted(&self) {
        match self.app.db.write((self.now)(), work::fail_interrupted).await {
            Ok(0) => {}
            Ok(requests) => {
                tracing::warn!(requests, "queued calls were in progress when the server stopped: they failed")
            }
            Err(cause) => tracing::error!(?cause, "queued calls that were in progress are not marked as failed"),
        }
    }

    /// Ends what has expired, and starts tasks for what can be done now.
    async fn round(self: &Rc<Self>, tasks: &LocalSet) -> Result<(), Error> {
        let now = (self.now)();
        let due = self.app.db.read(now, work::next_due)?;
        if due.is_some_and(|due| due <= now.time) {
            while self.app.db.write((self.now)(), work::expire).await? {}
        }
        self.forget_ended().await?;
        let due = self.app.db.read((self.now)(), work::next_due)?;
        self.state.borrow_mut().due = due.map(|due| due.0);
        self.state.borrow_mut().paused.retain(|_, until| *until > Instant::now());
        if self.app.fleet.is_on() {
            self.start_leasing(tasks)?;
        }
        for (id, team_id) in self.app.db.read((self.now)(), work::due_webhooks)? {
            if self.state.borrow().may_deliver(&id, &team_id) {
                self.state.borrow_mut().delivering.insert(id.clone(), team_id);
                tasks.spawn_local(Rc::clone(self).deliver(id));
            }
        }
        Ok(())
    }

    /// Starts a task for each deployment whose next request may be started, those of teams with the fewest requests in
    /// progress first.
    fn start_leasing(self: &Rc<Self>, tasks: &LocalSet) -> Result<(), Error> {
        let mut all_waiting = self.app.db.read((self.now)(), work::waiting)?;
        all_waiting.sort_by_key(|waiting| self.state.borrow().running_of(&waiting.team_id));
        for waiting in all_waiting {
            if self.state.borrow().may_start(&waiting) {
                self.state.borrow_mut().leasing.insert(waiting.deployment_id.clone());
                tasks.spawn_local(Rc::clone(self).take_next(waiting));
            }
        }
        Ok(())
    }

    async fn forget_ended(&self) -> Result<(), Error> {
        let is_recent = |at: Instant| at.elapsed() < FORGOTTEN_EVERY;
        if self.state.borrow().forgotten.is_some_and(is_recent) {
            return Ok(());
        }
        self.state.borrow_mut().forgotten = Some(Instant::now());
        while self.app.db.write((self.now)(), work::forget_ended).await? {}
        Ok(())
    }

    /// Waits for a replica of a deployment, then starts and carries out its next request.
    async fn take_next(self: Rc<Self>, waiting: Waiting) {
        let leasing = Leasing { queue: Rc::clone(&self), deployment_id: waiting.deployment_id.clone() };
        let started = self.lease_and_start(&waiting).await;
        let pauses = match started {
            Ok(Some((started, lease))) => {
                let running = Running::begin(&self, &waiting.team_id);
                drop(leasing); // the next request of the deployment may find another replica
                self.carry_out(started, lease).await;
                drop(running);
                return;
            }
            Ok(None) | Err(Error::Call(CallFailure::TimedOut)) => false,
            Err(Error::Call(CallFailure::Full | CallFailure::Crowded | CallFailure::Unavailable(_))) => true,
            Err(cause) => {
                tracing::error!(?cause, deployment_id = waiting.deployment_id, "a queued call is not started");
                true
            }
        };
        if pauses {
            self.state.borrow_mut().paused.insert(waiting.deployment_id, Instant::now() + PAUSE);
        }
    }

    async fn lease_and_start(&self, waiting: &Waiting) -> Result<Option<(Started, Lease)>, Error> {
        let deployment_id = waiting.deployment_id.clone();
        if waiting.is_asleep {
            let id = deployment_id.clone();
            self.app.db.write((self.now)(), move |tx| db::calls::wake_for_call(tx, &id)).await?;
        }
        let lease = self.calls.lease_of(&deployment_id, Instant::now() + LEASE_MAX).await?;
        loop {
            let id = deployment_id.clone();
            match self.app.db.write((self.now)(), move |tx| work::start(tx, &id)).await? {
                Start::Started(started) => return Ok(Some((*started, lease))),
                Start::Refused => {}
                Start::Nothing => return Ok(None),
            }
        }
    }

    async fn carry_out(&self, started: Started, lease: Lease) {
        let Started { id, call, input, retries } = started;
        let input = Bytes::from(input);
        let deadline = Instant::now() + CALL_MAX;
        let mut lease = Ok(lease);
        let mut attempt = 1;
        let outcome = loop {
            let outcome = match lease {
                Ok(lease) => self.call_once(&call, lease, &id, input.clone(), deadline).await,
                Err(error) => Err(failed(&error)),
            };
            let pause = retries.and_then(|retries| retries.pause_millis(attempt));
            match (outcome, pause) {
                (Err(Failed { is_transient: true, .. }), Some(millis)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    lease = self.calls.lease_of(&call.deployment_id, deadline).await;
                    attempt += 1;
                }
                (outcome, _) => break outcome,
            }
        };
        self.finish(&id, outcome.map_err(|failed| failed.failure)).await;
    }

    async fn call_once(
        &self,
        call: &Call,
        lease: Lease,
        id: &str,
        input: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Failed> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let answered = self.calls.send(call, lease, headers, input, id, deadline).await;
        let response = answered.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        // The whole body is read in any case, so that the model can finish it.
        let output = collect(response.into_body(), OUTPUT_BYTES_MAX).await;
        match status {
            200..300 => output.map_err(|error| failed(&error)),
            _ => Err(refused(status)),
        }
    }

    /// Writes what became of a request, until that succeeds.
    async fn finish(&self, id: &str, outcome: Result<Bytes, Failure>) {
        loop {
            let (id, outcome) = (id.to_owned(), outcome.clone());
            let finish = move |tx: &db::Tx| work::finish(tx, &id, outcome.as_ref().map(|output| &output[..]));
            match self.app.db.write((self.now)(), finish).await {
                Ok(()) => return,
                Err(cause) => tracing::error!(?cause, "what became of a queued call is not written yet"),
            }
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }

    async fn deliver(self: Rc<Self>, id: String) {
        let _delivering = Delivering { queue: Rc::clone(&self), id: id.clone() };
        if let Err(cause) = webhooks::deliver(&self.calls, &self.app.db, self.now, &id).await {
            tracing::error!(?cause, "a webhook is not called, or its answer not written");
            tokio::time::sleep(WRITE_AGAIN).await;
        }
    }
}

/// A deployment for which a task waits for a replica. Dropping it lets another task wait, also if this one panicked.
struct Leasing {
    queue: Rc<Queue>,
    deployment_id: String,
}

impl Drop for Leasing {
    fn drop(&mut self) {
        self.queue.state.borrow_mut().leasing.remove(&self.deployment_id);
        self.queue.changed.notify_one();
    }
}

/// A request of a team that is in progress.
struct Running {
    queue: Rc<Queue>,
    team_id: TeamId,
}

impl Running {
    fn begin(queue: &Rc<Queue>, team_id: &TeamId) -> Running {
        *queue.state.borrow_mut().running.entry(team_id.clone()).or_default() += 1;
        Running { queue: Rc::clone(queue), team_id: team_id.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.queue.state.borrow_mut();
        match state.running_of(&self.team_id) {
            0 | 1 => drop(state.running.remove(&self.team_id)),
            running => drop(state.running.insert(self.team_id.clone(), running - 1)),
        }
        self.queue.changed.notify_one();
    }
}

/// A request whose webhook is being called.
struct Delivering {
    queue: Rc<Queue>,
    id: String,
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.queue.state.borrow_mut().delivering.remove(&self.id);
        self.queue.changed.notify_one();
    }
}

/// A call that failed, and whether another attempt may succeed.
struct Failed {
    failure: Failure,
    is_transient: bool,
}

fn failed(error: &Error) -> Failed {
    let (code, is_transient) = match error {
        Error::Call(CallFailure::TimedOut) => (FailureCode::PredictTimeout, true),
        Error::Call(CallFailure::Unavailable(_) | CallFailure::Full | CallFailure::Crowded) => {
            (FailureCode::Unavailable, true)
        }
        Error::Call(CallFailure::Broken(_)) => (FailureCode::PredictError, true),
        Error::TooLarge { bytes_max } => {
            let message = format!("the answer of the model is larger than {bytes_max} bytes");
            return Failed { failure: Failure { code: FailureCode::PredictError, message }, is_transient: false };
        }
        _ => (FailureCode::Internal, false),
    };
    Failed { failure: Failure { code, message: error.to_string() }, is_transient }
}

fn refused(status: u16) -> Failed {
    let (code, is_transient) = match status {
        400 | 413 | 415 | 422 => (FailureCode::InvalidInput, false),
        404 => (FailureCode::DoesNotExist, false),
        408 | 504 => (FailureCode::PredictTimeout, true),
        429 | 503 => (FailureCode::Unavailable, true),
        500.. => (FailureCode::PredictError, true),
        _ => (FailureCode::PredictError, false),
    };
    let message = format!("the model answered with status {status}");
    Failed { failure: Failure { code, message }, is_transient }
}
