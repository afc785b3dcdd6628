//! Standard output carries data. Standard error carries messages.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::cli::Failure;

/// Whether the process was started without a standard output.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`: the standard library replaces a closed standard output by the null device, which accepts everything.
#[ctor::ctor(unsafe)]
fn look() {
    let found = rustix::io::fcntl_getfd(rustix::stdio::stdout());
    WAS_CLOSED.store(found == Err(Errno::BADF), Ordering::Relaxed);
}

/// Prints data. When this returns, the data is written; a file has it on the disk.
pub fn print(data: impl Display) -> Result<(), Failure> {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(Failure::new("cannot write to standard output: it is closed"));
    }
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{data}").and_then(|()| out.flush()).and_then(|()| sync());
    written.map_err(|cause| Failure::new(format!("cannot write to standard output: {cause}")))
}

/// Some file systems report a full disk only on sync. A pipe or terminal has nothing to sync.
fn sync() -> std::io::Result<()> {
    match rustix::fs::fsync(rustix::stdio::stdout()) {
        Err(cause @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => Err(cause.into()),
        _ => Ok(()),
    }
}

/// Prints a message to standard error. If standard error is closed, the message is dropped.
pub fn report(words: impl Display) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
