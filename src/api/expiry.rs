//! Looks for what has expired, so that it stays expired also where no request asks for it.

use std::time::Duration;

use crate::api::request_log::RequestLog;
use crate::db::{Db, Now, endings};

/// At most a minute may pass between an expiry and its mark.
const LOOKS_EVERY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// What a request has found expired is marked before it is answered. If that fails, it is refused all the same.
pub async fn mark(db: &Db, now: Now, log: &RequestLog) {
    if let Err(cause) = db.mark_ended(now.seed).await {
        log.note_failure(&cause);
    }
}

/// Looks at once and then every half minute, until it is stopped. Nothing is written where nothing has expired.
pub fn keep_marked(db: &Db, now: impl Fn() -> Now, stopped: impl Fn() -> bool) {
    while !stopped() {
        let due = db.read(now(), endings::are_due);
        let marked = due.and_then(|due| if due { db.write_blocking(now(), endings::mark) } else { Ok(()) });
        if let Err(cause) = marked {
            tracing::error!(?cause, "what has expired is not marked");
        }
        for _ in 0..LOOKS_EVERY.as_millis() / PAUSE.as_millis() {
            if stopped() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
