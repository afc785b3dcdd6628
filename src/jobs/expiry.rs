//! Marks what has expired, so that it stays expired although no request asks for it.

use std::time::Duration;

use crate::db::{Db, Now, endings};
use crate::jobs::pause;

/// At most a minute may pass between an expiry and its mark.
const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// Looks at once and then every half minute, until it is stopped. Nothing is written if nothing has expired.
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
