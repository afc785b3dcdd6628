//! The door: hyper behind our own accept loop, with a limit and a deadline on everything.
//!
//! One thread accepts and deals the sockets in turn to one single-threaded runtime a core; what is asked is answered on
//! that thread, and only writes and slow work leave it. Nothing else in the house names hyper but uploads, whose bodies
//! stream, and nothing else but they, the operator's client and the hashing of passwords names tokio's runtime.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header;
use hyper::http::request::Parts;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::db;
use crate::error::Error;
use crate::http::request_log::RequestLog;
use crate::http::{self, App, Door, Reply, Request, expiry};
use crate::runner;
use crate::uploads::{self, Uploads};

mod accept;
mod head;
mod outgoing;
mod paced;
mod reply;

use accept::{Seat, Socket, accept};
use outgoing::Outgoing;
use paced::{Pace, Paced};
use reply::{response, with_archive};

/// What a stranger may take of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub workers: usize,
    /// Of strangers, and as many of the operator; beyond it a connection is told 503 and closed.
    pub connections_max: usize,
    /// At least the 8,192 that hyper asks for.
    pub head_bytes_max: usize,
    /// A body is read in pieces of at most this size.
    pub piece_bytes_max: usize,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From a head to the last byte of its body.
    pub body: Duration,
    /// Without a byte of a next request.
    pub idle: Duration,
    /// How long a reply may find no reader.
    pub stalled: Duration,
    /// How long what a refused client still sends is thrown away.
    pub linger: Duration,
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
            piece_bytes_max: 128 << 10, // small pieces are what an upload spends its time on
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            stalled: Duration::from_secs(60),
            linger: Duration::from_secs(1),
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
    let uploads = Arc::new(Uploads::open(app, limits.uploads, head::moment)?);
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    let mut workers = Vec::new();
    let ready = Arc::new(Barrier::new(limits.workers + 1));
    for number in 0..limits.workers {
        let (give, take) = mpsc::unbounded_channel();
        let worker = Worker {
            app: Arc::clone(app),
            uploads: Arc::clone(&uploads),
            limits,
            stopped: stopped.clone(),
            ready: Arc::clone(&ready),
        };
        let runtime = runtime()?;
        threads.push(thread(&format!("worker {number}"), move || worker.run(&runtime, take))?);
        workers.push(give);
    }
    ready.wait();
    let until = stopped.clone();
    threads.push(thread("sweeper", move || uploads.keep_swept(until))?);
    let (runs, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("runner", move || runner::run(&runs.db, head::moment, || *until.borrow()))?);
    let (expiring, until) = (Arc::clone(app), stopped.clone());
    threads.push(thread("expiry", move || expiry::keep_marked(&expiring.db, head::moment, || *until.borrow()))?);
    let runtime = runtime()?;
    threads.push(thread("door", move || runtime.block_on(accept(listener, operator, workers, limits, stopped)))?);
    Ok(Server { addr, stop, threads })
}

/// Waits for SIGTERM or SIGINT.
pub fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    runtime()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(db::park).build()
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

// ---- a worker ----

struct Worker {
    app: Arc<App>,
    uploads: Arc<Uploads>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
    ready: Arc<Barrier>,
}

impl Worker {
    fn run(self, runtime: &Runtime, mut sockets: mpsc::UnboundedReceiver<(Socket, Seat)>) {
        db::thread_parks();
        // Opens the database before anyone comes in: a flood of connections leaves no file descriptor for it.
        let _ = self.app.db.read(head::moment(), |_| Ok(()));
        self.ready.wait();
        let worker = Rc::new(self);
        LocalSet::new().block_on(runtime, async move {
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

    async fn converse<I: Read + Write + Unpin>(&self, mut io: I, from: Door) {
        let pace = Cell::new(Pace::idle(&self.limits));
        let understood = self.exchange(&mut io, &pace, from).await.is_ok_and(|()| pace.get() != Pace::Refused);
        if !understood {
            let _ = tokio::time::timeout(self.limits.linger, see_off(&mut io)).await;
        }
    }

    /// One request after the other. It fails only where a head cannot be understood: a connection that breaks off or
    /// runs out of time has nobody left to hear more of it.
    async fn exchange<I: Read + Write + Unpin>(
        &self,
        io: &mut I,
        pace: &Cell<Pace>,
        from: Door,
    ) -> Result<(), hyper::Error> {
        let io = Paced::new(io, pace, self.limits);
        let service = service_fn(|request| async move {
            pace.set(Pace::Answering);
            let (response, next) = self.respond(request, from).await;
            pace.set(next);
            Ok::<_, Infallible>(response)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .header_read_timeout(None) // it cannot tell a slow head from idling; `Paced` can
                .half_close(true) // who has sent all and listens is answered, and who hung up cancels nothing
                .max_header_size(self.limits.head_bytes_max)
                .max_buf_size(self.limits.piece_bytes_max)
                .writev(false)
                .serve_connection(io, service)
        );
        let mut stopped = self.stopped.clone();
        let over = tokio::select! {
            outcome = connection.as_mut() => Some(outcome),
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        let outcome = match over {
            Some(outcome) => outcome,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        outcome.or_else(|cause| if cause.is_parse() { Err(cause) } else { Ok(()) })
    }

    /// The response, and what may come after it.
    /// Once the server stops, every reply is its connection's last, and says so.
    async fn respond(&self, request: hyper::Request<Incoming>, from: Door) -> (Response<Outgoing>, Pace) {
        let (head, body) = request.into_parts();
        let log = Arc::new(RequestLog::begin(head::request_id(&head.headers), head.method.as_str(), None));
        let (mut response, pace) = self.answered(head, body, from, &log).await;
        if *self.stopped.borrow() {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        if let Ok(id) = header::HeaderValue::try_from(log.id()) {
            response.headers_mut().insert(head::X_REQUEST_ID, id);
        }
        log.answered(response.status().as_u16());
        (response, pace)
    }

    async fn answered(
        &self,
        head: Parts,
        mut body: Incoming,
        from: Door,
        log: &Arc<RequestLog>,
    ) -> (Response<Outgoing>, Pace) {
        if from == Door::Network && uploads::are_addressed(&head.headers, &head.uri) {
            return self.upload(&head, uploads::Body::new(body), log).await;
        }
        match self.read(head, &mut body, from, log).await {
            Ok(request) => {
                let reply = guarded(http::answer(&self.app, request), log).await;
                (with_archive(&self.app, reply, log), Pace::idle(&self.limits))
            }
            Err(error) if body.is_end_stream() => (response(log.refuse(&error)), Pace::idle(&self.limits)),
            Err(error) => refused(log.refuse(&error)),
        }
    }

    async fn upload(&self, head: &Parts, mut body: uploads::Body, log: &Arc<RequestLog>) -> (Response<Outgoing>, Pace) {
        log.note_template(uploads::TEMPLATE);
        let reply = match head::site(&head.headers, &head.uri).and_then(|_| head::framing(&head.headers)) {
            Ok(()) => guarded(Arc::clone(&self.uploads).answer(head, &mut body, log), log).await,
            Err(error) => log.refuse(&error),
        };
        if body.has_ended() { (response(reply), Pace::idle(&self.limits)) } else { refused(reply) }
    }

    /// The request, bounded and decoded. All that its head decides is decided before its body is invited.
    async fn read(
        &self,
        head: Parts,
        body: &mut Incoming,
        from: Door,
        log: &Arc<RequestLog>,
    ) -> Result<Request, Error> {
        let mut request = self.request(&head, from, log)?;
        head::framing(&head.headers)?;
        if !body.is_end_stream() {
            let bytes_max = http::admit(&self.app, &request).await?;
            request.body = self.read_body(body, bytes_max).await?;
            request.at = head::now(); // when all of it is here
        }
        Ok(request)
    }

    /// The request without its body.
    fn request(&self, head: &Parts, from: Door, log: &Arc<RequestLog>) -> Result<Request, Error> {
        let method = if head.method == hyper::Method::HEAD { "GET" } else { head.method.as_str() };
        let host = head::site(&head.headers, &head.uri)?;
        let front = &self.app.front;
        Ok(Request {
            method: method.to_owned(),
            site: front.public.clone().unwrap_or(host),
            s3_hosts: front.s3_hosts,
            path: head::path(&head.uri)?,
            query: head::query(&head.uri)?,
            authorization: head::text(&head.headers, header::AUTHORIZATION)?,
            user_agent: head::text(&head.headers, header::USER_AGENT).ok().flatten(),
            content_type: head::text(&head.headers, header::CONTENT_TYPE).ok().flatten(),
            body: Bytes::new(),
            from,
            at: head::now(),
            seed: rand::random(),
            log: Arc::clone(log),
        })
    }

    async fn read_body(&self, body: &mut Incoming, bytes_max: usize) -> Result<Bytes, Error> {
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(Error::TooLarge { bytes_max });
        }
        let collected = tokio::time::timeout(self.limits.body, collect(body, bytes_max));
        collected.await.unwrap_or(Err(Error::RequestTimeout))
    }
}

/// Copied together as it comes: frames kept apart would let a sender of tiny chunks fill forty bytes of ours with one.
async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Bytes, Error> {
    let broken = |_| Error::Invalid("the body breaks off or is not framed as its head says".to_owned());
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(broken)?.into_data().unwrap_or_default(); // trailers say nothing to us
        if data.len() > bytes_max - bytes.len() {
            return Err(Error::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// Ends our side and throws away what still comes. Closed with bytes unread, a socket resets the connection, and the
/// client may lose the very answer that tells it why.
async fn see_off<I: Read + Write + Unpin>(io: &mut I) -> std::io::Result<()> {
    poll_fn(|context| Pin::new(&mut *io).poll_shutdown(context)).await?;
    let mut thrown_away = vec![0; 16 << 10];
    loop {
        let mut buffer = ReadBuf::new(&mut thrown_away);
        poll_fn(|context| Pin::new(&mut *io).poll_read(context, buffer.unfilled())).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
    }
}

/// A panic is one request's failure, not the server's.
async fn guarded(answer: impl Future<Output = Reply>, log: &RequestLog) -> Reply {
    let mut answer = pin!(answer);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(log.refuse(&Error::Internal("a handler panicked".to_owned()))))
    })
    .await
}

/// What is left of the body must not be taken for the next request.
fn refused(mut reply: Reply) -> (Response<Outgoing>, Pace) {
    reply.headers.push(("connection", "close".to_owned()));
    (response(reply), Pace::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_failed_request() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let log = RequestLog::default();
        let reply = runtime.block_on(guarded(async { panic!("a handler's bug") }, &log));
        assert_eq!(reply.status, 500);
        let told = String::from_utf8(reply.body).unwrap();
        assert!(told.contains("INTERNAL") && told.contains(log.id()) && !told.contains("panicked"), "{told}");
    }
}
