//! One worker thread: it reads requests from its connections and sends the replies.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::task::Poll;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::rt::{Read, ReadBuf, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use super::accept::Accepted;
use super::outgoing::Outgoing;
use super::paced::{Pace, Paced, Watched};
use super::reply::{response, with_archive};
use super::visit::Visit;
use super::{Limits, head};
use crate::api::request;
use crate::api::request_log::RequestLog;
use crate::api::{App, Listener, Reply, Request, dispatch};
use crate::budget::connections::Phase;
use crate::budget::memory::{Account, FREE_BYTES, Held, Memory, gave_way};
use crate::console;
use crate::db;
use crate::domain::BaseUrl;
use crate::domain::model_apis::ModelApiCall;
use crate::error::{Error, quoted};
use crate::inference::{Calls, Made, Sent};
use crate::s3::{self, Uploads};

/// How many bytes of replies the kernel takes for a connection before its peer reads. Without this bound the kernel takes
/// megabytes, and a peer that never reads makes the server answer request after request.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

pub(super) struct Worker {
    pub app: Arc<App>,
    pub uploads: Arc<Uploads>,
    /// Made by the worker's own thread: its connections belong to the runtime of that thread.
    pub calls: Arc<Calls>,
    pub limits: Limits,
    pub addr: SocketAddr,
    pub memory: Arc<Memory>,
    /// The operator's connections are counted apart.
    pub operator_memory: Arc<Memory>,
    pub has_told_of_host: Cell<bool>,
    pub stopped: watch::Receiver<bool>,
    pub ready: Arc<Barrier>,
}

impl Worker {
    pub fn run(self, runtime: &Runtime, mut accepted: mpsc::UnboundedReceiver<Accepted>) {
        db::thread_parks();
        // Opens the database first, so that a flood of connections cannot take its file descriptors.
        let _ = self.app.db.read(head::now(), |_| Ok(()));
        self.ready.wait();
        let worker = Rc::new(self);
        LocalSet::new().block_on(runtime, async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = accepted.recv() => match accepted {
                        Some(accepted) => {
                            connections.spawn_local(Rc::clone(&worker).welcome(accepted));
                        }
                        None => break, // the server stops
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
            let drained = async { while connections.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(worker.limits.drain, drained).await;
        });
        db::park();
    }

    /// Serves a connection. If it fails, nobody is left to receive an error.
    async fn welcome(self: Rc<Self>, accepted: Accepted) {
        match accepted {
            Accepted::Network(socket, peer, seat) => {
                let _ = socket.set_nodelay(true);
                let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
                let here = socket.local_addr().unwrap_or(self.addr);
                if let Ok(socket) = tokio::net::TcpStream::from_std(socket) {
                    let (from, peer) = (Listener::Network, Some(peer.ip()));
                    let visit =
                        Visit { from, peer, here, seat, pace: Pace::first(&self.limits), tunnel: Cell::default() };
                    self.converse(TokioIo::new(socket), &visit).await;
                }
            }
            Accepted::Operator(socket, seat) => {
                if let Ok(socket) = tokio::net::UnixStream::from_std(socket) {
                    let (from, pace) = (Listener::Operator, Pace::first(&self.limits));
                    let visit = Visit { from, peer: None, here: self.addr, seat, pace, tunnel: Cell::default() };
                    self.converse(TokioIo::new(socket), &visit).await;
                }
            }
        }
    }

    async fn converse<I: Read + Write + Watched + Unpin>(&self, mut io: I, visit: &Visit) {
        let understood = self.exchange(&mut io, visit).await.is_ok_and(|()| visit.pace.get() != Pace::Refused);
        let connection = visit.connection();
        if !understood && !connection.has_given_way() {
            connection.enter(Phase::Closing);
            tokio::select! {
                _ = tokio::time::timeout(self.limits.linger, see_off(&mut io)) => {}
                () = connection.given_way() => {}
            }
        }
    }

    /// Answers requests one after the other.
    ///
    /// # Errors
    ///
    /// Only for a head that cannot be parsed. A connection that breaks or times out is no error: nobody is left to
    /// receive it.
    async fn exchange<I: Read + Write + Watched + Unpin>(&self, io: &mut I, visit: &Visit) -> Result<(), hyper::Error> {
        let (pace, connection_of) = (&*visit.pace, visit.connection());
        let paced = Paced::new(&mut *io, pace, connection_of, self.limits);
        // The future is boxed because a connection that becomes a websocket is taken apart, and so must not be pinned.
        let answer = |request| async move {
            pace.set(Pace::Answering);
            connection_of.enter(Phase::Working);
            let (response, next) = self.respond(request, visit).await;
            connection_of.enter(match next {
                Pace::Refused => Phase::Closing,
                Pace::Calling | Pace::Answering => Phase::Working, // until the reply or the websocket has ended
                Pace::Idle(_) | Pace::Head(_) => Phase::Idle,
            });
            pace.set(next);
            Ok::<_, Infallible>(response)
        };
        let mut connection = http1::Builder::new()
            .header_read_timeout(None) // it cannot tell a slow head from an idle connection; `Paced` can
            .half_close(true) // a client that has sent everything still gets its reply; one that hung up cancels nothing
            .max_header_size(self.limits.head_bytes_max)
            .max_buf_size(self.limits.piece_bytes_max)
            .writev(false)
            .serve_connection(paced, service_fn(|request| Box::pin(answer(request))));
        let mut stopped = self.stopped.clone();
        let over = tokio::select! {
            outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(outcome),
            _ = stopped.wait_for(|stopped| *stopped) => None,
            () = visit.given_way(self.limits.linger) => return Ok(()),
        };
        let outcome = match over {
            Some(outcome) => outcome,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => outcome,
                    () = visit.idles(self.limits.half_head) => Ok(()),
                }
            }
        };
        let already = connection.into_parts().read_buf;
        if let Some(tunnel) = visit.tunnel.take() {
            tunnel.run(io, already).await;
        }
        let _ = poll_fn(|context| Pin::new(&mut *io).poll_shutdown(context)).await; // it may be closed already
        outcome.or_else(|cause| if cause.is_parse() { Err(cause) } else { Ok(()) })
    }

    /// The response, and the connection's next state. Once the server stops, every response closes its connection.
    async fn respond(&self, request: hyper::Request<Incoming>, visit: &Visit) -> (Response<Outgoing>, Pace) {
        let (head, body) = request.into_parts();
        let peer = head::peer(&head.headers, visit.peer, &self.app.reverse_proxy.trusted_proxies);
        let log = Arc::new(RequestLog::begin(head::request_id(&head.headers), head.method.as_str(), peer));
        let account = self.account(visit, &log);
        let (mut response, pace) = self.answered(head, body, visit, &account).await;
        response.body_mut().charge(&account);
        if *self.stopped.borrow() {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        if let Ok(id) = header::HeaderValue::try_from(log.id()) {
            response.headers_mut().insert(head::X_REQUEST_ID, id);
        }
        log.answered(response.status().as_u16());
        (response, pace)
    }

    fn account(&self, visit: &Visit, log: &Arc<RequestLog>) -> Account {
        let memory = match visit.from {
            Listener::Network => &self.memory,
            Listener::Operator => &self.operator_memory,
        };
        let (memory, connection) = (Arc::clone(memory), Arc::clone(visit.connection()));
        Account { memory, connection, log: Arc::clone(log) }
    }

    async fn answered(
        &self,
        head: Parts,
        body: Incoming,
        visit: &Visit,
        account: &Account,
    ) -> (Response<Outgoing>, Pace) {
        let log = &account.log;
        if visit.from == Listener::Network && s3::are_addressed(&head.headers, &head.uri) {
            return self.upload(&head, s3::Body::new(body, account.clone()), log).await;
        }
        match self.request(&head, visit, log).and_then(|request| head::framing(&head.headers).map(|()| request)) {
            Ok(request) if dispatch::is_call(&self.app, &request) => {
                self.call(head, body, request, visit, account).await
            }
            Ok(request) => self.answer(&head.headers, request, body, visit, account).await,
            Err(error) => self.refuse(&error, &body, log),
        }
    }

    async fn answer(
        &self,
        headers: &HeaderMap,
        request: Request,
        mut body: Incoming,
        visit: &Visit,
        account: &Account,
    ) -> (Response<Outgoing>, Pace) {
        let log = &account.log;
        match self.read(request, &mut body, account).await {
            Ok((request, _held)) => {
                let body = request.body.clone();
                let mut reply = self.handled(request, log).await;
                match reply.model_api.take() {
                    Some(call) => self.ask(&call, headers, body, visit, log).await,
                    None => (with_archive(&self.app, reply, log), Pace::idle(&self.limits)),
                }
            }
            Err(error) => self.refuse(&error, &body, log),
        }
    }

    /// Passes the body of a request to the upstream of a Model API, which the handler decided on.
    async fn ask(
        &self,
        call: &ModelApiCall,
        headers: &HeaderMap,
        body: Bytes,
        visit: &Visit,
        log: &RequestLog,
    ) -> (Response<Outgoing>, Pace) {
        visit.pace.set(Pace::Calling);
        let answered = self.calls.ask(call, headers, body, log.id()).await;
        visit.pace.set(Pace::Answering);
        match answered {
            Ok(response) => (response.map(|answer| visit.streams(answer, self.limits)), Pace::Calling),
            Err(error) => (response(log.refuse(&error)), Pace::idle(&self.limits)),
        }
    }

    async fn handled(&self, request: Request, log: &RequestLog) -> Reply {
        match console::dispatch::serves(&request) {
            true => guarded(console::dispatch::answer(&self.app, request), log).await,
            false => guarded(dispatch::answer(&self.app, request), log).await,
        }
    }

    /// Makes a call to a model. The handler decides on the head alone what is called; the body is then passed on as it
    /// arrives.
    async fn call(
        &self,
        head: Parts,
        body: Incoming,
        request: Request,
        visit: &Visit,
        account: &Account,
    ) -> (Response<Outgoing>, Pace) {
        let log = &account.log;
        let mut reply = self.handled(request, log).await;
        let Some(call) = reply.call.take() else { return self.unless_whole(reply, &body) };
        let has_ended = body.is_end_stream();
        let body = match Sent::arriving(body, account.clone(), self.calls.limits()) {
            Ok(body) => body,
            Err(error) => return refused(log.refuse(&error)),
        };
        visit.pace.set(Pace::Calling);
        let answered = self.calls.make(&call, &head, body, log.id()).await;
        visit.pace.set(Pace::Answering);
        account.works();
        match answered {
            Ok(Made::Reply(response)) => (response.map(|answer| visit.streams(answer, self.limits)), Pace::Calling),
            Ok(Made::Websocket(response, tunnel)) => {
                visit.tunnel.set(Some(tunnel));
                (response.map(|()| Outgoing::Whole(Bytes::new(), None)), Pace::Answering)
            }
            Err(error) if has_ended => (response(log.refuse(&error)), Pace::idle(&self.limits)),
            Err(error) => refused(log.refuse(&error)),
        }
    }

    /// A refusal. If the body has not ended, it closes the connection.
    fn refuse(&self, error: &Error, body: &Incoming, log: &RequestLog) -> (Response<Outgoing>, Pace) {
        self.unless_whole(log.refuse(error), body)
    }

    fn unless_whole(&self, reply: Reply, body: &Incoming) -> (Response<Outgoing>, Pace) {
        if body.is_end_stream() { (response(reply), Pace::idle(&self.limits)) } else { refused(reply) }
    }

    async fn upload(&self, head: &Parts, mut body: s3::Body, log: &Arc<RequestLog>) -> (Response<Outgoing>, Pace) {
        log.note_template(s3::TEMPLATE);
        let reply = match head::site(&head.headers, &head.uri).and_then(|_| head::framing(&head.headers)) {
            Ok(()) => guarded(Arc::clone(&self.uploads).answer(head, &mut body, log), log).await,
            Err(error) => log.refuse(&error),
        };
        self.app.mark_ended(head::now(), log).await;
        if body.has_ended() { (response(reply), Pace::idle(&self.limits)) } else { refused(reply) }
    }

    /// Reads a request within its limits. Everything that the head decides is decided before the body is requested.
    async fn read(
        &self,
        mut request: Request,
        body: &mut Incoming,
        account: &Account,
    ) -> Result<(Request, Option<Held>), Error> {
        if body.is_end_stream() {
            if account.is_pressed() && request.authorization.is_some() {
                dispatch::admit(&self.app, &request).await?; // authenticates the caller
                account.check_share()?;
            }
            return Ok((request, None));
        }
        let bytes_max = match console::dispatch::serves(&request) {
            true => console::dispatch::body_bytes_max(&request),
            false => dispatch::admit(&self.app, &request).await?,
        };
        account.receives();
        let (bytes, held) = self.read_body(body, bytes_max, account).await?;
        account.works();
        request.body = bytes;
        request.at = head::time(); // the time at which the whole request has arrived
        Ok((request, Some(held)))
    }

    /// The request without its body.
    fn request(&self, head: &Parts, visit: &Visit, log: &Arc<RequestLog>) -> Result<Request, Error> {
        let method = if head.method == hyper::Method::HEAD { "GET" } else { head.method.as_str() };
        let host = head::site(&head.headers, &head.uri)?;
        let reverse_proxy = &self.app.reverse_proxy;
        let (callee, path) = request::callee(&host, reverse_proxy.public.as_ref(), head::path(&head.uri)?);
        Ok(Request {
            method: method.to_owned(),
            callee,
            base_url: self.site(host, visit),
            s3_hosts: reverse_proxy.s3_hosts,
            path,
            query: head::query(&head.uri)?,
            authorization: head::text(&head.headers, header::AUTHORIZATION)?,
            user_agent: head::text(&head.headers, header::USER_AGENT).ok().flatten(),
            content_type: head::text(&head.headers, header::CONTENT_TYPE).ok().flatten(),
            mailing: self.app.mailing(),
            browser: head::browser(&head.headers),
            body: Bytes::new(),
            from: visit.from,
            at: head::time(),
            seed: rand::random(),
            log: Arc::clone(log),
        })
    }

    /// The base URL of links. A client can send any `Host`: without a public URL, only names of this server are used.
    fn site(&self, host: BaseUrl, visit: &Visit) -> BaseUrl {
        let (reverse_proxy, here) = (&self.app.reverse_proxy, visit.here);
        if let Some(public) = &reverse_proxy.public {
            return public.clone();
        }
        // The operator's socket has no address, so its requests name no port.
        if visit.from == Listener::Operator {
            return BaseUrl::of_address(here);
        }
        if host.is_of_this_host(here, reverse_proxy.listen.as_ref()) {
            return host;
        }
        if !self.has_told_of_host.replace(true) {
            let host = quoted(host.authority());
            tracing::warn!(
                "a request came for the host {host}: links lead to {here} unless `--public-url` says otherwise"
            );
        }
        BaseUrl::of_address(here)
    }

    async fn read_body(
        &self,
        body: &mut Incoming,
        bytes_max: usize,
        account: &Account,
    ) -> Result<(Bytes, Held), Error> {
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(Error::TooLarge { bytes_max });
        }
        tokio::select! {
            collected = tokio::time::timeout(self.limits.body, collect(body, bytes_max, account)) => {
                collected.unwrap_or(Err(Error::RequestTimeout))
            }
            () = account.given_way() => Err(gave_way()),
        }
    }
}

/// Collects a body in one buffer: separate frames would cost forty bytes for a chunk of one. Memory is reserved for
/// bytes that have arrived, never for a declared length.
async fn collect(body: &mut Incoming, bytes_max: usize, account: &Account) -> Result<(Bytes, Held), Error> {
    let broken = |_| Error::Invalid("the body breaks off or is not framed as its head says".to_owned());
    let mut held = account.hold();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(broken)?.into_data().unwrap_or_default(); // trailers are ignored
        if data.len() > bytes_max - bytes.len() {
            return Err(Error::TooLarge { bytes_max });
        }
        let needed = bytes.len() + data.len();
        if needed > bytes.capacity() {
            let room = needed.next_power_of_two().min(bytes_max);
            if room > FREE_BYTES {
                held.grow_to(room)?;
            }
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), held))
}

/// Closes the writing side and discards what still arrives. If a socket closes with unread bytes, it resets the
/// connection, and the client may lose the reply that explains the refusal.
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

/// Catches a panic: it fails one request, not the server.
async fn guarded(answer: impl Future<Output = Reply>, log: &RequestLog) -> Reply {
    let mut answer = pin!(answer);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(log.refuse(&Error::Internal("a handler panicked".to_owned()))))
    })
    .await
}

/// A refusal that closes the connection, so that the rest of the body is not taken for the next request.
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
