//! Accepting connections: how many are allowed, and the answer to the others.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::{Limits, ancestry};
use crate::budget::connections::{Connections, Newcomer, Room, Seat};
use crate::domain::network::{Network, counted_address};
use crate::error::Error;
use crate::wire::Refusal;

/// An accepted connection.
pub(super) enum Accepted {
    Network(TcpStream, SocketAddr, Seat),
    Operator(UnixStream, Seat),
}

pub(super) type Worklist = mpsc::UnboundedSender<Accepted>;

/// The connections of each listener. They are counted apart, so that strangers cannot keep the operator out.
pub(super) struct Accepting {
    strangers: Arc<Connections>,
    operators: Arc<Connections>,
    trusted_proxies: Vec<Network>,
}

impl Accepting {
    pub fn new(limits: Limits, trusted_proxies: Vec<Network>) -> Accepting {
        let room = Room {
            connections_max: limits.connections_max,
            per_peer_max: limits.connections_per_peer,
            patience: limits.patience,
        };
        Accepting { strangers: Connections::new(room), operators: Connections::new(room), trusted_proxies }
    }

    /// Gives the connections to the workers in turn, until the server stops.
    pub async fn run(
        self,
        listener: TcpListener,
        operator: Option<UnixListener>,
        workers: Vec<Worklist>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener made for this");
        let operator =
            operator.map(|socket| tokio::net::UnixListener::from_std(socket).expect("a listener made for this"));
        let mut turn = workers.iter().cycle();
        loop {
            let accepted = tokio::select! {
                accepted = accept_stranger(&listener) => accepted.map(|(socket, peer)| self.seat_stranger(socket, peer)),
                accepted = accept_operator(operator.as_ref()) => accepted.map(|socket| self.seat_operator(socket?)),
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok(Some(accepted)) => {
                    let worker = turn.next().expect("there is a worker");
                    let _ = worker.send(accepted); // a stopped worker closes it
                }
                Ok(None) => {} // refused
                Err(cause) => self.not_accepted(&cause).await,
            }
        }
    }

    fn seat_stranger(&self, socket: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        let is_exempt = self.trusted_proxies.iter().any(|network| network.contains(peer.ip()));
        match self.strangers.seat(Newcomer { peer: Some(counted_address(peer.ip())), is_exempt }) {
            Some(seat) => Some(Accepted::Network(socket, peer, seat)),
            None => {
                tracing::debug!(peer = %peer.ip(), "a connection is turned away: all others are being served");
                turn_away(socket);
                None
            }
        }
    }

    fn seat_operator(&self, socket: UnixStream) -> Option<Accepted> {
        let seat = self.operators.seat(Newcomer { peer: None, is_exempt: true })?;
        Some(Accepted::Operator(socket, seat))
    }

    /// Out of file descriptors, or the peer is gone already. The listener itself still works.
    async fn not_accepted(&self, cause: &std::io::Error) {
        if is_out_of_descriptors(cause) {
            self.strangers.make_way();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_out_of_descriptors(cause: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(cause);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

async fn accept_stranger(listener: &tokio::net::TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = listener.accept().await?;
    Ok((socket.into_std()?, peer))
}

/// `None`: the connection is closed, because a model or a job made it.
async fn accept_operator(listener: Option<&tokio::net::UnixListener>) -> std::io::Result<Option<UnixStream>> {
    match listener {
        Some(listener) => {
            let socket = listener.accept().await?.0;
            let peer = socket.peer_cred()?.pid();
            if peer.is_some_and(ancestry::descends_from_this_process) {
                tracing::warn!("a process of a model or a job tried to reach the operator's socket, and was refused");
                return Ok(None);
            }
            socket.into_std().map(Some)
        }
        None => std::future::pending().await,
    }
}

/// Sends 503, as far as that is possible without waiting, and closes.
fn turn_away(mut socket: TcpStream) {
    use std::io::{Read as _, Write as _};
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
    let _ = socket.read(&mut sent_already); // closing with unread bytes would reset the connection and lose the reply
}
