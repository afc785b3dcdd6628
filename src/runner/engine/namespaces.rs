//! Namespaces of a process's own, where bubblewrap does not make them: of users, which bounds the number of its processes,
//! of the network, with a loopback interface alone, and of mounts.

use std::ffi::c_char;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::view;
use crate::wire::processes::Namespaces;

/// Moves this process into namespaces of its own.
///
/// # Errors
/// If the kernel refuses. A process of several threads is always refused a user namespace.
pub fn enter(namespaces: Namespaces) -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWUSER, namespaces.user);
    flags.set(UnshareFlags::NEWNET, namespaces.network);
    flags.set(UnshareFlags::NEWNS | UnshareFlags::NEWIPC, namespaces.mounts);
    if flags.is_empty() {
        return Ok(());
    }
    unshare(flags)?;
    if namespaces.user {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    if namespaces.network { start_loopback() } else { Ok(()) }
}

/// Tries it, in a process that does nothing else.
pub fn attempt(namespaces: Namespaces) -> ExitCode {
    let tried = enter(namespaces).and_then(|()| if namespaces.mounts { view::attempt() } else { Ok(()) });
    if tried.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no flag changes the table of descriptors, which is what Rust's safety of files depends on.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// A new network has a loopback interface that is down.
fn start_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    for (at, byte) in name.iter_mut().zip(b"lo") {
        *at = *byte as c_char;
    }
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let request = libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: the call reads one `ifreq`, which lives until it returns.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
