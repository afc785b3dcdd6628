//! The body of a model's reply as it goes to the caller.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::model_api::Asking;
use super::progress::Progress;
use super::received::Received;

/// The body of a model's reply. Dropping it ends the call.
pub struct Answer {
    received: Received,
    /// Ends after the connection is free, so that the next call finds the connection.
    counts: Counts,
}

/// What counts a call when it ends.
pub(super) enum Counts {
    Call(Progress),
    ModelApi(Asking),
}

impl Answer {
    pub(super) fn new(received: Received, counts: Counts) -> Answer {
        Answer { received, counts }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.received).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Counts::ModelApi(asking)) = (&polled, &mut self.counts)
            && let Some(data) = frame.data_ref()
        {
            asking.saw(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        match &mut self.counts {
            Counts::Call(progress) => progress.exchanged(self.received.exchanged_bytes()),
            Counts::ModelApi(_) => {}
        }
    }
}
