//! Calls to running models: a replica is leased, the request goes to it, and the bodies pass through as they arrive.
//!
//! A handler of the API has decided before what is called and that the caller may call it. Nothing here looks at the
//! bodies or holds them whole. A call ends when its reply has ended, its caller has left, its replica has ended, or its
//! deadline has passed; each of these closes the connection to the model at once. A model gets neither the caller's key
//! nor its cookies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};

use crate::api::App;
use crate::db::{self, Now};
use crate::domain::calls::{CALL_BODY_BYTES_MAX, Call, Mode, PREDICT_TIMEOUT};
use crate::error::{CallFailure, Error};
use crate::runner::fleet::{Lease, Unavailable};

mod answer;
mod connections;
mod guarded;
mod head;
mod sent;

pub use answer::Answer;
use answer::{Made, Replied};
use connections::Connections;
pub use sent::Sent;

/// The limits of calls.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a call may take in all.
    pub call: Duration,
    /// How many bytes a call may send.
    pub body_bytes_max: u64,
    /// How long a caller may send nothing while a model waits for the body.
    pub stalled: Duration,
    /// How many bytes the head of a model's reply may have. Pieces of its body are read into as many.
    pub head_bytes_max: usize,
    /// How long a connection to a model that is not in use stays open. Servers of models close theirs after some
    /// seconds, and a request that is sent at that moment is lost.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            call: PREDICT_TIMEOUT,
            body_bytes_max: CALL_BODY_BYTES_MAX,
            stalled: Duration::from_secs(60),
            head_bytes_max: 64 << 10,
            idle: Duration::from_secs(1),
        }
    }
}

/// The calls of one thread, with the connections that they share.
pub struct Calls {
    app: Arc<App>,
    limits: Limits,
    now: fn() -> Now,
    connections: Arc<Connections>,
}

impl Calls {
    pub fn new(app: Arc<App>, limits: Limits, now: fn() -> Now) -> Arc<Calls> {
        Arc::new(Calls { app, limits, now, connections: Connections::new(limits.idle, limits.head_bytes_max) })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes a call for a caller that waits. `head` is the head of its request.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why no model answered. [`Error::TooLarge`], [`Error::RequestTimeout`] and
    /// [`Error::Unavailable`] say what was wrong with the caller's body.
    pub async fn make(
        &self,
        call: &Call,
        head: &Parts,
        body: Sent,
        request_id: &str,
    ) -> Result<Response<Answer>, Error> {
        let made = Made::begin(&self.app.meter, call, Mode::Sync);
        let deadline = Instant::now() + self.limits.call;
        let exchange = async {
            let lease = self.lease(call, deadline).await?;
            self.exchange(call, lease, head, body, request_id, deadline).await
        };
        made.of(exchange.await, request_id, deadline)
    }

    /// Makes a call for nobody who waits, with a whole body, by a replica that was taken before.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why no model answered.
    pub async fn send(
        &self,
        call: &Call,
        lease: Lease,
        headers: HeaderMap,
        body: Bytes,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Response<Answer>, Error> {
        let made = Made::begin(&self.app.meter, call, Mode::Async);
        let mut head = Request::new(()).into_parts().0;
        (head.method, head.headers) = (Method::POST, headers);
        let exchange = self.exchange(call, lease, &head, Sent::whole(body), request_id, deadline);
        made.of(exchange.await, request_id, deadline)
    }

    /// Takes a replica for a call. A deployment that is asleep is woken first.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why no replica takes the call.
    pub async fn lease(&self, call: &Call, deadline: Instant) -> Result<Lease, Error> {
        if call.wakes && self.app.fleet.is_on() {
            let deployment_id = call.deployment_id.clone();
            self.app.db.write((self.now)(), move |tx| db::calls::wake_for_call(tx, &deployment_id)).await?;
        }
        self.app.fleet.lease(&call.deployment_id, deadline).await.map_err(|unavailable| {
            Error::Call(match unavailable {
                Unavailable::Full => CallFailure::Full,
                Unavailable::TimedOut => CallFailure::TimedOut,
                Unavailable::Off | Unavailable::Gone(_) => CallFailure::Unavailable(unavailable.to_string()),
            })
        })
    }

    async fn exchange(
        &self,
        call: &Call,
        lease: Lease,
        head: &Parts,
        body: Sent,
        request_id: &str,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Replied), Error> {
        let sent = body.state();
        let request = head::request(head, call, &lease.replica, request_id, body)?;
        let exchange = self.connections.send(&lease.replica, request);
        let answered = tokio::select! {
            answered = tokio::time::timeout_at(deadline.into(), exchange) => answered,
            () = lease.replica.ended() => Ok(Err(CallFailure::Broken("its process ended"))),
        };
        match answered {
            Ok(Ok((response, connection))) => Ok((response, Replied { connection, sent, lease })),
            Ok(Err(failure)) => Err(sent.error().unwrap_or(Error::Call(failure))),
            Err(_) => Err(Error::Call(CallFailure::TimedOut)),
        }
    }
}

/// The whole body of a model's reply.
///
/// # Errors
///
/// [`Error::TooLarge`] for a body of more bytes, [`CallFailure::Broken`] if it breaks off.
pub async fn collect(answer: Answer, bytes_max: usize) -> Result<Bytes, Error> {
    match Limited::new(answer, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(Error::TooLarge { bytes_max }),
        Err(_) => Err(Error::Call(CallFailure::Broken("its reply broke off"))),
    }
}
