//! Who may read and write the files of the data directory, and messages for files that cannot be used.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Refusal;

const OF_OTHERS: u32 = 0o077;
/// With this bit, as on a directory for temporary files, users may delete only their own files.
const STICKY: u32 = 0o1000;
/// The names that a data directory holds. Names that begin with `guildhall.` also belong to it: the database, its log
/// and its copies.
const OURS: &[&str] = &["archives", "lock", "master.key", "operator.sock", "reserve", "runner", "swept", "uploads"];
/// The folder of what models run on.
const RUNNER: &str = "runner";
const NOTES_MAX: usize = 10;

/// A message for a failed act on a file. For a denied permission, it names the file's owner and the user of this
/// process.
pub fn failed(what: &str, path: &Path, cause: &std::io::Error) -> String {
    if is_full(cause) {
        return format!("cannot {what} {}: the disk is full; free space and try again", path.display());
    }
    let owner = match cause.kind() {
        ErrorKind::PermissionDenied => owner_of(path),
        _ => String::new(),
    };
    format!("cannot {what} {}: {cause}{owner}", path.display())
}

/// Whether the disk is full, or the user's disk quota is used up.
pub(in crate::db) fn is_full(cause: &std::io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Describes the owner and the mode of the file, or of the nearest parent folder that can be read.
fn owner_of(path: &Path) -> String {
    let us = rustix::process::geteuid().as_raw();
    let seen = path.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    match seen {
        Some((seen, metadata)) => format!(
            "; {} belongs to user {} with mode {:04o}, and this process is user {us}",
            if seen == Path::new("") { Path::new(".") } else { seen }.display(),
            metadata.uid(),
            metadata.mode() & 0o7777,
        ),
        None => format!("; this process is user {us}"),
    }
}

/// Creates the folder and its missing parents. Each is synced in its parent before anything is created in it.
pub(super) fn make_folders(path: &Path, made: &mut Vec<PathBuf>) -> Result<(), Refusal> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => continue,
            Err(cause) => return Err(Refusal::Failed(failed("make", folder, &cause))),
        }
        let kept = std::fs::set_permissions(folder, Permissions::from_mode(0o700)).and_then(|()| sync_parent(folder));
        kept.map_err(|cause| Refusal::Failed(failed("make", folder, &cause)))?;
    }
    Ok(())
}

/// Syncs a folder, so that the entries in it are durable.
pub(in crate::db) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_parent(folder: &Path) -> std::io::Result<()> {
    match folder.parent() {
        Some(parent) if parent == Path::new("") => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Sets mode 0600, whatever the umask is.
pub(in crate::db) fn make_private(file: &File) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Refuses a path that cannot be a data directory. A directory that all users share is refused, because making it
/// private would take it from them.
///
/// # Errors
///
/// [`Refusal::Failed`] if the path cannot be used, is not a directory, or is shared with all users and holds other
/// files.
pub(super) fn check_folder(path: &Path) -> Result<(), Refusal> {
    let metadata = path.metadata().map_err(|cause| Refusal::Failed(failed("use", path, &cause)))?;
    if !metadata.is_dir() {
        return Err(Refusal::Failed(format!("cannot use {}: it is not a directory", path.display())));
    }
    if metadata.mode() & STICKY != 0 && metadata.mode() & 0o002 != 0 && holds_what_is_not_ours(path) {
        return Err(Refusal::Failed(format!(
            "cannot use {}: it is shared with every user of this host; name a directory of its own",
            path.display()
        )));
    }
    Ok(())
}

/// Makes the data directory and Guildhall's files in it private. Returns a message for each that was not.
pub(in crate::db) fn tighten_all(data: &Path) -> Result<Vec<String>, String> {
    let metadata = data.metadata().map_err(|cause| failed("use", data, &cause))?;
    let mut notes: Vec<String> = tighten(data, &metadata)?.into_iter().collect();
    notes.extend(tighten_contents(data)?);
    Ok(notes)
}

fn holds_what_is_not_ours(data: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(data) else { return true };
    entries.any(|entry| entry.map_or(true, |entry| !is_ours(&entry.file_name())))
}

fn is_ours(name: &OsStr) -> bool {
    OURS.iter().any(|ours| name == *ours) || name.to_string_lossy().starts_with("guildhall.")
}

fn tighten_contents(data: &Path) -> Result<Vec<String>, String> {
    let mut notes = Vec::new();
    for entry in std::fs::read_dir(data).map_err(|cause| failed("read", data, &cause))? {
        let entry = entry.map_err(|cause| failed("read", data, &cause))?;
        let (name, path) = (entry.file_name(), entry.path());
        if name == RUNNER {
            // Others cannot pass this folder. What is below it needs its modes, and is partly written by models.
            let metadata = path.symlink_metadata().map_err(|cause| failed("use", &path, &cause))?;
            notes.extend(if metadata.is_dir() { tighten(&path, &metadata)? } else { None });
        } else if is_ours(&name) {
            tighten_below(&path, &mut notes)?;
        }
    }
    if let Some(more) = notes.len().checked_sub(NOTES_MAX).filter(|more| *more > 0) {
        notes.truncate(NOTES_MAX);
        notes.push(format!("closed {more} more files and folders to others"));
    }
    Ok(notes)
}

/// Closes a file or a folder with everything in it. The entry of the data directory itself may be a link that the
/// operator made, to another disk; links below it are never followed.
fn tighten_below(path: &Path, notes: &mut Vec<String>) -> Result<(), String> {
    let metadata = match path.metadata() {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()), // a symbolic link without a target
        metadata => metadata.map_err(|cause| failed("use", path, &cause))?,
    };
    notes.extend(tighten(path, &metadata)?);
    if metadata.is_dir() {
        let unreadable = |cause| failed("read", path, &cause);
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if !entry.file_type().map_err(unreadable)?.is_symlink() {
                tighten_below(&entry.path(), notes)?;
            }
        }
    }
    Ok(())
}

fn tighten(path: &Path, metadata: &Metadata) -> Result<Option<String>, String> {
    let mode = metadata.mode() & 0o7777;
    if mode & OF_OTHERS == 0 {
        return Ok(None);
    }
    let private = mode & if metadata.is_dir() { 0o700 } else { 0o600 };
    match std::fs::set_permissions(path, Permissions::from_mode(private)) {
        Ok(()) => Ok(Some(format!("closed {} to others: its mode was {mode:04o}", path.display()))),
        Err(cause) => {
            let why = failed("close", path, &cause);
            Err(format!("{why}: others may enter or read it; set its mode to {private:04o}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn what_links_point_to_and_programs_of_tenants_stay_as_they_are() {
        let (data, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [data, program, folder] = [data.path(), &outside.path().join("python"), &outside.path().join("folder")];
        let file = |path: &Path| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        };
        let [archive, script] = [data.join("archives/ab/archive"), data.join("runner/environments/e/bin/script")];
        [program, &folder.join("inside"), &archive, &script].into_iter().for_each(file);
        symlink(program, data.join("runner/environments/e/bin/python")).unwrap();
        symlink(program, data.join("archives/ab/link")).unwrap();
        symlink(folder, data.join("archives/folder")).unwrap();
        std::fs::set_permissions(data.join("runner"), Permissions::from_mode(0o755)).unwrap();
        tighten_all(data).unwrap();
        let modes = [program, &folder.join("inside"), &script, &archive, &data.join("runner")].map(mode);
        assert_eq!(modes, [0o755, 0o755, 0o755, 0o600, 0o700]);
    }

    #[test]
    fn a_folder_that_the_operator_has_put_elsewhere_is_closed() {
        let (data, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(outside.path(), Permissions::from_mode(0o755)).unwrap();
        symlink(outside.path(), data.path().join("archives")).unwrap();
        symlink("nowhere", data.path().join("uploads")).unwrap();
        tighten_all(data.path()).unwrap();
        assert_eq!(mode(outside.path()), 0o700);
    }
}
