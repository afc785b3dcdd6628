//! The parent of one process of a model: a small process of our own binary.
//!
//! It starts the process, adopts whatever the process leaves behind, and ends with it. When the process ends, when the
//! engine says so, or when the engine is gone, it kills every descendant and waits until none is left. It stays outside of
//! the confinement, so that what is inside cannot signal it.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, setsid, wait, waitid};

use super::spawn::{self, Spawned};
use super::{descendants, leash, system};
use crate::wire::processes::{Answer, Plan};

/// How long a round of killing waits for the next one.
const KILLS_EVERY: Duration = Duration::from_millis(2);

/// Runs the supervisor to its end. Standard input is the engine's socket, standard output and error are the process's.
pub fn run() -> ExitCode {
    match supervise() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            let _ = writeln!(io::stderr(), "guildhall: a process is not supervised: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn supervise() -> io::Result<()> {
    system::close_inherited();
    let engine = UnixStream::from(spawn::above(io::stdin().as_fd())?);
    set_child_subreaper(Some(getpid()))?;
    setsid()?;
    system::ignore_terminations();
    let (plan, files) = leash::receive(&engine)?;
    let tree = Arc::new(Tree::new(&plan));
    let (pid, child) = match spawn::spawn(&plan, files, &engine) {
        Ok(Spawned::Started { pid, child }) => (pid, child),
        refused => {
            tree.end();
            return match refused {
                Ok(Spawned::Refused(answer)) => tell(&engine, &answer),
                Ok(_) => Ok(()),
                Err(cause) => tell(&engine, &Answer::Failed { why: cause.to_string() }),
            };
        }
    };
    tree.spare(child, pid);
    tell(&engine, &Answer::Started { pid })?;
    let (words, followed) = (engine.try_clone()?, Arc::clone(&tree));
    std::thread::Builder::new().name("leash".to_owned()).spawn(move || follow(words, &followed))?;
    let (code, signal) = tree.wait(child, plan.bubblewrap.is_some() || plan.bridge.is_some())?;
    let _ = tell(&engine, &Answer::Ended { code, signal }); // the engine may be gone
    Ok(())
}

fn tell(mut engine: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    engine.write_all(&line)
}

/// Does what the engine says. Without the engine, everything is killed; then this process ends.
fn follow(mut engine: UnixStream, tree: &Tree) {
    let mut word = [0];
    while let Ok(1) = engine.read(&mut word) {
        match word[0] {
            leash::TERMINATE => tree.terminate(),
            _ => break,
        }
    }
    loop {
        tree.kill();
        std::thread::sleep(KILLS_EVERY);
    }
}

/// Everything below this process.
struct Tree {
    control_groups: Vec<PathBuf>,
    /// Held while processes are reaped or signalled: a process that is not reaped keeps its number.
    reaping: Mutex<()>,
    /// Processes that are not asked to end: those of bubblewrap, which would take everything with them at once.
    spared: Mutex<Vec<i32>>,
}

impl Tree {
    fn new(plan: &Plan) -> Tree {
        Tree { control_groups: plan.control_groups.clone(), reaping: Mutex::default(), spared: Mutex::default() }
    }

    /// Spares what is between this process and the model's.
    fn spare(&self, child: i32, model: i32) {
        let between = |pid: &i32| *pid != model && descendants::of(*pid).contains(&model);
        let spared = std::iter::once(child).chain(descendants::of(child)).filter(between).collect();
        *self.spared.lock().unwrap_or_else(PoisonError::into_inner) = spared;
    }

    fn still(&self) -> MutexGuard<'_, ()> {
        self.reaping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terminate(&self) {
        let _still = self.still();
        let spared = self.spared.lock().unwrap_or_else(PoisonError::into_inner);
        let asked: Vec<i32> = own().into_iter().filter(|pid| !spared.contains(pid)).collect();
        descendants::signal(&asked, Signal::TERM);
    }

    fn kill(&self) {
        let _still = self.still();
        self.kill_still();
    }

    fn kill_still(&self) {
        for group in &self.control_groups {
            let _ = std::fs::write(group.join("cgroup.kill"), "1"); // older kernels have no such file
        }
        descendants::signal(&own(), Signal::KILL);
    }

    /// Reaps until the child ends, then ends everything. The code or signal that the child ended with.
    fn wait(&self, child: i32, is_wrapped: bool) -> io::Result<(Option<i32>, Option<i32>)> {
        loop {
            waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
            let still = self.still();
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if pid.as_raw_nonzero().get() == child {
                    drop(still);
                    self.end();
                    return Ok(match (status.exit_status(), status.terminating_signal()) {
                        // A wrapper reports the signal of what it wraps as a shell does.
                        (Some(code @ 129..=192), _) if is_wrapped => (None, Some(code - 128)),
                        ended => ended,
                    });
                }
            }
        }
    }

    /// Kills until nothing is left.
    fn end(&self) {
        loop {
            let still = self.still();
            self.kill_still();
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return, // no child is left
                }
            }
            drop(still);
            std::thread::sleep(KILLS_EVERY);
        }
    }
}

fn own() -> Vec<i32> {
    descendants::of(getpid().as_raw_nonzero().get())
}
