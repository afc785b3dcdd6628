//! How processes ended, in words.

use super::engine::{Ended, Excess, Exit};

/// How a process ended, as a sentence for the log.
pub fn told(ended: Ended, when: &str) -> String {
    let why = match ended.why {
        Some(Excess::Memory) => ": it used more memory than resources.memory allows",
        Some(Excess::Disk) => ": it wrote more to the disk than it may",
        Some(Excess::Processes) => ": it started more processes than it may",
        None => "",
    };
    match ended.exit {
        Exit::Code(code) => format!("its process ended with code {code} {when}{why}"),
        Exit::Signal(signal) => format!("its process was ended by signal {signal} {when}{why}"),
    }
}
