//! The door: hyper behind our own accept loop, with a limit and a deadline on everything.
//!
//! One thread accepts and deals the sockets in turn to one single-threaded runtime a core; what is asked is answered on
//! that thread, and only writes and slow work leave it. Nothing else in the house names hyper, and nothing else but the
//! operator's client and the hashing of passwords names tokio's runtime.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, Sleep};

use crate::db::{self, Moment};
use crate::error::Error;
use crate::http::{self, App, Door, Reply, Request};
use crate::model::Time;
use crate::uploads::{self, Uploads};
use crate::wire::Refusal;

/// What a stranger may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub workers: usize,
    /// Beyond it a connection is told 503 and closed.
    pub connections_max: usize,
    pub head_bytes_max: usize,
    pub head: Duration,
    pub body: Duration,
    pub idle: Duration,
    /// How long a reply may find no reader.
    pub stalled: Duration,
    /// How long requests in flight may take once the server stops.
    pub drain: Duration,
    pub uploads: uploads::Limits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections_max: 1024,
            head_bytes_max: 32 << 10,
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            uploads: uploads::Limits::default(),
        }
    }
}

/// A server that runs until it is stopped.
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections; requests in flight end, or are cut off when their time to drain is over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until all that was in flight has ended.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a thread that panicked has nothing left to end
        }
    }
}

/// Serves until stopped. The operator's listener, if there is one, answers the operator's routes too.
pub fn serve(
    app: &Arc<App>,
    listener: TcpListener,
    operator: Option<UnixListener>,
    limits: Limits,
) -> std::io::Result<Server> {
    let addr = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    operator.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
    let uploads = Arc::new(Uploads::open(app, limits.uploads, moment)?);
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    let mut workers = Vec::new();
    for number in 0..limits.workers {
        let (give, take) = mpsc::unbounded_channel();
        let worker = Worker { app: Arc::clone(app), uploads: Arc::clone(&uploads), limits, stopped: stopped.clone() };
        threads.push(thread(&format!("worker {number}"), move || worker.run(take))?);
        workers.push(give);
    }
    let until = stopped.clone();
    threads.push(thread("sweeper", move || uploads.keep_swept(until))?);
    threads.push(thread("door", move || accept(listener, operator, workers, limits, stopped))?);
    Ok(Server { addr, stop, threads })
}

/// Waits for SIGTERM or SIGINT.
pub fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

// ---- accepting ----

enum Socket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A place among the connections; it is free again when this is dropped.
struct Seat(Arc<AtomicUsize>);

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

type Worklist = mpsc::UnboundedSender<(Socket, Seat)>;

fn accept(
    listener: TcpListener,
    operator: Option<UnixListener>,
    workers: Vec<Worklist>,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system has threads");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener made for this");
        let operator =
            operator.map(|socket| tokio::net::UnixListener::from_std(socket).expect("a listener made for this"));
        let taken = Arc::new(AtomicUsize::new(0));
        let mut turn = workers.iter().cycle();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted.and_then(|(socket, _)| socket.into_std()).map(Socket::Tcp),
                accepted = accept_operator(operator.as_ref()) => accepted.map(Socket::Unix),
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok(socket) => match Seat::take(&taken, limits.connections_max) {
                    Some(seat) => {
                        let worker = turn.next().expect("there is a worker");
                        let _ = worker.send((socket, seat)); // a worker that is gone has closed it
                    }
                    None => turn_away(socket),
                },
                // Out of file descriptors, or the peer is gone already: the listener itself is well.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
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
    let body = serde_json::to_string(&Refusal::new(&Error::Unavailable("too many connections: try again later")))
        .expect("shapes of ours always serialize");
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let Socket::Tcp(mut socket) = socket else { return };
    let mut sent_already = [0; 4096];
    let _ = socket.write(reply.as_bytes());
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = socket.read(&mut sent_already); // unread bytes would make the close a reset that takes the answer along
}

// ---- a worker ----

struct Worker {
    app: Arc<App>,
    uploads: Arc<Uploads>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
}

impl Worker {
    fn run(self, mut sockets: mpsc::UnboundedReceiver<(Socket, Seat)>) {
        db::thread_parks();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(db::park)
            .build()
            .expect("the system has threads");
        let worker = Rc::new(self);
        LocalSet::new().block_on(&runtime, async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    socket = sockets.recv() => match socket {
                        Some((socket, seat)) => {
                            connections.spawn_local(Rc::clone(&worker).welcome(socket, seat));
                        }
                        None => break, // the door is closed
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
            let drained = async { while connections.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(worker.limits.drain, drained).await;
        });
        db::park();
    }

    /// A connection that fails is the peer's affair: there is nobody left to tell.
    async fn welcome(self: Rc<Self>, socket: Socket, _seat: Seat) {
        match socket {
            Socket::Tcp(socket) => {
                let _ = socket.set_nodelay(true);
                if let Ok(socket) = tokio::net::TcpStream::from_std(socket) {
                    self.converse(TokioIo::new(socket), Door::Network).await;
                }
            }
            Socket::Unix(socket) => {
                if let Ok(socket) = tokio::net::UnixStream::from_std(socket) {
                    self.converse(TokioIo::new(socket), Door::Operator).await;
                }
            }
        }
    }

    async fn converse<I: Read + Write + Unpin>(&self, io: I, from: Door) {
        let pace = Rc::new(RefCell::new(Pace::Idle));
        let io = Paced { io, pace: Rc::clone(&pace), limits: self.limits, stall: None };
        let service = service_fn(|request: hyper::Request<Incoming>| {
            *pace.borrow_mut() = Pace::Answering;
            let pace = Rc::clone(&pace);
            async move {
                let response = self.respond(request, from).await;
                *pace.borrow_mut() = Pace::Idle;
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.idle)
                .max_header_size(self.limits.head_bytes_max)
                .writev(false)
                .serve_connection(io, service)
        );
        let mut stopped = self.stopped.clone();
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn respond(&self, request: hyper::Request<Incoming>, from: Door) -> Response<Full<Bytes>> {
        let close = request.version() != Version::HTTP_11;
        let (mut reply, body_left) =
            if from == Door::Network && uploads::are_addressed(request.headers(), request.uri()) {
                let (head, body) = request.into_parts();
                (guarded(Arc::clone(&self.uploads).answer(head, body)).await, false)
            } else {
                match self.read(request, from).await {
                    Ok(request) => (guarded(http::answer(&self.app, request)).await, false),
                    Err(error) => (Reply::from(error), true),
                }
            };
        if body_left || close {
            // What stays unread of a body must not be taken for the next request.
            reply.headers.push(("connection", "close".to_owned()));
        }
        response(reply)
    }

    /// The request, bounded and decoded. Its limits are checked before its body is invited.
    async fn read(&self, request: hyper::Request<Incoming>, from: Door) -> Result<Request, Error> {
        let (parts, body) = request.into_parts();
        let host = host(&parts.headers, &parts.uri)?;
        let path = path(&parts.uri)?;
        let query = query(&parts.uri)?;
        let method = if parts.method == hyper::Method::HEAD { "GET" } else { parts.method.as_str() }.to_owned();
        let bytes_max = http::body_bytes_max(from, &method, &path);
        let body = self.read_body(body, bytes_max).await?;
        Ok(Request {
            method,
            host,
            path,
            query,
            authorization: text(&parts.headers, header::AUTHORIZATION)?,
            user_agent: text(&parts.headers, header::USER_AGENT).ok().flatten(),
            content_type: text(&parts.headers, header::CONTENT_TYPE).ok().flatten(),
            body,
            from,
            at: now(),
            seed: rand::random(),
        })
    }

    async fn read_body(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Error> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(Error::TooLarge { bytes_max });
        }
        let collected = tokio::time::timeout(self.limits.body, Limited::new(body, bytes_max).collect()).await;
        match collected {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(Error::TooLarge { bytes_max }),
            Ok(Err(_)) => Err(Error::Invalid("the body breaks off or is not framed as its head says".to_owned())),
            Err(_) => Err(Error::RequestTimeout),
        }
    }
}

/// A panic is one request's failure, not the server's.
async fn guarded(answer: impl Future<Output = Reply>) -> Reply {
    let mut answer = pin!(answer);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Reply::from(Error::Internal("a handler panicked".to_owned()))))
    })
    .await
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in reply.headers {
        // A value that no header may hold is left out: it never splits a reply.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

// ---- reading a head ----

/// Exactly one `Host`; of an absolute-form target its own authority counts (clients use us as their proxy).
fn host(headers: &HeaderMap, uri: &Uri) -> Result<String, Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Error::Invalid("send exactly one `Host` header".to_owned()));
    };
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => host.to_str().unwrap_or_default(),
    };
    if host.is_empty() || host.contains('@') {
        return Err(Error::Invalid("the `Host` header is not a host".to_owned()));
    }
    Ok(host.to_ascii_lowercase())
}

/// Split raw and decoded segment by segment, so that `%2F` stays inside a name.
fn path(uri: &Uri) -> Result<Vec<String>, Error> {
    let path = uri.path().strip_prefix('/').ok_or_else(|| Error::Invalid("the target is not a path".to_owned()))?;
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(|segment| decode("path", segment)).collect()
}

fn query(uri: &Uri) -> Result<Vec<(String, String)>, Error> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let word = |text: &str| decode("query", &text.replace('+', " "));
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((word(name)?, word(value)?))
        })
        .collect()
}

fn decode(place: &str, text: &str) -> Result<String, Error> {
    let refused =
        || Error::Invalid(format!("the {place} holds a percent sign without two hexadecimal digits, or no UTF-8"));
    let well_formed =
        text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| refused())?;
    if !well_formed || decoded.contains('\0') {
        return Err(refused());
    }
    Ok(decoded.into_owned())
}

/// A header that may stand once and holds text.
fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Error> {
    let mut values = headers.get_all(&name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(value) => Ok(Some(value.to_owned())),
            Err(_) => Err(Error::Invalid(format!("the header `{name}` holds bytes that are no text"))),
        },
        (Some(_), Some(_)) => Err(Error::Invalid(format!("send the header `{name}` once"))),
    }
}

fn moment() -> Moment {
    Moment { now: now(), seed: rand::random() }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // a clock before 1970 is no clock
    Time(since.as_millis() as i64)
}

// ---- deadlines ----

/// Where a connection stands between its requests.
enum Pace {
    Idle,
    /// The first byte of a head has come; the rest must come until then. The clock is set only where it does not come at once.
    Head(Instant, Option<Pin<Box<Sleep>>>),
    Answering,
}

/// A socket that fails when a head, once begun, does not end in time, or when a reply finds no reader.
struct Paced<I> {
    io: I,
    pace: Rc<RefCell<Pace>>,
    limits: Limits,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<I: Read + Unpin> Read for Paced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.io).poll_read(context, buffer);
        let mut pace = this.pace.borrow_mut();
        if read.is_ready() && matches!(*pace, Pace::Idle) {
            *pace = Pace::Head(Instant::now() + this.limits.head, None);
        }
        if let (Poll::Pending, Pace::Head(deadline, alarm)) = (&read, &mut *pace) {
            let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*deadline)));
            ready!(alarm.as_mut().poll(context));
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<I: Write + Unpin> Paced<I> {
    /// Fails once a write has waited too long for its reader.
    fn unless_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let deadline = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limits.stalled)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl<I: Write + Unpin> Write for Paced<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.unless_stalled(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
