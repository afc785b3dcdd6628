//! The next step of a deployment, by its status, its build and its replicas.

use std::sync::Arc;
use std::time::Duration;

use super::Lifecycle;
use super::entry::{Entry, Failure, Slot, Stage};
use crate::db::progress;
use crate::domain::serving::{Level, Phase, Status};
use crate::runner::builds::Built;

/// How long a replica that is no longer wanted may take for its last calls, and then to end.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
const LOOKS_EVERY: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(10);

/// Whether the calls that a replica answers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    Finish,
    Break,
}

impl Lifecycle<'_> {
    /// Takes the steps that a deployment needs now, other than builds and starts.
    pub(super) fn step(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.is_gone {
            return self.let_go(id);
        }
        if let Some(failure) = entry.failure.clone() {
            return self.end_failed(id, &failure);
        }
        let (status, built, ready) = (entry.status(), entry.built.is_some(), entry.ready());
        match status {
            Status::Building => {
                self.stop_all(id, Calls::Finish);
                if built {
                    self.advance(id, Status::Deploying, Level::Info, "built: is being deployed");
                }
            }
            Status::Deploying if ready > 0 => self.activate(id, "active"),
            Status::Deploying if entry.live() > 0 => {
                self.advance(id, Status::LoadingModel, Level::Info, "deployed: loads the model");
            }
            Status::LoadingModel | Status::WakingUp if ready > 0 => self.activate(id, "active"),
            Status::Unhealthy if ready > 0 && !self.is_unwell(id) => self.activate(id, "active again"),
            Status::Active if ready == 0 && self.has_crashed(id) => {
                self.advance(id, Status::Unhealthy, Level::Warning, "unhealthy: no replica serves");
            }
            Status::Active if entry.is_unwell => {
                self.advance(id, Status::Unhealthy, Level::Warning, "unhealthy: the endpoint is not well");
            }
            Status::Active if entry.target == 0 => self.fall_asleep(id),
            Status::Active | Status::Unhealthy => self.stop_surplus(id),
            Status::Updating if !entry.kept.waits_for_archive => self.update(id),
            Status::Deactivating => self.deactivate(id),
            Status::ScaledToZero => self.sleep(id),
            Status::Deploying | Status::LoadingModel | Status::WakingUp | Status::Updating => {}
            Status::DeployFailed | Status::BuildFailed | Status::BuildStopped | Status::Inactive | Status::Failed => {
                self.let_go(id)
            }
        }
    }

    /// Uses a build from now on.
    pub(super) fn take_build(&mut self, id: &str, built: Arc<Built>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.status() == Status::Updating && entry.live() > 0 {
            return self.replace(id, built);
        }
        entry.built = Some(built);
        self.configure(id);
    }

    fn activate(&mut self, id: &str, message: &str) {
        self.advance(id, Status::Active, Level::Info, message);
    }

    /// Whether replicas that served are missing and not yet started again.
    fn has_crashed(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.crashes > 0)
    }

    fn is_unwell(&self, id: &str) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.is_unwell)
    }

    fn fall_asleep(&mut self, id: &str) {
        let load = self.fleet.load(id);
        if load.outstanding + load.waiting > 0 {
            return;
        }
        if self.advance(id, Status::ScaledToZero, Level::Info, "scaled to zero: no calls came") {
            self.stop_all(id, Calls::Finish);
        }
    }

    /// Keeps a deployment asleep, unless a call came while it fell asleep.
    fn sleep(&mut self, id: &str) {
        self.stop_all(id, Calls::Finish);
        self.fleet.expect(id);
        if self.fleet.load(id).waiting > 0 {
            self.advance(id, Status::WakingUp, Level::Info, "wakes up: a call waits");
            self.touched.insert(id.to_owned());
        }
    }

    fn deactivate(&mut self, id: &str) {
        self.fleet.refuse(id, "the deployment is deactivated: activate it to call it");
        self.stop_all(id, Calls::Break);
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.replicas.is_empty() {
            entry.start_over();
            self.advance(id, Status::Inactive, Level::Info, "inactive");
        }
    }

    /// Writes a failure, and stops what is left.
    fn end_failed(&mut self, id: &str, failure: &Failure) {
        self.fleet.refuse(id, &failure.why);
        self.stop_all(id, Calls::Break);
        if self.advance(id, failure.status, Level::Error, &failure.why)
            && let Some(entry) = self.entries.get_mut(id)
        {
            entry.start_over();
        }
    }

    /// Stops what a deployment has that is deleted or off, and forgets it once nothing is left.
    fn let_go(&mut self, id: &str) {
        let status = self.read(|tx| Ok(progress::find(tx, id)?.map(|deployment| deployment.status)));
        match status {
            Ok(None) => self.fleet.forget(id),
            Ok(Some(status)) if status.phase() == Phase::Failed => {} // calls were told why
            Ok(Some(status)) => self.fleet.refuse(id, &format!("the deployment is {status}")),
            Err(cause) => tracing::warn!(id, ?cause, "a deployment cannot be read"),
        }
        self.stop_all(id, Calls::Break);
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.build = None;
        if entry.replicas.is_empty() {
            self.entries.remove(id);
        }
    }

    /// Stops replicas that are too many: first those that load, then those that answer the fewest calls.
    fn stop_surplus(&mut self, id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        let surplus = entry.live().saturating_sub(entry.wanted(self.machine.settings.replicas_max));
        let mut live: Vec<&Slot> = entry.replicas.iter().filter(|slot| slot.is_live()).collect();
        live.sort_by_key(|slot| (slot.is_ready(), slot.replica.as_ref().map_or(0, |replica| replica.outstanding())));
        let unwanted: Vec<String> = live.into_iter().take(surplus).map(|slot| slot.id.clone()).collect();
        unwanted.iter().for_each(|replica_id| self.stop(id, replica_id, Calls::Finish));
    }

    pub(super) fn stop_all(&mut self, id: &str, calls: Calls) {
        let Some(entry) = self.entries.get(id) else { return };
        let live: Vec<String> =
            entry.replicas.iter().filter(|slot| slot.is_live()).map(|slot| slot.id.clone()).collect();
        live.iter().for_each(|replica_id| self.stop(id, replica_id, calls));
    }

    /// Ends a replica that somebody has terminated. Another is started in its place.
    pub(super) fn terminate(&mut self, id: &str, replica_id: &str) {
        let is_live = |entry: &Entry| entry.replicas.iter().any(|slot| slot.id == replica_id && slot.is_live());
        if self.entries.get(id).is_some_and(is_live) {
            self.stop(id, replica_id, Calls::Finish);
            self.log(id, Level::Info, format!("replica {replica_id} is terminated"));
        }
    }

    /// Stops a replica: no further call goes to it.
    fn stop(&mut self, id: &str, replica_id: &str, calls: Calls) {
        self.fleet.remove(id, replica_id);
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(slot) = entry.replicas.iter_mut().find(|slot| slot.id == replica_id && slot.is_live()) else { return };
        slot.stage = Stage::Stopping;
        slot.halt.tell();
        let Some(process) = slot.process.clone() else { return };
        let replica = slot.replica.clone();
        let ends = move || {
            let until = std::time::Instant::now() + DRAINED_WITHIN;
            let is_busy = || replica.as_ref().is_some_and(|replica| replica.outstanding() > 0);
            while calls == Calls::Finish && is_busy() && std::time::Instant::now() < until {
                if process.wait_for(LOOKS_EVERY).is_some() {
                    return;
                }
            }
            process.stop(GRACE);
        };
        if std::thread::Builder::new().name("stop".to_owned()).spawn(ends).is_err() {
            slot.process.as_ref().into_iter().for_each(|process| process.kill());
        }
    }
}
