//! Removes uploads that were never used, archives that no upload refers to, and the results of reading such archives.

use std::fmt::{Debug, Display};
use std::time::Duration;

use crate::db::{Db, Now, uploads};
use crate::domain::Time;
use crate::jobs::pause;

const SWEEPS_EVERY: Duration = Duration::from_secs(60 * 60);

/// Sweeps at once and then every hour, until it is stopped. `forget_unfinished` drops multipart uploads that are kept
/// in memory and were not completed in time.
pub fn keep_swept(db: &Db, now: impl Fn() -> Now, forget_unfinished: impl Fn(Time), stopped: impl Fn() -> bool) {
    while !stopped() {
        forget_unfinished(now().time);
        sweep(db, now());
        pause(SWEEPS_EVERY, &stopped);
    }
}

/// Sweeps once. If one part fails, it continues with the others.
fn sweep(db: &Db, now: Now) {
    let forgotten = [db.write_blocking(now, uploads::forget_untaken), db.write_blocking(now, uploads::forget_readings)];
    for cause in forgotten.into_iter().filter_map(Result::err) {
        not_swept("rows of uploads", &cause);
    }
    db.archives()
        .sweep(|hash| db.read(now, |tx| uploads::is_named(tx, hash)), |path, cause| not_swept(path.display(), &cause));
}

fn not_swept(what: impl Display, cause: &dyn Debug) {
    tracing::error!(%what, ?cause, "not swept");
}
