//! What this machine has for processes: found out once, by trying.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use super::bubblewrap::{self, UserNamespace};
use super::{confinement, secrets, spawn};
use crate::wire::processes::Namespaces;

/// What was found.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The version of Landlock; none if the kernel has it not, or not on.
    pub landlock: Option<i32>,
    /// The program, or why it is not used.
    pub bubblewrap: Result<PathBuf, String>,
    /// How a process can have a network of its own without bubblewrap.
    pub network: Option<Namespaces>,
    /// Whether a process can have a user namespace of its own without bubblewrap.
    pub user_namespace: Option<Namespaces>,
    /// Where secrets can be files in memory without bubblewrap.
    pub memory: Option<PathBuf>,
}

/// What may be tried: an operator or a test may leave bubblewrap out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Everything,
    NoBubblewrap,
}

impl Machine {
    /// Tries everything, with `program` as our own.
    pub fn look(program: Option<&Path>, use_of: Use) -> Machine {
        let program = program.unwrap_or(Path::new(spawn::SELF));
        let bubblewrap = match use_of {
            Use::Everything => bubblewrap::find(user_namespace()),
            Use::NoBubblewrap => Err("it is switched off".to_owned()),
        };
        let ways = [Namespaces { user: false, network: true }, Namespaces { user: true, network: true }];
        Machine {
            landlock: confinement::landlock_version(),
            bubblewrap,
            network: ways.into_iter().find(|way| works(program, *way)),
            user_namespace: Some(Namespaces { user: true, network: false }).filter(|way| works(program, *way)),
            memory: secrets::memory(),
        }
    }
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether bubblewrap needs a user namespace here.
pub fn user_namespace() -> UserNamespace {
    if is_root() { UserNamespace::NotNeeded } else { UserNamespace::Needed }
}

/// Tries it in a process of its own.
fn works(program: &Path, namespaces: Namespaces) -> bool {
    let mut command = Command::new(program);
    command.arg0("guildhall").args(["process", "try"]).env_clear();
    command.args(namespaces.user.then_some("--user")).args(namespaces.network.then_some("--network"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
