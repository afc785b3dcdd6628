//! Archives on the disk: under `uploads/` while they arrive, under `archives/` when they are complete and durable,
//! named by their content.
//!
//! Bytes are hashed and written on blocking threads, one batch at a time per upload, while the next batch arrives. A
//! file that is not placed is removed when its [`Temp`] is dropped, or at start-up after a crash.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::content::{Content, Tally};
use super::refusal::Refusal;
use crate::db::archives::{Archives, Placed, UNFINISHED};
use crate::db::quotas::in_progress::Charge;
use crate::db::space::Shortage;
use crate::domain::Archive;
use crate::error::Error;

/// Bytes that are hashed and written at a time. Together with the batch that fills meanwhile, an upload holds about
/// twice this.
const BATCH_BYTES: usize = 256 << 10;
/// After this many bytes the kernel starts to write them to the disk while more arrive.
const UNSYNCED_BYTES_MAX: u64 = 32 << 20;
/// The largest offset at which parts are stored side by side: the longest file of common file systems.
const SHARED_BYTES_MAX: u64 = 8 << 30;

pub struct Store {
    archives: Archives,
    names: AtomicU64,
    /// Whether the disk has room only for writes that free space.
    shortage: Shortage,
}

impl Store {
    /// Creates the directories and removes what an earlier process left behind. No other process may use them.
    pub fn open(archives: Archives, shortage: Shortage) -> std::io::Result<Store> {
        let uploads = archives.data().join(UNFINISHED);
        match std::fs::remove_dir_all(&uploads) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        archives.make_folder(&uploads)?;
        Ok(Store { archives, names: AtomicU64::new(0), shortage })
    }

    /// Creates a file for an upload that was charged.
    pub fn begin(&self, charge: Charge, tally: Tally) -> Result<Sink, Refusal> {
        let (temp, file) = self.create()?;
        Ok(self.sink(charge, FileSlot { temp, file, offset: 0 }, tally))
    }

    /// Creates a slot for a part: in the shared file if it fits, otherwise in a file of its own.
    pub fn begin_part(
        &self,
        charge: Charge,
        bytes: u64,
        tally: Tally,
        number: u16,
        shared: &mut Option<Shared>,
    ) -> Result<Sink, Refusal> {
        let shared = match shared {
            Some(shared) => shared,
            None => {
                let (temp, file) = self.create()?;
                shared.insert(Shared { temp, file, writers: Arc::default(), part_bytes: bytes, begun: BTreeSet::new() })
            }
        };
        let offset = shared.offset_of(number, bytes);
        // A part that is sent again gets another slot.
        let tally = tally.at(offset.unwrap_or_default());
        if let Some(offset) = offset
            && shared.begun.insert(number)
        {
            let slot = FileSlot { temp: Arc::clone(&shared.temp), file: Arc::clone(&shared.file), offset };
            return Ok(Sink { writer: Arc::clone(&shared.writers), ..self.sink(charge, slot, tally) });
        }
        let (temp, file) = self.create()?;
        Ok(self.sink(charge, FileSlot { temp, file, offset: 0 }, tally))
    }

    fn create(&self) -> std::io::Result<(Arc<Temp>, Arc<Growing>)> {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        let path = self.archives.data().join(UNFINISHED).join(name.to_string());
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let temp = Temp { path };
        Ok((Arc::new(temp), Arc::new(Growing::new(file))))
    }

    fn sink(&self, charge: Charge, slot: FileSlot, tally: Tally) -> Sink {
        let (batch, work) = (Vec::new(), Work::Idle(Box::new(tally)));
        let shortage = self.shortage.clone();
        Sink { charge, slot, writer: Arc::default(), bytes: 0, batch, batch_bytes: 0, work, shortage }
    }

    /// Moves a written archive to its name. It then exists until it is swept.
    pub async fn place(&self, written: Written) -> std::io::Result<Placed> {
        let archive = Archive { hash: written.content.hash, bytes: written.content.bytes };
        let archives = self.archives.clone();
        blocking(move || {
            written.slot.file.sync()?;
            archives.place(&written.slot.temp.path, archive)
        })
        .await
    }
}

/// The file in which the parts of an archive are stored side by side. The first part to arrive sets the length of the
/// others. If that holds until the end, the file is the archive and nothing is copied.
pub struct Shared {
    temp: Arc<Temp>,
    file: Arc<Growing>,
    /// Every writer holds a reference.
    writers: Arc<()>,
    part_bytes: u64,
    /// Slots that were given out, whatever happened to the part: a part may still be writing, so its slot is not
    /// reused.
    begun: BTreeSet<u16>,
}

impl Shared {
    fn offset_of(&self, number: u16, bytes: u64) -> Option<u64> {
        let offset = self.part_bytes.checked_mul(u64::from(number) - 1)?;
        (bytes <= self.part_bytes && offset <= SHARED_BYTES_MAX).then_some(offset)
    }

    /// The archive, if these parts are all of it and no writer is left. The file is read again if its hash does not
    /// follow from the parts.
    pub async fn whole(self, parts: &[&Part], mut tally: Tally) -> Result<Option<Written>, Refusal> {
        let mut bytes = 0;
        for part in parts {
            if part.offset != bytes || !Arc::ptr_eq(&part.temp, &self.temp) {
                return Ok(None);
            }
            bytes += part.content.bytes;
        }
        if Arc::strong_count(&self.writers) > 1 {
            return Ok(None);
        }
        let told = tally.of_parts(parts.iter().map(|part| &part.content));
        let growing = Arc::clone(&self.file);
        let content = blocking(move || {
            growing.file.set_len(bytes)?; // removes a part at the end that is not listed
            if let Some(told) = told {
                return Ok(told);
            }
            each_batch(&growing.file, 0, bytes, |batch| {
                tally.note(batch);
                Ok(())
            })?;
            Ok(tally.end())
        })
        .await?;
        let slot = FileSlot { temp: self.temp, file: self.file, offset: 0 };
        Ok(Some(Written { charge: None, slot, content }))
    }
}

/// A temporary file. Dropping it removes the file, unless it was placed.
struct Temp {
    path: PathBuf,
}

impl Drop for Temp {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // Already placed, or removed at the next start. Removing a long file takes long.
        let remove = move || drop(std::fs::remove_file(path));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Makes a file durable while it grows, so that little is left to wait for at its end.
struct Growing {
    file: File,
    unsynced_bytes: AtomicU64,
    is_syncing: AtomicBool,
    /// The first failed write: the kernel reports it only once.
    has_failed: AtomicBool,
}

impl Growing {
    fn new(file: File) -> Growing {
        Growing {
            file,
            unsynced_bytes: AtomicU64::default(),
            is_syncing: AtomicBool::default(),
            has_failed: AtomicBool::default(),
        }
    }

    /// Runs on a blocking thread of the runtime.
    fn write_at(self: &Arc<Self>, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        let unsynced = self.unsynced_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if unsynced >= UNSYNCED_BYTES_MAX && !self.is_syncing.swap(true, Ordering::Relaxed) {
            self.unsynced_bytes.store(0, Ordering::Relaxed);
            let this = Arc::clone(self);
            drop(spawn_blocking(move || {
                if this.file.sync_data().is_err() {
                    this.has_failed.store(true, Ordering::Release);
                }
                this.is_syncing.store(false, Ordering::Relaxed);
            }));
        }
        Ok(())
    }

    fn sync(&self) -> std::io::Result<()> {
        self.file.sync_all()?;
        if self.has_failed.load(Ordering::Acquire) {
            return Err(std::io::Error::other("an earlier write did not reach the disk"));
        }
        Ok(())
    }
}

/// A position in a file.
struct FileSlot {
    temp: Arc<Temp>,
    file: Arc<Growing>,
    /// The offset of the first byte.
    offset: u64,
}

/// Receives the bytes of an upload.
pub struct Sink {
    charge: Charge,
    slot: FileSlot,
    /// The offset in [`Shared`], or in a file of its own.
    writer: Arc<()>,
    /// The number of bytes sent to the writer.
    bytes: u64,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    work: Work,
    shortage: Shortage,
}

enum Work {
    Idle(Box<Tally>),
    /// Hashes and writes a batch in parallel.
    Busy(JoinHandle<Box<Tally>>, JoinHandle<std::io::Result<()>>),
    /// The error of an earlier batch.
    Failed,
}

/// A file with all its bytes. It is not durable yet.
pub struct Written {
    /// `None` if its parts are charged.
    charge: Option<Charge>,
    slot: FileSlot,
    pub content: Content,
}

impl Sink {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes >= BATCH_BYTES { self.flush().await } else { Ok(()) }
    }

    pub async fn finish(mut self) -> Result<Written, Refusal> {
        self.flush().await?;
        let content = self.tally().await?.end();
        Ok(Written { charge: Some(self.charge), slot: self.slot, content })
    }

    /// Writes parts one after the other. They stay on the disk, and are charged, until they are dropped.
    pub async fn join(mut self, parts: &[&Part]) -> Result<Written, Refusal> {
        let mut tally = self.tally().await?;
        let ranges: Vec<_> =
            parts.iter().map(|part| (part.temp.path.clone(), part.offset, part.content.bytes)).collect();
        let file = Arc::clone(&self.slot.file);
        let content = blocking(move || {
            for (path, offset, bytes) in ranges {
                each_batch(&File::open(path)?, offset, bytes, |batch| {
                    file.write_at(batch, tally.bytes())?;
                    tally.note(batch);
                    Ok(())
                })?;
            }
            Ok(tally.end())
        })
        .await?;
        Ok(Written { charge: Some(self.charge), slot: self.slot, content })
    }

    /// Waits for the previous batch and starts this one.
    async fn flush(&mut self) -> Result<(), Refusal> {
        let mut tally = self.tally().await?;
        if self.shortage.is_there() {
            return Err(Refusal::from(Error::StorageFull));
        }
        let batch: Arc<[Bytes]> = std::mem::take(&mut self.batch).into();
        let (written, file, writer) = (Arc::clone(&batch), Arc::clone(&self.slot.file), Arc::clone(&self.writer));
        let mut at = self.slot.offset + self.bytes;
        self.bytes += std::mem::take(&mut self.batch_bytes) as u64;
        let noted = spawn_blocking(move || {
            batch.iter().for_each(|bytes| tally.note(bytes));
            tally
        });
        let written = spawn_blocking(move || {
            let _writer = writer;
            written.iter().try_for_each(|bytes| {
                file.write_at(bytes, at)?;
                at += bytes.len() as u64;
                Ok(())
            })
        });
        self.work = Work::Busy(noted, written);
        Ok(())
    }

    async fn tally(&mut self) -> std::io::Result<Box<Tally>> {
        match std::mem::replace(&mut self.work, Work::Failed) {
            Work::Idle(tally) => Ok(tally),
            Work::Busy(noted, written) => {
                written.await??;
                Ok(noted.await?)
            }
            Work::Failed => Err(std::io::Error::other("an earlier batch was not written")),
        }
    }
}

impl Written {
    /// Finishes a part of an archive. Its file stays open until all parts are there.
    pub fn into_part(self) -> Part {
        let Written { charge, slot: FileSlot { temp, offset, .. }, content } = self;
        Part { _charge: charge, temp, offset, content }
    }
}

/// A part of a multipart upload that has arrived.
pub struct Part {
    _charge: Option<Charge>,
    temp: Arc<Temp>,
    offset: u64,
    pub content: Content,
}

impl Part {
    /// Whether its file is still temporary and has not become an archive.
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
