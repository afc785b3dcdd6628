//! The data directory: what stands in it, who holds it, and the master key.
//!
//! ```text
//! guildhall.db   the database          lock           held by the one process that writes
//! master.key     the master key, 0600  operator.sock  the operator's door while a server runs
//! archives/      uploads, by hash      uploads/       what is on its way in; emptied at start-up
//! swept          its time: last sweep
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, named_params};

use crate::db::{Moment, connect};
use crate::error::Error;
use crate::seal::{MasterKey, Sealer};

/// A data directory that this process alone may write.
pub struct Directory {
    path: PathBuf,
    lock: File,
}

/// What stands in the way of opening a data directory.
#[derive(Debug)]
pub enum Refusal {
    /// Another process holds it; its number, where it could be read.
    Held(Option<u32>),
    /// It cannot be made, read or written.
    Failed(PathBuf, std::io::Error),
}

impl Directory {
    /// Makes the directory if need be (0700) and takes its lock, at once or not at all.
    pub fn take(path: &Path) -> Result<Directory, Refusal> {
        let failed = |cause| Refusal::Failed(path.to_owned(), cause);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refusal::Held(read_pid(&mut lock))),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        let directory = Directory { path: path.to_owned(), lock };
        directory.keep_database_private().map_err(failed)?;
        Ok(directory)
    }

    /// SQLite makes its files, the log beside it too, as the database's own mode says; a directory that was there before
    /// us may be open to others.
    fn keep_database_private(&self) -> std::io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.database()).map(drop)
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("guildhall.db")
    }

    /// Where the operator's commands reach a running server.
    pub fn operator_socket(path: &Path) -> PathBuf {
        path.join("operator.sock")
    }

    pub fn master_key(path: &Path) -> PathBuf {
        path.join("master.key")
    }

    pub(super) fn into_lock(self) -> File {
        self.lock
    }

    /// Refuses a master key that is not this database's before anything is written, were it only an older schema brought
    /// up to date or a log written back.
    pub(super) fn check_master_key(&self) -> Result<(), Error> {
        if !self.database().exists() {
            return Ok(());
        }
        let sql = connect(&self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let wrapped = if sql.table_exists(None, "installation")? { wrapped_key(&sql)? } else { None };
        wrapped.map_or(Ok(()), |wrapped| self.unwrap(&wrapped).map(drop))
    }

    /// The key under which secrets are sealed: made on first run, unwrapped by the master key ever after.
    pub(super) fn unlock(&self, sql: &Connection, moment: Moment) -> Result<Sealer, Error> {
        match wrapped_key(sql)? {
            Some(wrapped) => self.unwrap(&wrapped),
            None => self.first_run(sql, moment),
        }
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Sealer, Error> {
        self.read_master_key()?.unwrap(wrapped).ok_or_else(|| self.wrong_master_key())
    }

    fn first_run(&self, sql: &Connection, moment: Moment) -> Result<Sealer, Error> {
        let mut dice = StdRng::from_seed(moment.seed);
        let master = match self.read_master_key() {
            Ok(master) => master,
            Err(_) if !Directory::master_key(&self.path).exists() => self.write_master_key(&mut dice)?,
            Err(cause) => return Err(cause),
        };
        let wrapped = master.wrap_new_data_key(&mut dice);
        sql.execute(
            "INSERT INTO installation (id, wrapped_key, created_at)
             VALUES (1, :wrapped_key, :now)",
            named_params! { ":wrapped_key": wrapped, ":now": moment.now },
        )?;
        master.unwrap(&wrapped).ok_or_else(|| self.wrong_master_key())
    }

    fn read_master_key(&self) -> Result<MasterKey, Error> {
        let path = Directory::master_key(&self.path);
        let text = std::fs::read_to_string(&path)
            .map_err(|cause| Error::Internal(format!("cannot read the master key {}: {cause}", path.display())))?;
        MasterKey::parse(&text).ok_or_else(|| Error::Internal(format!("{} does not hold a master key", path.display())))
    }

    /// On the disk before the database relies on it.
    fn write_master_key(&self, dice: &mut StdRng) -> Result<MasterKey, Error> {
        let path = Directory::master_key(&self.path);
        let master = MasterKey::generate(dice);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(master.to_text().as_bytes())?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        });
        match written {
            Ok(()) => Ok(master),
            Err(cause) => Err(Error::Internal(format!("cannot write the master key {}: {cause}", path.display()))),
        }
    }

    fn wrong_master_key(&self) -> Error {
        let path = Directory::master_key(&self.path);
        Error::Internal(format!("{} is not the master key of this database", path.display()))
    }
}

fn wrapped_key(sql: &Connection) -> Result<Option<Vec<u8>>, Error> {
    Ok(sql.query_row("SELECT wrapped_key FROM installation", [], |row| row.get("wrapped_key")).optional()?)
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes way for the operator's socket and keeps it to this user.
pub fn bind_operator_socket(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    let socket = Directory::operator_socket(path);
    match std::fs::remove_file(&socket) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&socket)?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
