//! From a launch to a plan: what a process is given on this machine, and what is watched.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use super::bubblewrap::{self, View};
use super::groups::{Groups, Made};
use super::launch::{Launch, Limits, Network, Serves, StartError};
use super::machine::{self, Machine};
use super::watcher::Bounds;
use super::{bridge, devices, folder, secrets};
use crate::wire::processes::{self as wire, Bridge, Ids, Landlock, Mounts, Namespaces, Plan};

const OPEN_FILES: u64 = 65_536;
/// What a process may map without using it, such as the stacks of its threads, where no control group counts for it.
const MAPPED_BYTES: u64 = 1 << 30;
/// The two processes of bubblewrap.
const BUBBLEWRAP_PROCESSES: u64 = 2;

/// What a start needs.
pub struct Planned {
    pub plan: Plan,
    pub bounds: Bounds,
    pub groups: Made,
    /// A folder in memory, outside of bubblewrap.
    pub secrets: Option<PathBuf>,
}

/// Plans a process.
///
/// # Errors
/// [`StartError::Deploy`] if the machine lacks something, [`StartError::Ours`] if something cannot be made.
pub fn plan(launch: &Launch, machine: &Machine, groups: &Groups, user: Option<Ids>) -> Result<Planned, StartError> {
    let (home, temporary) = (folder::home(&launch.folder), folder::temporary(&launch.folder));
    let (network, namespaces) = namespaces(launch.network, machine);
    let is_private = network == wire::Network::OwnByBubblewrap || namespaces.network;
    let (bridge, made) = match launch.serves {
        Serves::Port(port) => {
            let port = if is_private { port } else { free_port()? };
            let (secrets, made) = secrets_folder(launch, machine)?;
            (Some(Bridge { port, secrets }), made)
        }
        Serves::Socket | Serves::Nothing => (None, None),
    };
    let besides = if machine.bubblewrap.is_ok() { BUBBLEWRAP_PROCESSES } else { 0 };
    let threads = if bridge.is_some() { bridge::THREADS_MAX } else { 0 };
    let limits = Limits { processes: launch.limits.processes + besides + threads, ..launch.limits };
    let mut writes = launch.writes.clone();
    writes.extend([launch.directory.clone(), home.clone(), temporary.clone()]);
    writes.extend(bridge.as_ref().map(|bridge| bridge.secrets.clone()));
    let groups_made = groups.make(&launch.id, &limits)?;
    let is_alone = !machine::is_root() && (machine.bubblewrap.is_ok() || namespaces.user);
    let mut plan = Plan {
        command: launch.command.clone(),
        variables: variables(launch, &home, &temporary, bridge.as_ref()),
        directory: launch.directory.clone(),
        reads: launch.reads.clone(),
        writes,
        devices: devices::of(&launch.accelerators),
        limits: wire::Limits {
            memory_bytes: (!groups.limit_memory()).then(|| launch.limits.memory_bytes.saturating_add(MAPPED_BYTES)),
            processes: is_alone.then_some(limits.processes),
            file_bytes: launch.limits.disk_bytes,
            open_files: OPEN_FILES,
        },
        landlock: if machine.landlock.is_some() { Landlock::Required } else { Landlock::Unavailable },
        network,
        namespaces,
        mounts: namespaces
            .mounts
            .then(|| Mounts { temporary: temporary.clone(), shared_memory_bytes: launch.limits.memory_bytes }),
        user,
        bubblewrap: None,
        bridge,
        control_groups: groups_made.folders.clone(),
    };
    if let Ok(program) = &machine.bubblewrap {
        let view = View {
            temporary: &temporary,
            shared_memory_bytes: launch.limits.memory_bytes,
            user_namespace: machine::user_namespace(),
        };
        let options = bubblewrap::options(&plan, &view);
        plan.bubblewrap = Some(wire::Bubblewrap { program: program.clone(), options });
    }
    let bounds = Bounds {
        memory_bytes: launch.limits.memory_bytes,
        processes: launch.limits.processes,
        disk_bytes: launch.limits.disk_bytes,
        own: vec![launch.folder.clone(), launch.directory.clone()],
        shared: launch.writes.clone(),
        wrappers: besides,
        bridge: None,
    };
    Ok(Planned { plan, bounds, groups: groups_made, secrets: made })
}

/// Who makes which namespaces. What the machine cannot make is left out.
fn namespaces(wanted: Network, machine: &Machine) -> (wire::Network, Namespaces) {
    match (&machine.bubblewrap, wanted) {
        (Ok(_), Network::Private) => (wire::Network::OwnByBubblewrap, Namespaces::default()),
        (Ok(_), Network::Outbound) => (wire::Network::AsNamespaces, Namespaces::default()),
        (Err(_), Network::Private) => (wire::Network::AsNamespaces, machine.namespaces),
        (Err(_), Network::Outbound) => {
            (wire::Network::AsNamespaces, Namespaces { network: false, ..machine.namespaces })
        }
    }
}

/// The folder of the secrets as the process sees it, and where it is to be made.
fn secrets_folder(launch: &Launch, machine: &Machine) -> Result<(PathBuf, Option<PathBuf>), StartError> {
    if machine.bubblewrap.is_ok() {
        return Ok((PathBuf::from(secrets::INSIDE), None));
    }
    let Some(memory) = &machine.memory else {
        return Err(StartError::Deploy(
            "a custom server needs a place in memory for its secrets: install bubblewrap, or mount a tmpfs at /dev/shm"
                .to_owned(),
        ));
    };
    let folder = memory.join(secrets::name(&launch.folder));
    Ok((folder.clone(), Some(folder)))
}

fn variables(launch: &Launch, home: &Path, temporary: &Path, bridge: Option<&Bridge>) -> BTreeMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut variables = launch.variables.clone();
    variables.insert("HOME".to_owned(), text(home));
    variables.insert("TMPDIR".to_owned(), text(temporary));
    if let Some(Bridge { port, secrets }) = bridge {
        variables.insert("PORT".to_owned(), port.to_string());
        variables.insert(secrets::FOLDER_VARIABLE.to_owned(), text(secrets));
    }
    if launch.accelerators.is_empty() {
        variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), String::new());
    } else {
        let indices: Vec<String> = launch.accelerators.iter().map(u32::to_string).collect();
        variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), indices.join(","));
    }
    variables
}

/// A port that nobody has now. The custom server takes it in a moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
