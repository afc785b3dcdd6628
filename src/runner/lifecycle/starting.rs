//! Starts replicas, in turns between teams, as far as the machine has room for them, and takes over what they report.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::building::{lacking, new_id};
use super::control::address_of;
use super::entry::{Entry, Failure, Slot, Stage};
use super::{Lifecycle, Report};
use crate::db::serving;
use crate::domain::capacity::Refusal;
use crate::domain::endpoints::Endpoint;
use crate::domain::remote_url::RemoteUrl;
use crate::domain::serving::{Level, Status};
use crate::runner::builds::{Built, Runs};
use crate::runner::endpoints::Watched;
use crate::runner::fleet::{Address, Replica, Server};
use crate::runner::replicas::{self, End, Halt, Start};

/// How many replicas load at the same time: in all, and of one team. One that loads longer than a while no longer counts,
/// so that what hangs delays nobody.
const LOADING_MAX: usize = 6;
const TEAM_LOADING_MAX: usize = 2;
const COUNTED_FOR: Duration = Duration::from_secs(15);
/// How long a deployment may take to become active, unless it says so.
const READY_WITHIN: Duration = Duration::from_secs(30 * 60);

impl Lifecycle<'_> {
    /// Starts the replicas that are missing.
    pub(super) fn begin_starts(&mut self) {
        let now = Instant::now();
        loop {
            let mut waiting: Vec<_> = self
                .entries
                .values()
                .filter(|entry| self.lacks_replica(entry, now))
                .map(|entry| {
                    let kept = &entry.kept;
                    let place = self.turns.place(&kept.org_id, &kept.team_id);
                    (place, entry.live(), kept.deployment.created_at.0, kept.deployment.id.clone())
                })
                .collect();
            waiting.sort();
            let begun = waiting.into_iter().any(|(_, _, _, id)| self.may_load(&id, now) && self.begin_start(&id));
            if !begun {
                return;
            }
        }
    }

    fn lacks_replica(&self, entry: &Entry, now: Instant) -> bool {
        entry.built.is_some()
            && entry.build.is_none()
            && !entry.is_paused(now)
            && entry.live() < entry.wanted(self.machine.settings.replicas_max)
    }

    /// Whether the team and the machine may load one more model now.
    fn may_load(&self, id: &str, now: Instant) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let counts = |slot: &&Slot| slot.stage == Stage::Loading && now < slot.begun + COUNTED_FOR;
        let loading = |entry: &Entry| entry.replicas.iter().filter(counts).count();
        let of_team = self.entries.values().filter(|other| other.kept.team_id == entry.kept.team_id).map(loading);
        of_team.sum::<usize>() < TEAM_LOADING_MAX && self.entries.values().map(loading).sum::<usize>() < LOADING_MAX
    }

    /// When a replica that loads no longer counts, so that another may be started.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let now = Instant::now();
        let loading = self.entries.values().flat_map(|entry| &entry.replicas);
        let loading = loading.filter(|slot| slot.stage == Stage::Loading).map(|slot| slot.begun + COUNTED_FOR);
        loading.filter(|until| *until > now).min()
    }

    /// Starts a replica, if the machine has room for it.
    fn begin_start(&mut self, id: &str) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let Some(built) = entry.built.clone() else { return false };
        let replica_id = new_id();
        let is_endpoint = matches!(built.runs, Runs::Endpoint(_));
        let reserved =
            if is_endpoint { Ok(Vec::new()) } else { self.machine.capacity().reserve(&replica_id, &built.needs) };
        let accelerators = match reserved {
            Ok(accelerators) => accelerators,
            Err(Refusal::Later(why)) => {
                if entry.told.as_deref() != Some(&why) {
                    entry.told = Some(why.clone());
                    self.log(id, Level::Info, format!("waits to be started: {why}"));
                }
                return false;
            }
            Err(Refusal::Never(why)) => {
                entry.failure = Some(lacking(entry.status(), why));
                self.touched.insert(id.to_owned());
                return false;
            }
        };
        self.start_replica(id, replica_id, accelerators)
    }

    fn start_replica(&mut self, id: &str, replica_id: String, accelerators: Vec<u32>) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        let Some(built) = entry.built.clone() else { return false };
        let token = format!("{:032x}", rand::random::<u128>());
        let control = match self.control_of(entry, &built, &token) {
            Ok(control) => control,
            Err(cause) => {
                self.machine.capacity().release(&replica_id);
                self.postpone(id, &format!("{cause:?}"));
                return false;
            }
        };
        let minutes = entry.kept.timeout_minutes.and_then(|minutes| u64::try_from(minutes).ok());
        let ready_within = minutes.map_or(READY_WITHIN, |minutes| Duration::from_secs(60 * minutes));
        let endpoint = match &built.runs {
            Runs::Endpoint(endpoint) => match self.watched(entry, &built, endpoint) {
                Ok(watched) => Some(Arc::new(watched)),
                Err(why) => {
                    let status = entry.status();
                    self.fail(id, lacking(status, why));
                    return false;
                }
            },
            Runs::Python(_) | Runs::Custom(..) => None,
        };
        let halt = Arc::new(Halt::default());
        let (org_id, team_id) = (entry.kept.org_id.clone(), entry.kept.team_id.clone());
        let start = Start {
            deployment_id: id.to_owned(),
            replica_id: replica_id.clone(),
            built: Arc::clone(&built),
            control,
            accelerators,
            ready_within,
        };
        let spawned = match &endpoint {
            Some(watched) => self.watch_endpoint(start, Arc::clone(watched), &halt),
            None => self.run_replica(start, &halt),
        };
        if let Err(cause) = spawned {
            self.machine.capacity().release(&replica_id);
            self.postpone(id, &cause.to_string());
            return false;
        }
        self.turns.serve(&org_id, &team_id);
        self.configure(id);
        self.fleet.expect(id);
        let Some(entry) = self.entries.get_mut(id) else { return false };
        entry.told = None;
        entry.replicas.push(Slot {
            id: replica_id,
            stage: Stage::Loading,
            halt,
            process: None,
            token,
            endpoint,
            replica: None,
            begun: Instant::now(),
            built,
        });
        true
    }

    /// Runs a replica on a thread of its own.
    fn run_replica(&self, start: Start, halt: &Arc<Halt>) -> std::io::Result<()> {
        let (machine, tell, halt) = (Arc::clone(self.machine), self.tell.clone(), Arc::clone(halt));
        let (journal, now) = (Arc::clone(&self.journal), self.now);
        let (deployment_id, replica_id) = (start.deployment_id.clone(), start.replica_id.clone());
        let print = {
            let (deployment_id, replica_id) = (deployment_id.clone(), replica_id.clone());
            let journal = Arc::clone(&journal);
            move |line: crate::runner::engine::Line| {
                journal.take(&deployment_id, &replica_id, now().time, &line.text);
            }
        };
        let work = move || {
            let report = |report| {
                let (deployment_id, replica_id) = (deployment_id.clone(), replica_id.clone());
                tell.send(Report::Replica { deployment_id, replica_id, report });
            };
            replicas::run(&machine, start, print, &halt, report);
        };
        std::thread::Builder::new().name("replica".to_owned()).stack_size(256 << 10).spawn(work).map(drop)
    }

    /// The endpoint as it is watched.
    fn watched(&self, entry: &Entry, built: &Built, endpoint: &Endpoint) -> Result<Watched, String> {
        let plain = self.machine.settings.plain_endpoints;
        let url = RemoteUrl::parse("model_metadata.guildhall.endpoint.url", &endpoint.url, plain);
        Ok(Watched {
            url: url.map_err(|cause| cause.to_string())?,
            health_path: endpoint.health_path.clone(),
            headers: Mutex::new(self.headers_of(entry, built)?),
            plain,
        })
    }

    /// Watches an external endpoint on a thread of its own.
    fn watch_endpoint(&self, start: Start, watched: Arc<Watched>, halt: &Arc<Halt>) -> std::io::Result<()> {
        let (tell, halt) = (self.tell.clone(), Arc::clone(halt));
        let Start { deployment_id, replica_id, ready_within, .. } = start;
        let work = move || {
            watched.run(ready_within, &halt, |report| {
                let (deployment_id, replica_id) = (deployment_id.clone(), replica_id.clone());
                tell.send(Report::Replica { deployment_id, replica_id, report });
            });
        };
        std::thread::Builder::new().name("endpoint".to_owned()).stack_size(256 << 10).spawn(work).map(drop)
    }

    /// Takes over what a replica reports.
    pub(super) fn note(&mut self, id: &str, replica_id: &str, report: replicas::Report) {
        self.touched.insert(id.to_owned());
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(slot) = entry.replicas.iter_mut().find(|slot| slot.id == replica_id) else { return };
        match report {
            replicas::Report::Started(process) => {
                let is_stopping = slot.stage == Stage::Stopping;
                slot.process = Some(process);
                if is_stopping {
                    slot.halt.tell();
                }
            }
            replicas::Report::Ready if slot.stage == Stage::Loading => self.note_ready(id, replica_id),
            replicas::Report::Ready => {}
            replicas::Report::Unwell(why) => {
                entry.is_unwell = true;
                self.log(id, Level::Warning, format!("the endpoint is not well: {why}"));
            }
            replicas::Report::Well => entry.is_unwell = false,
            replicas::Report::Ended(end) => self.note_end(id, replica_id, end),
        }
    }

    fn note_ready(&mut self, id: &str, replica_id: &str) {
        let Some(entry) = self.entries.get(id) else { return };
        let Some(slot) = entry.replicas.iter().find(|slot| slot.id == replica_id) else { return };
        let address = match (&slot.process, &slot.built.runs) {
            (Some(process), Runs::Python(_)) => Address::Process {
                socket: process.socket().to_owned(),
                token: slot.token.clone(),
                server: Server::Truss,
            },
            (Some(process), Runs::Custom(_, server)) => Address::Process {
                socket: process.socket().to_owned(),
                token: slot.token.clone(),
                server: Server::Custom { predict_path: server.predict_path.clone() },
            },
            (None, Runs::Python(_) | Runs::Custom(..)) => return,
            (_, Runs::Endpoint(_)) => match &slot.endpoint {
                Some(watched) => address_of(watched),
                None => return,
            },
        };
        let is_first = entry.ready() == 0;
        // What changed while it started is told now, before the first call.
        let replica = Arc::new(Replica::new(replica_id.to_owned(), address));
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(slot) = entry.replicas.iter_mut().find(|slot| slot.id == replica_id) {
            slot.stage = Stage::Ready(Instant::now());
            slot.replica = Some(Arc::clone(&replica));
        }
        if is_first {
            entry.reset_scaling();
        }
        let (deployment_id, added) = (id.to_owned(), replica_id.to_owned());
        let recorded = self.write(move |tx| serving::add_replica(tx, &deployment_id, &added));
        if let Err(cause) = recorded {
            tracing::warn!(id, ?cause, "a replica is not recorded");
        }
        self.fleet.add(id, replica);
    }

    fn note_end(&mut self, id: &str, replica_id: &str, end: End) {
        let Some(slot) = self.drop_slot(id, replica_id) else { return };
        let served_since = match slot.stage {
            Stage::Ready(since) => Some(since),
            Stage::Loading | Stage::Stopping => None,
        };
        let Some(entry) = self.entries.get_mut(id) else { return };
        let status = entry.status();
        match end {
            End::Stopped => {}
            _ if slot.stage == Stage::Stopping => {}
            End::Machine(why) => entry.failure = Some(lacking(status, why)),
            End::Ours(cause) => self.postpone(id, &cause.to_string()),
            End::Failed(why) if matches!(status, Status::Deploying | Status::LoadingModel) => {
                entry.failure = Some(Failure { status: Status::Failed, why: format!("cannot be loaded: {why}") });
            }
            End::Failed(why) | End::Crashed(why) => self.note_crash(id, replica_id, served_since, &why),
        }
    }

    fn note_crash(&mut self, id: &str, replica_id: &str, served_since: Option<Instant>, why: &str) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        match entry.note_crash(served_since, Instant::now()) {
            Some(pause) => {
                let seconds = pause.as_secs();
                let message = format!("replica {replica_id}: {why}; another is started in {seconds} s");
                self.log(id, Level::Error, message);
            }
            None => {
                let crashes = entry.crashes;
                let why = format!("failed: its replicas ended {crashes} times; the last one: {why}");
                entry.failure = Some(Failure { status: Status::Failed, why });
            }
        }
    }

    /// Forgets a replica that ended, and frees what it had of the machine.
    fn drop_slot(&mut self, id: &str, replica_id: &str) -> Option<Slot> {
        let entry = self.entries.get_mut(id)?;
        let at = entry.replicas.iter().position(|slot| slot.id == replica_id)?;
        let slot = entry.replicas.remove(at);
        self.machine.capacity().release(replica_id);
        self.fleet.remove(id, replica_id);
        if slot.replica.is_some() {
            let (deployment_id, removed) = (id.to_owned(), replica_id.to_owned());
            self.db.write_later((self.now)(), move |tx| serving::remove_replica(tx, &deployment_id, &removed));
        }
        Some(slot)
    }

    fn fail(&mut self, id: &str, failure: Failure) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.failure = Some(failure);
            self.touched.insert(id.to_owned());
        }
    }
}
