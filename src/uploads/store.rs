//! Archives on the disk: on their way in under `uploads/`, whole and durable under `archives/`, named by their content.
//!
//! Bytes are hashed and written on threads that may block, one batch at a time for each upload, while the next batch
//! comes in. What is not placed is removed when its [`Temp`] is dropped, or at start-up after a crash.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
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
/// Up to where parts stand side by side: the longest file that every usual file system takes.
const SHARED_BYTES_MAX: u64 = 8 << 30;

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
        let (temp, file) = self.create()?;
        Ok(Sink::new(account, temp, file, 0))
    }

    /// The same for a part: beside the others where it fits, otherwise in a file of its own.
    pub fn begin_part(
        &self,
        org_id: &OrgId,
        bytes: u64,
        room: Room,
        number: u16,
        shared: &mut Option<Shared>,
    ) -> Result<Sink, Refusal> {
        let account = self.charge(org_id, bytes, room)?;
        let shared = match shared {
            Some(shared) => shared,
            None => {
                let (temp, file) = self.create()?;
                shared.insert(Shared { temp, file, part_bytes: bytes, begun: BTreeSet::new() })
            }
        };
        if let Some(offset) = shared.place_of(number, bytes) {
            return Ok(Sink::new(account, Arc::clone(&shared.temp), Arc::clone(&shared.file), offset));
        }
        let (temp, file) = self.create()?;
        Ok(Sink::new(account, temp, file, 0))
    }

    fn create(&self) -> std::io::Result<(Arc<Temp>, Arc<File>)> {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        let path = self.data.join("uploads").join(name.to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((Arc::new(Temp { path }), Arc::new(file)))
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

/// The file in which the parts of an archive stand side by side: the first to come tells how long each is. If that holds
/// until the end, the file is the archive, and nothing is copied.
pub struct Shared {
    temp: Arc<Temp>,
    /// Whoever writes holds it too.
    file: Arc<File>,
    part_bytes: u64,
    /// A part that was begun before, whatever came of it, may still be written: its place is not given again.
    begun: BTreeSet<u16>,
}

impl Shared {
    fn place_of(&mut self, number: u16, bytes: u64) -> Option<u64> {
        let offset = self.part_bytes.checked_mul(u64::from(number) - 1)?;
        let fits = bytes <= self.part_bytes && offset <= SHARED_BYTES_MAX;
        (fits && self.begun.insert(number)).then_some(offset)
    }

    /// The archive, if these parts are all of it and nobody writes any more.
    pub async fn whole(self, parts: &[&Part]) -> Result<Option<Written>, Refusal> {
        let mut bytes = 0;
        for part in parts {
            if part.offset != bytes || !Arc::ptr_eq(&part.temp, &self.temp) {
                return Ok(None);
            }
            bytes += part.bytes;
        }
        if Arc::strong_count(&self.file) > 1 {
            return Ok(None);
        }
        let mut pen = Pen::new(Arc::clone(&self.file), 0);
        let pen = blocking(move || {
            pen.file.set_len(bytes)?; // a part that is not listed may stand behind
            pen.read_range(&self.file, 0, bytes)?;
            Ok(pen)
        })
        .await?;
        Ok(Some(pen.lift(self.temp, None)))
    }
}

/// A file under way. It goes with this, unless it was placed.
struct Temp {
    path: PathBuf,
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
    account: Account,
    temp: Arc<Temp>,
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
    file: Arc<File>,
    offset: u64,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
    bytes: u64,
}

/// What has all its bytes. It is not yet durable.
pub struct Written {
    /// `None` where its parts are counted.
    account: Option<Account>,
    temp: Arc<Temp>,
    file: Arc<File>,
    offset: u64,
    pub sha256: [u8; 32],
    pub crc32: u32,
    pub bytes: u64,
}

impl Sink {
    fn new(account: Account, temp: Arc<Temp>, file: Arc<File>, offset: u64) -> Sink {
        let writing = Writing::Idle(Box::new(Pen::new(file, offset)));
        Sink { account, temp, batch: Vec::new(), batch_bytes: 0, writing }
    }

    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    pub async fn finish(mut self) -> Result<Written, Refusal> {
        self.flush().await?;
        let pen = self.pen().await?;
        Ok(pen.lift(self.temp, Some(self.account)))
    }

    /// Writes parts one behind the other. They stay until they are dropped, and are counted until then.
    pub async fn join(mut self, parts: &[&Part]) -> Result<Written, Refusal> {
        let mut pen = self.pen().await?;
        let ranges: Vec<_> = parts.iter().map(|part| (part.temp.path.clone(), part.offset, part.bytes)).collect();
        let pen = blocking(move || {
            for (path, offset, bytes) in ranges {
                pen.copy_range(&File::open(path)?, offset, bytes)?;
            }
            Ok(pen)
        })
        .await?;
        Ok(pen.lift(self.temp, Some(self.account)))
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

    async fn pen(&mut self) -> std::io::Result<Box<Pen>> {
        match std::mem::replace(&mut self.writing, Writing::Failed) {
            Writing::Idle(pen) => Ok(pen),
            Writing::Busy(task) => task.await?,
            Writing::Failed => Err(std::io::Error::other("an earlier batch was not written")),
        }
    }
}

impl Pen {
    fn new(file: Arc<File>, offset: u64) -> Pen {
        Pen { file, offset, sha256: Sha256::new(), crc32: crc32fast::Hasher::new(), bytes: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(bytes, self.offset + self.bytes)?;
        self.note(bytes);
        Ok(())
    }

    fn note(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn copy_range(&mut self, from: &File, offset: u64, bytes: u64) -> std::io::Result<()> {
        each_batch(from, offset, bytes, |batch| self.write(batch))
    }

    /// Takes note of what stands there already.
    fn read_range(&mut self, from: &File, offset: u64, bytes: u64) -> std::io::Result<()> {
        each_batch(from, offset, bytes, |batch| {
            self.note(batch);
            Ok(())
        })
    }

    fn lift(self, temp: Arc<Temp>, account: Option<Account>) -> Written {
        let (sha256, crc32) = (self.sha256.finalize().into(), self.crc32.finalize());
        Written { account, temp, file: self.file, offset: self.offset, sha256, crc32, bytes: self.bytes }
    }
}

impl Written {
    /// A part of an archive: its file is let go until all parts are there.
    pub fn into_part(self) -> Part {
        let Written { account, temp, offset, sha256, bytes, .. } = self;
        Part { _account: account, temp, offset, sha256, bytes }
    }
}

/// A part that came, of an archive that comes in parts.
pub struct Part {
    _account: Option<Account>,
    temp: Arc<Temp>,
    offset: u64,
    pub sha256: [u8; 32],
    pub bytes: u64,
}

impl Part {
    /// Whether its file is still under way, and has not become an archive.
    pub fn is_under_way(&self) -> bool {
        self.temp.path.exists()
    }
}

fn each_batch(
    file: &File,
    mut offset: u64,
    bytes: u64,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let end = offset + bytes;
    let mut buffer = vec![0; BATCH_BYTES];
    while offset < end {
        let wanted = usize::try_from(end - offset).map_or(BATCH_BYTES, |left| left.min(BATCH_BYTES));
        file.read_exact_at(&mut buffer[..wanted], offset)?;
        each(&buffer[..wanted])?;
        offset += wanted as u64;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    spawn_blocking(work).await?
}
