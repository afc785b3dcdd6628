//! The calls that have ended and are not counted in the database yet.
//!
//! Calls are noted without waiting. A job takes them in batches and writes them. If it falls behind, further calls are
//! not counted, and how many is logged: a call never fails because it cannot be counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::calls::CallMade;

/// How many calls wait to be counted at most.
const WAITING_MAX: usize = 100_000;

#[derive(Default)]
pub struct Meter {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    calls: Vec<CallMade>,
    lost: u64,
}

impl Meter {
    /// Notes a call that has ended.
    pub fn note(&self, call: CallMade) {
        let mut waiting = self.lock();
        if waiting.calls.len() < WAITING_MAX {
            waiting.calls.push(call);
        } else {
            waiting.lost += 1;
        }
    }

    /// Takes all calls that were noted since the last time.
    pub fn take(&self) -> Vec<CallMade> {
        let Waiting { calls, lost } = std::mem::take(&mut *self.lock());
        if lost > 0 {
            tracing::warn!(lost, "calls are not counted: too many waited to be written");
        }
        calls
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
