//! A running process, as the engine sees it.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::ControlPipe;
use super::groups::Made;
use super::launch::Launch;
use super::output::{Lines, Source, Stream};
use super::{folder, leash};
use crate::wire::processes::{Answer, Control};

/// How long output is read after everything ended.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
const DROPPED_TOLD_AFTER: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long killing may take before the log says that it does not end: the kernel may hold a process.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub exit: Exit,
    /// What it had too much of, if the engine killed it for that.
    pub why: Option<Excess>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// What a process may have too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    Memory,
    Disk,
    Processes,
}

/// What a process and its descendants use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Memory, with a share of what several processes have in common.
    pub memory_bytes: u64,
    /// Of all that are running: what ended does not count.
    pub cpu_seconds: f64,
    pub processes: u64,
    pub disk_bytes: u64,
}

/// A process with its descendants. It runs until it ends, is stopped, or the engine is gone.
pub struct Process {
    id: String,
    pid: i32,
    supervisor: i32,
    socket: PathBuf,
    belongings: Mutex<Option<Belongings>>,
    leash: UnixStream,
    control: Option<Mutex<ControlPipe>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    excess: Option<Excess>,
    usage: Usage,
    ended: Option<Ended>,
}

/// What a started process is made of.
pub struct Parts {
    pub id: String,
    pub pid: i32,
    pub supervisor: i32,
    pub belongings: Belongings,
    pub leash: UnixStream,
    pub control: Option<ControlPipe>,
}

/// What is made for a process and removed after its end. Dropping it removes it.
pub struct Belongings {
    folder: PathBuf,
    groups: Made,
    /// The folder of secrets in memory, if bubblewrap does not make it.
    secrets: Option<PathBuf>,
}

impl Belongings {
    /// Takes over the private folder and the groups, and makes the folder of secrets.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn make(launch: &Launch, groups: Made, secrets: Option<PathBuf>) -> io::Result<Belongings> {
        if let Some(secrets) = &secrets {
            folder::remove(secrets)?;
            DirBuilder::new().mode(0o700).create(secrets)?;
        }
        Ok(Belongings { folder: launch.folder.clone(), groups, secrets })
    }
}

impl Drop for Belongings {
    fn drop(&mut self) {
        for folder in std::iter::once(&self.folder).chain(&self.secrets) {
            if let Err(cause) = folder::remove(folder) {
                tracing::warn!(folder = %folder.display(), %cause, "the folder of an ended process is not removed");
            }
        }
    }
}

impl Process {
    pub fn new(parts: Parts) -> Process {
        let Parts { id, pid, supervisor, belongings, leash, control } = parts;
        Process {
            id,
            pid,
            supervisor,
            socket: folder::socket(&belongings.folder),
            belongings: Mutex::new(Some(belongings)),
            leash,
            control: control.map(Mutex::new),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The socket that the process listens on, for HTTP/1.1. Nobody listens once it ended.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The number of the model's process, or of the bridge of a custom server.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The number of its supervisor, whose descendants are all that the process started.
    pub fn supervisor(&self) -> i32 {
        self.supervisor
    }

    /// Tells the process its secrets, dynamic configuration and token again. It does not wait for a process that does not
    /// read.
    ///
    /// # Errors
    /// If the process has no control pipe, or has closed it.
    pub fn control(&self, control: &Control) -> io::Result<()> {
        match &self.control {
            Some(pipe) => pipe.lock().unwrap_or_else(PoisonError::into_inner).put(control),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "the process has no control pipe")),
        }
    }

    /// How it ended, if it did and nothing is left of it.
    pub fn ended(&self) -> Option<Ended> {
        self.state().ended
    }

    /// Waits until it ended and nothing is left of it.
    pub fn wait(&self) -> Ended {
        let mut state = self.state();
        loop {
            if let Some(ended) = state.ended {
                return ended;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits as [`Process::wait`] does, but not longer than a time.
    pub fn wait_for(&self, time: Duration) -> Option<Ended> {
        let until = Instant::now() + time;
        let mut state = self.state();
        while state.ended.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ended
    }

    /// Ends it: SIGTERM to all of its processes, and after the grace period SIGKILL. Returns when nothing is left.
    pub fn stop(&self, grace: Duration) {
        if !grace.is_zero() {
            self.say(leash::TERMINATE);
            if self.wait_for(grace).is_some() {
                return;
            }
        }
        self.say(leash::KILL);
        while self.wait_for(KILLED_WITHIN).is_none() {
            tracing::error!(replica = self.id, "a killed process does not end");
        }
    }

    /// Kills it, and does not wait for its end.
    pub fn kill(&self) {
        self.say(leash::KILL);
    }

    /// What it uses, as it was measured last.
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    fn say(&self, word: u8) {
        let _ = (&self.leash).write_all(&[word]); // the supervisor may be gone: then the end is told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores what was measured.
    pub fn measured(&self, usage: Usage) {
        self.state().usage = usage;
    }

    /// Kills it for an excess.
    pub fn kill_for(&self, excess: Excess) {
        self.state().excess.get_or_insert(excess);
        self.say(leash::KILL);
    }

    /// Writes what waits for the control pipe.
    pub fn flush_control(&self) {
        if let Some(pipe) = &self.control {
            let _ = pipe.lock().unwrap_or_else(PoisonError::into_inner).flush(); // its end is told otherwise
        }
    }

    fn end(&self, exit: Exit) {
        let belongings = self.belongings.lock().unwrap_or_else(PoisonError::into_inner).take();
        let was_out_of_memory = belongings.as_ref().is_some_and(|belongings| belongings.groups.was_out_of_memory());
        drop(belongings);
        let mut state = self.state();
        if was_out_of_memory {
            state.excess.get_or_insert(Excess::Memory);
        }
        state.ended = Some(Ended { exit, why: state.excess });
        drop(state);
        self.changed.notify_all();
    }
}

/// What the thread of a process reads: what it prints, and what its supervisor says.
pub struct Ears {
    pub answers: BufReader<UnixStream>,
    pub stdout: File,
    pub stderr: File,
    pub lines: Lines,
}

impl Ears {
    /// Reads until everything ended.
    pub fn follow(self, process: &Process) {
        let Ears { mut answers, stdout, stderr, mut lines } = self;
        let mut streams = vec![Stream::new(Source::Stdout, stdout), Stream::new(Source::Stderr, stderr)];
        loop {
            let timeout = (lines.dropped() > 0).then_some(&DROPPED_TOLD_AFTER);
            let ready = ready(Some(answers.get_ref()), &streams, timeout);
            if ready.is_empty() {
                lines.tell_dropped();
            }
            if ready.first() == Some(&0) {
                break;
            }
            read(&mut lines, &mut streams, ready.iter().map(|at| at - 1));
        }
        let exit = read_end(&mut answers);
        let until = Instant::now() + DRAINED_WITHIN;
        while !streams.is_empty() && Instant::now() < until {
            let ready = ready(None, &streams, Some(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }));
            read(&mut lines, &mut streams, ready.iter().map(|at| at - 1));
        }
        lines.tell_dropped();
        process.end(exit);
    }
}

/// The exit that the supervisor tells. A supervisor that was killed tells nothing.
fn read_end(answers: &mut BufReader<UnixStream>) -> Exit {
    let mut line = String::new();
    let _ = answers.read_line(&mut line); // what is not read is not told
    match serde_json::from_str(&line) {
        Ok(Answer::Ended { code: Some(code), .. }) => Exit::Code(code),
        Ok(Answer::Ended { signal: Some(signal), .. }) => Exit::Signal(signal),
        _ => Exit::Signal(rustix::process::Signal::KILL.as_raw()),
    }
}

/// Which can be read: 0 for the supervisor, and from 1 on the streams.
fn ready(supervisor: Option<&UnixStream>, streams: &[Stream], timeout: Option<&Timespec>) -> Vec<usize> {
    let files = streams.iter().map(|stream| PollFd::new(stream.file(), PollFlags::IN));
    let first = supervisor.map(|supervisor| PollFd::new(supervisor, PollFlags::IN));
    let skipped = usize::from(first.is_none());
    let mut watched: Vec<PollFd> = first.into_iter().chain(files).collect();
    if poll(&mut watched, timeout).is_err() {
        return Vec::new(); // interrupted: the next turn polls again
    }
    let ready = watched.iter().enumerate().filter(|(_, watched)| !watched.revents().is_empty());
    ready.map(|(at, _)| at + skipped).collect()
}

fn read(lines: &mut Lines, streams: &mut Vec<Stream>, ready: impl Iterator<Item = usize>) {
    let ended: Vec<usize> = ready.filter(|at| !lines.read(&mut streams[*at])).collect();
    for at in ended.into_iter().rev() {
        streams.remove(at);
    }
}
