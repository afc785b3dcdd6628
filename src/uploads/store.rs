//! Archives on the disk: on their way in under `uploads/`, whole and durable under `archives/`, named by their content.
//!
//! Bytes are hashed and written on threads that may block, one batch at a time for each upload, while the next batch
//! comes in. What is not placed is removed when its [`Temp`] is dropped, or at start-up after a crash.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::refusal::Refusal;
use crate::db::uploads::quota_reached;
use crate::model::{Archive, OrgId};

/// What is hashed and written at a time. With the batch that gathers meanwhile, about twice this is held an upload.
const BATCH_BYTES: usize = 256 << 10;

pub struct Store {
    data: PathBuf,
    names: AtomicU64,
    /// What stands under `uploads/`, in bytes an organization: it counts against the quota as if it were placed.
    under_way: Arc<Mutex<HashMap<OrgId, u64>>>,
}

impl Store {
    /// Makes the directories. Nothing else may run on them: what an earlier process left under way is removed.
    pub fn open(data: &Path) -> std::io::Result<Store> {
        let uploads = data.join("uploads");
        match std::fs::remove_dir_all(&uploads) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        std::fs::create_dir(&uploads)?;
        std::fs::create_dir_all(data.join("archives"))?;
        File::open(data)?.sync_all()?;
        Ok(Store { data: data.to_owned(), names: AtomicU64::new(0), under_way: Arc::default() })
    }

    /// A new file under way, of so many bytes. What the organization has under way must fit its room.
    pub fn begin(&self, org_id: &OrgId, bytes: u64, room: Room) -> Result<Sink, Refusal> {
        let account = self.charge(org_id, bytes, room)?;
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        let path = self.data.join("uploads").join(name.to_string());
        let file = File::create_new(&path)?;
        let pen = Pen { file, sha256: Sha256::new(), crc32: crc32fast::Hasher::new(), bytes: 0 };
        let temp = Temp { path, _account: account };
        Ok(Sink { temp, batch: Vec::new(), batch_bytes: 0, writing: Writing::Idle(Box::new(pen)) })
    }

    fn charge(&self, org_id: &OrgId, bytes: u64, room: Room) -> Result<Account, Refusal> {
        let mut under_way = self.under_way.lock().expect("nobody panics holding it");
        let total = under_way.entry(org_id.clone()).or_default();
        if total.saturating_add(bytes) > room.left_bytes {
            return Err(Refusal::from(quota_reached(room.organization_bytes_max)));
        }
        *total += bytes;
        Ok(Account { org_id: org_id.clone(), bytes, under_way: Arc::clone(&self.under_way) })
    }

    /// Gives a written archive its name. From here on it is there whatever happens, until it is swept.
    pub async fn place(&self, written: Written) -> std::io::Result<Archive> {
        let archive = Archive { sha256: written.sha256, bytes: written.bytes };
        let (path, archives) = (archive.path(&self.data), self.data.join("archives"));
        blocking(move || {
            written.file.sync_all()?;
            let folder = path.parent().expect("it stands in a folder");
            match std::fs::create_dir(folder) {
                Ok(()) => File::open(archives)?.sync_all()?,
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
            }
            std::fs::rename(&written.temp.path, &path)?;
            File::open(folder)?.sync_all()
        })
        .await?;
        Ok(archive)
    }

    /// The folders of placed archives.
    pub fn folders(&self) -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.data.join("archives"))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }
}

/// What an organization's placed archives leave of its quota.
#[derive(Clone, Copy)]
pub struct Room {
    pub left_bytes: u64,
    pub organization_bytes_max: u64,
}

/// Bytes that an organization has under way.
struct Account {
    org_id: OrgId,
    bytes: u64,
    under_way: Arc<Mutex<HashMap<OrgId, u64>>>,
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().expect("nobody panics holding it");
        if let Some(total) = under_way.get_mut(&self.org_id) {
            *total -= self.bytes;
            if *total == 0 {
                under_way.remove(&self.org_id);
            }
        }
    }
}

/// A file under way. It goes with this, unless it was placed.
struct Temp {
    path: PathBuf,
    _account: Account,
}

impl Drop for Temp {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // Placed meanwhile, or left for the next start. Removing a long file takes long.
        let remove = move || drop(std::fs::remove_file(path));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Takes bytes as they come.
pub struct Sink {
    temp: Temp,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    writing: Writing,
}

enum Writing {
    Idle(Box<Pen>),
    Busy(JoinHandle<std::io::Result<Box<Pen>>>),
    /// An earlier batch failed.
    Failed,
}

struct Pen {
    file: File,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
    bytes: u64,
}

/// A file that has all its bytes. It is not yet durable.
pub struct Written {
    temp: Temp,
    file: File,
    pub sha256: [u8; 32],
    pub crc32: u32,
    pub bytes: u64,
}

impl Sink {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    pub async fn finish(mut self) -> Result<Written, Refusal> {
        self.flush().await?;
        Ok(self.pen().await?.lift(self.temp))
    }

    /// Waits for the batch before, and sends this one off.
    async fn flush(&mut self) -> Result<(), Refusal> {
        let mut pen = self.pen().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.writing = Writing::Busy(spawn_blocking(move || {
            batch.iter().try_for_each(|bytes| pen.write(bytes))?;
            Ok(pen)
        }));
        Ok(())
    }

    /// Writes parts one behind the other. They stay until they are dropped, and are counted until then.
    pub async fn join(mut self, parts: Vec<PathBuf>) -> Result<Written, Refusal> {
        let mut pen = self.pen().await?;
        let pen = blocking(move || {
            let mut buffer = vec![0; BATCH_BYTES];
            for path in parts {
                let mut part = File::open(path)?;
                loop {
                    match part.read(&mut buffer)? {
                        0 => break,
                        read => pen.write(&buffer[..read])?,
                    }
                }
            }
            Ok(pen)
        })
        .await?;
        Ok(pen.lift(self.temp))
    }

    async fn pen(&mut self) -> std::io::Result<Box<Pen>> {
        match std::mem::replace(&mut self.writing, Writing::Failed) {
            Writing::Idle(pen) => Ok(pen),
            Writing::Busy(task) => task.await?,
            Writing::Failed => Err(std::io::Error::other("an earlier batch was not written")),
        }
    }
}

impl Pen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn lift(self, temp: Temp) -> Written {
        let (sha256, crc32) = (self.sha256.finalize().into(), self.crc32.finalize());
        Written { temp, file: self.file, sha256, crc32, bytes: self.bytes }
    }
}

impl Written {
    /// A part of an archive: its file is closed until all parts are there.
    pub fn into_part(self) -> Part {
        Part { temp: self.temp, sha256: self.sha256, bytes: self.bytes }
    }
}

/// A part that came, of an archive that comes in parts.
pub struct Part {
    temp: Temp,
    pub sha256: [u8; 32],
    pub bytes: u64,
}

impl Part {
    pub fn path(&self) -> PathBuf {
        self.temp.path.clone()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    spawn_blocking(work).await?
}
