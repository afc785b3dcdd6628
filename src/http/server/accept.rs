//! Taking connections in: how many there may be, and what the rest are told.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Limits;
use crate::error::Error;
use crate::wire::Refusal;

pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A place among the connections; it is free again when this is dropped.
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(taken: &Arc<AtomicUsize>, connections_max: usize) -> Option<Seat> {
        let seat = Seat(Arc::clone(taken));
        (taken.fetch_add(1, Ordering::Relaxed) < connections_max).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) type Worklist = mpsc::UnboundedSender<(Socket, Seat)>;

pub(super) async fn accept(
    listener: TcpListener,
    operator: Option<UnixListener>,
    workers: Vec<Worklist>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener made for this");
    let operator = operator.map(|socket| tokio::net::UnixListener::from_std(socket).expect("a listener made for this"));
    let (strangers, operators) = (Arc::default(), Arc::default());
    let mut turn = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            accepted = accept_stranger(&listener) => accepted.map(Socket::Tcp),
            accepted = accept_operator(operator.as_ref()) => accepted.map(Socket::Unix),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Ok(socket) = accepted else {
            // Out of file descriptors, or the peer is gone already: the listener itself is well.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Counted apart: strangers who fill the house must not keep its operator out.
        let taken = if let Socket::Tcp(_) = socket { &strangers } else { &operators };
        match Seat::take(taken, limits.connections_max) {
            Some(seat) => {
                let worker = turn.next().expect("there is a worker");
                let _ = worker.send((socket, seat)); // a worker that is gone has closed it
            }
            None => turn_away(socket),
        }
    }
}

async fn accept_stranger(listener: &tokio::net::TcpListener) -> std::io::Result<std::net::TcpStream> {
    listener.accept().await?.0.into_std()
}

async fn accept_operator(
    listener: Option<&tokio::net::UnixListener>,
) -> std::io::Result<std::os::unix::net::UnixStream> {
    match listener {
        Some(listener) => listener.accept().await?.0.into_std(),
        None => std::future::pending().await,
    }
}

/// Says 503 as far as that goes without waiting, and closes.
fn turn_away(socket: Socket) {
    use std::io::{Read as _, Write as _};
    let Socket::Tcp(mut socket) = socket else { return };
    let body = serde_json::to_string(&Refusal::new(&Error::Unavailable("too many connections: try again later")))
        .expect("shapes of ours always serialize");
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut sent_already = [0; 4096];
    let _ = socket.write(reply.as_bytes());
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read(&mut sent_already); // unread bytes would make the close a reset that takes the answer along
}
