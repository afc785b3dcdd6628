//! One thread that measures all processes, and kills those that have too much.
//!
//! It is the only limit on what a tree of processes has together where there are no control groups, and it counts disk space
//! everywhere. It takes about a hundredth of a processor at most: the more there is to measure, the rarer it looks.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::disk;
use super::process::{Excess, Process, Usage};
use super::snapshot::{self, Seen, Snapshot};

/// The pause between rounds, and how many times its own length a round waits for the next.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_PER_ROUND: u32 = 100;
/// The same for the disk space of one process, which takes longest to measure.
const DISK_PAUSE_MIN: Duration = Duration::from_secs(1);
const DISK_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long disk space is not measured while a process does nothing.
const DISK_IDLE: Duration = Duration::from_secs(60);
/// By what part the resident memory must change before the proportional memory is read again.
const CHANGE: u64 = 16;

/// What a tree of processes may have.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub memory_bytes: u64,
    /// Processes and their threads.
    pub processes: u64,
    pub disk_bytes: u64,
    /// Folders of which everything counts.
    pub own: Vec<PathBuf>,
    /// Folders of which only counts what is added.
    pub shared: Vec<PathBuf>,
    /// How many processes are not the model's, besides the bridge.
    pub wrappers: u64,
    pub bridge: Option<i32>,
}

/// The processes that are watched.
#[derive(Default)]
pub struct Watcher {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    new: Vec<Watched>,
    is_closed: bool,
}

struct Watched {
    process: Weak<Process>,
    bounds: Bounds,
    memory: Memory,
    disk: Disk,
}

#[derive(Default)]
struct Memory {
    resident_bytes: u64,
    proportional_bytes: u64,
}

#[derive(Default)]
struct Disk {
    due: Option<Instant>,
    measured: Option<Instant>,
    ticks: u64,
    bytes: u64,
    /// What shared folders had when they were measured first.
    shared_before: Option<u64>,
}

impl Watcher {
    /// Starts the thread. It ends with [`Watcher::close`].
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start() -> std::io::Result<Arc<Watcher>> {
        let watcher = Arc::new(Watcher::default());
        let own = Arc::clone(&watcher);
        std::thread::Builder::new().name("watcher".to_owned()).spawn(move || own.run())?;
        Ok(watcher)
    }

    pub fn add(&self, process: &Arc<Process>, bounds: Bounds) {
        let process = Arc::downgrade(process);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.new.push(Watched { process, bounds, memory: Memory::default(), disk: Disk::default() });
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut all: Vec<Watched> = Vec::new();
        let mut pause = PAUSE_MIN;
        while self.take_new(&mut all, pause) {
            let begun = Instant::now();
            all.retain(|watched| watched.process.upgrade().is_some_and(|process| process.ended().is_none()));
            if !all.is_empty() {
                let snapshot = Snapshot::take();
                all.iter_mut().for_each(|watched| watched.measure(&snapshot));
            }
            pause = (begun.elapsed() * PAUSE_PER_ROUND).clamp(PAUSE_MIN, PAUSE_MAX);
        }
    }

    /// Waits for the next round: a pause, or as long as there is nothing to watch. False when closed.
    fn take_new(&self, all: &mut Vec<Watched>, pause: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + pause;
        while !state.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            let is_idle = all.is_empty() && state.new.is_empty();
            state = match () {
                () if is_idle => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                () if left.is_zero() => break,
                () => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        all.append(&mut state.new);
        !state.is_closed
    }
}

impl Watched {
    fn measure(&mut self, snapshot: &Snapshot) {
        let Some(process) = self.process.upgrade() else { return };
        process.flush_control();
        let below = snapshot.below(process.supervisor());
        if below.is_empty() {
            return; // it is ending
        }
        let ticks: u64 = below.iter().map(|(_, seen)| seen.ticks).sum();
        let own = below.iter().filter(|(pid, _)| Some(*pid) != self.bounds.bridge);
        let usage = Usage {
            memory_bytes: self.memory.measure(&below),
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            processes: own.map(|(_, seen)| seen.threads).sum::<u64>().saturating_sub(self.bounds.wrappers),
            disk_bytes: self.disk.measure(&self.bounds, ticks),
        };
        process.measured(usage);
        let excess = [
            (usage.memory_bytes > self.bounds.memory_bytes, Excess::Memory),
            (usage.processes > self.bounds.processes, Excess::Processes),
            (usage.disk_bytes > self.bounds.disk_bytes, Excess::Disk),
        ];
        if let Some((_, excess)) = excess.into_iter().find(|(is_exceeded, _)| *is_exceeded) {
            process.kill_for(excess);
        }
    }
}

impl Memory {
    /// Reads the proportional memory only if the resident memory, which is cheap to know, has changed.
    fn measure(&mut self, below: &[(i32, Seen)]) -> u64 {
        let page = rustix::param::page_size() as u64;
        let resident = below.iter().map(|(_, seen)| seen.resident_pages * page).sum::<u64>();
        if resident.abs_diff(self.resident_bytes) > self.resident_bytes / CHANGE {
            let of =
                |(pid, seen): &(i32, Seen)| snapshot::proportional_bytes(*pid).unwrap_or(seen.resident_pages * page);
            self.proportional_bytes = below.iter().map(of).sum();
            self.resident_bytes = resident;
        }
        self.proportional_bytes
    }
}

impl Disk {
    fn measure(&mut self, bounds: &Bounds, ticks: u64) -> u64 {
        let now = Instant::now();
        let is_idle = self.ticks == ticks && self.measured.is_some_and(|measured| measured.elapsed() < DISK_IDLE);
        if self.due.is_some_and(|due| due > now) || is_idle {
            return self.bytes;
        }
        let own = disk::bytes_of(&bounds.own, bounds.disk_bytes);
        let before = self.shared_before.unwrap_or(u64::MAX);
        let shared = disk::bytes_of(&bounds.shared, bounds.disk_bytes.saturating_add(before));
        let before = *self.shared_before.get_or_insert(shared);
        self.bytes = own + shared.saturating_sub(before);
        self.ticks = ticks;
        self.measured = Some(now);
        self.due = Some(now + (now.elapsed() * PAUSE_PER_ROUND).clamp(DISK_PAUSE_MIN, DISK_PAUSE_MAX));
        self.bytes
    }
}
