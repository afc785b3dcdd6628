//! Counts commits, and wakes the threads that wait for the next one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use crate::db::changes::Changes;

/// The number of commits. It rises before the clients whose writes were committed get their responses.
#[derive(Default)]
pub(super) struct Commits {
    count: AtomicU64,
    woken: Mutex<Vec<Thread>>,
    pub changes: Arc<Changes>,
}

impl Commits {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Registers a thread: each commit wakes it if it is parked.
    pub fn wake(&self, thread: Thread) {
        self.woken.lock().expect("nobody panics holding it").push(thread);
    }

    pub fn announce(&self) {
        self.changes.announce();
        self.count.fetch_add(1, Ordering::Release);
        self.woken.lock().expect("nobody panics holding it").iter().for_each(Thread::unpark);
    }
}
