//! One deployment as the lifecycle knows it: its row, what was built of it, and its replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::db::serving::Kept;
use crate::domain::scaling::{self, Observed};
use crate::domain::serving::{Autoscaling, Status};
use crate::runner::builds::{Built, Runs};
use crate::runner::endpoints::Watched;
use crate::runner::engine::Process;
use crate::runner::fleet::{Load, Replica};
use crate::runner::replicas::Halt;

/// How often replicas may end by themselves before the deployment has failed.
const CRASHES_MAX: u32 = 5;
/// After a replica has served this long, earlier crashes no longer count.
const STABLE_AFTER: Duration = Duration::from_secs(10 * 60);
/// The pause after the first crash. It doubles with each, up to the second.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often the calls of a deployment are counted that may run several replicas.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

pub struct Entry {
    pub kept: Kept,
    /// Whether the row is gone or no longer one that is kept.
    pub is_gone: bool,
    pub built: Option<Arc<Built>>,
    pub build: Option<Build>,
    pub replicas: Vec<Slot>,
    /// Whether its archive has changed since it was built.
    pub is_outdated: bool,
    /// Whether its replicas are being reloaded.
    pub is_reloading: bool,
    /// Whether its endpoint does not answer as it should.
    pub is_unwell: bool,
    /// Why the deployment is about to fail.
    pub failure: Option<Failure>,
    pub crashes: u32,
    /// Nothing is started before this time.
    pub pause: Option<Instant>,
    pause_length: Duration,
    /// How many replicas run while it serves.
    pub target: usize,
    /// Calls on average, and when they were counted.
    calls: f64,
    counted_at: Option<Instant>,
    /// Since when fewer replicas would do.
    quiet_since: Option<Instant>,
    /// The reason for waiting that its log names already.
    pub told: Option<String>,
}

/// A failure that is to be written into the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: Status,
    pub why: String,
}

/// A build in progress.
pub struct Build {
    pub id: String,
    pub stop: Arc<AtomicBool>,
}

impl Drop for Build {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A replica that is there or is being started.
pub struct Slot {
    pub id: String,
    pub stage: Stage,
    pub halt: Arc<Halt>,
    pub process: Option<Arc<Process>>,
    pub token: String,
    /// The external endpoint, if it is one.
    pub endpoint: Option<Arc<Watched>>,
    /// What calls go to, once it serves.
    pub replica: Option<Arc<Replica>>,
    pub begun: Instant,
    /// Held as long as the replica may run.
    pub built: Arc<Built>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Loading,
    /// It serves since this time.
    Ready(Instant),
    Stopping,
}

impl Slot {
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    pub fn is_live(&self) -> bool {
        self.stage != Stage::Stopping
    }
}

impl Entry {
    pub fn new(kept: Kept) -> Entry {
        let target = least(&kept.deployment.settings.autoscaling);
        Entry {
            kept,
            is_gone: false,
            built: None,
            build: None,
            replicas: Vec::new(),
            is_outdated: false,
            is_reloading: false,
            is_unwell: false,
            failure: None,
            crashes: 0,
            pause: None,
            pause_length: PAUSE_MIN,
            target,
            calls: 0.0,
            counted_at: None,
            quiet_since: None,
            told: None,
        }
    }

    pub fn id(&self) -> &str {
        &self.kept.deployment.id
    }

    pub fn status(&self) -> Status {
        self.kept.deployment.status
    }

    pub fn autoscaling(&self) -> &Autoscaling {
        &self.kept.deployment.settings.autoscaling
    }

    /// Forgets what was built, because the deployment was pushed again or is retried.
    pub fn start_over(&mut self) {
        self.built = None;
        self.build = None;
        self.is_outdated = false;
        self.is_unwell = false;
        self.failure = None;
        self.crashes = 0;
        self.pause = None;
        self.pause_length = PAUSE_MIN;
        self.target = least(self.autoscaling());
    }

    pub fn live(&self) -> usize {
        self.replicas.iter().filter(|slot| slot.is_live()).count()
    }

    pub fn ready(&self) -> usize {
        self.replicas.iter().filter(|slot| slot.is_ready()).count()
    }

    /// Whether it is an external endpoint, which has no process here and is not scaled.
    fn is_endpoint(&self) -> bool {
        self.built.as_ref().is_some_and(|built| matches!(built.runs, Runs::Endpoint(_)))
    }

    /// How many replicas are to run.
    pub fn wanted(&self, replicas_max: usize) -> usize {
        let replicas_max = if self.is_endpoint() { 1 } else { replicas_max };
        if self.is_gone || self.failure.is_some() {
            return 0;
        }
        match self.status() {
            Status::Deploying | Status::LoadingModel | Status::WakingUp => {
                least(self.autoscaling()).min(replicas_max.max(1))
            }
            Status::Active | Status::Unhealthy => self.target.min(replicas_max.max(1)),
            Status::Updating if self.kept.waits_for_archive => self.live(),
            Status::Updating => self.target.clamp(1, replicas_max.max(1)),
            Status::Building
            | Status::DeployFailed
            | Status::BuildFailed
            | Status::BuildStopped
            | Status::Deactivating
            | Status::Inactive
            | Status::Failed
            | Status::ScaledToZero => 0,
        }
    }

    /// Whether its status requires a build that is not there.
    pub fn lacks_build(&self) -> bool {
        let may_build = match self.status() {
            Status::Building => !self.kept.waits_for_archive,
            Status::Deploying | Status::LoadingModel | Status::WakingUp | Status::Active | Status::Unhealthy => true,
            Status::Updating => !self.kept.waits_for_archive,
            Status::DeployFailed
            | Status::BuildFailed
            | Status::BuildStopped
            | Status::Deactivating
            | Status::Inactive
            | Status::Failed
            | Status::ScaledToZero => false,
        };
        let lacks = self.built.is_none() || self.is_outdated;
        may_build && lacks && !self.is_gone && self.build.is_none() && self.failure.is_none()
    }

    /// Whether a patch is brought into replicas that run.
    pub fn is_updating(&self) -> bool {
        self.status() == Status::Updating && self.live() > 0
    }

    pub fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|until| until > now)
    }

    /// Notes that a replica ended by itself. `None` if that happened too often; else the pause before the next start.
    pub fn note_crash(&mut self, served_since: Option<Instant>, now: Instant) -> Option<Duration> {
        if served_since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE_AFTER) {
            self.crashes = 0;
            self.pause_length = PAUSE_MIN;
        }
        self.crashes += 1;
        (self.crashes <= CRASHES_MAX).then(|| self.wait_longer(now))
    }

    /// Pauses, each time twice as long. Returns how long.
    pub fn wait_longer(&mut self, now: Instant) -> Duration {
        let length = self.pause_length;
        self.pause = Some(now + length);
        self.pause_length = PAUSE_MAX.min(length * 2);
        length
    }

    /// Sets how many replicas run from now on, by the calls of this moment.
    pub fn scale(&mut self, load: &Load, replicas_max: usize, now: Instant) {
        let calls = (load.outstanding + load.waiting) as f64;
        let window = self.autoscaling().autoscaling_window.max(1) as f64;
        let passed = self.counted_at.map_or(window, |at| now.saturating_duration_since(at).as_secs_f64());
        self.counted_at = Some(now);
        // Half of the window is the time constant, so that calls before the window hardly count.
        self.calls += (calls - self.calls) * (1.0 - (-2.0 * passed / window).exp());
        let idle_since = self.last_busy(load).filter(|_| calls == 0.0);
        if idle_since.is_some_and(|since| now.saturating_duration_since(since) >= scaling::delay(self.autoscaling())) {
            self.calls = 0.0; // calls that ended longer ago than the delay keep nothing awake
        }
        let running = self.live().max(1);
        let is_quiet = scaling::fitting(self.autoscaling(), self.calls, replicas_max) < running;
        self.quiet_since = match (is_quiet, self.quiet_since) {
            (false, _) => None,
            (true, Some(since)) => Some(since),
            (true, None) => Some(idle_since.unwrap_or(now)),
        };
        let quiet_for = self.quiet_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let observed = Observed { replicas: running, calls: self.calls, quiet_for };
        self.target = scaling::wanted(self.autoscaling(), &observed, replicas_max);
    }

    /// When its number of replicas is to be looked at next, if it serves and that number may change.
    pub fn look_at(&self, load: &Load, replicas_max: usize) -> Option<Instant> {
        if self.status() != Status::Active || self.is_endpoint() {
            return None;
        }
        let is_scaled = self.autoscaling().max_replica > 1 && replicas_max > 1;
        let not_before = self.counted_at.map(|at| at + LOOKS_EVERY);
        if is_scaled {
            return Some(not_before.unwrap_or_else(Instant::now));
        }
        if self.autoscaling().min_replica > 0 {
            return None;
        }
        let idle_at = self.last_busy(load)? + scaling::delay(self.autoscaling());
        Some(not_before.map_or(idle_at, |not_before| idle_at.max(not_before)))
    }

    /// When the last call ended, or else when the first replica became ready.
    fn last_busy(&self, load: &Load) -> Option<Instant> {
        let ready = self.replicas.iter().filter_map(|slot| match slot.stage {
            Stage::Ready(since) => Some(since),
            Stage::Loading | Stage::Stopping => None,
        });
        load.last_call.into_iter().chain(ready).max()
    }

    /// Forgets the calls of the past, because it starts to serve.
    pub fn reset_scaling(&mut self) {
        self.calls = 0.0;
        self.counted_at = None;
        self.quiet_since = None;
        self.target = least(self.autoscaling());
    }
}

/// The replicas that run while calls come.
fn least(autoscaling: &Autoscaling) -> usize {
    usize::try_from(autoscaling.replicas_at_rest()).unwrap_or(1)
}
