//! How many commits there were, and who is woken by the next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

/// Counts commits. The count rises before the writes of a commit are answered.
#[derive(Default)]
pub(super) struct Commits {
    count: AtomicU64,
    woken: Mutex<Vec<Thread>>,
}

impl Commits {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Wakes this thread at each commit, if it is parked.
    pub fn wake(&self, thread: Thread) {
        self.woken.lock().expect("nobody panics holding it").push(thread);
    }

    pub fn announce(&self) {
        self.count.fetch_add(1, Ordering::Release);
        self.woken.lock().expect("nobody panics holding it").iter().for_each(Thread::unpark);
    }
}
