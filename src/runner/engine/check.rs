//! What this machine has for models, in sentences for its operator.

use std::path::Path;

use super::devices;
use super::groups::Groups;
use super::machine::{self, Machine};

/// The version of Landlock from which on signals and sockets without a path are kept apart.
const SCOPES: i32 = 6;

/// One thing that models need or can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    pub level: Level,
    /// What there is, and how it is mended.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Good,
    /// Models run, with less than there could be.
    Limited,
    /// Models do not run, or not all kinds of them.
    Missing,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Limited => "limited",
            Level::Missing => "missing",
        }
    }
}

/// Looks at this machine. `owner` is the folder of processes; it is not changed.
pub fn look(machine: &Machine, owner: &Path) -> Vec<Finding> {
    let finding = |name, (level, text): (Level, String)| Finding { name, level, text };
    vec![
        finding("landlock", landlock(machine)),
        finding("bubblewrap", bubblewrap(machine)),
        finding("namespaces", namespaces(machine)),
        finding("control groups", groups(&Groups::find(owner))),
        finding("user", user()),
        finding("accelerators", accelerators()),
    ]
}

fn landlock(machine: &Machine) -> (Level, String) {
    match machine.landlock {
        Some(version @ SCOPES..) => (Level::Good, format!("version {version}")),
        Some(version) => (
            Level::Limited,
            format!(
                "version {version}: without bubblewrap, models of one user can signal each other; use Linux 6.12 or newer"
            ),
        ),
        None if machine.bubblewrap.is_ok() => (
            Level::Limited,
            "none: bubblewrap alone confines models; use Linux 5.13 or newer with lsm=landlock".to_owned(),
        ),
        None => (
            Level::Missing,
            "none: models cannot be confined; use Linux 5.13 or newer with lsm=landlock, or install bubblewrap"
                .to_owned(),
        ),
    }
}

fn bubblewrap(machine: &Machine) -> (Level, String) {
    let why = match &machine.bubblewrap {
        Ok(program) => return (Level::Good, program.display().to_string()),
        Err(why) => why,
    };
    let without = match machine.namespaces.mounts {
        true => "models see the list of processes",
        false => {
            "models see the list of processes, reach Unix sockets of other programs, and have no /tmp and /dev/shm of \
             their own"
        }
    };
    (Level::Limited, format!("{why}; without it {without}: install the package bubblewrap, and allow user namespaces"))
}

fn namespaces(machine: &Machine) -> (Level, String) {
    let made = [(machine.namespaces.network, "networks"), (machine.namespaces.mounts, "mounts")];
    let made: Vec<&str> = made.into_iter().filter(|(is_made, _)| *is_made).map(|(_, what)| what).collect();
    match (&machine.bubblewrap, machine.namespaces.network) {
        (Ok(_), _) => (Level::Good, "made by bubblewrap".to_owned()),
        (Err(_), true) => (Level::Good, made.join(", ")),
        (Err(_), false) => (
            Level::Limited,
            "none: custom servers share the machine's network and must listen on the port of the variable PORT; allow \
             user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
                .to_owned(),
        ),
    }
}

fn groups(groups: &Groups) -> (Level, String) {
    let controllers = groups.controllers();
    let limited = controllers.join(", ");
    let kill = if groups.kill() { "; a model is killed at once" } else { "" };
    let mend = "run the server as a systemd service with Delegate=yes";
    match controllers.len() {
        3 => (Level::Good, format!("limit {limited}{kill}")),
        0 => (
            Level::Limited,
            format!("limit nothing{kill}: the server measures models and kills what takes too much; {mend}"),
        ),
        _ => (Level::Limited, format!("limit {limited}{kill}: the server measures the rest; {mend}")),
    }
}

fn user() -> (Level, String) {
    if machine::is_root() {
        let text = "root, without its capabilities: the number of a model's processes is bounded by control groups alone; \
                    run the server as another user, or with --runner-user";
        (Level::Limited, text.to_owned())
    } else {
        (Level::Good, "not root".to_owned())
    }
}

fn accelerators() -> (Level, String) {
    match devices::count() {
        0 => (Level::Limited, "none: models that ask for one need --runner-ignore-accelerators".to_owned()),
        count => (Level::Good, format!("{count} of NVIDIA")),
    }
}
