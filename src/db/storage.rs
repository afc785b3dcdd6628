//! The disk under the database: how full it is, how it fails, and how long the WAL is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ffi};

use crate::db::directory;
use crate::error::Error;

/// SQLite truncates the WAL to this size whenever it is reset.
pub(super) const LOG_BYTES_MAX: u64 = 4 << 20;

/// Turns a disk failure that was caused by a full disk into [`Error::StorageFull`].
pub(super) fn of_storage(sql: &Connection, cause: Error) -> Error {
    match cause {
        Error::Internal(_) if lacks_space(sql) => Error::StorageFull,
        other => other,
    }
}

/// Whether the last call on this connection failed for lack of space. SQLite says so only for some writes; for a user's
/// disk quota, an fsync and the files beside the database it only reports that the disk failed.
pub(super) fn lacks_space(sql: &Connection) -> bool {
    // SAFETY: the handle belongs to an open connection, and both functions only read the state of its last failure.
    let (code, errno) = unsafe { (ffi::sqlite3_errcode(sql.handle()), ffi::sqlite3_system_errno(sql.handle())) };
    match code & 0xff {
        ffi::SQLITE_FULL => true,
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN => directory::is_full(&std::io::Error::from_raw_os_error(errno)),
        _ => false,
    }
}

/// Whether the disk has no space for the files that SQLite keeps beside a database.
pub(super) fn is_disk_full(database: &Path) -> bool {
    const NEEDED_BYTES: u64 = 128 << 10;
    let folder = database.parent().unwrap_or(database);
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NEEDED_BYTES)
}

/// Truncates the WAL if this is possible at once, without waiting: a reader may block it for hours.
pub(super) fn truncate_log(sql: &Connection) {
    let _ = sql.execute_batch(
        "PRAGMA busy_timeout = 0;
         PRAGMA wal_checkpoint(TRUNCATE);
         PRAGMA busy_timeout = 5000;",
    ); // a failure is ignored: the caller tries again while the WAL is too long
}

/// The length of the WAL in bytes.
pub(super) fn log_bytes(database: &Path) -> u64 {
    with_ending(database, "-wal").metadata().map_or(0, |log| log.len())
}

/// The path of the file beside the database whose name has this ending appended.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
