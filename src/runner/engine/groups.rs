//! Control groups of processes, where this machine lets us make them.
//!
//! Version 2 limits memory, processes and processors, and kills a group at once. Where the controllers of processes and
//! processors are still those of version 1, they are used as well.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::launch::Limits;

/// The group that the server moves to: a group with processes cannot pass controllers on.
const SERVER: &str = "guildhall-server";
/// The parent of the groups of processes.
const PARENT: &str = "guildhall";
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
const PERIOD_MICROSECONDS: u64 = 100_000;

/// Where groups are made.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    places: Vec<Place>,
    /// How the names of the groups begin: other servers have others.
    prefix: String,
}

#[derive(Clone, Debug)]
struct Place {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    /// With the controllers that limit.
    Two(Vec<&'static str>),
    One,
}

impl Groups {
    /// Finds where groups can be made. `owner` is the folder that the engine has alone.
    pub fn find(owner: &Path) -> Groups {
        let hash = blake3::hash(owner.as_os_str().as_encoded_bytes()).to_hex();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut places = Vec::new();
        places.extend(own_folder(&own, &mounts, None).and_then(|folder| second(&folder).ok()));
        for controller in ["pids", "cpu"] {
            let folder = own_folder(&own, &mounts, Some(controller));
            places.extend(folder.and_then(|folder| first(&folder).ok()));
        }
        Groups { places, prefix: format!("{}-", &hash[..12]) }
    }

    /// Removes the groups that an earlier server left. Nothing can be in them, because its supervisors have ended.
    pub fn sweep(&self) {
        for place in &self.places {
            for entry in fs::read_dir(&place.folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                    let _ = fs::remove_dir(entry.path()); // the next start tries again
                }
            }
        }
    }

    /// What is limited by groups: the names of controllers.
    pub fn controllers(&self) -> Vec<&str> {
        let of = |place: &Place| match &place.version {
            Version::Two(controllers) => controllers.clone(),
            Version::One => CONTROLLERS.into_iter().filter(|name| place.folder.join(file_of(name)).exists()).collect(),
        };
        // The parent group has the files of its controllers, in both versions.
        self.places.iter().flat_map(of).collect()
    }

    pub fn limit_memory(&self) -> bool {
        self.controllers().contains(&"memory")
    }

    /// Whether a group can be killed at once.
    pub fn kill(&self) -> bool {
        self.places.iter().any(|place| matches!(place.version, Version::Two(_)))
    }

    /// Makes the groups of a process.
    ///
    /// # Errors
    /// If a group cannot be made or limited. Those that were made are removed.
    pub fn make(&self, id: &str, limits: &Limits) -> io::Result<Made> {
        let mut made = Made { folders: Vec::new() };
        for place in &self.places {
            let folder = place.folder.join(format!("{}{id}", self.prefix));
            match fs::create_dir(&folder) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
                _ => made.folders.push(folder.clone()),
            }
            limit(&folder, limits)?;
        }
        Ok(made)
    }
}

/// The groups of a process. Dropping them removes them.
#[derive(Debug)]
pub struct Made {
    pub folders: Vec<PathBuf>,
}

impl Made {
    /// Whether the kernel killed something in a group for its memory.
    pub fn was_out_of_memory(&self) -> bool {
        let texts = self.folders.iter().filter_map(|folder| fs::read_to_string(folder.join("memory.events")).ok());
        texts.into_iter().any(|text| text.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0"))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder); // what is not empty is removed by the next sweep
        }
    }
}

/// Writes the limits for which the group has files.
fn limit(folder: &Path, limits: &Limits) -> io::Result<()> {
    let quota = ((limits.cpus * PERIOD_MICROSECONDS as f64) as u64).max(1_000);
    let values = [
        ("memory.max", limits.memory_bytes.to_string()),
        ("memory.swap.max", "0".to_owned()),
        ("memory.oom.group", "1".to_owned()),
        ("pids.max", limits.processes.to_string()),
        ("cpu.max", format!("{quota} {PERIOD_MICROSECONDS}")),
        ("cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string()),
        ("cpu.cfs_quota_us", quota.to_string()),
    ];
    for (name, value) in values {
        let file = folder.join(name);
        if file.exists() {
            fs::write(file, value)?;
        }
    }
    Ok(())
}

fn file_of(controller: &str) -> &'static str {
    match controller {
        "memory" => "memory.max",
        "pids" => "pids.current",
        _ => "cpu.cfs_quota_us",
    }
}

/// The folder of this process's own group, of version 2 or of a controller of version 1.
fn own_folder(own: &str, mounts: &str, controller: Option<&str>) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let is_it = controller.map_or(controllers.is_empty(), |name| controllers.split(',').any(|one| one == name));
        is_it.then_some(group)
    })?;
    mounts.lines().find_map(|line| {
        let (mount, of) = line.split_once(" - ")?;
        let (mut mount, mut of) = (mount.split(' ').skip(3), of.split(' '));
        let (root, folder) = (mount.next()?, mount.next()?);
        let is_it = match controller {
            None => of.next()? == "cgroup2",
            Some(name) => of.next()? == "cgroup" && of.nth(1)?.split(',').any(|option| option == name),
        };
        let below = Path::new(group).strip_prefix(root).ok().filter(|_| is_it && !group.contains("/.."))?;
        Some(Path::new(folder).join(below))
    })
}

/// A place of version 2 below our own group. If need be, this process moves to a group below, as the kernel demands.
fn second(own: &Path) -> io::Result<Place> {
    let own = if own.ends_with(SERVER) { own.parent().unwrap_or(own) } else { own };
    let folder = own.join(PARENT);
    make(&folder)?;
    let offered = fs::read_to_string(own.join("cgroup.controllers"))?;
    let wanted = CONTROLLERS.into_iter().filter(|name| offered.split_whitespace().any(|one| one == *name));
    let controllers: Vec<&str> = wanted.collect();
    let pass_on = |folder: &Path| {
        let text = controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
        if text.is_empty() { Ok(()) } else { fs::write(folder.join("cgroup.subtree_control"), text) }
    };
    let passed = pass_on(own).or_else(|_| move_server(own).and_then(|()| pass_on(own)));
    let limited = passed.and_then(|()| pass_on(&folder));
    Ok(Place { folder, version: Version::Two(if limited.is_ok() { controllers } else { Vec::new() }) })
}

/// Moves this process to a group of its own, if it is alone in its group.
fn move_server(own: &Path) -> io::Result<()> {
    let members = fs::read_to_string(own.join("cgroup.procs"))?;
    if members.trim() != std::process::id().to_string() {
        return Err(io::Error::other("there are other processes in the control group of the server"));
    }
    let folder = own.join(SERVER);
    make(&folder)?;
    fs::write(folder.join("cgroup.procs"), "0")
}

fn first(own: &Path) -> io::Result<Place> {
    let folder = own.join(PARENT);
    make(&folder)?;
    Ok(Place { folder, version: Version::One })
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
        _ => {}
    }
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "8:pids:/a\n1:cpu,cpuacct:/\n0::/user.slice/x\n";
    const MOUNTS: &str = "\
30 20 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
31 20 0:27 / /sys/fs/cgroup/pids rw,nosuid shared:5 - cgroup cgroup rw,pids
32 20 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn our_own_group_is_found_in_both_versions() {
        let find = |controller| own_folder(OWN, MOUNTS, controller).map(|path| path.display().to_string());
        assert_eq!(find(None).as_deref(), Some("/sys/fs/cgroup/unified/user.slice/x"));
        assert_eq!(find(Some("pids")).as_deref(), Some("/sys/fs/cgroup/pids/a"));
        assert_eq!(find(Some("cpu")).as_deref(), Some("/sys/fs/cgroup/cpu/"));
        assert_eq!(find(Some("memory")), None);
        assert_eq!(own_folder("0::/../x\n", MOUNTS, None), None);
    }
}
