//! Marks rows that have expired, so that they stay expired even if no request reads them.

use std::time::Duration;

use crate::db::{Db, Now, endings};
use crate::jobs::pause;

/// An expired row must be marked within a minute.
const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// Runs at once and then every 30 seconds, until it is stopped. It writes only if something has expired.
pub fn keep_marked(db: &Db, now: impl Fn() -> Now, stopped: impl Fn() -> bool) {
    while !stopped() {
        let due = db.read(now(), endings::are_due);
        let marked = due.and_then(|due| if due { db.write_blocking(now(), endings::mark) } else { Ok(()) });
        if let Err(cause) = marked {
            tracing::error!(?cause, "what has expired is not marked");
        }
        pause(LOOKS_EVERY, &stopped);
    }
}
