//! Secrets as files, for custom servers: one file each, in a folder that is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// The variable that names the folder to the custom server.
pub const FOLDER_VARIABLE: &str = "GUILDHALL_SECRETS_FOLDER";
/// Where the folder is inside of bubblewrap.
pub const INSIDE: &str = "/secrets";

/// The file system that is in memory.
const TMPFS: i64 = 0x0102_1994;
const SHARED_MEMORY: &str = "/dev/shm";

/// The folder of secrets of a custom server.
pub struct Secrets {
    folder: PathBuf,
    names: BTreeSet<String>,
}

impl Secrets {
    pub fn new(folder: &Path) -> Secrets {
        Secrets { folder: folder.to_owned(), names: BTreeSet::new() }
    }

    /// Writes all secrets and removes those that are gone. A reader sees the old value or the new one.
    ///
    /// # Errors
    /// The error of the file system. The others are written all the same.
    pub fn put(&mut self, secrets: &BTreeMap<String, String>) -> io::Result<()> {
        let mut done = Ok(());
        for (name, value) in secrets.iter().filter(|(name, _)| is_file_name(name)) {
            match write(&self.folder, name, value) {
                Ok(()) => drop(self.names.insert(name.clone())),
                Err(cause) => done = Err(cause),
            }
        }
        for name in std::mem::take(&mut self.names) {
            if secrets.contains_key(&name) {
                self.names.insert(name);
            } else if let Err(cause) = fs::remove_file(self.folder.join(&name)) {
                done = Err(cause);
            }
        }
        done
    }
}

fn write(folder: &Path, name: &str, value: &str) -> io::Result<()> {
    let unfinished = folder.join(format!(".{name}"));
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(value.as_bytes())?;
    fs::rename(unfinished, folder.join(name))
}

/// Whether a secret can be a file. A name that begins with a dot could be that of an unfinished file.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// The name of the folder of a process, from its private folder: unique on this machine.
pub fn name(folder: &Path) -> String {
    format!("{}{}", prefix(folder.parent().unwrap_or(folder)), folder.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes the folders that an earlier server left. `owner` is the parent of the private folders.
pub fn sweep(owner: &Path, memory: &Path) {
    let prefix = prefix(owner);
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path()); // the next start tries again
        }
    }
}

fn prefix(owner: &Path) -> String {
    format!("guildhall-{}-", &blake3::hash(owner.as_os_str().as_encoded_bytes()).to_hex()[..12])
}

/// Where a folder of secrets can be in memory, outside of bubblewrap; `None` if this machine has no such place.
pub fn memory() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let places = std::iter::once(PathBuf::from(SHARED_MEMORY)).chain(runtime);
    places.into_iter().find(|place| is_writable(place) && statfs(place).is_ok_and(|found| found.f_type == TMPFS))
}

fn is_writable(place: &Path) -> bool {
    rustix::fs::access(place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_written_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut secrets = Secrets::new(folder.path());
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        secrets.put(&map(&[("a", "1"), ("b", "2"), ("../c", "3"), (".d", "4"), ("", "5")])).unwrap();
        secrets.put(&map(&[("b", "22")])).unwrap();
        let mut found: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        found.sort();
        assert_eq!(found, ["b"]);
        assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "22");
        assert!(!folder.path().parent().unwrap().join("c").exists());
    }
}
