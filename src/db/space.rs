//! Disk space: a reserve for writes that revoke, remove or delete, so that they succeed even when the disk is full.
//!
//! The reserve is a file with allocated blocks. Other writes are refused as soon as little space is left beside the
//! reserve (`Space::is_low`). Writes that free space may use that rest, and release the reserve when nothing is left.
//! The reserve is allocated again once there is space. Where the number of database pages is limited, some of them are
//! reserved in the same way.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::db::storage::truncate_log;
use crate::domain::quotas::Settings;
use crate::error::Error;

/// The size of the reserve if the operator sets none, and the part of a small disk (one in this many) that it takes at
/// most.
const RESERVE_BYTES: u64 = 64 << 20;
const RESERVE_DISK_PART: u64 = 16;
const BLOCK_BYTES: u64 = 512;
/// The file that holds the reserve, in the data directory.
pub(super) const RESERVE: &str = "reserve";

/// Whether the disk is short of space. The writer sets it; any thread may read it.
#[derive(Clone, Debug, Default)]
pub struct Shortage(Arc<AtomicBool>);

impl Shortage {
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn reserve(folder: &Path) -> PathBuf {
    folder.join(RESERVE)
}

pub(super) struct Space {
    folder: PathBuf,
    reserve_bytes: u64,
    is_held: Cell<bool>,
    /// The limit of database pages, if there is one, and how many of these pages are reserved.
    pages_max: Option<u32>,
    pages_reserved: u32,
    shortage: Shortage,
}

impl Space {
    /// Allocates the reserve if there is space for it.
    pub fn open(folder: &Path, sql: &Connection, settings: &Settings, shortage: Shortage) -> Result<Space, Error> {
        let disk_bytes = statvfs(folder).map(|disk| disk.f_blocks * disk.f_frsize).unwrap_or(u64::MAX);
        let reserve_bytes = settings.reserve_bytes.unwrap_or(RESERVE_BYTES.min(disk_bytes / RESERVE_DISK_PART));
        let pages_max = settings.max_page_count;
        let space = Space {
            folder: folder.to_owned(),
            reserve_bytes,
            is_held: Cell::new(false),
            pages_reserved: pages_max.map_or(0, |pages| (pages / 16).max(1)),
            pages_max,
            shortage,
        };
        space.limit_pages(sql, space.pages_reserved)?;
        space.look(sql)?;
        Ok(space)
    }

    /// Checks whether there is enough space, and allocates the reserve if it is not held and there is space.
    pub fn look(&self, sql: &Connection) -> Result<(), Error> {
        if self.free_bytes() < self.margin_bytes() || !self.is_held.get() {
            truncate_log(sql);
        }
        if !self.is_held.get() && self.free_bytes() >= self.reserve_bytes + self.margin_bytes() {
            self.is_held.set(self.take_reserve().is_ok());
        }
        let is_low = !self.is_held.get() || self.free_bytes() < self.margin_bytes() || self.lacks_pages(sql)?;
        self.shortage.0.store(is_low, Ordering::Relaxed);
        Ok(())
    }

    /// Whether only writes that free space are accepted.
    pub fn is_low(&self) -> bool {
        self.shortage.is_there()
    }

    /// Lets the current write use the reserve, until [`Space::close_reserve`].
    pub fn open_reserve(&self, sql: &Connection) -> Result<(), Error> {
        if self.is_low() && self.is_held.get() && self.free_bytes() < self.margin_bytes() {
            let emptied = OpenOptions::new().write(true).open(reserve(&self.folder)).and_then(|file| file.set_len(0));
            self.is_held.set(emptied.is_err());
        }
        self.limit_pages(sql, 0)
    }

    /// Ends the use of the reserved pages that [`Space::open_reserve`] began.
    pub fn close_reserve(&self, sql: &Connection) -> Result<(), Error> {
        self.limit_pages(sql, self.pages_reserved)
    }

    /// The free bytes of the file system that this process may use.
    pub fn free_bytes(&self) -> u64 {
        statvfs(&self.folder).map(|disk| disk.f_bavail * disk.f_frsize).unwrap_or(u64::MAX)
    }

    /// The bytes that the database and the reserve take on the disk.
    pub fn used_bytes(&self) -> u64 {
        let files = ["guildhall.db", "guildhall.db-wal", RESERVE];
        let bytes = |name| std::fs::metadata(self.folder.join(name)).map_or(0, |file| file.blocks() * BLOCK_BYTES);
        files.into_iter().map(bytes).sum()
    }

    /// The bytes that must stay free beside the reserve, because a group of writes in progress uses some of them.
    fn margin_bytes(&self) -> u64 {
        self.reserve_bytes / 2
    }

    fn take_reserve(&self) -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(reserve(&self.folder))?;
        let taken = self.fill(&mut file);
        if taken.is_err() {
            file.set_len(0)?;
        }
        taken
    }

    fn fill(&self, file: &mut File) -> std::io::Result<()> {
        file.set_len(self.reserve_bytes)?;
        if self.reserve_bytes == 0 || file.metadata()?.blocks() * BLOCK_BYTES >= self.reserve_bytes {
            return Ok(());
        }
        match fallocate(&*file, FallocateFlags::empty(), 0, self.reserve_bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; 1 << 16];
                let mut left = self.reserve_bytes;
                while left > 0 {
                    let wanted = left.min(zeros.len() as u64);
                    file.write_all(&zeros[..wanted as usize])?;
                    left -= wanted;
                }
                file.sync_all()
            }
            done => Ok(done?),
        }
    }

    fn limit_pages(&self, sql: &Connection, reserved: u32) -> Result<(), Error> {
        let Some(pages_max) = self.pages_max else { return Ok(()) };
        let pages = pages_max.saturating_sub(reserved);
        sql.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    }

    /// Whether only reserved pages are left.
    fn lacks_pages(&self, sql: &Connection) -> Result<bool, Error> {
        let Some(pages_max) = self.pages_max else { return Ok(false) };
        let count = |pragma: &str| sql.query_row(pragma, [], |row| row.get::<_, u32>(0));
        let used = count("PRAGMA page_count")?.saturating_sub(count("PRAGMA freelist_count")?);
        Ok(used + self.pages_reserved >= pages_max)
    }
}
