//! The calls that have ended and are not counted in the database yet.
//!
//! Calls are noted without waiting. A job takes them in batches and writes them. If it falls behind, further calls are
//! not counted, and how many is logged: a call never fails because it cannot be counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::calls::CallMade;
use crate::domain::model_apis::ModelApiUsed;

/// How many calls wait to be counted at most.
const WAITING_MAX: usize = 100_000;

#[derive(Default)]
pub struct Meter {
    waiting: Mutex<Waiting>,
}

/// What was made since it was last taken.
#[derive(Default)]
pub struct Waiting {
    pub calls: Vec<CallMade>,
    pub model_apis: Vec<ModelApiUsed>,
    lost: u64,
}

impl Meter {
    /// Notes a call that has ended.
    pub fn note(&self, call: CallMade) {
        let mut waiting = self.lock();
        if waiting.has_room() {
            waiting.calls.push(call);
        }
    }

    /// Notes a call to a Model API that has ended.
    pub fn note_model_api(&self, used: ModelApiUsed) {
        let mut waiting = self.lock();
        if waiting.has_room() {
            waiting.model_apis.push(used);
        }
    }

    /// Takes all calls that were noted since the last time.
    pub fn take(&self) -> Waiting {
        let waiting = std::mem::take(&mut *self.lock());
        if waiting.lost > 0 {
            tracing::warn!(lost = waiting.lost, "calls are not counted: too many waited to be written");
        }
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room(&mut self) -> bool {
        let has_room = self.calls.len() + self.model_apis.len() < WAITING_MAX;
        self.lost += u64::from(!has_room);
        has_room
    }
}
