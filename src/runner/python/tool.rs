//! Runs the tools that make environments: uv, pip, Python itself.
//!
//! A tool sees none of our variables but those that say where packages are and how they are reached. It is bounded in time,
//! what it says is bounded and passed on line by line, and it is killed with its process group when the server stops.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

use super::Failure;
use super::disk::{self, UNFINISHED};

const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// How often what a tool writes is measured.
const MEASURES_EVERY: Duration = Duration::from_secs(2);
/// How long output is still read after the tool has ended: something that it started may hold the pipe.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
const LINE_CHARS_MAX: usize = 2000;
/// What is kept of the standard output of a tool that is asked something.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What is quoted of a tool that fails: its last words.
const LAST_WORDS_LINES_MAX: usize = 40;
const LAST_WORDS_CHARS_MAX: usize = 4000;
/// Variables of ours that reach a tool: where packages are, and how they are reached.
const PASSED: &[&str] = &[
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "NETRC",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];
const PASSED_PREFIXES: &[&str] = &["PIP_", "UV_"];

/// Who waits for a build: how it is told to stop, and where it says what happens.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    pub stop: &'a AtomicBool,
    /// Takes one line of the build's log.
    pub log: &'a dyn Fn(&str),
}

impl Watch<'_> {
    pub fn check(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// What a run of a tool may take.
pub struct Bounds<'a> {
    pub time_max: Duration,
    /// The folder that it writes to, and how large that may become.
    pub writes: Option<(&'a Path, u64)>,
}

/// How a tool ended.
pub struct Ended {
    pub status: ExitStatus,
    /// The start of its standard output.
    pub answer: String,
    /// The end of its standard error.
    pub last_words: String,
}

/// A command without our variables, in a folder of ours.
pub fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear();
    for (name, value) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let is_passed = PASSED.contains(&text.to_uppercase().as_str())
            || PASSED_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if is_passed {
            command.env(name, value);
        }
    }
    command
}

/// Runs a command to its end, however it ends.
///
/// # Errors
/// [`Failure::Stopped`] when the server stops, [`Failure::Build`] beyond a bound, [`Failure::Ours`] if it cannot be started.
pub fn run(command: &mut Command, bounds: &Bounds, watch: Watch) -> Result<Ended, Failure> {
    let mut child = spawn(command)?;
    let (tell, told) = sync_channel(64);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (answer, answered) = sync_channel(1);
    std::thread::spawn(move || answer.send(stdout.map(read_answer).unwrap_or_default()));
    std::thread::spawn(move || stderr.map(|stderr| tell_lines(stderr, &tell)));
    let mut words = LastWords::default();
    let ended = wait(&mut child, &told, &mut words, bounds, watch);
    kill_group(&child); // also what it left behind
    let status = match ended {
        Ok(status) => status,
        Err(failure) => {
            child.wait()?;
            return Err(failure);
        }
    };
    let until = Instant::now() + DRAINED_WITHIN;
    while let Ok(line) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        words.add(&line, watch);
    }
    let answer = answered.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or_default();
    Ok(Ended { status, answer, last_words: words.text() })
}

fn spawn(command: &mut Command) -> Result<Child, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: between fork and exec there is one system call, which allocates nothing and takes no lock. The thread that
    // starts the tool waits for it, so the signal means that the server is gone.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    Ok(command.spawn()?)
}

fn wait(
    child: &mut Child,
    told: &Receiver<String>,
    words: &mut LastWords,
    bounds: &Bounds,
    watch: Watch,
) -> Result<ExitStatus, Failure> {
    let begun = Instant::now();
    let mut measured = begun;
    loop {
        match told.recv_timeout(LOOKS_EVERY) {
            Ok(line) => words.add(&line, watch),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOKS_EVERY / 10),
        }
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        watch.check()?;
        if begun.elapsed() > bounds.time_max {
            return Err(Failure::Build(format!(
                "the environment took more than {} seconds to make: name fewer or smaller requirements",
                bounds.time_max.as_secs()
            )));
        }
        if let Some((folder, bytes_max)) = bounds.writes
            && measured.elapsed() > MEASURES_EVERY
        {
            if disk::bytes_of([folder]) > bytes_max {
                return Err(too_large(bytes_max));
            }
            measured = Instant::now();
        }
    }
}

/// Why an environment that takes too much space is given up.
pub fn too_large(bytes_max: u64) -> Failure {
    Failure::Build(format!(
        "the environment takes more than {bytes_max} bytes: name fewer or smaller requirements, or ask the operator for more"
    ))
}

fn kill_group(child: &Child) {
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL); // there may be nobody left
    }
}

fn read_answer(mut from: impl Read) -> String {
    let mut answer = Vec::new();
    let _ = from.by_ref().take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&answer).into_owned()
}

/// Passes lines on, each cut to its bound. What is told to nobody is read all the same.
fn tell_lines(mut from: impl Read, tell: &SyncSender<String>) {
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        for &byte in &buffer[..read] {
            if byte == b'\n' || byte == b'\r' {
                let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            } else if line.len() < 4 * LINE_CHARS_MAX {
                line.push(byte);
            }
        }
    }
    let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
}

#[derive(Default)]
struct LastWords {
    lines: VecDeque<String>,
}

impl LastWords {
    fn add(&mut self, line: &str, watch: Watch) {
        let line: String = without_credentials(line).chars().filter(|c| !c.is_control()).take(LINE_CHARS_MAX).collect();
        if line.trim().is_empty() || line.contains(UNFINISHED) {
            return; // where we work is no news
        }
        (watch.log)(&line);
        self.lines.push_back(line);
        if self.lines.len() > LAST_WORDS_LINES_MAX {
            self.lines.pop_front();
        }
    }

    fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.trim()).collect();
        let text = lines.join("\n");
        let skipped = text.chars().count().saturating_sub(LAST_WORDS_CHARS_MAX);
        text.chars().skip(skipped).collect()
    }
}

/// Takes user and password out of every URL of a line.
fn without_credentials(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        kept.push_str(before);
        let authority = behind.find(|c: char| c.is_whitespace() || "/?#\"'`<>".contains(c)).unwrap_or(behind.len());
        rest = match behind[..authority].rfind('@') {
            Some(end) => {
                kept.push_str("****");
                &behind[end..]
            }
            None => behind,
        };
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use super::*;

    const BOUNDS: Bounds = Bounds { time_max: Duration::from_secs(20), writes: None };

    fn shell(script: &str, bounds: &Bounds, stop: &AtomicBool) -> (Result<Ended, Failure>, Vec<String>) {
        let lines = RefCell::new(Vec::new());
        let log = |line: &str| lines.borrow_mut().push(line.to_owned());
        let mut command = command(&PathBuf::from("sh"), &PathBuf::from("."));
        let ended = run(command.args(["-c", script]), bounds, Watch { stop, log: &log });
        (ended, lines.into_inner())
    }

    #[test]
    fn its_words_are_passed_on_bounded_and_without_credentials() {
        let script = "echo answer; echo 'see https://ada:pass@host/simple' >&2; printf 'x%.0s' $(seq 5000) >&2; exit 3";
        let (ended, lines) = shell(script, &BOUNDS, &AtomicBool::new(false));
        let ended = ended.unwrap();
        assert_eq!((ended.status.code(), ended.answer.as_str()), (Some(3), "answer\n"));
        assert_eq!(lines[0], "see https://****@host/simple");
        assert_eq!(lines[1], "x".repeat(LINE_CHARS_MAX));
        assert_eq!(ended.last_words, lines.join("\n"));
    }

    #[test]
    fn it_sees_only_what_is_passed() {
        let (ended, _) = shell("env | cut -d= -f1", &BOUNDS, &AtomicBool::new(false));
        for name in ended.unwrap().answer.lines().filter(|name| !["_", "OLDPWD", "PWD", "SHLVL"].contains(name)) {
            let upper = name.to_uppercase();
            assert!(PASSED.contains(&upper.as_str()) || PASSED_PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
        }
    }

    #[test]
    fn it_is_ended_by_time_by_a_stop_and_with_all_that_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("(sleep 3; echo late > {}) & sleep 30", file.path().display());
        let short = Bounds { time_max: Duration::from_millis(200), writes: None };
        let begun = Instant::now();
        let (ended, _) = shell(&script, &short, &AtomicBool::new(false));
        assert!(matches!(ended, Err(Failure::Build(why)) if why.contains("seconds")));
        let (ended, _) = shell(&script, &BOUNDS, &AtomicBool::new(true));
        assert!(matches!(ended, Err(Failure::Stopped)));
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(3200));
        assert_eq!(std::fs::read(file.path()).unwrap(), b"", "what it started ended with it");
    }

    #[test]
    fn it_is_ended_when_it_writes_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {}; while :; do head -c 100000 /dev/zero > $((n=n+1)); sleep 0.01; done",
            folder.path().display()
        );
        let bounds = Bounds { writes: Some((folder.path(), 1 << 20)), ..BOUNDS };
        let (ended, _) = shell(&script, &bounds, &AtomicBool::new(false));
        assert!(matches!(ended, Err(Failure::Build(why)) if why.contains("1048576 bytes")));
    }

    #[test]
    fn urls_lose_their_users() {
        assert_eq!(without_credentials("a https://u:p@h/x b http://h2/y@z"), "a https://****@h/x b http://h2/y@z");
        assert_eq!(without_credentials("git+https://token@h"), "git+https://****@h");
        assert_eq!(without_credentials("://"), "://");
    }
}
