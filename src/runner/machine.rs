//! What models and training jobs run on: the engine, the environments, and what of the machine is in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::{self, Engine, Ids, Unconfined, Use};
use super::python::{self, Installation};
use crate::domain::capacity::{self, Accelerator, Capacity, Missing};
use crate::domain::remote_url::PlainHttp;

/// Where the applications of deployments are unpacked, in the data directory.
const APPLICATIONS: &str = "runner/deployments";
/// The folders of processes, in the data directory.
const PROCESSES: &str = "runner/processes";
const ACCELERATORS: &str = "/proc/driver/nvidia/gpus";

/// What the operator decides about models.
#[derive(Clone, Debug)]
pub struct Settings {
    pub unconfined: Unconfined,
    /// What of this machine confines models.
    pub use_of: Use,
    /// The user that processes run as.
    pub user: Option<Ids>,
    /// The memory that all models together may ask for. `None`: it is not limited.
    pub memory_bytes_max: Option<u64>,
    /// The replicas of one deployment.
    pub replicas_max: usize,
    /// Whether accelerators that are asked for are required.
    pub missing: Missing,
    /// Whether endpoints of other machines may be called without TLS.
    pub plain_endpoints: PlainHttp,
    /// The program of supervisors. `None`: the program of this process.
    pub program: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            unconfined: Unconfined::Refused,
            use_of: Use::Everything,
            user: None,
            memory_bytes_max: None,
            replicas_max: 4,
            missing: Missing::Refuse,
            plain_endpoints: PlainHttp::OnLoopback,
            program: None,
        }
    }
}

/// The machine, as models and jobs use it.
pub struct Machine {
    pub engine: Engine,
    pub installation: Installation,
    pub settings: Settings,
    /// This program, which custom servers may run.
    pub program: PathBuf,
    applications: PathBuf,
    capacity: Mutex<Capacity>,
}

impl Machine {
    /// Opens what models run on, in the data directory. What an earlier server left of running models is removed.
    ///
    /// # Errors
    ///
    /// The error of the file system.
    pub fn open(data: &Path, settings: Settings) -> io::Result<Machine> {
        let installation = Installation::open(data, python::Limits::default())?;
        let engine = Engine::open(engine::Settings {
            folder: data.join(PROCESSES),
            program: settings.program.clone(),
            unconfined: settings.unconfined,
            use_of: settings.use_of,
            user: settings.user,
        })?;
        let applications = data.join(APPLICATIONS);
        match fs::remove_dir_all(&applications) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => fs::create_dir_all(&applications)?,
        }
        let capacity = Capacity::new(capacity::Machine {
            memory_bytes_max: settings.memory_bytes_max,
            memory_bytes: memory_bytes(),
            accelerators: accelerators(Path::new(ACCELERATORS)),
            missing: settings.missing,
        });
        let program = match &settings.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        Ok(Machine { engine, installation, settings, program, applications, capacity: Mutex::new(capacity) })
    }

    /// The folder for a build of a deployment. It is removed with its parent when the deployment is.
    pub fn application(&self, deployment_id: &str, build: &str) -> PathBuf {
        self.applications.join(deployment_id).join(build)
    }

    /// What of the machine is in use.
    pub fn capacity(&self) -> MutexGuard<'_, Capacity> {
        self.capacity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of this machine. If it is not known, nothing is refused for asking too much.
fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or(u64::MAX, |kib: u64| kib << 10)
}

/// The accelerators that the driver lists, by their indexes.
fn accelerators(folder: &Path) -> Vec<Accelerator> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("information")).ok()?;
        let field =
            |name: &str| text.lines().find_map(|line| line.split_once(':').filter(|(field, _)| field.trim() == name));
        let name = field("Model")?.1.trim().to_owned();
        Some(Accelerator { index: field("Device Minor")?.1.trim().parse().ok()?, name })
    };
    let mut found: Vec<Accelerator> = entries.filter_map(read).collect();
    found.sort_by_key(|accelerator| accelerator.index);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accelerators_are_read_from_the_driver() {
        let folder = tempfile::tempdir().unwrap();
        for (place, index, name) in [("0000:02:00.0", 1, "Tesla T4"), ("0000:01:00.0", 0, "NVIDIA L4")] {
            let gpu = folder.path().join(place);
            fs::create_dir(&gpu).unwrap();
            let text = format!("Model: \t\t {name}\nIRQ:   \t\t 54\nDevice Minor: \t {index}\n");
            fs::write(gpu.join("information"), text).unwrap();
        }
        fs::create_dir(folder.path().join("broken")).unwrap();
        let names: Vec<(u32, String)> =
            accelerators(folder.path()).into_iter().map(|one| (one.index, one.name)).collect();
        assert_eq!(names, [(0, "NVIDIA L4".to_owned()), (1, "Tesla T4".to_owned())]);
        assert!(accelerators(Path::new("/nowhere")).is_empty());
        assert!(memory_bytes() > 1 << 20);
    }
}
