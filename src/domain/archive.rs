//! Archives that are stored on the disk.

use std::path::{Path, PathBuf};

use crate::domain::TeamId;

/// The maximum length of a path in an archive, and of the target of a link.
pub const PATH_BYTES_MAX: usize = 4096;
/// The maximum depth of a path in an archive, counted in folders and its name.
pub const PATH_DEPTH_MAX: usize = 100;

/// An archive on the disk. Its name is the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The BLAKE3 hash. Archives that were stored before schema 7 have a SHA-256 hash; it is enough that a name does
    /// not change.
    pub hash: [u8; 32],
    pub bytes: u64,
}

impl Archive {
    pub fn hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The path of the archive, where `data` is the data directory.
    pub fn path(&self, data: &Path) -> PathBuf {
        let hex = self.hex();
        data.join("archives").join(&hex[..2]).join(hex)
    }
}

/// A file that a download link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Download {
    Archive(Archive),
    /// A file in the checkpoint folder of a training job, by its path from there.
    Checkpoint {
        team_id: TeamId,
        job_id: String,
        path: String,
    },
}

impl Download {
    /// The archive, if it is one.
    pub fn into_archive(self) -> Option<Archive> {
        match self {
            Download::Archive(archive) => Some(archive),
            Download::Checkpoint { .. } => None,
        }
    }
}
