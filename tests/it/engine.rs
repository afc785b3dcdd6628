//! Do the processes of models see, keep and leave only what they may?
//!
//! The processes are small shell scripts, started by the built binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use guildhall::runner::engine::{
    Control, Ended, Engine, Exit, Launch, Limits, Line, Network, Process, Serves, Settings, StartError, Unconfined,
};

mod output;
mod tree;

const LONG: Duration = Duration::from_secs(60);

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

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(Settings {
            folder: folder.path().join("processes"),
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_guildhall"))),
            unconfined: Unconfined::Refused,
            user: None,
        })
        .unwrap();
        Bench { folder, engine }
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

fn read_pid(path: &Path) -> i32 {
    let mut pid = None;
    let begun = Instant::now();
    while pid.is_none() {
        assert!(begun.elapsed() < LONG, "no number in {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
        pid =
            std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')).and_then(|t| t.trim().parse().ok());
    }
    pid.unwrap()
}
