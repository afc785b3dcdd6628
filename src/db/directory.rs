//! The data directory: its content, its lock, and what is deleted when opening a new installation fails.
//!
//! ```text
//! guildhall.db   the database          lock           held by the one process that writes
//! master.key     the master key, 0600  operator.sock  the operator's socket while a server runs
//! archives/      uploads, by hash      uploads/       uploads in progress; emptied at start-up
//! swept          its time: last sweep  runner/        what models run on, see `guildhall runner prepare`
//! guildhall.schema-N.db                copies of the database from before a migration
//! ```
//!
//! Only the user of this process can read and write its content: files get mode 0600 and folders mode 0700, whatever
//! their modes were before. If a process opens a new installation and fails, or its command is refused, it deletes
//! everything that it has created.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

mod access;
mod master_key;

pub use access::failed;
pub(super) use access::{is_full, make_private, sync_folder, tighten_all};
pub(super) use master_key::{check, replace as replace_master_key, unlock};

/// How long a process that has just taken the lock may take to write its process id.
const PID_WRITTEN_WITHIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// A data directory that only this process may write to.
pub struct Directory {
    path: PathBuf,
    _lock: File,
    /// Files and folders that this process has created, in order of creation.
    made: Vec<PathBuf>,
    /// Whether the created files and folders are kept when this value is dropped.
    keeps: Arc<AtomicBool>,
}

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub enum Refusal {
    /// Another process holds the lock. The number is its process id, if it could be read.
    Held(Option<u32>),
    /// The directory cannot be created, read, written or made private. The message names the file.
    Failed(String),
}

impl Directory {
    /// Creates the directory (mode 0700) if it does not exist, and takes its lock without waiting for its holder.
    ///
    /// # Errors
    ///
    /// [`Refusal::Held`] if another process holds the lock. [`Refusal::Failed`] if the directory or the lock cannot be
    /// created, written or made private, and for a directory that is shared with other users.
    pub fn take(path: &Path) -> Result<Directory, Refusal> {
        let mut made = Vec::new();
        let taken = Directory::take_making(path, &mut made);
        if taken.is_err() {
            remove(&made);
        }
        taken
    }

    fn take_making(path: &Path, made: &mut Vec<PathBuf>) -> Result<Directory, Refusal> {
        access::make_folders(path, made)?;
        access::check_folder(path)?;
        let lock = take_lock(&path.join("lock"), made)?;
        Ok(Directory { path: path.to_owned(), _lock: lock, made: std::mem::take(made), keeps: Arc::default() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("guildhall.db")
    }

    /// The socket on which a running server accepts the operator's commands.
    pub fn operator_socket(path: &Path) -> PathBuf {
        path.join("operator.sock")
    }

    pub fn master_key(path: &Path) -> PathBuf {
        path.join("master.key")
    }

    /// Records a file that was created. It is deleted when this value is dropped, unless [`Directory::keep`] was
    /// called.
    pub(super) fn has_made(&mut self, path: PathBuf) {
        self.made.push(path);
    }

    /// Keeps the created files and folders. If the returned flag is set to false again, they are deleted when this
    /// value is dropped.
    pub(super) fn keep(&self) -> Arc<AtomicBool> {
        self.keeps.store(true, Ordering::Release);
        Arc::clone(&self.keeps)
    }
}

/// Deletes the created files while the lock is still held, so that no other process uses them meanwhile.
impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keeps.load(Ordering::Acquire) {
            remove(&self.made);
        }
    }
}

/// Deletes files and folders in reverse order of creation. A folder that is not empty is kept.
fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let removed = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
        let _ = removed; // what remains is an unfinished installation, which the next command continues
    }
}

// ---- the lock ----

fn take_lock(path: &Path, made: &mut Vec<PathBuf>) -> Result<File, Refusal> {
    let since = Instant::now();
    loop {
        let (mut lock, is_new) = open_lock(path)?;
        match lock.try_lock() {
            Ok(()) if !is_at(&lock, path) => {} // its holder deleted it together with an unfinished installation
            Ok(()) => {
                if is_new {
                    made.push(path.to_owned());
                }
                write_pid(&mut lock).map_err(|cause| Refusal::Failed(failed("write", path, &cause)))?;
                return Ok(lock);
            }
            Err(TryLockError::WouldBlock) => match read_pid(&mut lock) {
                Some(pid) if is_alive(pid) => return Err(Refusal::Held(Some(pid))),
                pid if since.elapsed() >= PID_WRITTEN_WITHIN => return Err(Refusal::Held(pid)),
                _ => std::thread::sleep(PAUSE), // the id is of a killed process, or is not written yet
            },
            Err(TryLockError::Error(cause)) => return Err(Refusal::Failed(failed("lock", path, &cause))),
        }
    }
}

/// Opens the lock file, and returns whether this call created it.
fn open_lock(path: &Path) -> Result<(File, bool), Refusal> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let opened = match options.clone().create_new(true).open(path) {
        Ok(file) => access::make_private(&file).map(|()| (file, true)),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => options.open(path).map(|file| (file, false)),
        Err(cause) => Err(cause),
    };
    match opened {
        Err(cause) if cause.kind() == ErrorKind::NotFound => open_lock(path), // it was deleted meanwhile
        opened => opened.map_err(|cause| Refusal::Failed(failed("open", path, &cause))),
    }
}

fn is_at(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), path.metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// Removes an old operator socket and binds a new one with mode 0600.
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
