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
    /// The namespaces that a process can make itself: none if the kernel refuses.
    pub namespaces: Namespaces,
    /// Where secrets can be files in memory without bubblewrap.
    pub memory: Option<PathBuf>,
}

/// The best first. Root needs no user namespace.
const WAYS: [Namespaces; 4] = [
    Namespaces { user: false, network: true, mounts: true },
    Namespaces { user: true, network: true, mounts: true },
    Namespaces { user: true, network: true, mounts: false },
    Namespaces { user: true, network: false, mounts: false },
];

/// What may be tried: an operator or a test may leave bubblewrap out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Everything,
    NoBubblewrap,
    /// Neither bubblewrap nor namespaces: what is left is Landlock.
    NoNamespaces,
}

impl Machine {
    /// Tries everything, with `program` as our own.
    pub fn look(program: Option<&Path>, use_of: Use) -> Machine {
        let program = program.unwrap_or(Path::new(spawn::SELF));
        let bubblewrap = match use_of {
            Use::Everything => bubblewrap::find(user_namespace()),
            Use::NoBubblewrap | Use::NoNamespaces => Err("it is switched off".to_owned()),
        };
        let ways: &[Namespaces] = if use_of == Use::NoNamespaces { &[] } else { &WAYS };
        Machine {
            landlock: confinement::landlock_version(),
            bubblewrap,
            namespaces: ways.iter().copied().find(|way| works(program, *way)).unwrap_or_default(),
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
    let wanted = [(namespaces.user, "--user"), (namespaces.network, "--network"), (namespaces.mounts, "--mounts")];
    command.args(wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, option)| option));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
