//! A bounded pool of threads for work whose size a tenant decides: parsing, searching, hashing.
//!
//! Such work must not run on a thread that answers requests, nor in the writer. Organizations take turns. Each has its own
//! queue, bounded in entries and bytes, and none holds all threads. A full queue refuses work of its own organization only.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::Error;

/// How long a refused client is asked to wait.
const RETRY_AFTER_SECONDS: u32 = 1;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub threads: usize,
    /// How many threads may work for one owner at once.
    pub threads_per_owner_max: usize,
    /// How much work of one owner may wait, in entries.
    pub waiting_per_owner_max: usize,
    /// How many input bytes of one owner may wait or be in progress.
    pub bytes_per_owner_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        Limits { threads, threads_per_owner_max: threads / 2, waiting_per_owner_max: 64, bytes_per_owner_max: 32 << 20 }
    }
}

/// Functions that each thread of the pool calls, so that it can hold resources while it is busy and release them after.
#[derive(Clone, Copy)]
pub struct Hooks {
    pub on_start: fn(),
    /// Called before a thread waits for more work, and before it ends.
    pub on_idle: fn(),
}

/// A pool of threads. Dropping it ends the threads; work that still waits is discarded.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub fn new(limits: Limits, hooks: Hooks) -> Pool {
        let shared = Arc::new(Shared { limits, state: Mutex::default(), changed: Condvar::new() });
        let spawn = |number| {
            let shared = Arc::clone(&shared);
            let name = format!("pool {number}");
            std::thread::Builder::new().name(name).spawn(move || shared.work(hooks)).expect("the system gives threads")
        };
        let threads = (0..limits.threads).map(spawn).collect();
        Pool { shared, threads }
    }

    /// Runs `work` in its owner's turn. `owner` is the id of an organization, `bytes` the size of the input.
    ///
    /// # Errors
    /// [`Error::Busy`] if too much work of this owner waits, [`Error::Internal`] if the work panics, and its own errors.
    pub async fn run<T: Send + 'static>(
        &self,
        owner: &str,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue(owner, bytes, move || {
            if !answer.is_closed() {
                let _ = answer.send(contained(work)); // the receiver may be gone
            }
        })?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Runs `work` in its owner's turn and blocks the calling thread until it is done.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        owner: &str,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = mpsc::channel();
        self.shared.queue(owner, bytes, move || {
            let _ = answer.send(contained(work));
        })?;
        answered.recv().unwrap_or_else(|_| Err(stopping()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        let waiting = std::mem::take(&mut state.owners);
        drop(state);
        drop(waiting); // their receivers get an error
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Catches a panic: it fails one piece of work, not its thread.
fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Internal("work on the pool panicked".to_owned())))
}

fn stopping() -> Error {
    Error::Unavailable("the server is stopping: send it again")
}

type Work = Box<dyn FnOnce() + Send>;

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    owners: HashMap<String, Owner>,
    /// The owners with waiting work, each once, the next one first.
    turns: VecDeque<String>,
    stopped: bool,
}

#[derive(Default)]
struct Owner {
    waiting: VecDeque<(usize, Work)>,
    /// Input bytes that wait or are in progress.
    bytes: usize,
    running: usize,
}

/// Work taken from its queue.
struct Taken {
    owner: String,
    bytes: usize,
    work: Work,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, owner: &str, bytes: usize, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let mut state = self.lock();
        if state.stopped {
            return Err(stopping());
        }
        let State { owners, turns, .. } = &mut *state;
        let queue = owners.entry(owner.to_owned()).or_default();
        let is_idle = queue.waiting.is_empty() && queue.running == 0;
        let is_full = queue.waiting.len() >= self.limits.waiting_per_owner_max
            || queue.bytes.saturating_add(bytes) > self.limits.bytes_per_owner_max;
        // An owner without waiting work is always accepted, so that no single input is too large forever.
        if is_full && !is_idle {
            return Err(Error::Busy { retry_after_seconds: RETRY_AFTER_SECONDS });
        }
        if queue.waiting.is_empty() {
            turns.push_back(owner.to_owned());
        }
        queue.bytes += bytes;
        queue.waiting.push_back((bytes, Box::new(work)));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self, hooks: Hooks) {
        (hooks.on_start)();
        while let Some(Taken { owner, bytes, work }) = self.take(hooks) {
            let _ = catch_unwind(AssertUnwindSafe(work)); // the failure was already sent to the receiver
            self.finish(&owner, bytes);
        }
        (hooks.on_idle)();
    }

    /// The next work in turn; `None` once the pool ends.
    fn take(&self, hooks: Hooks) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(taken) = state.take(self.limits.threads_per_owner_max) {
                return Some(taken);
            }
            (hooks.on_idle)();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, owner: &str, bytes: usize) {
        let mut state = self.lock();
        let Some(queue) = state.owners.get_mut(owner) else { return }; // the pool ends
        queue.running -= 1;
        queue.bytes -= bytes;
        if queue.running == 0 && queue.waiting.is_empty() {
            state.owners.remove(owner);
        }
        drop(state);
        self.changed.notify_one(); // an owner that used all of its threads may continue
    }
}

impl State {
    fn take(&mut self, threads_per_owner_max: usize) -> Option<Taken> {
        let State { owners, turns, .. } = self;
        let may_run = |owner: &String| owners.get(owner).is_some_and(|queue| queue.running < threads_per_owner_max);
        let owner = turns.remove(turns.iter().position(may_run)?)?;
        let queue = owners.get_mut(&owner)?;
        let (bytes, work) = queue.waiting.pop_front()?;
        queue.running += 1;
        if !queue.waiting.is_empty() {
            turns.push_back(owner.clone());
        }
        Some(Taken { owner, bytes, work })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    const NO_HOOKS: Hooks = Hooks { on_start: || (), on_idle: || () };

    fn limits() -> Limits {
        Limits { threads: 2, threads_per_owner_max: 1, waiting_per_owner_max: 4, bytes_per_owner_max: 100 }
    }

    /// Work of `owner` that runs until the sender is dropped.
    fn hold(pool: &Pool, owner: &str) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        pool.shared
            .queue(owner, 1, move || {
                let _ = released.recv();
            })
            .unwrap();
        release
    }

    fn wait_until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(30), "it never happened");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_owner_neither_holds_all_threads_nor_fills_the_queue_of_another() {
        let pool = Pool::new(limits(), NO_HOOKS);
        let held = hold(&pool, "a");
        wait_until(|| pool.shared.lock().owners["a"].running == 1);
        let queued: Vec<_> = (0..4).map(|_| pool.shared.queue("a", 1, || ())).collect();
        assert!(queued.iter().all(Result::is_ok));
        assert!(matches!(pool.shared.queue("a", 1, || ()), Err(Error::Busy { .. })));
        assert_eq!(pool.run_blocking("b", 1, || Ok(7)).unwrap(), 7);
        drop(held);
        wait_until(|| pool.shared.lock().owners.is_empty());
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let pool = Pool::new(limits(), NO_HOOKS);
        let held = hold(&pool, "a");
        assert!(matches!(pool.shared.queue("a", 100, || ()), Err(Error::Busy { .. })));
        assert!(pool.shared.queue("a", 99, || ()).is_ok());
        drop(held);
        wait_until(|| pool.shared.lock().owners.is_empty());
        assert_eq!(pool.run_blocking("a", 1000, || Ok(7)).unwrap(), 7, "an idle owner is always served");
    }

    #[test]
    fn owners_take_turns() {
        let one = Limits { threads: 1, ..limits() };
        let pool = Pool::new(one, NO_HOOKS);
        let held = hold(&pool, "c");
        wait_until(|| pool.shared.lock().owners["c"].running == 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        for owner in ["a", "a", "a", "b", "b"] {
            let order = Arc::clone(&order);
            pool.shared.queue(owner, 1, move || order.lock().unwrap().push(owner)).unwrap();
        }
        drop(held);
        wait_until(|| order.lock().unwrap().len() == 5);
        assert_eq!(*order.lock().unwrap(), ["a", "b", "a", "b", "a"]);
    }

    #[test]
    fn a_panic_is_one_failure() {
        let pool = Pool::new(Limits { threads: 1, ..limits() }, NO_HOOKS);
        let failed: Result<(), Error> = pool.run_blocking("a", 1, || panic!("a bug"));
        assert!(matches!(failed, Err(Error::Internal(_))));
        assert_eq!(pool.run_blocking("a", 1, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn a_dropped_pool_does_not_do_what_waits() {
        let pool = Pool::new(Limits { threads: 1, ..limits() }, NO_HOOKS);
        let held = hold(&pool, "a");
        wait_until(|| pool.shared.lock().owners["a"].running == 1);
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        pool.shared
            .queue("a", 1, move || {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        let dropped = std::thread::spawn(move || drop(pool));
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
        dropped.join().unwrap();
        assert_eq!(done.load(Ordering::SeqCst), 0);
    }
}
