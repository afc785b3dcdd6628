//! What a process sees of the file system where bubblewrap does not narrow it.
//!
//! Landlock keeps a process from files, but not from the Unix sockets of other programs, the server's own among them. So in
//! a mount namespace of the process, every folder at the top that is not the system's is covered, and what the process is
//! given is put back in its place.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount};
use rustix::process::umask;

use super::system_files::READS;
use crate::wire::processes::{Mounts, Plan};

/// Folders at the top that are not covered: Landlock keeps what is in them from the process.
const SYSTEM: &[&str] = &["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr"];
const SHARED_MEMORY: &str = "/dev/shm";
const TEMPORARY: &str = "/tmp";
const EMPTY: &str = "mode=0755,size=1m";
const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Narrows what this process sees, in the mount namespace that it has entered.
///
/// # Errors
/// If the kernel refuses a mount.
pub fn narrow(plan: &Plan, mounts: &Mounts) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let kept = kept(plan);
    let opened: Vec<(&PathBuf, OwnedFd)> =
        kept.iter().map(|path| Ok((path, look(path)?))).collect::<io::Result<_>>()?;
    let temporary = look(&mounts.temporary)?;
    let covered: Vec<PathBuf> =
        covered()?.into_iter().filter(|folder| !kept.iter().any(|k| folder.starts_with(k))).collect();
    let before = umask(Mode::WGRP | Mode::WOTH); // another user must be able to pass through
    for folder in &covered {
        cover(folder, EMPTY)?;
    }
    if covered.iter().any(|folder| folder == Path::new(TEMPORARY)) {
        put_back(&temporary, Path::new(TEMPORARY))?;
    }
    if Path::new(SHARED_MEMORY).is_dir() {
        cover(Path::new(SHARED_MEMORY), &format!("mode=1777,size={}", mounts.shared_memory_bytes))?;
    }
    let mut done: Vec<&Path> = Vec::new();
    for (path, file) in opened {
        let is_covered = path.starts_with(SHARED_MEMORY) || covered.iter().any(|folder| path.starts_with(folder));
        if !is_covered || done.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        make_place(path, &file)?;
        put_back(&file, path)?;
        done.push(path);
    }
    for folder in covered.iter().filter(|folder| *folder != Path::new(TEMPORARY)) {
        mount_remount(folder, MountFlags::BIND | MountFlags::RDONLY | SAFE, "")?;
    }
    umask(before);
    Ok(())
}

/// Tries it, in a mount namespace that nobody else is in.
///
/// # Errors
/// If the kernel refuses a mount.
pub fn attempt() -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    cover(Path::new(TEMPORARY), EMPTY)
}

/// What the process is given, short paths first: what is inside of another is there with it. A link of the system's, such
/// as that to the name servers, may lead to a folder that is covered.
fn kept(plan: &Plan) -> Vec<PathBuf> {
    let links = READS.iter().filter_map(|path| fs::canonicalize(path).ok());
    let given = plan.reads.iter().chain(&plan.writes).chain(&plan.devices).cloned();
    let mut kept: Vec<PathBuf> = given.chain(links).filter(|path| path.exists()).collect();
    kept.sort_by_key(|path| path.as_os_str().len());
    kept.dedup();
    kept
}

fn covered() -> io::Result<Vec<PathBuf>> {
    let mut covered = Vec::new();
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let is_system = SYSTEM.iter().any(|name| entry.file_name() == *name);
        if !is_system && entry.file_type()?.is_dir() {
            covered.push(entry.path());
        }
    }
    Ok(covered)
}

fn look(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn cover(folder: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    Ok(mount("tmpfs", folder, "tmpfs", SAFE, options.as_c_str())?)
}

/// Makes what a mount needs to be put on.
fn make_place(path: &Path, file: &OwnedFd) -> io::Result<()> {
    if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode).is_dir() {
        return fs::create_dir_all(path);
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    File::options().write(true).create(true).truncate(false).open(path).map(drop)
}

fn put_back(file: &OwnedFd, path: &Path) -> io::Result<()> {
    Ok(mount_bind_recursive(format!("/proc/self/fd/{}", file.as_raw_fd()), path)?)
}
