//! Archives, as they stand on the disk.

use std::path::{Path, PathBuf};

/// Of a path in an archive, and of the target of a link.
pub const PATH_BYTES_MAX: usize = 4096;
/// Of a path in an archive: its folders and its name.
pub const PATH_DEPTH_MAX: usize = 100;

/// An archive on the disk, under the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// BLAKE3. Of one that came in before schema 7 it is SHA-256: all that is asked of a name is that it stays.
    pub hash: [u8; 32],
    pub bytes: u64,
}

impl Archive {
    pub fn hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where it stands in the data directory.
    pub fn path(&self, data: &Path) -> PathBuf {
        let hex = self.hex();
        data.join("archives").join(&hex[..2]).join(hex)
    }
}
