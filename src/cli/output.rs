//! Standard output, which carries data, and standard error, which carries talk.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::cli::Failure;

/// Whether the process was started without a standard output.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Looks before `main`: the standard library opens what it finds closed as the null device, which takes everything.
#[ctor::ctor(unsafe)]
fn look() {
    let found = rustix::io::fcntl_getfd(rustix::stdio::stdout());
    WAS_CLOSED.store(found == Err(Errno::BADF), Ordering::Relaxed);
}

/// Prints data, one piece at a time. It is written when this answers; a file has it on the disk.
pub fn print(data: impl Display) -> Result<(), Failure> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(Failure::new("cannot write to standard output: it is closed"));
    }
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{data}").and_then(|()| out.flush()).and_then(|()| sync());
    written.map_err(|cause| Failure::new(format!("cannot write to standard output: {cause}")))
}

/// Some file systems say only then that there is no room. What is no file has nothing to sync.
fn sync() -> std::io::Result<()> {
    match rustix::fs::fsync(rustix::stdio::stdout()) {
        Err(cause @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => Err(cause.into()),
        _ => Ok(()),
    }
}

/// Says something to whoever reads along. Whoever closed standard error does not want to hear.
pub fn talk(words: impl Display) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
