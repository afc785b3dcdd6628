//! Whether the database can do its work: what a server asks itself before it says that it is ready.

use std::path::Path;

use crate::db::directory::Directory;
use crate::db::{Tx, check_schema};
use crate::error::Error;
use crate::seal::MasterKey;

/// With less the next writes fail.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// To be asked of the writer, whose commit then shows that the disk takes what is written.
///
/// # Errors
///
/// `Unavailable` where the schema is not this binary's or the master key is not this database's; `StorageFull`, or what else
/// every write would meet now.
pub fn check(tx: &Tx) -> Result<(), Error> {
    let folder = tx.sql.path().map(Path::new).and_then(Path::parent).expect("the database is in a directory");
    check_schema(tx)?;
    check_master_key(tx, folder)?;
    check_disk(folder)?;
    write(tx)
}

/// What is written may still fit what the log has already; what comes after it will not.
fn check_disk(folder: &Path) -> Result<(), Error> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|cause| Error::Internal(format!("cannot ask how much room the disk has: {cause}")))?;
    let is_full = disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN;
    if is_full { Err(Error::StorageFull) } else { Ok(()) }
}

/// The master key as it is now: without it the next start fails.
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

/// A row as it is already: it costs a page of the log, and nothing to see.
fn write(tx: &Tx) -> Result<(), Error> {
    tx.sql.prepare_cached("UPDATE installation SET created_at = created_at")?.execute([])?;
    Ok(())
}
