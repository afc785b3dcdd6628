//! The limits of calls.

use std::time::Duration;

use crate::domain::calls::{CALL_BODY_BYTES_MAX, PREDICT_TIMEOUT};

/// The limits of calls.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a call may take in all. A websocket is closed when nothing has passed for this long.
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
