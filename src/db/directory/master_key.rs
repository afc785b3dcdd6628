//! The master key: a file beside the database that decrypts the database's data key, and what is lost without it.
//!
//! The file is either complete or absent: it is written under another name, synced and renamed.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::Directory;
use super::access::{failed, make_private, sync_folder};
use crate::db::Now;
use crate::error::Error;
use crate::seal::{MasterKey, Sealer};

/// Checks the master key of this database before anything is written. `sql` may have any version of the schema.
///
/// # Errors
///
/// [`Error::Internal`] if the database has a data key and the master key is missing, unreadable or another one. The
/// message says what is lost without the right key.
pub(in crate::db) fn check(directory: &Directory, sql: &Connection) -> Result<(), Error> {
    let Some(wrapped) = wrapped_key(sql)? else { return Ok(()) };
    match fitting(directory.path(), &wrapped) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::Internal(format!("{why}\n{}", lost(directory.path(), sql)?))),
    }
}

/// The key that seals secrets. The first run creates it, and later runs decrypt it with the master key.
///
/// # Errors
///
/// [`Error::Internal`] if the master key cannot be read or written, or is not the one of this database.
pub(in crate::db) fn unlock(directory: &mut Directory, sql: &Connection, now: Now) -> Result<Sealer, Error> {
    if let Some(wrapped) = wrapped_key(sql)? {
        return fitting(directory.path(), &wrapped).map_err(Error::Internal);
    }
    let mut rng = StdRng::from_seed(now.seed);
    let path = Directory::master_key(directory.path());
    let is_there = path.metadata().is_ok_and(|key| key.len() > 0); // earlier releases could stop before they wrote it
    let master = if is_there {
        read(&path).map_err(Error::Internal)? // a first run stopped after it wrote the file
    } else {
        let master = write_new(directory.path(), &mut rng)?;
        directory.has_made(path);
        master
    };
    let wrapped = master.wrap_new_data_key(&mut rng);
    sql.execute(
        "INSERT INTO installation (id, wrapped_key, created_at)
         VALUES (1, :wrapped_key, :now)",
        named_params! { ":wrapped_key": wrapped, ":now": now.time },
    )?;
    Ok(master.unwrap(&wrapped).expect("it was wrapped with this key"))
}

/// Replaces a lost master key by a new one, and the data key in the database too. What the old key sealed can no longer
/// be opened. If the file holds another key, it is renamed and kept in the same folder.
///
/// # Errors
///
/// [`Error::Conflict`] if the file holds the right key, or if the database has no data key yet. [`Error::Internal`] if
/// a file cannot be renamed or written.
pub(in crate::db) fn replace(directory: &Directory, sql: &Connection, now: Now) -> Result<Sealer, Error> {
    let path = Directory::master_key(directory.path());
    let wrapped = wrapped_key(sql)?;
    if wrapped.is_none_or(|wrapped| fitting(directory.path(), &wrapped).is_ok()) {
        return Err(Error::conflict(format!("{} fits this database: no secret is lost", path.display())));
    }
    if path.exists() {
        let aside = path.with_file_name(format!("master.key.{}", now.time.0));
        std::fs::rename(&path, &aside).map_err(|cause| Error::Internal(failed("rename", &path, &cause)))?;
    }
    let mut rng = StdRng::from_seed(now.seed);
    let master = write_new(directory.path(), &mut rng)?;
    let wrapped = master.wrap_new_data_key(&mut rng);
    sql.execute("UPDATE installation SET wrapped_key = :wrapped_key", named_params! { ":wrapped_key": wrapped })?;
    Ok(master.unwrap(&wrapped).expect("it was wrapped with this key"))
}

/// A message that says what can no longer be read, and what the operator can do.
fn lost(data: &Path, sql: &Connection) -> Result<String, Error> {
    let (secrets, teams, organizations): (i64, i64, i64) = sql.query_row(
        "SELECT count(*), count(DISTINCT secret.team_id), count(DISTINCT secret.org_id)
         FROM secret_value JOIN secret ON secret.id = secret_value.secret_id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(format!(
        "Without the right one, the values of {} in {} of {} cannot be read again, and uploads that are under way must \
         begin anew. Nothing else is lost.\n\
         Put the master key back from where it is kept, or give these values up: `guildhall secrets discard --yes --data \
         {}` drops them, makes a new master key, and keeps everything else.",
        counted(secrets, "secret"),
        counted(teams, "team"),
        counted(organizations, "organization"),
        data.display(),
    ))
}

fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn wrapped_key(sql: &Connection) -> Result<Option<Vec<u8>>, Error> {
    Ok(sql.query_row("SELECT wrapped_key FROM installation", [], |row| row.get("wrapped_key")).optional()?)
}

/// The data key, if the file holds the master key that encrypted it.
fn fitting(data: &Path, wrapped: &[u8]) -> Result<Sealer, String> {
    let path = Directory::master_key(data);
    let sealer = read(&path)?.unwrap(wrapped);
    sealer.ok_or_else(|| format!("{} is not the master key of this database", path.display()))
}

fn read(path: &Path) -> Result<MasterKey, String> {
    let text = match std::fs::read_to_string(path) {
        Err(cause) if cause.kind() == ErrorKind::InvalidData => String::new(), // it is not text, so it is not a key
        text => text.map_err(|cause| failed("read the master key", path, &cause))?,
    };
    MasterKey::parse(&text)
        .ok_or_else(|| format!("{} does not hold a master key, which is 64 hexadecimal digits", path.display()))
}

/// Writes a new master key and syncs it to disk before the database relies on it.
fn write_new(data: &Path, rng: &mut StdRng) -> Result<MasterKey, Error> {
    let path = Directory::master_key(data);
    let unfinished = path.with_extension("key.new");
    let master = MasterKey::generate(rng);
    let mut options = OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).and_then(|mut file| {
        make_private(&file)?;
        file.write_all(master.to_text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        sync_folder(data)
    });
    written.map_err(|cause| {
        let _ = std::fs::remove_file(&unfinished); // if it stays, the next start overwrites it
        Error::Internal(failed("write the master key", &path, &cause))
    })?;
    Ok(master)
}
