//! The disk below the database: how full it is, how it fails, how long the log is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ffi};

use crate::db::directory;
use crate::error::Error;

/// The log is cut to this size whenever it begins anew.
pub(super) const LOG_BYTES_MAX: u64 = 4 << 20;

/// A failure of the disk, told from a disk that is full.
pub(super) fn of_storage(sql: &Connection, cause: Error) -> Error {
    match cause {
        Error::Internal(_) if lacks_space(sql) => Error::StorageFull,
        other => other,
    }
}

/// Whether the last call on this connection failed for want of space. SQLite says so only of some writes; of a user's share
/// of the disk, of an fsync and of the files beside the database it says that the disk failed.
pub(super) fn lacks_space(sql: &Connection) -> bool {
    // SAFETY: the handle is that of a connection that is open, and both only read what it keeps of its last failure.
    let (code, errno) = unsafe { (ffi::sqlite3_errcode(sql.handle()), ffi::sqlite3_system_errno(sql.handle())) };
    match code & 0xff {
        ffi::SQLITE_FULL => true,
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN => directory::is_full(&std::io::Error::from_raw_os_error(errno)),
        _ => false,
    }
}

/// Whether the disk has no room for what SQLite keeps beside a database.
pub(super) fn is_disk_full(database: &Path) -> bool {
    const NEEDED_BYTES: u64 = 128 << 10;
    let folder = database.parent().unwrap_or(database);
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NEEDED_BYTES)
}

/// Cuts the log, at once or not at all: a reader may hold it for hours.
pub(super) fn truncate_log(sql: &Connection) {
    let _ = sql.execute_batch(
        "PRAGMA busy_timeout = 0;
         PRAGMA wal_checkpoint(TRUNCATE);
         PRAGMA busy_timeout = 5000;",
    ); // tried again as long as it is wanted
}

/// How long the log is.
pub(super) fn log_bytes(database: &Path) -> u64 {
    with_ending(database, "-wal").metadata().map_or(0, |log| log.len())
}

/// The file beside the database whose name ends like this.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
