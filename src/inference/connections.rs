//! Connections to the servers of models. Those that are not in use wait for the next request to the same server.

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
use super::upstream;
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::error::CallFailure;
use crate::runner::fleet::{Address, Replica};

/// How many connections to one server are kept for the next requests.
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
    of_servers: HashMap<String, Vec<(Instant, Connection)>>,
    is_swept: bool,
}

/// Where a connection leads.
#[derive(Clone, Copy)]
pub(super) enum Dial<'a> {
    Process {
        replica_id: &'a str,
        socket: &'a Path,
    },
    /// `of` is the replica whose connections serve no other; empty for none.
    Remote {
        of: &'a str,
        url: &'a RemoteUrl,
        plain: PlainHttp,
    },
}

/// A connection to a server. Dropping it closes it at once.
pub(super) struct Connection {
    sender: SendRequest<Sent>,
    /// The name of the server that it leads to.
    server: String,
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

impl<'a> Dial<'a> {
    pub fn of(replica: &'a Replica) -> Dial<'a> {
        match &replica.address {
            Address::Process { socket, .. } => Dial::Process { replica_id: &replica.id, socket },
            Address::Endpoint(endpoint) => Dial::Remote { of: &replica.id, url: &endpoint.url, plain: endpoint.plain },
        }
    }

    /// The name under which connections are kept for the next request.
    fn name(self) -> String {
        match self {
            Dial::Process { replica_id, .. } => replica_id.to_owned(),
            Dial::Remote { of, url, .. } => {
                format!("{of} {}://{}", if url.is_https() { "https" } else { "http" }, url.authority())
            }
        }
    }
}

impl Connections {
    pub fn new(keep: Duration, head_bytes_max: usize) -> Arc<Connections> {
        Arc::new(Connections { idle: Mutex::default(), keep, head_bytes_max })
    }

    /// Sends a request to a server and waits for the head of its reply.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Broken`] if the server cannot be reached, ends, or sends what is not HTTP.
    /// [`CallFailure::Unavailable`] if it is at an address that is never called.
    pub async fn send(
        self: &Arc<Self>,
        dial: Dial<'_>,
        mut request: Request<Sent>,
    ) -> Result<(Response<Incoming>, Connection), CallFailure> {
        let server = dial.name();
        loop {
            let (mut connection, is_new) = match self.take(&server) {
                Some(connection) => (connection, false),
                None => (self.connect(dial, &server).await?, true),
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

    async fn connect(self: &Arc<Self>, dial: Dial<'_>, server: &str) -> Result<Connection, CallFailure> {
        match dial {
            Dial::Process { socket, .. } => {
                let stream = connect_unix(socket).await.map_err(|cause| unreachable(&cause))?;
                self.shake_hands(server, stream).await
            }
            Dial::Remote { url, plain, .. } => {
                let stream = upstream::connect(url, plain).await.map_err(|cause| unreachable(&cause))?;
                self.shake_hands(server, stream).await
            }
        }
    }

    async fn shake_hands<S>(self: &Arc<Self>, server: &str, stream: S) -> Result<Connection, CallFailure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let budget = Arc::new(HeadBudget::default());
        let stream = TokioIo::new(Guarded::new(stream, Arc::clone(&budget)));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(self.head_bytes_max).max_header_size(self.head_bytes_max);
        let (sender, connection) = builder.handshake(stream).await.map_err(|cause| broken(&cause))?;
        let driver = Driver(tokio::spawn(async move {
            let _ = connection.with_upgrades().await; // a failure reaches whoever waits for the reply
        }));
        let (server, connections) = (server.to_owned(), Arc::downgrade(self));
        Ok(Connection { sender, server, budget, connections, _driver: driver })
    }

    fn take(&self, server: &str) -> Option<Connection> {
        let mut idle = self.lock();
        let of_server = idle.of_servers.get_mut(server)?;
        while let Some((since, connection)) = of_server.pop() {
            if !connection.sender.is_closed() && since.elapsed() < self.keep {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.lock();
        let of_server = idle.of_servers.entry(connection.server.clone()).or_default();
        if of_server.len() < IDLE_MAX {
            of_server.push((Instant::now(), connection));
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
        idle.of_servers.retain(|_, of_server| {
            of_server.retain(|(since, connection)| !connection.sender.is_closed() && since.elapsed() < keep);
            !of_server.is_empty()
        });
        if idle.of_servers.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}

impl Connection {
    /// Lets the next request to the same server use the connection.
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

fn unreachable(cause: &io::Error) -> CallFailure {
    if cause.kind() == io::ErrorKind::PermissionDenied {
        let why = "the host of the endpoint leads to an address that is never called: name another host";
        return CallFailure::Unavailable(why.to_owned());
    }
    CallFailure::Broken("its server cannot be reached")
}

fn broken(cause: &hyper::Error) -> CallFailure {
    CallFailure::Broken(if cause.is_parse() || cause.is_parse_too_large() {
        "what its server sent is not HTTP"
    } else {
        "its server closed the connection"
    })
}
