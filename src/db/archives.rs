//! Archive files in the data directory: how a file is put in its final place, and when the sweep deletes it.
//!
//! A file is in its final place before the row that refers to it is committed, and it is held until the commit. The
//! sweep keeps each file that is held, that a row refers to, or that was placed or referred to within the last 24
//! hours. The age is taken from the file's modification time, which a sweep renews for each file that a row refers to.
//! So the server can be started with an older copy of the database without losing archives.

use std::collections::{BTreeSet, HashMap};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::domain::Archive;
use crate::error::Error;
use crate::token::bytes_of_hex;

type Hash = [u8; 32];

/// How long a file without a row is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The modification time of a file that a row refers to is renewed when it is older than this.
const RENEWED_AFTER: Duration = Duration::from_secs(6 * 60 * 60);
/// The folder in which files are written before they get their final names. It is emptied at start-up.
pub const UNFINISHED: &str = "uploads";
/// The file whose modification time is the time of the last sweep.
const SWEPT: &str = "swept";

#[derive(Clone)]
pub struct Archives(Arc<Inner>);

struct Inner {
    data: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Files whose rows are not committed yet, each with the number of its [`Placed`] values.
    held: HashMap<Hash, usize>,
    /// Folders that are known to be synced to disk.
    folders: BTreeSet<PathBuf>,
}

/// An archive in its final place. The sweep keeps it while this value exists, so keep the value until the row is
/// committed.
pub struct Placed {
    pub archive: Archive,
    archives: Archives,
}

impl Archives {
    pub(super) fn new(data: &Path) -> Archives {
        Archives(Arc::new(Inner { data: data.to_owned(), state: Mutex::default() }))
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.0.data
    }

    /// Creates a folder in the data directory and syncs its parent, so that the folder is durable before it has
    /// content.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(cause),
            _ => {}
        }
        // If another process or thread created it, that may not have synced it yet.
        let parent = path.parent().expect("it is in the data directory");
        File::open(parent)?.sync_all()
    }

    /// Moves a complete and synced file to its final name, durably.
    pub fn place(&self, temp: &Path, archive: Archive) -> io::Result<Placed> {
        let path = archive.path(self.data());
        let placed = self.hold(archive);
        let folder = path.parent().expect("it is in a folder");
        if !self.0.state.lock().expect("nobody panics holding it").folders.contains(folder) {
            self.make_folder(folder.parent().expect("it is in the folder of archives"))?;
            self.make_folder(folder)?;
            self.0.state.lock().expect("nobody panics holding it").folders.insert(folder.to_owned());
        }
        std::fs::set_permissions(temp, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(temp, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(placed)
    }

    fn hold(&self, archive: Archive) -> Placed {
        *self.0.state.lock().expect("nobody panics holding it").held.entry(archive.hash).or_default() += 1;
        Placed { archive, archives: self.clone() }
    }

    /// Deletes files that no row refers to. A file that cannot be deleted is reported to `failed`, and the sweep
    /// continues.
    pub fn sweep(&self, is_named: impl Fn(&Hash) -> Result<bool, Error>, failed: impl Fn(&Path, String)) {
        let archives = self.data().join("archives");
        if let Err(cause) = self.make_folder(&archives) {
            return failed(&archives, cause.to_string());
        }
        let clock = match self.clock() {
            Ok(clock) => clock,
            Err(cause) => return failed(&archives, cause.to_string()),
        };
        for folder in entries(&archives, &failed) {
            for path in entries(&folder, &failed) {
                if let Some(hash) = hash_of(&path)
                    && let Err(why) = self.sweep_file(&path, &hash, &clock, &is_named)
                {
                    failed(&path, why);
                }
            }
        }
    }

    fn sweep_file(
        &self,
        path: &Path,
        hash: &Hash,
        clock: &Clock,
        is_named: impl Fn(&Hash) -> Result<bool, Error>,
    ) -> Result<(), String> {
        let told = |cause: io::Error| cause.to_string();
        // The lock is held until the end: no file can be placed here between the check and the deletion.
        let state = self.0.state.lock().expect("nobody panics holding it");
        if state.held.contains_key(hash) {
            return Ok(());
        }
        let modified = std::fs::metadata(path).and_then(|file| file.modified()).map_err(told)?;
        let age = clock.now.duration_since(modified).unwrap_or_default();
        if is_named(hash).map_err(|cause| format!("{cause:?}"))? {
            if age > RENEWED_AFTER {
                File::open(path).and_then(|file| file.set_modified(clock.now)).map_err(told)?;
            }
        } else if age > KEPT && !clock.slept_through(modified) {
            std::fs::remove_file(path).map_err(told)?;
        } else if age > KEPT {
            File::open(path).and_then(|file| file.set_modified(clock.now)).map_err(told)?;
        }
        Ok(())
    }

    /// Reads the clock that dates the files, and records the time of this sweep.
    fn clock(&self) -> io::Result<Clock> {
        let path = self.data().join(SWEPT);
        let last = std::fs::metadata(&path).and_then(|file| file.modified()).ok();
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.set_modified(SystemTime::now())?;
        let now = file.metadata()?.modified()?;
        Ok(Clock { now, last: last.unwrap_or(now) })
    }
}

struct Clock {
    now: SystemTime,
    /// The time of the previous sweep.
    last: SystemTime,
}

impl Clock {
    /// Whether a file became old only because no sweep ran meanwhile. Its 24 hours then start again.
    fn slept_through(&self, modified: SystemTime) -> bool {
        self.last.duration_since(modified).unwrap_or_default() <= KEPT
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let mut state = self.archives.0.state.lock().expect("nobody panics holding it");
        if let Some(count) = state.held.get_mut(&self.archive.hash) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.archive.hash);
            }
        }
    }
}

fn entries(folder: &Path, failed: &impl Fn(&Path, String)) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.unwrap_or_else(|cause| {
        if cause.kind() != ErrorKind::NotADirectory {
            failed(folder, cause.to_string());
        }
        Vec::new()
    })
}

fn hash_of(path: &Path) -> Option<Hash> {
    let name = path.file_name().and_then(|name| name.to_str())?;
    bytes_of_hex(name)?.try_into().ok()
}
