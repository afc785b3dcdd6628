//! Python models: the environments that they run in, and the launcher that starts the Truss server.
//!
//! The unmodified server of the package `truss` from PyPI serves each model. It is never imitated. The server's files,
//! and the packages that the server and the model require, are downloaded by uv or pip when they are first needed. They
//! are kept in the data directory:
//!
//! ```text
//! runner/runtimes/       the server's files and the launcher, by versions
//! runner/environments/   virtual environments, by what they are made from
//! runner/cache/          files that uv and pip have downloaded
//! runner/wheelhouse/     wheels given to `guildhall runner prepare`; if it exists, nothing is downloaded
//! runner/lock            locked shared while something is made, exclusively while something is removed
//! ```
//!
//! A folder is made under a temporary name and renamed when it is complete, so a killed process leaves no incomplete
//! folder. The code of a model or of a package never runs here: only wheels are installed, and they are compiled
//! without being imported.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

mod application;
mod configuration;
mod disk;
mod environment;
mod installer;
mod interpreter;
mod maker;
mod model;
mod prepare;
mod requirements;
mod runtime;
mod tool;

pub(super) use application::unpack;
pub(super) use disk::{bytes_of, entries, make_folder, remove};
pub use environment::Environment;
pub use interpreter::find_uv;
pub use model::{Application, Job, Model};
pub use prepare::{Order, Prepared};
pub use tool::Watch;

use tool::Bounds;

/// The version of the Truss server that models run on unless they name another one.
pub const TRUSS_VERSION: &str = "0.18.36";

/// The limits of a command that works only with files of this machine.
const MAKE: Bounds = Bounds { time_max: Duration::from_secs(300), writes: None };

/// Why a model was not built.
#[derive(Debug)]
pub enum Failure {
    /// An error that the team can fix.
    Build(String),
    /// Something that this machine lacks. The operator can fix it.
    Deploy(String),
    /// A fault of this installation, which may be temporary.
    Ours(io::Error),
    /// The server is stopping.
    Stopped,
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Failure {
        Failure::Ours(cause)
    }
}

/// The version of the Python that models run on here, with its executable.
///
/// # Errors
/// Why there is none.
pub fn find_version() -> Result<String, String> {
    let found = interpreter::find(None, Watch { stop: &AtomicBool::new(false), log: &|_| {} });
    match found {
        Ok(python) => Ok(format!("{} ({})", python.version, python.executable.display())),
        Err(Failure::Build(why) | Failure::Deploy(why)) => Err(why),
        Err(Failure::Ours(cause)) => Err(cause.to_string()),
        Err(Failure::Stopped) => Err("it was not looked for".to_owned()),
    }
}

/// Limits on the disk space of environments and on the time to make them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum size of all environments and of the package cache. The least recently used are removed first.
    pub disk_bytes_max: u64,
    pub environment_bytes_max: u64,
    pub environment_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            disk_bytes_max: 40 << 30,
            environment_bytes_max: 20 << 30,
            environment_time_max: Duration::from_secs(30 * 60),
        }
    }
}

/// The files that Python models need, in the data directory.
pub struct Installation {
    folder: PathBuf,
    limits: Limits,
    /// Folders that running processes use, each with the number of these processes.
    held: Arc<Mutex<HashMap<PathBuf, usize>>>,
}

impl Installation {
    /// Makes the folders in the data directory, and removes unfinished files of a killed process.
    ///
    /// # Errors
    ///
    /// The error of the file system.
    pub fn open(data: &Path, limits: Limits) -> io::Result<Installation> {
        let folder = data.join("runner");
        for folder in [data, &folder] {
            disk::make_folder(folder)?;
        }
        let installation = Installation { folder, limits, held: Arc::default() };
        for name in ["runtimes", "environments", "cache"] {
            disk::make_folder(&installation.folder(name))?;
        }
        if let Some(_alone) = installation.lock_alone()? {
            for folder in ["", "runtimes", "environments"].map(|name| installation.folder(name)) {
                for path in disk::entries(&folder) {
                    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(disk::UNFINISHED)) {
                        disk::remove(&path)?;
                    }
                }
            }
        }
        Ok(installation)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The source of packages.
    fn source(&self) -> installer::From {
        let wheels = self.folder("wheelhouse");
        if wheels.is_dir() { installer::From::Wheelhouse(wheels) } else { installer::From::Registry }
    }

    /// Prevents the removal of files while the lock is held.
    fn lock_shared(&self) -> io::Result<File> {
        let file = self.lock()?;
        file.lock_shared()?;
        Ok(file)
    }

    /// Prevents others from making anything while the lock is held. `None` if somebody is making something now.
    fn lock_alone(&self) -> io::Result<Option<File>> {
        let file = self.lock()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(cause)) => Err(cause),
        }
    }

    fn lock(&self) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).open(self.folder("lock"))
    }

    /// Records that a folder is in use now, and prevents its removal while the returned value lives. The modification
    /// time of `file`, in that folder, records the last use.
    fn hold(&self, folder: &Path, file: &str) -> io::Result<Held> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(folder.to_owned()).or_default() += 1;
        let held = Held { folder: folder.to_owned(), held: Arc::clone(&self.held) };
        File::open(folder.join(file))?.set_modified(SystemTime::now())?;
        Ok(held)
    }

    /// Removes the least recently used folders until the rest fits. The package cache is removed first, because
    /// packages can be downloaded again. Nothing is removed while something is made.
    fn sweep(&self) -> io::Result<()> {
        let Some(_alone) = self.lock_alone()? else { return Ok(()) };
        let folders = ["runtimes", "environments", "cache"].map(|name| self.folder(name));
        let is_too_much = || disk::bytes_of(folders.iter().map(PathBuf::as_path)) > self.limits.disk_bytes_max;
        if !is_too_much() {
            return Ok(());
        }
        disk::remove(&self.folder("cache"))?;
        disk::make_folder(&self.folder("cache"))?;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner); // nothing is held anew meanwhile
        let mut unused: Vec<(SystemTime, PathBuf)> = Vec::new();
        for (folder, file) in [("runtimes", runtime::MARK), ("environments", environment::MARK)] {
            for path in disk::entries(&self.folder(folder)).into_iter().filter(|path| !held.contains_key(path)) {
                let used = path.join(file).metadata().and_then(|file| file.modified());
                unused.push((used.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        unused.sort();
        for (_, path) in unused {
            if !is_too_much() {
                break;
            }
            disk::remove(&path)?;
        }
        Ok(())
    }
}

/// A folder that is not removed while this value lives.
pub struct Held {
    folder: PathBuf,
    held: Arc<Mutex<HashMap<PathBuf, usize>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.folder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(data: &Path, disk_bytes_max: u64) -> Installation {
        Installation::open(data, Limits { disk_bytes_max, ..Limits::default() }).unwrap()
    }

    /// An environment of one mebibyte that was last used this many seconds ago.
    fn environment(installation: &Installation, name: &str, seconds: u64) -> PathBuf {
        let folder = installation.folder("environments").join(name);
        disk::make_folder(&folder).unwrap();
        std::fs::write(folder.join("package"), vec![1; 1 << 20]).unwrap();
        std::fs::write(folder.join(environment::MARK), "").unwrap();
        let mark = File::options().write(true).open(folder.join(environment::MARK)).unwrap();
        mark.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        folder
    }

    #[test]
    fn what_is_used_least_goes_first_and_what_is_held_stays() {
        let data = tempfile::tempdir().unwrap();
        let installation = installation(data.path(), 5 << 19);
        std::fs::write(installation.folder("cache").join("wheel"), "x").unwrap();
        let [oldest, older, newer] =
            [("c", 300), ("a", 200), ("b", 100)].map(|(n, s)| environment(&installation, n, s));
        let held = installation.hold(&oldest, environment::MARK).unwrap();
        environment(&installation, "c", 300); // held and old
        installation.sweep().unwrap();
        assert_eq!(disk::entries(&installation.folder("environments")), [newer.clone(), oldest.clone()]);
        assert!(!older.exists() && !installation.folder("cache").join("wheel").exists());
        drop(held);
        environment(&installation, "d", 0);
        installation.sweep().unwrap();
        assert!(!oldest.exists() && newer.exists());
    }

    #[test]
    fn nothing_is_removed_while_something_is_made() {
        let data = tempfile::tempdir().unwrap();
        let installation = installation(data.path(), 1);
        let kept = environment(&installation, "a", 300);
        let making = installation.lock_shared().unwrap();
        installation.sweep().unwrap();
        assert!(kept.exists());
        drop(making);
        installation.sweep().unwrap();
        assert!(!kept.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_unless_somebody_is_at_work() {
        let data = tempfile::tempdir().unwrap();
        let first = installation(data.path(), u64::MAX);
        let left = first.folder("environments").join(format!("{}1-0", disk::UNFINISHED));
        disk::make_folder(&left).unwrap();
        let making = first.lock_shared().unwrap();
        installation(data.path(), u64::MAX);
        assert!(left.exists());
        drop(making);
        installation(data.path(), u64::MAX);
        assert!(!left.exists());
    }
}
