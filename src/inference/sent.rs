//! The body of a call as it goes to a model: passed on piece by piece, within its limits.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::limits::Limits;
use crate::budget::memory::{Account, gave_way};
use crate::error::Error;

/// The body of a call.
pub struct Sent {
    source: Source,
    state: Arc<State>,
}

enum Source {
    /// It arrives from the caller.
    Arriving(Box<Arriving>),
    /// It is here.
    Whole(Option<Bytes>),
}

struct Arriving {
    incoming: Incoming,
    account: Account,
    bytes_max: u64,
    stalled: Duration,
    /// Set while nothing arrives.
    waits: Option<Waits>,
}

struct Waits {
    stall: Pin<Box<Sleep>>,
    gives_way: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What became of a body. The body itself belongs to the connection that sends it.
#[derive(Default)]
pub(super) struct State {
    has_ended: AtomicBool,
    bytes: AtomicU64,
    fault: OnceLock<Fault>,
}

/// What was wrong with a body that arrived.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    TooLarge { bytes_max: u64 },
    Stalled,
    GaveWay,
    BrokeOff,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.error())
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn error(self) -> Error {
        match self {
            Fault::TooLarge { bytes_max } => {
                Error::TooLarge { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) }
            }
            Fault::Stalled => Error::RequestTimeout,
            Fault::GaveWay => gave_way(),
            Fault::BrokeOff => Error::Invalid("the body breaks off or is not framed as its head says".to_owned()),
        }
    }
}

impl Sent {
    /// A body that arrives from a caller.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if its head says that it has more bytes than a call may send.
    pub fn arriving(incoming: Incoming, account: Account, limits: &Limits) -> Result<Sent, Error> {
        let bytes_max = limits.body_bytes_max;
        if incoming.size_hint().lower() > bytes_max {
            return Err(Fault::TooLarge { bytes_max }.error());
        }
        if incoming.is_end_stream() {
            return Ok(Sent::whole(Bytes::new()));
        }
        let arriving = Arriving { incoming, account, bytes_max, stalled: limits.stalled, waits: None };
        Ok(Sent { source: Source::Arriving(Box::new(arriving)), state: Arc::default() })
    }

    pub fn whole(bytes: Bytes) -> Sent {
        let state = Arc::new(State::default());
        state.bytes.store(bytes.len() as u64, Ordering::Relaxed);
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        state.has_ended.store(bytes.is_none(), Ordering::Relaxed);
        Sent { source: Source::Whole(bytes), state }
    }

    /// What becomes of this body.
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }
}

impl State {
    /// Whether the whole body was passed on.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// The bytes that were passed on so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What was wrong with the body.
    pub fn error(&self) -> Option<Error> {
        self.fault.get().map(|fault| fault.error())
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Sent { source, state } = self.get_mut();
        let polled = match source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Arriving(arriving) => arriving.poll(context, state),
        };
        match &polled {
            Poll::Ready(None) => state.has_ended.store(true, Ordering::Relaxed),
            Poll::Ready(Some(Err(fault))) => drop(state.fault.set(*fault)),
            Poll::Ready(Some(Ok(_))) if self_ended(source) => state.has_ended.store(true, Ordering::Relaxed),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self_ended(&self.source)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Source::Arriving(arriving) => arriving.incoming.size_hint(),
        }
    }
}

fn self_ended(source: &Source) -> bool {
    match source {
        Source::Whole(bytes) => bytes.is_none(),
        Source::Arriving(arriving) => arriving.incoming.is_end_stream(),
    }
}

impl Arriving {
    fn poll(&mut self, context: &mut Context<'_>, state: &State) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => return self.wait(context),
            Poll::Ready(frame) => frame,
        };
        if self.waits.take().is_some() {
            self.account.works();
        }
        let data = match frame.transpose() {
            Err(_) => return Poll::Ready(Some(Err(Fault::BrokeOff))),
            Ok(frame) => frame.and_then(|frame| frame.into_data().ok()), // trailers end the body and are not passed on
        };
        let Some(data) = data else { return Poll::Ready(None) };
        let bytes = state.bytes.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
        if bytes > self.bytes_max {
            return Poll::Ready(Some(Err(Fault::TooLarge { bytes_max: self.bytes_max })));
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// The caller sends nothing: its connection may give way to others, and may not stall forever.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let waits = self.waits.get_or_insert_with(|| {
            self.account.receives();
            let account = self.account.clone();
            Waits {
                stall: Box::pin(tokio::time::sleep(self.stalled)),
                gives_way: Box::pin(async move { account.given_way().await }),
            }
        });
        if waits.gives_way.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Fault::GaveWay)));
        }
        waits.stall.as_mut().poll(context).map(|()| Some(Err(Fault::Stalled)))
    }
}
