//! The system's limit of open files, and the number of connections that it allows.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::server::Limits;

/// Files that the server opens besides connections: the database on every thread, the log, its sockets.
const OWN: u64 = 64;
/// Files per connection: its socket, and the archive that it uploads or downloads.
const PER_CONNECTION: u64 = 2;
const CONNECTIONS_MIN: u64 = 4;

/// Raises the limit of open files as far as allowed, and lowers the number of connections to what it permits.
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

/// Raises the soft limit and returns the limit in force.
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
