//! The options of bubblewrap: what a process sees of this machine.
//!
//! It sees the system's programs, its own paths under their own names, a `/tmp` and a `/dev/shm` of its own, and no process
//! but its own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::secrets;
use super::system_files::READS;
use crate::wire::processes::{Network, Plan};

const NAME: &str = "bwrap";
const FOLDERS: &str = "/usr/bin:/bin:/usr/local/bin";
const SECRETS_BYTES: u64 = 64 << 20;

/// What the options depend on besides the plan.
pub struct View<'a> {
    /// The folder that is `/tmp` inside.
    pub temporary: &'a Path,
    /// The size of `/dev/shm`.
    pub shared_memory_bytes: u64,
    pub user_namespace: UserNamespace,
}

/// Whether bubblewrap needs a user namespace: it does unless root runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    Needed,
    NotNeeded,
}

/// Looks for bubblewrap, and tries it.
///
/// # Errors
/// Why it cannot be used.
pub fn find(user_namespace: UserNamespace) -> Result<PathBuf, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(FOLDERS.split(':')).map(Path::new).filter(|folder| folder.is_absolute());
    let program = folders.map(|folder| folder.join(NAME)).find(|path| path.is_file()).ok_or("it is not installed")?;
    let mut options = namespaces(user_namespace);
    options.push("--unshare-net".to_owned());
    options.extend(system());
    let mut command = Command::new(&program);
    command.args(options).args(["--", "/bin/sh", "-c", ":"]).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    match command.output() {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("it does not work here: {}", said.lines().next().unwrap_or("it says nothing").trim()))
        }
        Err(cause) => Err(format!("{} cannot be run: {cause}", program.display())),
    }
}

/// The options for a plan.
pub fn options(plan: &Plan, view: &View) -> Vec<String> {
    let mut options = namespaces(view.user_namespace);
    if plan.network == Network::OwnByBubblewrap {
        options.push("--unshare-net".to_owned());
    }
    options.extend(system());
    let size = view.shared_memory_bytes.to_string();
    options.extend(["--perms", "1777", "--size", &size, "--tmpfs", "/dev/shm"].map(str::to_owned));
    options.extend(["--bind".to_owned(), text(view.temporary), "/tmp".to_owned()]);
    if plan.bridge.is_some() {
        let size = SECRETS_BYTES.to_string();
        options.extend(["--perms", "0700", "--size", &size, "--tmpfs", secrets::INSIDE].map(str::to_owned));
    }
    let reads = plan.reads.iter().map(|path| ("--ro-bind", path));
    let writes = plan.writes.iter().filter(|path| path.as_path() != Path::new(secrets::INSIDE));
    let devices = plan.devices.iter().map(|path| ("--dev-bind-try", path));
    let mut binds: Vec<(&str, &PathBuf)> = reads.chain(writes.map(|path| ("--bind", path))).chain(devices).collect();
    binds.sort_by_key(|(_, path)| path.as_os_str().as_bytes().len()); // what is inside of another comes later
    // Another user must be able to pass through the folders that lead to its own.
    let ancestors: BTreeSet<&Path> = binds.iter().flat_map(|(_, path)| path.ancestors().skip(1)).collect();
    for folder in ancestors.into_iter().filter(|folder| folder.components().count() > 1) {
        options.extend(["--perms".to_owned(), "0755".to_owned(), "--dir".to_owned(), text(folder)]);
    }
    for (option, path) in binds {
        options.extend([option.to_owned(), text(path), text(path)]);
    }
    options
}

fn namespaces(user_namespace: UserNamespace) -> Vec<String> {
    let mut options = vec!["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"];
    if user_namespace == UserNamespace::Needed {
        options.push("--unshare-user");
    }
    options.extend(["--hostname", "model", "--die-with-parent"]);
    options.into_iter().map(str::to_owned).collect()
}

/// The system's own files. What is a link, such as `/lib` on most systems, stays one.
fn system() -> Vec<String> {
    let mut options = Vec::new();
    for path in READS.iter().filter(|path| **path != "/proc") {
        match fs::read_link(path) {
            Ok(target) if !path.starts_with("/etc/") => {
                options.extend(["--symlink".to_owned(), text(&target), (*path).to_owned()]);
            }
            _ => options.extend(["--ro-bind-try", path, path].map(str::to_owned)),
        }
    }
    options.extend(["--proc", "/proc", "--dev", "/dev"].map(str::to_owned));
    options
}

/// A path as an option. A plan has none that is not Unicode: it would not be JSON.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
