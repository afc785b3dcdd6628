//! The deadlines of a connection: for a request head, for idling, and for a reply that nobody reads.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use super::Limits;
use crate::budget::connections::{Connection, Phase};

/// The state of a connection, with its deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// No byte of a request has arrived. The connection closes at this time.
    Idle(Instant),
    /// The first byte of a head has arrived. The rest must arrive before this time.
    Head(Instant),
    /// A request is being answered. Its body has its own deadline.
    Answering,
    /// A model is answering, or its reply is being passed on. The deadline is that of the call.
    Calling,
    /// A request was refused while its body is still arriving.
    Refused,
}

impl Pace {
    pub(super) fn idle(limits: &Limits) -> Pace {
        Pace::Idle(Instant::now() + limits.idle)
    }

    /// The state of a new connection. It is shared with the replies of models, which change it when they end.
    pub(super) fn first(limits: &Limits) -> Rc<Cell<Pace>> {
        Rc::new(Cell::new(Pace::idle(limits)))
    }
}

/// A reply of a model that is being passed on. When it has ended, the connection waits for the next request.
pub struct Streaming {
    pub(super) pace: Rc<Cell<Pace>>,
    pub(super) connection: Arc<Connection>,
    pub(super) limits: Limits,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.pace.set(Pace::idle(&self.limits));
        self.connection.enter(Phase::Idle);
    }
}

/// A socket that can tell that its peer has left although nothing is read from it.
pub(super) trait Watched {
    /// Ready if the peer has closed the connection. While bytes of it wait to be read, nobody can tell.
    fn poll_left(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl Watched for TokioIo<TcpStream> {
    fn poll_left(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.inner().poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Watched for TokioIo<UnixStream> {
    /// The operator's commands make no calls.
    fn poll_left(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// A socket that fails when a head is late or when a reply is not read.
pub(super) struct Paced<'c, I> {
    io: &'c mut I,
    pace: &'c Cell<Pace>,
    connection: &'c Connection,
    limits: Limits,
    alarm: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl<'c, I> Paced<'c, I> {
    pub(super) fn new(io: &'c mut I, pace: &'c Cell<Pace>, connection: &'c Connection, limits: Limits) -> Paced<'c, I> {
        Paced { io, pace, connection, limits, alarm: None, stall: None }
    }
}

impl<I: Read + Unpin> Read for Paced<'_, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut *self.io).poll_read(context, buffer);
        match (&read, self.pace.get()) {
            (Poll::Ready(_), Pace::Idle(_)) => {
                self.pace.set(Pace::Head(Instant::now() + self.limits.head));
                self.connection.enter(Phase::Head);
            }
            (Poll::Pending, Pace::Idle(until) | Pace::Head(until)) => {
                ready!(self.poll_until(context, until));
                return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
            }
            (Poll::Ready(_), Pace::Head(_)) | (_, Pace::Answering | Pace::Calling | Pace::Refused) => {}
        }
        read
    }
}

impl<I> Paced<'_, I> {
    /// Ready at `until`. A timer that is set for an earlier time fires and is then postponed: so a connection in use
    /// sets one timer per idle period, not one per request.
    fn poll_until(&mut self, context: &mut Context<'_>, until: Instant) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if alarm.deadline() > until {
            alarm.as_mut().reset(until);
        }
        ready!(alarm.as_mut().poll(context));
        if alarm.deadline() < until {
            alarm.as_mut().reset(until);
            return alarm.as_mut().poll(context);
        }
        Poll::Ready(())
    }
}

impl<I: Write + Unpin> Paced<'_, I> {
    /// Fails when a write has waited too long for its reader.
    fn unless_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let phase = self.connection.phase();
        let is_of_call = self.pace.get() == Pace::Calling && phase == Phase::Working;
        if is_of_call || matches!(phase, Phase::Idle | Phase::Head | Phase::Closing) {
            self.connection.enter(Phase::Reply);
        }
        let deadline = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limits.stalled)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl<I: Write + Watched + Unpin> Write for Paced<'_, I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut *self.io).poll_flush(context);
        let is_calling = self.pace.get() == Pace::Calling;
        if flushed.is_ready() && self.connection.phase() == Phase::Reply {
            self.connection.enter(if is_calling { Phase::Working } else { Phase::Idle });
        }
        // hyper flushes at the end of each turn and reads nothing during a call, so only this sees that the caller left.
        if is_calling && self.io.poll_left(context).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        self.unless_stalled(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(context)
    }
}
