//! Calls to running models: a replica is leased, the request goes to it, and the bodies pass through as they arrive.
//!
//! A handler of the API has decided before what is called and that the caller may call it. Nothing here looks at the
//! bodies or holds them whole. A call ends when its reply has ended, its caller has left, its replica has ended, or its
//! deadline has passed; each of these closes the connection to the model at once. A model gets neither the caller's key
//! nor its cookies.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::api::App;
use crate::db::{self, Now};
use crate::domain::calls::{Call, Mode};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::error::{CallFailure, Error};
use crate::runner::fleet::{Lease, Unavailable};

mod answer;
mod connections;
mod guarded;
mod head;
mod limits;
mod model_api;
mod progress;
pub mod queue;
mod received;
mod sent;
mod shares;
mod tunnel;
mod upstream;
mod webhooks;

pub use answer::Answer;
use answer::Counts;
use connections::{Connections, Dial};
pub use limits::Limits;
use progress::Progress;
pub use received::Received;
pub use sent::Sent;
pub use shares::Shares;
pub use tunnel::Tunnel;

/// The calls of one thread, with the connections that they share.
pub struct Calls {
    app: Arc<App>,
    limits: Limits,
    shares: Arc<Shares>,
    now: fn() -> Now,
    connections: Arc<Connections>,
}

/// The answer to a call.
pub enum Made {
    Reply(Response<Answer>),
    /// The head of a reply, after which bytes pass in both directions.
    Websocket(Response<()>, Tunnel),
}

impl Calls {
    pub fn new(app: Arc<App>, limits: Limits, shares: Arc<Shares>, now: fn() -> Now) -> Arc<Calls> {
        let connections = Connections::new(limits.idle, limits.head_bytes_max);
        Arc::new(Calls { app, limits, shares, now, connections })
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
    pub async fn make(&self, call: &Call, head: &Parts, body: Sent, request_id: &str) -> Result<Made, Error> {
        let share = self.shares.take(&call.org_id, &call.team_id)?;
        let mut progress = Progress::begin(&self.app.meter, call, Mode::Sync, Some(share));
        let deadline = Instant::now() + self.limits.call;
        let exchange = async {
            let lease = progress.hold(self.lease(call, deadline).await?);
            self.exchange(call, lease, head, body, request_id, deadline).await
        };
        let exchanged = exchange.await;
        let mut response = answered(exchanged, &mut progress, request_id)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Made::Reply(response.map(|received| Answer::new(received, Counts::Call(progress)))));
        }
        let model = hyper::upgrade::on(&mut response).await;
        let model = model.map_err(|_| Error::Call(CallFailure::Broken("its server closed the connection")))?;
        Ok(Made::Websocket(response.map(drop), Tunnel::new(model, progress, self.limits.call)))
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
        let mut progress = Progress::begin(&self.app.meter, call, Mode::Async, None);
        let mut head = Request::new(()).into_parts().0;
        (head.method, head.headers) = (Method::POST, headers);
        let lease = progress.hold(lease);
        let exchanged = self.exchange(call, lease, &head, Sent::whole(body), request_id, deadline).await;
        let response = answered(exchanged, &mut progress, request_id)?;
        Ok(response.map(|received| Answer::new(received, Counts::Call(progress))))
    }

    /// Sends a request to a server elsewhere. The path and the host of the request are replaced by those of the URL;
    /// redirects are not followed.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why that server did not answer.
    pub async fn fetch(
        &self,
        url: &RemoteUrl,
        plain: PlainHttp,
        mut request: Request<Sent>,
        deadline: Instant,
    ) -> Result<Response<Received>, Error> {
        head::lead_to(&mut request, url)?;
        let sent = request.body().state();
        let exchange = self.connections.send(Dial::Remote { of: "", url, plain }, request);
        let (response, connection) = match tokio::time::timeout_at(deadline.into(), exchange).await {
            Ok(answered) => answered.map_err(|failure| sent.error().unwrap_or(Error::Call(failure)))?,
            Err(_) => return Err(Error::Call(CallFailure::TimedOut)),
        };
        Ok(response.map(|incoming| Received::new(incoming, connection, sent, deadline)))
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
        self.lease_of(&call.deployment_id, deadline).await
    }

    /// Takes a replica of a deployment that is awake.
    ///
    /// # Errors
    ///
    /// [`CallFailure`] says why no replica takes a call.
    async fn lease_of(&self, deployment_id: &str, deadline: Instant) -> Result<Lease, Error> {
        self.app.fleet.lease(deployment_id, deadline).await.map_err(|unavailable| {
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
        lease: &Lease,
        head: &Parts,
        body: Sent,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Response<Received>, Error> {
        let (replica, sent) = (&lease.replica, body.state());
        let request = head::request(head, call, replica, request_id, body)?;
        let exchange = self.connections.send(Dial::of(replica), request);
        let answered = tokio::select! {
            answered = tokio::time::timeout_at(deadline.into(), exchange) => answered,
            () = replica.ended() => Ok(Err(CallFailure::Broken("its process ended"))),
        };
        match answered {
            Ok(Ok((response, connection))) => {
                Ok(response.map(|incoming| Received::new(incoming, connection, sent, deadline)))
            }
            Ok(Err(failure)) => Err(sent.error().unwrap_or(Error::Call(failure))),
            Err(_) => Err(Error::Call(CallFailure::TimedOut)),
        }
    }
}

/// Notes how a call was answered, and makes the reply one for the caller.
fn answered(
    exchanged: Result<Response<Received>, Error>,
    progress: &mut Progress,
    request_id: &str,
) -> Result<Response<Received>, Error> {
    match exchanged {
        Ok(mut response) => {
            progress.answered(response.status().as_u16());
            head::clean(&mut response, request_id);
            Ok(response)
        }
        Err(error) => {
            progress.answered(error.status().0);
            Err(error)
        }
    }
}

/// The whole body of a reply.
///
/// # Errors
///
/// [`Error::TooLarge`] for a body of more bytes, [`CallFailure::Broken`] if it breaks off.
pub async fn collect<B>(body: B, bytes_max: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error = std::io::Error>,
{
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(Error::TooLarge { bytes_max }),
        Err(_) => Err(Error::Call(CallFailure::Broken("its reply broke off"))),
    }
}
