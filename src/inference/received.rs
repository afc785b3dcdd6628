//! The body of a server's reply, passed on piece by piece until its deadline.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::connections::Connection;
use super::sent::State;

/// The body of a reply. It ends with an error at its deadline. If it is dropped before its end, the connection to the
/// server is closed at once.
pub struct Received {
    incoming: Incoming,
    has_ended: bool,
    bytes: u64,
    deadline: Pin<Box<Sleep>>,
    sent: Arc<State>,
    connection: Option<Connection>,
}

impl Received {
    pub(super) fn new(incoming: Incoming, connection: Connection, sent: Arc<State>, deadline: Instant) -> Received {
        let deadline = Box::pin(tokio::time::sleep_until(deadline.into()));
        Received { incoming, has_ended: false, bytes: 0, deadline, sent, connection: Some(connection) }
    }

    /// The bytes of both bodies so far.
    pub(super) fn exchanged_bytes(&self) -> u64 {
        self.bytes + self.sent.bytes()
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => self.deadline.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::TimedOut.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes += data.len() as u64;
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

impl Drop for Received {
    fn drop(&mut self) {
        // A connection on which a body is still under way carries no other request.
        if self.is_end_stream()
            && self.sent.has_ended()
            && let Some(connection) = self.connection.take()
        {
            connection.release();
        }
    }
}
