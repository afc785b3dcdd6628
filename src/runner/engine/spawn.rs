//! The start of a process by its supervisor: the descriptors, and what the process reports before it runs the command.

use std::fs::File;
use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred};

use super::system;
use crate::wire::processes::{Answer, Plan, Report};

/// The program of supervisors and of what they start: this one, even if its file was replaced.
pub const SELF: &str = "/proc/self/exe";

/// The descriptors that a process starts with. The command keeps the first two.
pub const LISTENER: i32 = 3;
pub const CONTROL: i32 = 4;
pub const PLAN: i32 = 5;
pub const REPORT: i32 = 6;
/// Our program, inside of bubblewrap.
pub const PROGRAM: i32 = 7;

/// Where the supervisor's own files begin.
const OWN: i32 = 16;
const REPORT_BYTES_MAX: usize = 16 << 10;

/// What became of a start.
pub enum Spawned {
    /// The numbers of the model's process and of the supervisor's child, which may be the same.
    Started {
        pid: i32,
        child: i32,
    },
    Refused(Answer),
    /// The engine is gone or gave up.
    GivenUp,
}

/// Starts the process of a plan, with its listener and its control pipe if it has them.
///
/// # Errors
/// If a system call fails.
pub fn spawn(plan: &Plan, files: Vec<OwnedFd>, engine: &UnixStream) -> io::Result<Spawned> {
    let (reports, report) = UnixStream::pair()?;
    set_socket_passcred(&reports, true)?;
    let mut kept = vec![above(OwnedFd::from(text(plan)?))?, above(OwnedFd::from(report))?];
    let reports = UnixStream::from(above(OwnedFd::from(reports))?);
    for file in files.into_iter().rev() {
        kept.insert(0, above(file)?);
    }
    let first = PLAN + 2 - kept.len() as i32;
    let placed: Vec<OwnedFd> =
        (first..).zip(&kept).map(|(number, file)| system::place(file, number)).collect::<io::Result<_>>()?;
    let child = Command::new(SELF)
        .arg0("guildhall")
        .args(["process", "enter"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .spawn()?;
    drop((placed, kept));
    let child = child.id() as i32; // it is reaped with everything else
    loop {
        let mut watched = [PollFd::new(&reports, PollFlags::IN), PollFd::new(engine, PollFlags::IN)];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        if watched[0].revents().is_empty() {
            return Ok(Spawned::GivenUp); // the engine says nothing before it has an answer
        }
        return Ok(match receive(&reports)? {
            (Report::Ready, pid) => Spawned::Started { pid, child },
            (Report::NoCommand { why }, _) => Spawned::Refused(Answer::NoCommand { why }),
            (Report::Failed { why }, _) => Spawned::Refused(Answer::Failed { why }),
        });
    }
}

/// The report of a starting process, and its number as this process sees it.
fn receive(reports: &UnixStream) -> io::Result<(Report, i32)> {
    let mut text = vec![0; REPORT_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(reports.as_fd(), &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok((Report::Failed { why: "it ended before the command was run".to_owned() }, 0));
    }
    let sender = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
        _ => None,
    });
    let report = serde_json::from_slice(&text[..received.bytes])?;
    Ok((report, sender.ok_or_else(|| io::Error::other("a report has no sender"))?))
}

/// The plan as a file in memory: its variables may be secret, so it is neither an argument nor on the disk.
fn text(plan: &Plan) -> io::Result<File> {
    let mut file = File::from(memfd_create("plan", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(plan)?)?;
    Ok(file)
}

/// The same file at a number that no child expects anything at.
pub fn above(file: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(file, OWN)?)
}
