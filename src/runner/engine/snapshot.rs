//! What is running on this machine, read from `/proc` in one pass.

use std::collections::HashMap;
use std::fs;

/// A process as the kernel shows it to everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub parent: i32,
    pub ticks: u64,
    pub threads: u64,
    pub resident_pages: u64,
}

/// All processes at one moment.
pub struct Snapshot {
    processes: HashMap<i32, Seen>,
    children: HashMap<i32, Vec<i32>>,
}

impl Snapshot {
    pub fn take() -> Snapshot {
        let mut snapshot = Snapshot { processes: HashMap::new(), children: HashMap::new() };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(seen) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse) {
                snapshot.processes.insert(pid, seen);
                snapshot.children.entry(seen.parent).or_default().push(pid);
            }
        }
        snapshot
    }

    /// The descendants of a process.
    pub fn below(&self, root: i32) -> Vec<(i32, Seen)> {
        let mut found = Vec::new();
        let mut waiting = vec![root];
        while let Some(pid) = waiting.pop() {
            for child in self.children.get(&pid).into_iter().flatten() {
                found.push((*child, self.processes[child]));
                waiting.push(*child);
            }
        }
        found
    }
}

/// Reads `/proc/PID/stat`. The name of a program may have spaces and parentheses in it.
fn parse(stat: &str) -> Option<Seen> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Seen {
        parent: i32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
        threads: number(17)?,
        resident_pages: number(21)?,
    })
}

/// The memory of a process, with its share of what others have too; `None` if we may not see it.
pub fn proportional_bytes(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse() {
        let stat = "42 (a) b) (c) S 7 42 42 0 -1 4194304 98 0 0 0 11 22 0 0 20 0 3 0 12345 1000 256 1844 1 1 0";
        let seen = Seen { parent: 7, ticks: 33, threads: 3, resident_pages: 256 };
        assert_eq!(parse(stat), Some(seen));
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn this_process_is_seen_below_its_parent() {
        let own = std::process::id() as i32;
        let parent = std::os::unix::process::parent_id() as i32;
        let below = Snapshot::take().below(parent);
        let (_, seen) = below.iter().find(|(pid, _)| *pid == own).unwrap();
        assert!(seen.threads >= 1 && seen.resident_pages > 0);
        assert!(proportional_bytes(own).unwrap() > 0);
    }
}
