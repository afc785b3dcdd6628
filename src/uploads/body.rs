//! A body as it comes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::refusal::Refusal;

pub struct Body {
    incoming: Incoming,
    has_ended: bool,
}

impl Body {
    pub fn new(incoming: Incoming) -> Body {
        Body { has_ended: incoming.is_end_stream(), incoming }
    }

    /// Whether nothing of it is left to read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The next bytes, none at its end. To ask for the first is what invites a body that waits to be.
    pub(super) async fn next(&mut self, stalled: Duration) -> Result<Option<Bytes>, Refusal> {
        loop {
            match tokio::time::timeout(stalled, self.incoming.frame()).await {
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Ok(Some(Err(_))) => return Err(Refusal::incomplete()),
                Err(_) => return Err(Refusal::new(400, "RequestTimeout", "the body brought nothing for too long")),
            }
        }
    }
}
