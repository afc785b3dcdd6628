//! A request body as it arrives.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::refusal::Refusal;
use crate::budget::memory::{Account, Held, gave_way};
use crate::error::Error;

/// Bytes that an upload holds while it arrives: a batch that fills and one that is being written.
const BUFFERS_BYTES: usize = 512 << 10;
/// A body that has delivered this many bytes since the last check has not stalled.
const PROGRESS_BYTES: usize = 256 << 10;

pub struct Body {
    incoming: Incoming,
    has_ended: bool,
    account: Account,
    held: Option<Held>,
    /// Bytes since the connection was last seen to deliver something.
    came_bytes: usize,
}

impl Body {
    pub fn new(incoming: Incoming, account: Account) -> Body {
        Body { has_ended: incoming.is_end_stream(), incoming, account, held: None, came_bytes: 0 }
    }

    /// Whether the whole body has been read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reserves memory for this many bytes of the body.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.account.receives();
        self.held.get_or_insert_with(|| self.account.hold()).grow_to(bytes)
    }

    /// Reads the next bytes; none at the end. The first call sends `100 Continue` to a client that waits for it.
    pub(super) async fn next(&mut self, stalled: Duration) -> Result<Option<Bytes>, Refusal> {
        if self.held.is_none() {
            self.hold(BUFFERS_BYTES)?;
        }
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(stalled, self.incoming.frame()) => frame,
                () = self.account.given_way() => return Err(gave_way().into()),
            };
            match frame {
                Ok(None) => {
                    self.has_ended = true;
                    self.account.works();
                    return Ok(None);
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.note_progress(bytes.len());
                        return Ok(Some(bytes));
                    }
                }
                Ok(Some(Err(_))) => return Err(Refusal::incomplete()),
                Err(_) => return Err(Refusal::new(400, "RequestTimeout", "the body brought nothing for too long")),
            }
        }
    }

    fn note_progress(&mut self, bytes: usize) {
        self.came_bytes += bytes;
        if self.came_bytes >= PROGRESS_BYTES {
            self.came_bytes = 0;
            self.account.receives();
        }
    }
}
