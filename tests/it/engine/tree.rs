//! Is nothing left of a process when it ends, is stopped, or its server is gone?

use super::*;

/// A script whose grandchild leaves its session and its parent, and writes its number.
const DAEMON: &str = "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &) & ";

#[test]
fn what_a_process_leaves_behind_ends_with_it() {
    let bench = Bench::new();
    let launch = bench.launch("a", &format!("{DAEMON} while [ ! -s daemon ]; do sleep 0.01; done; exit 0"));
    let file = launch.directory.join("daemon");
    let started = bench.start(launch).unwrap();
    assert_eq!(started.wait().exit, Exit::Code(0));
    let daemon = read_pid(&file);
    assert!(!is_alive(daemon));
}

#[test]
fn a_stop_asks_first_and_then_kills_all() {
    let bench = Bench::new();
    let polite = bench.run("polite", "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    polite.wait_for_line("ready");
    polite.process.stop(LONG);
    assert_eq!(polite.process.ended().unwrap().exit, Exit::Code(7));
    polite.wait_for_line("asked");

    let launch = bench.launch("stubborn", &format!("trap '' TERM; {DAEMON} echo ready; while :; do sleep 0.05; done"));
    let file = launch.directory.join("daemon");
    let stubborn = bench.start(launch).unwrap();
    stubborn.wait_for_line("ready");
    read_pid(&file);
    let begun = Instant::now();
    stubborn.process.stop(Duration::from_millis(300));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(stubborn.process.ended().unwrap().exit, Exit::Signal(9));
    assert!(!is_alive(stubborn.process.pid()));
}

#[test]
fn a_dropped_engine_ends_its_processes() {
    let bench = Bench::new();
    let started = bench.run("a", "sleep 600");
    assert!(is_alive(started.process.pid()));
    drop(bench);
    assert_eq!(started.wait().exit, Exit::Signal(9));
}
