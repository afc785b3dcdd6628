//! Readiness of the database: what a server checks before it reports that it is ready.

use std::path::Path;

use crate::db::directory::Directory;
use crate::db::{Tx, check_schema};
use crate::error::Error;
use crate::seal::MasterKey;

/// With less free space than this, the next writes would fail.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// Checks that the database can be used. Run it on the writer: its commit then shows that the disk accepts writes.
///
/// # Errors
///
/// [`Error::Unavailable`] where the schema is not the one of this binary or the master key does not fit this database;
/// [`Error::StorageFull`], or any other error that each write would meet now.
pub fn check(tx: &Tx) -> Result<(), Error> {
    let folder = tx.sql.path().map(Path::new).and_then(Path::parent).expect("the database is in a directory");
    check_schema(tx)?;
    check_master_key(tx, folder)?;
    check_disk(folder)?;
    write(tx)
}

/// Checks the free space. The small write of this check may still fit in the space that the WAL has already; later
/// writes would not.
fn check_disk(folder: &Path) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|cause| Error::Internal(format!("cannot ask how much room the disk has: {cause}")))?;
    let is_full = disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN;
    if is_full { Err(Error::StorageFull) } else { Ok(()) }
}

/// Checks the master key file as it is now: if it does not fit, the next start would fail.
fn check_master_key(tx: &Tx, folder: &Path) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached("SELECT wrapped_key FROM installation")?;
    let wrapped: Vec<u8> = query.query_row([], |row| row.get("wrapped_key"))?;
    let master = std::fs::read_to_string(Directory::master_key(folder)).ok().and_then(|text| MasterKey::parse(&text));
    match master.and_then(|master| master.unwrap(&wrapped)) {
        Some(_) => Ok(()),
        None => Err(Error::Unavailable(
            "the master key cannot be read or is not that of this database: put back the one that it was made with",
        )),
    }
}

/// Writes a row without changing its values: it costs one page of the WAL, and readers see no difference.
fn write(tx: &Tx) -> Result<(), Error> {
    tx.sql.prepare_cached("UPDATE installation SET created_at = created_at")?.execute([])?;
    Ok(())
}
