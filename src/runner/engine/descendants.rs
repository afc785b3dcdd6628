//! The processes below a process, and their end.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// All descendants of a process, parents first. What starts or ends meanwhile may be missing or gone.
pub fn of(root: i32) -> Vec<i32> {
    let mut seen = HashSet::from([root]);
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        found.extend(children(found[at]).into_iter().filter(|child| seen.insert(*child)));
        at += 1;
    }
    found.remove(0);
    found
}

/// Signals each process. A process that is gone is passed over.
pub fn signal(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(pid, signal);
    }
}

fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
}
