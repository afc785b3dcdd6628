//! The writing end of a control pipe.
//!
//! A process that does not read never delays the engine: what does not fit waits. Each line has the whole state, so a newer
//! line replaces one that waits and of which nothing was written.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::wire::processes::Control;

/// The size of a pipe: as much as an unprivileged process may ask for.
const PIPE_BYTES: usize = 1 << 20;

pub struct ControlPipe {
    pipe: File,
    /// The rest of a line of which the beginning is written.
    rest: Vec<u8>,
    next: Option<Vec<u8>>,
}

impl ControlPipe {
    /// The two ends: ours, and that of the process.
    pub fn new() -> io::Result<(ControlPipe, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES); // a user may have too many; a smaller one takes more turns
        rustix::io::ioctl_fionbio(&write, true)?;
        Ok((ControlPipe { pipe: write.into(), rest: Vec::new(), next: None }, read))
    }

    /// Writes a line, now or as soon as the process reads.
    ///
    /// # Errors
    /// If the process has closed its end.
    pub fn put(&mut self, control: &Control) -> io::Result<()> {
        let mut line = serde_json::to_vec(control)?;
        line.push(b'\n');
        self.next = Some(line);
        self.flush()
    }

    pub fn is_waiting(&self) -> bool {
        !self.rest.is_empty() || self.next.is_some()
    }

    /// Writes what waits, as far as the pipe takes it.
    ///
    /// # Errors
    /// If the process has closed its end.
    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            if self.rest.is_empty() {
                let Some(next) = self.next.take() else { return Ok(()) };
                self.rest = next;
            }
            match self.pipe.write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                Err(cause) => return Err(cause),
            }
        }
    }
}
