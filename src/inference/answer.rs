//! The body of a model's reply as it goes to the caller, and the end of a call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::connections::Connection;
use super::head;
use super::sent::State;
use crate::domain::calls::{Call, CallMade, Mode, STATUS_CALLER_LEFT};
use crate::error::Error;
use crate::runner::fleet::Lease;
use crate::runner::meter::Meter;

/// The body of a model's reply. It ends with an error at the deadline of the call. Dropping it ends the call: if the
/// reply has not ended, the connection to the model is closed.
pub struct Answer {
    incoming: Incoming,
    has_ended: bool,
    deadline: Pin<Box<Sleep>>,
    sent: Arc<State>,
    connection: Option<Connection>,
    made: Made,
    /// Freed after the connection, so that the next call finds the connection.
    _lease: Lease,
}

/// What a reply came by, which must last until its body has ended.
pub(super) struct Replied {
    pub connection: Connection,
    pub sent: Arc<State>,
    pub lease: Lease,
}

impl Answer {
    fn new(incoming: Incoming, replied: Replied, deadline: Instant, made: Made) -> Answer {
        let deadline = Box::pin(tokio::time::sleep_until(deadline.into()));
        let Replied { connection, sent, lease } = replied;
        Answer { incoming, has_ended: false, deadline, sent, connection: Some(connection), made, _lease: lease }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => self.deadline.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::TimedOut.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.made.record.bytes += data.len() as u64;
                    return Poll::Ready(Some(Ok(frame)));
                }
                self.has_ended = true; // trailers are not passed on
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(cause))) => Poll::Ready(Some(Err(io::Error::other(cause)))),
            Poll::Ready(None) => {
                self.has_ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.made.record.bytes += self.sent.bytes();
        // A connection on which a body is still under way carries no other call.
        if self.is_end_stream()
            && self.sent.has_ended()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }
}

/// A call that is counted when this is dropped.
pub(super) struct Made {
    meter: Arc<Meter>,
    since: Instant,
    record: CallMade,
}

impl Made {
    /// Begins a call. Until it is answered, it counts as one whose caller left.
    pub fn begin(meter: &Arc<Meter>, call: &Call, mode: Mode) -> Made {
        let record = CallMade {
            org_id: call.org_id.clone(),
            team_id: call.team_id.clone(),
            model_id: call.model_id.clone(),
            deployment_id: call.deployment_id.clone(),
            environment: call.environment.clone(),
            caller: call.caller.clone(),
            status: STATUS_CALLER_LEFT,
            milliseconds: 0,
            bytes: 0,
            mode,
            input_tokens: None,
            output_tokens: None,
        };
        Made { meter: Arc::clone(meter), since: Instant::now(), record }
    }

    /// The reply to the call.
    pub fn of(
        mut self,
        exchanged: Result<(Response<Incoming>, Replied), Error>,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Response<Answer>, Error> {
        match exchanged {
            Ok((response, replied)) => {
                self.record.status = response.status().as_u16();
                let mut response = response.map(|incoming| Answer::new(incoming, replied, deadline, self));
                head::clean(&mut response, request_id);
                Ok(response)
            }
            Err(error) => {
                self.record.status = error.status().0;
                Err(error)
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.record.milliseconds = self.since.elapsed().as_millis() as u64;
        self.meter.note(self.record.clone());
    }
}
