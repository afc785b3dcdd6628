//! Work that no request waits for. Each job looks at what is stored, by the clock that it is given, until it is stopped.

use std::time::Duration;

pub mod expiry;
pub mod retention;

/// How often a job that pauses asks whether it is to stop.
const STOP_ASKED_EVERY: Duration = Duration::from_millis(250);

/// Pauses for this long, or until the server stops.
fn pause(duration: Duration, stopped: &impl Fn() -> bool) {
    for _ in 0..duration.as_millis() / STOP_ASKED_EVERY.as_millis() {
        if stopped() {
            return;
        }
        std::thread::sleep(STOP_ASKED_EVERY);
    }
}
