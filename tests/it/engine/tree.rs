//! Is nothing left of a process when it ends, is stopped, or its server is gone?

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A script whose grandchild leaves its session and its parent, and touches a file as long as it lives.
const DAEMON: &str = "(setsid sh -c 'while :; do date +%s%N > daemon; sleep 0.02; done' &) & ";

/// Whether the daemon that writes this file has ended.
fn is_silent(file: &Path) -> bool {
    let before = std::fs::read(file).unwrap_or_default();
    std::thread::sleep(Duration::from_millis(200));
    std::fs::read(file).unwrap_or_default() == before
}

#[test]
fn what_a_process_leaves_behind_ends_with_it() {
    each_way(|bench| {
        let launch = bench.launch("a", &format!("{DAEMON} while [ ! -s daemon ]; do sleep 0.01; done; exit 0"));
        let file = launch.directory.join("daemon");
        let started = bench.start(launch).unwrap();
        assert_eq!(started.wait().exit, Exit::Code(0));
        assert!(is_silent(&file));
    });
}

#[test]
fn a_stop_asks_first_and_then_kills_all() {
    each_way(|bench| {
        let polite = bench.run("polite", "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        polite.wait_for_line("ready");
        polite.process.stop(LONG);
        assert_eq!(polite.process.ended().unwrap().exit, Exit::Code(7));
        polite.wait_for_line("asked");

        let script = format!("trap '' TERM; {DAEMON} echo ready; while :; do sleep 0.05; done");
        let launch = bench.launch("stubborn", &script);
        let file = launch.directory.join("daemon");
        let stubborn = bench.start(launch).unwrap();
        stubborn.wait_for_line("ready");
        wait_until("the daemon", || file.exists());
        let begun = Instant::now();
        stubborn.process.stop(Duration::from_millis(300));
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!(stubborn.process.ended().unwrap().exit, Exit::Signal(9));
        assert!(!is_alive(stubborn.process.pid()) && is_silent(&file));
    });
}

#[test]
fn a_dropped_engine_ends_its_processes() {
    let bench = Bench::new(Use::Everything);
    let started = bench.run("a", "sleep 600");
    assert!(is_alive(started.process.pid()));
    drop(bench);
    assert_eq!(started.wait().exit, Exit::Signal(9));
}

#[test]
fn nothing_is_left_of_a_killed_server() {
    for without in ["", "bubblewrap"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new(std::env::current_exe().unwrap())
            .args(inside::ARGUMENTS)
            .env(inside::VARIABLE, "server")
            .env("FOLDER", folder.path())
            .env("WITHOUT", without)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut pids = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("pid ")?.parse::<i32>().ok());
        let (supervisor, model) = (pids.next().unwrap(), pids.next().unwrap());
        let file = folder.path().join("app/daemon");
        wait_until("the daemon", || file.exists());
        assert!(is_alive(supervisor) && is_alive(model));
        kill_process(Pid::from_raw(server.id() as i32).unwrap(), Signal::KILL).unwrap();
        let begun = Instant::now();
        server.wait().unwrap();
        wait_until("the end of all", || !is_alive(supervisor) && !is_alive(model));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(is_silent(&file));
    }
}

/// What the killed server does: it starts a process that leaves a daemon behind, and waits.
pub fn serve_until_killed() {
    let folder = PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let use_of = if std::env::var("WITHOUT").unwrap().is_empty() { Use::Everything } else { Use::NoBubblewrap };
    let bench = Bench::new(use_of);
    let mut launch = bench.launch("a", &format!("trap '' TERM; {DAEMON} while :; do sleep 0.05; done"));
    launch.directory = folder.join("app");
    std::fs::create_dir(&launch.directory).unwrap();
    let started = bench.start(launch).unwrap();
    println!("pid {}\npid {}", started.process.supervisor(), started.process.pid());
    std::thread::sleep(LONG);
}

#[test]
fn a_process_without_its_supervisor_counts_as_killed() {
    each_way(|bench| {
        let started = bench.run("a", "sleep 600");
        kill_process(Pid::from_raw(started.process.supervisor()).unwrap(), Signal::KILL).unwrap();
        assert_eq!(started.wait().exit, Exit::Signal(9));
        wait_until("the end of the model", || !is_alive(started.process.pid()));
    });
}
