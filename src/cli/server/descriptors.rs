//! How many files and connections the system lets us have open.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::server::Limits;

/// What the server opens beside its connections: the database on every thread, the log, its sockets.
const OWN: u64 = 64;
/// A connection, and the archive that it brings or fetches.
const PER_CONNECTION: u64 = 2;
const CONNECTIONS_MIN: u64 = 4;

/// Raises the limit of open files as far as it may be raised, and takes no more connections than it allows.
pub fn fit(limits: Limits) -> Limits {
    let allowed = raise();
    let connections = (allowed.saturating_sub(OWN) / PER_CONNECTION).max(CONNECTIONS_MIN);
    let wanted = limits.connections_max as u64;
    if connections >= wanted {
        return limits;
    }
    let needed = wanted * PER_CONNECTION + OWN;
    tracing::warn!(
        "only {allowed} files may be open: the server takes {connections} connections instead of {wanted}; \
         allow {needed} with `ulimit -n` or `LimitNOFILE=`"
    );
    Limits { connections_max: connections as usize, ..limits }
}

/// The limit as it then is.
fn raise() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    if limit.current != hard {
        let soft = std::mem::replace(&mut limit.current, hard);
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!("the limit of open files cannot be raised: {cause}");
            limit.current = soft;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}
