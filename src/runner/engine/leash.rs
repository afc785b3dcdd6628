//! The socket between the engine and a supervisor.
//!
//! The engine sends the plan with the descriptors of the process, then single bytes. The supervisor answers with lines of
//! JSON. When the engine's end is closed, for whatever reason, the supervisor kills everything.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

use crate::wire::processes::Plan;

/// Tells the supervisor to ask all processes to end.
pub const TERMINATE: u8 = b't';
/// Tells the supervisor to kill all processes.
pub const KILL: u8 = b'k';

const PLAN_BYTES_MAX: u64 = 16 << 20;
const FILES_MAX: usize = 2;

/// Sends a plan and descriptors.
pub fn send(leash: &UnixStream, plan: &Plan, files: &[BorrowedFd]) -> io::Result<()> {
    let text = serde_json::to_vec(plan)?;
    let head = (text.len() as u64).to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("too many descriptors for a process"));
    }
    sendmsg(leash.as_fd(), &[IoSlice::new(&head)], &mut ancillary, SendFlags::empty())?; // 8 bytes fit an empty socket
    (&*leash).write_all(&text)
}

/// Receives a plan and descriptors.
pub fn receive(leash: &UnixStream) -> io::Result<(Plan, Vec<OwnedFd>)> {
    let mut head = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(leash.as_fd(), &mut [IoSliceMut::new(&mut head)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != head.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            files.extend(sent);
        }
    }
    let bytes = u64::from_le_bytes(head);
    if bytes > PLAN_BYTES_MAX {
        return Err(io::Error::other(format!("the plan of a process has more than {PLAN_BYTES_MAX} bytes")));
    }
    let mut text = vec![0; bytes as usize];
    (&*leash).read_exact(&mut text)?;
    Ok((serde_json::from_slice(&text)?, files))
}
