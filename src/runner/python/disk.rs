//! Folders that are made whole or not at all, and what they take.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::syncfs;

/// How names of unfinished folders begin. What a killed process left of them is removed at the next start.
pub const UNFINISHED: &str = ".unfinished-";

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A folder that is not finished. It is removed when this is dropped.
pub struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Makes an empty folder inside of `folder`.
    pub fn new(folder: &Path) -> io::Result<Unfinished> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{UNFINISHED}{}-{count}", std::process::id()));
        remove(&path)?; // of an earlier process of this number
        make_folder(&path)?;
        Ok(Unfinished { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its name, durable with all that is in it. If the name is taken, somebody else made the same, and
    /// theirs stays.
    pub fn finish(self, name: &Path) -> io::Result<()> {
        syncfs(File::open(&self.path)?)?;
        match std::fs::rename(&self.path, name) {
            Err(cause) if !matches!(cause.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
                Err(cause)
            }
            _ => File::open(name.parent().unwrap_or(name))?.sync_all(),
        }
    }

    /// Gives the folder its name in place of whatever has it. Nothing is made durable.
    pub fn replace(self, name: &Path) -> io::Result<()> {
        remove(name)?;
        std::fs::rename(&self.path, name)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = remove(&self.path); // the next start tries again
    }
}

/// Makes a folder for this user alone, unless it is there.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
        _ => Ok(()),
    }
}

/// Gives a file other content. What is linked to it elsewhere stays as it was.
pub fn rewrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let permissions = path.metadata()?.permissions();
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, content)?;
    std::fs::set_permissions(&unfinished, permissions)?;
    std::fs::rename(&unfinished, path)
}

/// Removes a file or a folder with all that is in it, if it is there. Links are removed, not followed.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(cause) => Err(cause),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// What is in a folder, in the order of names; nothing if it cannot be read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The bytes that folders take on the disk together. A file with several names counts once.
pub fn bytes_of<'p>(folders: impl IntoIterator<Item = &'p Path>) -> u64 {
    let mut seen = HashSet::new();
    let mut waiting: Vec<PathBuf> = folders.into_iter().map(Path::to_owned).collect();
    let mut bytes = 0;
    while let Some(path) = waiting.pop() {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.nlink() == 1 || metadata.is_dir() || seen.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
        if metadata.is_dir() {
            waiting.extend(entries(&path));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::new(folder.path()).unwrap();
        std::fs::write(unfinished.path().join("file"), "x").unwrap();
        drop(unfinished);
        assert_eq!(entries(folder.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn of_two_that_finish_the_first_stays() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("made");
        for content in ["first", "second"] {
            let unfinished = Unfinished::new(folder.path()).unwrap();
            std::fs::write(unfinished.path().join("file"), content).unwrap();
            unfinished.finish(&name).unwrap();
        }
        assert_eq!(std::fs::read_to_string(name.join("file")).unwrap(), "first");
        assert_eq!(entries(folder.path()), [name]);
    }

    #[test]
    fn a_file_with_two_names_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for path in [&a, &b] {
            make_folder(path).unwrap();
        }
        std::fs::write(a.join("file"), vec![1; 1 << 20]).unwrap();
        let alone = bytes_of([a.as_path()]);
        std::fs::hard_link(a.join("file"), b.join("file")).unwrap();
        let both = bytes_of([a.as_path(), b.as_path()]);
        assert!(alone >= 1 << 20 && both < alone + (64 << 10), "{alone} {both}");
    }
}
