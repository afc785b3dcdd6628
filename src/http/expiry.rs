//! Looks for what has expired, so that it stays expired also where no request asks for it.

use std::time::Duration;

use crate::db::{Db, Moment, endings};

/// At most a minute may pass between an expiry and its mark.
const LOOKS_EVERY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// Looks at once and then every half minute, until it is stopped. Nothing is written where nothing has expired.
pub fn keep_marked(db: &Db, moment: impl Fn() -> Moment, stopped: impl Fn() -> bool) {
    while !stopped() {
        let due = db.read(moment(), endings::are_due);
        let marked = due.and_then(|due| if due { db.write_blocking(moment(), endings::mark) } else { Ok(()) });
        if let Err(cause) = marked {
            eprintln!("what has expired is not marked: {cause:?}");
        }
        for _ in 0..LOOKS_EVERY.as_millis() / PAUSE.as_millis() {
            if stopped() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
