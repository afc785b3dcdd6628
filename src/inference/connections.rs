//! Connections to the servers of models. Those that are not in use wait for the next call to the same replica.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::guarded::{Guarded, HeadBudget};
use super::sent::Sent;
use crate::error::CallFailure;
use crate::runner::fleet::{Address, Replica};

/// How many connections to one replica are kept for the next calls.
const IDLE_MAX: usize = 64;
/// How long to wait before connecting again to a server that accepts no connection because too many wait.
const CONNECT_AGAIN: Duration = Duration::from_millis(5);

/// The connections of one thread.
pub(super) struct Connections {
    idle: Mutex<Idle>,
    keep: Duration,
    head_bytes_max: usize,
}

#[derive(Default)]
struct Idle {
    of_replicas: HashMap<String, Vec<(Instant, Connection)>>,
    is_swept: bool,
}

/// A connection to a replica. Dropping it closes it at once.
pub(super) struct Connection {
    sender: SendRequest<Sent>,
    replica_id: String,
    budget: Arc<HeadBudget>,
    connections: Weak<Connections>,
    _driver: Driver,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connections {
    pub fn new(keep: Duration, head_bytes_max: usize) -> Arc<Connections> {
        Arc::new(Connections { idle: Mutex::default(), keep, head_bytes_max })
    }

    /// Sends a request to a replica and waits for the head of its reply.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Broken`] if the server cannot be reached, ends, or sends what is not HTTP.
    pub async fn send(
        self: &Arc<Self>,
        replica: &Replica,
        mut request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Connection), CallFailure> {
        loop {
            let (mut connection, is_new) = match self.take(&replica.id) {
                Some(connection) => (connection, false),
                None => (self.connect(replica).await?, true),
            };
            if connection.sender.ready().await.is_err() && !is_new {
                continue;
            }
            connection.budget.begin();
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    connection.budget.end();
                    return Ok((response, connection));
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    Some(_) | None => return Err(broken(failed.error())),
                },
            }
        }
    }

    async fn connect(self: &Arc<Self>, replica: &Replica) -> Result<Connection, CallFailure> {
        match &replica.address {
            Address::Process { socket, .. } => {
                let stream =
                    connect_unix(socket).await.map_err(|_| CallFailure::Broken("its server cannot be reached"))?;
                self.shake_hands(replica, stream).await
            }
            Address::Endpoint(_) => Err(CallFailure::Unavailable("endpoints are not called yet".to_owned())),
        }
    }

    async fn shake_hands<S>(self: &Arc<Self>, replica: &Replica, stream: S) -> Result<Connection, CallFailure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let budget = Arc::new(HeadBudget::default());
        let stream = TokioIo::new(Guarded::new(stream, Arc::clone(&budget)));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(self.head_bytes_max).max_header_size(self.head_bytes_max);
        let (sender, connection) = builder.handshake(stream).await.map_err(|cause| broken(&cause))?;
        let driver = Driver(tokio::spawn(async move {
            let _ = connection.await; // a failure reaches whoever waits for the reply
        }));
        let (replica_id, connections) = (replica.id.clone(), Arc::downgrade(self));
        Ok(Connection { sender, replica_id, budget, connections, _driver: driver })
    }

    fn take(&self, replica_id: &str) -> Option<Connection> {
        let mut idle = self.lock();
        let of_replica = idle.of_replicas.get_mut(replica_id)?;
        while let Some((since, connection)) = of_replica.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.keep {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next call.
    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.lock();
        let of_replica = idle.of_replicas.entry(connection.replica_id.clone()).or_default();
        if of_replica.len() < IDLE_MAX {
            of_replica.push((Instant::now(), connection));
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.keep));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have not been used for too long, until none is left.
async fn sweep(connections: Weak<Connections>, keep: Duration) {
    loop {
        tokio::time::sleep(keep).await;
        let Some(connections) = connections.upgrade() else { return };
        let mut idle = connections.lock();
        idle.of_replicas.retain(|_, of_replica| {
            of_replica.retain(|(since, connection)| !connection.sender.is_closed() && since.elapsed() < keep);
            !of_replica.is_empty()
        });
        if idle.of_replicas.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}

impl Connection {
    /// Lets the next call to the same replica use the connection.
    pub fn release(self) {
        if let Some(connections) = self.connections.upgrade() {
            connections.keep(self);
        }
    }
}

/// Connects to the socket of a process. Its queue may be full for a moment.
async fn connect_unix(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(CONNECT_AGAIN).await,
            connected => return connected,
        }
    }
}

fn broken(cause: &hyper::Error) -> CallFailure {
    let what = if cause.is_parse() || cause.is_parse_too_large() {
        "what its server sent is not HTTP"
    } else {
        "its server closed the connection"
    };
    CallFailure::Broken(what)
}
