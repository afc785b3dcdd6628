//! Calls to running models: a replica is leased, the request goes to it, and the bodies pass through as they arrive.
//!
//! A handler of the API has decided before what is called and that the caller may call it. Nothing here looks at the
//! bodies or holds them whole. A call ends when its reply has ended, its caller has left, its replica has ended, or its
//! deadline has passed; each of these closes the connection to the model at once. A model gets neither the caller's key
//! nor its cookies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use hyper::body::Incoming;
use hyper::http::request::Parts;

use crate::api::App;
use crate::db::{self, Now};
use crate::domain::calls::{CALL_BODY_BYTES_MAX, Call, PREDICT_TIMEOUT};
use crate::error::{CallFailure, Error};
use crate::runner::fleet::{Lease, Unavailable};

mod answer;
mod connections;
mod guarded;
mod head;
mod sent;

use answer::Replied;
pub use answer::{Answer, Made};
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

    /// Makes a call. `head` is the head of the caller's request, and `made` counts the call.
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
        mut made: Made,
    ) -> Result<Response<Answer>, Error> {
        let deadline = Instant::now() + self.limits.call;
        match self.exchange(call, head, body, request_id, deadline).await {
            Ok((response, replied)) => {
                made.answered(response.status().as_u16());
                let mut response = response.map(|incoming| Answer::new(incoming, replied, deadline, made));
                head::clean(&mut response, request_id);
                Ok(response)
            }
            Err(error) => {
                made.answered(error.status().0);
                Err(error)
            }
        }
    }

    async fn exchange(
        &self,
        call: &Call,
        head: &Parts,
        body: Sent,
        request_id: &str,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Replied), Error> {
        let lease = self.lease(call, deadline).await?;
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

    /// Takes a replica. A deployment that is asleep is woken first.
    async fn lease(&self, call: &Call, deadline: Instant) -> Result<Lease, Error> {
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
}
