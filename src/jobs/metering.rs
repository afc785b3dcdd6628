//! Stores what calls and replicas took, in batches and off the path of the calls.
//!
//! A batch is one write: a crash loses what the last second brought and counts nothing twice. While the database cannot be
//! written, the batch grows up to a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::db::{Db, Now, metering};
use crate::domain::metering::Batch;
use crate::jobs::pause;

const STORES_EVERY: Duration = Duration::from_secs(1);
/// After how many rounds replicas are counted, and old rows deleted.
const COUNTED_EVERY_ROUNDS: u64 = 5;
const FORGOTTEN_EVERY_ROUNDS: u64 = 600;

/// Stores once a second, until it is stopped, and a last time then. `take` adds the calls that were made since it was last
/// called to a batch; `replicas` counts the replicas of each deployment that has any.
pub fn keep_metered(
    db: &Db,
    now: impl Fn() -> Now,
    mut take: impl FnMut(&mut Batch),
    replicas: impl Fn() -> Vec<(String, i64)>,
    stopped: impl Fn() -> bool,
) {
    let mut metering = Metering::default();
    if let Err(cause) = db.write_blocking(now(), metering::note_start) {
        tracing::error!(?cause, "replicas that ran before are still counted");
    }
    for round in 0_u64.. {
        let is_last = stopped();
        take(&mut metering.batch);
        metering.store(db, now());
        if round % COUNTED_EVERY_ROUNDS == 0 {
            metering.count_replicas(db, now(), replicas());
        }
        if round % FORGOTTEN_EVERY_ROUNDS == 0 {
            forget_old(db, now());
        }
        if is_last {
            return;
        }
        pause(STORES_EVERY, &stopped);
    }
}

/// What is not stored yet, and what was stored last.
#[derive(Default)]
struct Metering {
    batch: Batch,
    replicas: HashMap<String, i64>,
}

impl Metering {
    fn store(&mut self, db: &Db, now: Now) {
        if self.batch.is_empty() {
            return;
        }
        let batch = Arc::new(std::mem::take(&mut self.batch));
        let written = Arc::clone(&batch);
        match db.write_blocking(now, move |tx| metering::add(tx, &written)) {
            Ok(()) if batch.lost > 0 => {
                tracing::error!(calls = batch.lost, "calls are not counted: too many waited to be stored");
            }
            Ok(()) => {}
            // The write was undone as a whole, so its batch is stored with the next one.
            Err(cause) => {
                tracing::error!(?cause, "calls are not counted yet");
                self.batch = Arc::try_unwrap(batch).unwrap_or_default();
            }
        }
    }

    fn count_replicas(&mut self, db: &Db, now: Now, counts: Vec<(String, i64)>) {
        let current: HashMap<String, i64> = counts.iter().cloned().collect();
        let gone = self.replicas.keys().filter(|id| !current.contains_key(*id)).map(|id| (id.clone(), 0));
        let differs = |(id, count): &&(String, i64)| self.replicas.get(id) != Some(count);
        let changed: Vec<_> = counts.iter().filter(differs).cloned().chain(gone).collect();
        if changed.is_empty() && counts.is_empty() {
            return;
        }
        let stored = db.write_blocking(now, move |tx| {
            changed.iter().try_for_each(|(id, count)| metering::note_replicas(tx, id, *count))?;
            metering::charge_minute(tx, &counts)
        });
        match stored {
            Ok(()) => self.replicas = current,
            Err(cause) => tracing::error!(?cause, "replicas are not counted"),
        }
    }
}

fn forget_old(db: &Db, now: Now) {
    loop {
        match db.write_blocking(now, metering::forget_old) {
            Ok(true) => {}
            Ok(false) => return,
            Err(cause) => {
                tracing::error!(?cause, "old metrics are not deleted");
                return;
            }
        }
    }
}
