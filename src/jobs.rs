//! Background jobs, which no request waits for. Each job checks the database at intervals, by the clock that is passed
//! to it, until it is stopped.

use std::time::Duration;

pub mod expiry;
pub mod mail;
pub mod metering;
pub mod retention;

/// How often a paused job checks whether it must stop.
const STOP_ASKED_EVERY: Duration = Duration::from_millis(250);

/// Pauses for this time, or until the job must stop.
fn pause(duration: Duration, stopped: &impl Fn() -> bool) {
    for _ in 0..duration.as_millis() / STOP_ASKED_EVERY.as_millis() {
        if stopped() {
            return;
        }
        std::thread::sleep(STOP_ASKED_EVERY);
    }
}
