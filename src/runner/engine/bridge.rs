//! What stands between the socket of a custom server and the port that it listens on.
//!
//! The bridge is the parent of the custom server, in its network and confined as it is. It forwards connections from the
//! socket to the port, keeps the secrets as files in memory, and lets in only who knows the token. A custom server never
//! sees the token.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::secrets::Secrets;
use crate::wire::processes::{Bridge, Control};

mod connection;
mod framing;

/// How many connections are forwarded at once. Each takes two threads.
const CONNECTIONS_MAX: usize = 256;
/// The threads of a bridge at most.
pub const THREADS_MAX: u64 = 2 * CONNECTIONS_MAX as u64 + 4;
const STACK_BYTES: usize = 128 << 10;
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// The pause after an accept that failed, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The token that callers must know now.
type Token = Arc<RwLock<Vec<u8>>>;

/// Starts the custom server, and forwards to it until it ends. Then this process ends as it did.
///
/// # Errors
/// If the first line of the control pipe cannot be read, or the command cannot be started, as `started` tells.
pub fn run(
    bridge: &Bridge,
    command: &mut Command,
    listener: UnixListener,
    control: File,
    started: impl FnOnce(io::Result<()>) -> io::Result<()>,
) -> io::Result<Infallible> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?; // the custom server may not read the token in our memory
    let mut secrets = Secrets::new(&bridge.secrets);
    let mut lines = BufReader::new(control);
    let first = next(&mut lines)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    secrets.put(&first.secrets)?;
    let token = Token::new(RwLock::new(first.token.into_bytes()));
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => {
            started(Err(cause))?;
            std::process::exit(1);
        }
    };
    started(Ok(()))?;
    let (rotated, guarded) = (Arc::clone(&token), bridge.port);
    std::thread::Builder::new().name("control".to_owned()).spawn(move || follow(lines, secrets, &rotated))?;
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || accept(&listener, guarded, &token))?;
    exit_as(child.wait()?)
}

/// The code of the child, or its signal as a shell reports it.
fn exit_as(status: ExitStatus) -> ! {
    std::process::exit(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}

fn next(lines: &mut impl io::BufRead) -> io::Result<Option<Control>> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

/// Takes over what changes, until the engine is gone. The supervisor ends this process then.
fn follow(mut lines: impl io::BufRead, mut secrets: Secrets, token: &Token) {
    while let Ok(Some(control)) = next(&mut lines) {
        *token.write().unwrap_or_else(PoisonError::into_inner) = control.token.into_bytes();
        if let Err(cause) = secrets.put(&control.secrets) {
            eprintln!("guildhall: changed secrets could not be taken over: {cause}");
        }
    }
}

fn accept(listener: &UnixListener, port: u16, token: &Token) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            continue; // closed: the caller tries another time
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (token, counted) = (Arc::clone(token), Arc::clone(&open));
        let forwarded = thread("forward", move || {
            connection::forward(client, || connect(port), &token);
            counted.fetch_sub(1, Ordering::Relaxed);
        });
        if forwarded.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work).map(drop)
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let server = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECTED_WITHIN)?;
    server.set_nodelay(true)?;
    Ok(server)
}
