//! The disk space of folders.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// How many files are counted. A process with more of them has this many counted.
const FILES_MAX: usize = 1_000_000;

/// The bytes that folders take on the disk, counted until they exceed a limit. A file with several names counts a share.
pub fn bytes_of(folders: &[PathBuf], bytes_max: u64) -> u64 {
    let mut waiting = folders.to_vec();
    let mut files = 0;
    let mut bytes = 0;
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue }; // of a link itself
            bytes += metadata.blocks() * 512 / if metadata.is_dir() { 1 } else { metadata.nlink().max(1) };
            files += 1;
            if bytes > bytes_max || files > FILES_MAX {
                return bytes;
            }
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}
