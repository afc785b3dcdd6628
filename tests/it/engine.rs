//! Do the processes of models see, keep and leave only what they may?
//!
//! The processes are small shell scripts, started by the built binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guildhall::runner::engine::{
    Control, Ended, Engine, Excess, Exit, Launch, Limits, Line, Network, Process, Serves, Settings, StartError,
    Unconfined, Use,
};

mod custom;
mod excess;
mod inside;
mod output;
mod spy;
mod tree;
mod users;

/// Far more than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// An engine with folders of its own.
struct Bench {
    folder: tempfile::TempDir,
    engine: Engine,
}

/// A started process and what it printed.
struct Started {
    process: Arc<Process>,
    lines: Arc<Mutex<Vec<Line>>>,
}

/// Runs a test with bubblewrap if it works here, with namespaces alone, and with Landlock alone.
fn each_way(test: impl Fn(&Bench)) {
    let bench = Bench::new(Use::Everything);
    if bench.has_bubblewrap() {
        println!("with bubblewrap");
        test(&bench);
    } else {
        println!("skipped with bubblewrap: it does not work here");
    }
    for use_of in [Use::NoBubblewrap, Use::NoNamespaces] {
        println!("{use_of:?}");
        test(&Bench::new(use_of));
    }
}

impl Bench {
    fn new(use_of: Use) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Settings {
            folder: folder.path().join("processes"),
            program: Some(program()),
            unconfined: Unconfined::Refused,
            use_of,
            user: None,
        })
        .unwrap();
        Bench { folder, engine }
    }

    fn has_bubblewrap(&self) -> bool {
        self.engine.machine().bubblewrap.is_ok()
    }

    /// Whether processes have mounts of their own.
    fn has_mounts(&self) -> bool {
        self.has_bubblewrap() || self.engine.machine().namespaces.mounts
    }

    /// A launch of a shell script that serves nothing, in a directory of its own.
    fn launch(&self, id: &str, script: &str) -> Launch {
        let directory = self.folder.path().join(format!("{id}-app"));
        std::fs::create_dir_all(&directory).unwrap();
        Launch {
            id: id.to_owned(),
            folder: self.engine.folder(id),
            directory,
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            variables: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            reads: Vec::new(),
            writes: Vec::new(),
            limits: Limits { memory_bytes: 256 << 20, processes: 64, cpus: 1.0, disk_bytes: 64 << 20 },
            accelerators: Vec::new(),
            network: Network::Outbound,
            serves: Serves::Nothing,
            control: Control { token: "token".to_owned(), ..Control::default() },
            output: Box::new(|_| {}),
        }
    }

    fn start(&self, mut launch: Launch) -> Result<Started, StartError> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        launch.output = Box::new(move |line| kept.lock().unwrap().push(line));
        Ok(Started { process: self.engine.start(launch)?, lines })
    }

    fn run(&self, id: &str, script: &str) -> Started {
        self.start(self.launch(id, script)).unwrap()
    }
}

/// The built program, or a copy that another user can run.
fn program() -> PathBuf {
    std::env::var_os("GUILDHALL_TESTS_PROGRAM").map_or(PathBuf::from(env!("CARGO_BIN_EXE_guildhall")), PathBuf::from)
}

impl Started {
    fn wait(&self) -> Ended {
        self.process.wait_for(LONG).expect("it ends")
    }

    fn texts(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|line| line.text.clone()).collect()
    }

    /// Waits for a line with this text.
    fn wait_for_line(&self, text: &str) {
        wait_until(&format!("the line {text}"), || self.texts().iter().any(|line| line == text));
    }
}

fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < LONG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there and no zombie.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
