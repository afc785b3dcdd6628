//! System calls that have no safe wrapper.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// The first descriptor that a model's process is given.
pub const FIRST: i32 = 3;

/// Closes everything but standard input, output and error. Call it before anything is opened.
pub fn close_inherited() {
    // SAFETY: called at the start of a process of one thread that has opened nothing itself, so nobody owns what is closed.
    unsafe { libc::close_range(FIRST as u32, u32::MAX, 0) };
}

/// Takes a descriptor that this process was started with. It is closed on the next `exec`.
///
/// # Errors
/// If there is no such descriptor.
pub fn take_inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call only sets a flag of the descriptor and fails if there is none.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and each number is taken once, at the start of the process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a file at a number, where children inherit it. What was there is closed.
///
/// The caller owns what it finds at the numbers from [`FIRST`] on.
pub fn place(file: &OwnedFd, number: i32) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: only the supervisor calls this, while it has one thread and keeps its own files at higher numbers.
    if unsafe { libc::dup2(file.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `dup2` made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

const TERMINATIONS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Ignores what a terminal or a service manager sends to everybody: only the engine ends a supervisor.
pub fn ignore_terminations() {
    set_terminations(libc::SIG_IGN);
}

/// Undoes [`ignore_terminations`], which children inherit.
pub fn heed_terminations() {
    set_terminations(libc::SIG_DFL);
}

fn set_terminations(action: libc::sighandler_t) {
    for signal in TERMINATIONS {
        // SAFETY: neither action runs code of ours.
        unsafe { libc::signal(signal, action) };
    }
}
