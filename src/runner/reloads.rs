//! Brings the files of a new build into the folder that a Python model runs in, and lets its server load the model again.
//!
//! The model may write to that folder, so nothing there is trusted: no link is followed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use super::builds::{Built, Runs};
use super::engine::Process;
use super::probe::Probe;

const PATH: &str = "/hot-reload";
const TOKEN_HEADER: &str = "x-guildhall-token";
const ANSWERS_WITHIN: Duration = Duration::from_secs(5 * 60);
const UNFINISHED: &str = ".guildhall-patched";

/// How a hot reload ended.
pub enum Reload {
    Done,
    /// The server answers that the new code cannot be loaded, and keeps the code from before.
    Refused(String),
    /// The files or the server do not allow it.
    Impossible,
}

/// Whether only the files of a Python model differ between two builds, so that a reload is enough.
pub fn fits(before: &Built, after: &Built) -> bool {
    let (Runs::Python(one), Runs::Python(other)) = (&before.runs, &after.runs) else { return false };
    before.source.config == after.source.config
        && one.environment.folder == other.environment.folder
        && before.files.is_some()
        && after.files.is_some()
}

/// Reloads each process, whose token is given with it.
pub fn reload<'p>(
    before: &Built,
    after: &Built,
    processes: impl Iterator<Item = (&'p Arc<Process>, &'p String)>,
) -> Reload {
    let (Runs::Python(one), Runs::Python(other)) = (&before.runs, &after.runs) else { return Reload::Impossible };
    let (Some(old), Some(new)) = (&before.files, &after.files) else { return Reload::Impossible };
    if let Err(cause) = bring(&other.directory, &one.directory, old, new) {
        tracing::info!(%cause, "the files of a patch cannot be brought into a running model");
        return Reload::Impossible;
    }
    let mut outcome = Reload::Done;
    for (process, token) in processes {
        let headers = [(TOKEN_HEADER.to_owned(), token.clone())];
        let probe = Probe { method: "POST", host: "localhost", path: PATH, headers: &headers };
        match probe.of_socket(process.socket(), ANSWERS_WITHIN) {
            Ok(200..300) => {}
            Ok(status @ 422) => outcome = Reload::Refused(format!("its server answered {status}, and printed why")),
            Ok(_) | Err(_) => return Reload::Impossible,
        }
    }
    outcome
}

/// Makes the files of `to` those of `from`. `old` are the files that were unpacked into `to`, `new` those in `from`.
fn bring(from: &Path, to: &Path, old: &BTreeSet<PathBuf>, new: &BTreeSet<PathBuf>) -> io::Result<()> {
    let root = File::open(to)?;
    for path in new {
        let source = from.join(path);
        if !source.symlink_metadata()?.is_file() {
            return Err(io::Error::other("a link is in the archive"));
        }
        let content = fs::read(&source)?;
        let (folder, name) = folder_of(&root, path)?;
        if read(&folder, &name).is_none_or(|before| before != content) {
            write(&folder, &name, &content, source.metadata()?.permissions())?;
        }
    }
    for path in old.difference(new) {
        let (folder, name) = folder_of(&root, path)?;
        match rustix::fs::unlinkat(&folder, &name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) | Ok(()) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(())
}

/// Opens the folder that a path is in, and makes it if necessary. Links are refused.
fn folder_of(root: &File, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("a path has no name"))?;
    let mut folder: OwnedFd = root.try_clone()?.into();
    for part in path.parent().into_iter().flat_map(Path::iter) {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |folder: &OwnedFd| rustix::fs::openat2(folder, part, flags, Mode::empty(), BENEATH);
        folder = match open(&folder) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&folder, part, Mode::RWXU)?;
                open(&folder)?
            }
            opened => opened?,
        };
    }
    Ok((folder, PathBuf::from(name)))
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// The content of a file, if there is a file of this name.
fn read(folder: &OwnedFd, name: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK; // a pipe must not hold us
    let file = File::from(rustix::fs::openat2(folder, name, flags, Mode::empty(), BENEATH).ok()?);
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let mut content = Vec::new();
    file.take(metadata.len()).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Writes a file under another name, and then gives it its name.
fn write(folder: &OwnedFd, name: &Path, content: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let _ = rustix::fs::unlinkat(folder, UNFINISHED, AtFlags::empty()); // an earlier patch was broken off
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat2(folder, UNFINISHED, flags, Mode::RUSR | Mode::WUSR, BENEATH)?);
    file.write_all(content)?;
    file.set_permissions(permissions)?;
    rustix::fs::renameat(folder, UNFINISHED, folder, name)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, BTreeSet<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        (folder, files.iter().map(|(path, _)| PathBuf::from(path)).collect())
    }

    #[test]
    fn files_are_changed_added_and_removed_and_others_stay() {
        let (running, old) = folder(&[("model/model.py", "old"), ("gone.py", "x"), ("same.py", "same")]);
        let (built, new) = folder(&[("model/model.py", "new"), ("packages/a/b.py", "more"), ("same.py", "same")]);
        fs::write(running.path().join("written"), "by the model").unwrap();
        bring(built.path(), running.path(), &old, &new).unwrap();
        let read = |path: &str| fs::read_to_string(running.path().join(path)).ok();
        assert_eq!(read("model/model.py").as_deref(), Some("new"));
        assert_eq!(read("packages/a/b.py").as_deref(), Some("more"));
        assert_eq!((read("gone.py"), read("written").as_deref()), (None, Some("by the model")));
    }

    #[test]
    fn no_link_of_a_model_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("model.py"), "outside").unwrap();
        let (built, new) = folder(&[("model/model.py", "new"), ("file.py", "new")]);
        let (running, _) = folder(&[("other", "x")]);
        symlink(outside.path(), running.path().join("model")).unwrap();
        assert!(bring(built.path(), running.path(), &new, &new).is_err());
        fs::remove_file(running.path().join("model")).unwrap();
        symlink(outside.path().join("model.py"), running.path().join("file.py")).unwrap();
        bring(built.path(), running.path(), &new, &new).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("model.py")).unwrap(), "outside");
        assert!(running.path().join("file.py").symlink_metadata().unwrap().is_file());
    }
}
