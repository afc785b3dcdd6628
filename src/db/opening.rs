//! Opening a database: create it if it does not exist, recognize it, copy it before a migration, migrate it, unlock it.
//!
//! Nothing is written until three facts are certain: the file is a Guildhall database, this binary knows its schema,
//! and the master key fits. A new database gets its final name only when it is complete. Therefore a start that is
//! interrupted at any point leaves either nothing, or a state from which the next start can continue.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use crate::db::directory::{self, Directory, failed, make_private, sync_folder, tighten_all};
use crate::db::quotas::Quotas;
use crate::db::storage::{LOG_BYTES_MAX, is_disk_full, of_storage, with_ending};
use crate::db::{Now, Tx, connect, migrations, secrets, space};
use crate::domain::quotas::Settings;
use crate::domain::secrets::Discarded;
use crate::error::Error;
use crate::policy::Operator;
use crate::seal::{MasterKey, Sealer};

/// The application id in the header of the database: `GldH`.
const APPLICATION_ID: i32 = 0x476c_6448;
/// How many copies made before migrations are kept.
const COPIES_MAX: usize = 2;
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A database that is open for writing.
pub(super) struct Opened {
    pub sql: Connection,
    pub sealer: Sealer,
    pub migrated: Option<Migrated>,
    /// Changes made while opening that the operator should know.
    pub notes: Vec<String>,
}

/// A migration: from which schema to which, and where the copy made before it is.
#[derive(Clone, Debug)]
pub struct Migrated {
    pub from: i32,
    pub to: i32,
    pub copy: PathBuf,
}

/// Opens and unlocks the database of a data directory for writing, and creates it if it does not exist.
pub(super) fn open(directory: &mut Directory, now: Now) -> Result<Opened, Error> {
    let database = directory.database();
    let Prepared { sql, migrated, notes } = prepare(directory, MasterKeyIs::Required)?;
    let unlocked = directory::unlock(directory, &sql, now);
    let sealer = unlocked.map_err(|cause| about(&database, of_storage(&sql, cause)))?;
    Ok(Opened { sql, sealer, migrated, notes })
}

/// Deletes the values of all secrets and makes a new master key, for an installation whose old key is lost. Everything
/// else is kept, and the audit log of each affected organization records it.
///
/// # Errors
///
/// [`Error::Conflict`] if the master key exists and fits; [`Error::Internal`] if the directory holds no database or it
/// cannot be opened.
pub fn discard_secrets(mut directory: Directory, operator: &Operator, now: Now) -> Result<Discarded, Error> {
    let database = directory.database();
    if !database.exists() {
        return Err(Error::Internal(format!("{} holds no database", directory.path().display())));
    }
    let Prepared { sql, .. } = prepare(&mut directory, MasterKeyIs::Lost)?;
    let discard = || {
        let sealer = directory::replace_master_key(&directory, &sql, now)?;
        let quotas = Quotas::new(Settings::default());
        let discarded = secrets::discard(&Tx::new(&sql, &sealer, &AtomicI64::new(0), &quotas, None, now), operator)?;
        sql.execute("DELETE FROM accounting", [])?; // makes the next start count all usage again
        Ok(discarded)
    };
    sql.execute_batch("BEGIN IMMEDIATE").map_err(|cause| about(&database, cause.into()))?;
    let discarded = discard().map_err(|cause| about(&database, cause))?; // a failure is rolled back on close
    sql.execute_batch("COMMIT").map_err(|cause| about(&database, cause.into()))?;
    directory.keep();
    Ok(discarded)
}

/// Runs `work` on a new, empty database in memory, which no other thread sees and which is discarded afterwards.
pub fn in_memory<T>(now: Now, work: impl FnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
    let mut sql = connect(Path::new(":memory:"), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    run_migrations(&mut sql)?;
    let mut rng = StdRng::from_seed(now.seed);
    let master = MasterKey::generate(&mut rng);
    let sealer = master.unwrap(&master.wrap_new_data_key(&mut rng)).expect("it was wrapped with this key");
    let quotas = Quotas::new(Settings::default());
    work(&Tx::new(&sql, &sealer, &AtomicI64::new(0), &quotas, None, now))
}

#[derive(Clone, Copy, PartialEq)]
enum MasterKeyIs {
    Required,
    Lost,
}

struct Prepared {
    sql: Connection,
    migrated: Option<Migrated>,
    notes: Vec<String>,
}

/// Opens a database that has the schema of this binary. It is not unlocked yet.
fn prepare(directory: &mut Directory, master_key: MasterKeyIs) -> Result<Prepared, Error> {
    let database = directory.database();
    if !database.exists() {
        create(directory)?;
    }
    let schema = recognize(directory, master_key)?;
    // Only after the database was recognized as one of Guildhall.
    let notes = tighten_all(directory.path()).map_err(Error::Internal)?;
    let mut sql = connect(&database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|cause| about(&database, cause))?;
    let migrated = bring_up_to_date(directory.path(), &mut sql, schema);
    let migrated = migrated.map_err(|cause| about(&database, of_storage(&sql, cause)))?;
    Ok(Prepared { sql, migrated, notes })
}

fn bring_up_to_date(data: &Path, sql: &mut Connection, schema: i32) -> Result<Option<Migrated>, Error> {
    sql.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = {LOG_BYTES_MAX};"
    ))?;
    let migrated = migrate(data, sql, schema)?;
    if application_id(sql)? != APPLICATION_ID {
        sql.pragma_update(None, "application_id", APPLICATION_ID)?; // a release that did not set the id made it
    }
    Ok(migrated)
}

/// Adds to an error which file could not be opened, and why. A failure that SQLite reports as a disk failure is
/// reported as a full disk if the disk is full.
fn about(database: &Path, cause: Error) -> Error {
    match cause {
        Error::StorageFull => full(database),
        Error::Internal(why) if why.contains("disk I/O error") && is_disk_full(database) => full(database),
        Error::Internal(why) if database.parent().is_some_and(|data| why.contains(&*data.display().to_string())) => {
            Error::Internal(why) // its message names the file already
        }
        Error::Internal(why) => Error::Internal(format!("cannot open {}: {why}", database.display())),
        other => other,
    }
}

fn full(database: &Path) -> Error {
    let cause = std::io::Error::from(ErrorKind::StorageFull);
    Error::Internal(failed("open", database, &cause))
}

// ---- a new database ----

/// Creates the database under a temporary name, which is deleted if the work fails.
fn create(directory: &mut Directory) -> Result<(), Error> {
    let database = directory.database();
    let key = Directory::master_key(directory.path());
    if key.metadata().is_ok_and(|key| key.len() > 0) {
        return Err(Error::Internal(format!(
            "{} holds a master key but no database: put guildhall.db back from a backup, or move {} away to begin a new \
             installation",
            directory.path().display(),
            key.display()
        )));
    }
    let unfinished = directory.path().join("guildhall.db.new");
    let built = build(&unfinished).and_then(|()| {
        std::fs::rename(&unfinished, &database)
            .and_then(|()| sync_folder(directory.path()))
            .map_err(|cause| Error::Internal(failed("make", &database, &cause)))
    });
    if built.is_err() {
        remove_with_side_files(&unfinished);
    }
    built.map_err(|cause| about(&database, cause))?;
    directory.has_made(database.clone());
    SIDE_FILES.iter().for_each(|ending| directory.has_made(with_ending(&database, ending)));
    directory.has_made(space::reserve(directory.path()));
    Ok(())
}

fn build(path: &Path) -> Result<(), Error> {
    make_file(path)?;
    let mut sql = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // No other process sees the file before it is complete and durable, so it needs no journal until then.
    sql.execute_batch(&format!(
        "PRAGMA journal_mode = MEMORY;
         PRAGMA synchronous = OFF;
         PRAGMA application_id = {APPLICATION_ID};"
    ))?;
    run_migrations(&mut sql).map_err(|cause| of_storage(&sql, cause))?;
    sql.execute_batch("PRAGMA journal_mode = WAL").map_err(|cause| of_storage(&sql, cause.into()))?;
    sql.close().map_err(|(_, cause)| cause)?;
    sync(path)
}

/// Creates an empty file that only this user can read, and deletes what an interrupted start left under this name.
fn make_file(path: &Path) -> Result<(), Error> {
    remove_with_side_files(path);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|file| make_private(&file)).map_err(|cause| Error::Internal(failed("make", path, &cause)))
}

fn sync(path: &Path) -> Result<(), Error> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|cause| Error::Internal(failed("write", path, &cause)))
}

fn remove_with_side_files(path: &Path) {
    for path in SIDE_FILES.iter().map(|ending| with_ending(path, ending)).chain([path.to_owned()]) {
        let _ = std::fs::remove_file(path); // it may not exist; if it cannot be deleted, creating it again reports why
    }
}

// ---- recognizing ----

/// The schema version of a database that Guildhall made, that is not newer than this binary and that this master key
/// fits. Nothing is written, except that SQLite itself rolls back a transaction that was interrupted.
fn recognize(directory: &Directory, master_key: MasterKeyIs) -> Result<i32, Error> {
    let database = directory.database();
    check_access(&database)?;
    let is_empty = database.metadata().is_ok_and(|database| database.len() == 0);
    let flags = if with_ending(&database, "-journal").metadata().is_ok_and(|journal| journal.len() > 0) {
        OpenFlags::SQLITE_OPEN_READ_WRITE // only a connection that can write may roll it back
    } else {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    };
    if is_empty || has_foreign_header(&database) {
        return Err(unrecognized(&database, is_empty));
    }
    let sql = connect(&database, flags).map_err(|cause| about(&database, cause))?;
    let schema = match schema_of(&sql) {
        Ok(Some(schema)) => schema,
        Ok(None) => return Err(unrecognized(&database, false)),
        Err(cause) => return Err(unreadable(&database, &sql, cause)),
    };
    if schema > newest_schema() {
        return Err(Error::Internal(format!(
            "{} was written by a newer guildhall: its schema is {schema}, and this one knows schemas up to {}; start the \
             newer one, or restore a copy from before",
            database.display(),
            newest_schema()
        )));
    }
    if master_key == MasterKeyIs::Required {
        directory::check(directory, &sql).map_err(|cause| about(&database, cause))?;
    }
    Ok(schema)
}

/// Checks that the files can be opened, because SQLite would only say that it cannot open something.
fn check_access(database: &Path) -> Result<(), Error> {
    let files = SIDE_FILES.iter().map(|ending| with_ending(database, ending)).chain([database.to_owned()]);
    for path in files.filter(|path| path.exists()) {
        if path.is_dir() {
            return Err(Error::Internal(format!("cannot open {}: it is a directory", path.display())));
        }
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        opened.map_err(|cause| Error::Internal(failed("open", &path, &cause)))?;
    }
    Ok(())
}

/// Whether the header of the file carries the application id of another program.
fn has_foreign_header(database: &Path) -> bool {
    use std::io::Read as _;
    let mut header = [0; 72];
    let read = File::open(database).and_then(|mut file| file.read_exact(&mut header));
    let id = i32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    read.is_ok() && header.starts_with(b"SQLite format 3\0") && id != 0 && id != APPLICATION_ID
}

/// The version of the last migration; `None` if the database was not made by Guildhall. Databases of releases that did
/// not set the application id are recognized by the name of their first migration.
fn schema_of(sql: &Connection) -> rusqlite::Result<Option<i32>> {
    if !sql.table_exists(None, "refinery_schema_history")? || !sql.table_exists(None, "installation")? {
        return Ok(None);
    }
    let first = sql.query_row("SELECT name FROM refinery_schema_history WHERE version = 1", [], |row| row.get(0));
    let is_ours = first.optional()?.is_some_and(|name: String| name == "house");
    let last = sql.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
    Ok(is_ours.then_some(last))
}

fn application_id(sql: &Connection) -> rusqlite::Result<i32> {
    sql.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn unrecognized(database: &Path, is_empty: bool) -> Error {
    let what = if is_empty { "is empty" } else { "is not a database of guildhall" };
    Error::Internal(format!(
        "{} {what}, and is left as it is: put the database back from a backup, or move this file away",
        database.display()
    ))
}

fn unreadable(database: &Path, sql: &Connection, cause: rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => unrecognized(database, false),
        Some(ErrorCode::DatabaseCorrupt) => {
            Error::Internal(format!("{} is damaged: {cause}; put it back from a backup", database.display()))
        }
        _ => about(database, of_storage(sql, cause.into())),
    }
}

// ---- migrating ----

/// The newest schema version that this binary knows.
pub(super) fn newest_schema() -> i32 {
    let known = migrations::migrations::runner();
    known.get_migrations().iter().map(|known| known.version()).max().expect("there is a first migration")
}

/// Migrates an older schema to the newest in one transaction, after copying the database.
fn migrate(data: &Path, sql: &mut Connection, from: i32) -> Result<Option<Migrated>, Error> {
    let to = newest_schema();
    if from == to {
        return Ok(None);
    }
    let copy = copy(data, sql, from)?;
    run_migrations(sql)?;
    Ok(Some(Migrated { from, to, copy }))
}

fn run_migrations(sql: &mut Connection) -> Result<(), Error> {
    let migrations = migrations::migrations::runner();
    let run = migrations.set_grouped(true).set_abort_divergent(true).set_abort_missing(true).run(sql);
    run.map(drop).map_err(|cause| Error::Internal(format!("the database's schema does not fit this binary: {cause}")))
}

/// Makes a consistent, durable copy next to the database, with the schema version in its name.
fn copy(data: &Path, sql: &Connection, schema: i32) -> Result<PathBuf, Error> {
    let path = data.join(format!("guildhall.schema-{schema}.db"));
    let unfinished = with_ending(&path, ".new");
    let copied = copy_to(&unfinished, sql).and_then(|()| {
        let placed = std::fs::rename(&unfinished, &path).and_then(|()| sync_folder(data));
        placed.map_err(|cause| Error::Internal(failed("write", &path, &cause)))
    });
    match copied {
        Ok(()) => {
            forget_older_copies(data);
            Ok(path)
        }
        Err(cause) => {
            remove_with_side_files(&unfinished);
            let why = match about(&path, cause) {
                Error::Internal(why) => why,
                other => other.to_string(),
            };
            Err(Error::Internal(format!("the database is not migrated, for it could not be copied first: {why}")))
        }
    }
}

fn copy_to(path: &Path, sql: &Connection) -> Result<(), Error> {
    const PAGES_AT_ONCE: i32 = 1000;
    make_file(path)?;
    let mut target = Connection::open(path)?;
    let copied = Backup::new(sql, &mut target)?.run_to_completion(PAGES_AT_ONCE, Duration::ZERO, None);
    copied.map_err(|cause| of_storage(&target, cause.into()))?;
    target.close().map_err(|(_, cause)| cause)?;
    sync(path)
}

/// Deletes all copies but the latest ones.
fn forget_older_copies(data: &Path) {
    let Ok(entries) = std::fs::read_dir(data) else { return };
    let is_copy = |name: &str| name.starts_with("guildhall.schema-") && name.ends_with(".db");
    let mut copies: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| is_copy(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    copies.sort_by(|one, other| other.cmp(one));
    for (_, path) in copies.into_iter().skip(COPIES_MAX) {
        let _ = std::fs::remove_file(path); // a leftover copy only takes space, and the next migration tries again
    }
}
