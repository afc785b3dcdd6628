//! The private folder of a process: its home, its temporary files, its socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use super::launch::Launch;
use crate::wire::processes::Ids;

/// The maximum length of a socket's path, by the system's structure.
const SOCKET_PATH_BYTES_MAX: usize = 107;

pub fn home(folder: &Path) -> PathBuf {
    folder.join("home")
}

pub fn temporary(folder: &Path) -> PathBuf {
    folder.join("tmp")
}

pub fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

/// Makes the folder anew, for this user alone.
///
/// # Errors
/// If its path is too long for a socket, or the file system fails.
pub fn make(folder: &Path) -> io::Result<()> {
    let too_long = socket(folder).as_os_str().len().saturating_sub(SOCKET_PATH_BYTES_MAX);
    if too_long > 0 {
        let why =
            format!("{} is {too_long} bytes too long for a socket: use a shorter data directory", folder.display());
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, why));
    }
    remove(folder)?;
    for path in [folder.to_owned(), home(folder), temporary(folder)] {
        fs::DirBuilder::new().mode(0o700).recursive(path == folder).create(path)?;
    }
    Ok(())
}

/// Gives what a process may write to the user that it runs as. Links are given away themselves, not what they lead to.
///
/// # Errors
/// The error of the file system.
pub fn give(launch: &Launch, ids: Ids) -> io::Result<()> {
    let mut waiting = vec![home(&launch.folder), temporary(&launch.folder), launch.directory.clone()];
    waiting.extend(launch.writes.iter().cloned());
    while let Some(path) = waiting.pop() {
        lchown(&path, Some(ids.user), Some(ids.group))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Removes the folder with everything in it, also what the process has closed against us.
///
/// # Errors
/// The error of the file system.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            open_folders(folder);
            fs::remove_dir_all(folder)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives this user all rights on a folder and the folders in it. Nobody writes there anymore.
fn open_folders(folder: &Path) {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o700)); // the removal tells what is not ours
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        waiting.extend(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
}
