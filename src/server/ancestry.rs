//! Tells whether a process was started by this server, directly or by others in between.
//!
//! Models and jobs run as descendants of the server. Where neither bubblewrap nor mount namespaces are available, they
//! can reach sockets by their path, and the operator's socket asks for no key. So the server looks at who connects.

use std::fs;

/// How far the chain of parents is followed. A longer one counts as a chain that leads to this process.
const ANCESTORS_MAX: usize = 256;

/// Whether this process is an ancestor of the process. A process that has ended counts as a descendant, because nothing
/// is known about it. One outside of this PID namespace has the number 0, and is none.
pub(super) fn descends_from_this_process(pid: i32) -> bool {
    let this = std::process::id();
    let Ok(pid) = u32::try_from(pid) else { return false };
    let mut next = pid;
    for _ in 0..ANCESTORS_MAX {
        if next == 0 {
            return false;
        }
        match parent_of(next) {
            None => return true,
            Some(parent) if parent == this => return true,
            Some(parent) => next = parent,
        }
    }
    true
}

/// The parent of a process: the fourth field of its `stat`. The second, its name, may contain spaces and parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_and_their_children_descend_and_others_do_not() {
        let this = std::process::id() as i32;
        assert!(!descends_from_this_process(this), "the server is no descendant of itself");
        assert!(!descends_from_this_process(1) && !descends_from_this_process(0));
        let mut shell = Command::new("/bin/sh");
        let mut child = shell.args(["-c", "sleep 60 & echo $!; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut said).unwrap();
        let grandchild: i32 = said.trim().parse().unwrap();
        assert!(descends_from_this_process(child.id() as i32) && descends_from_this_process(grandchild));
        let _ = Command::new("kill").arg(grandchild.to_string()).status();
        child.wait().unwrap();
        assert!(descends_from_this_process(grandchild), "nothing is known about a process that has ended");
    }
}
