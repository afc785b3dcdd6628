//! The deadlines of a connection: for a request head, for idling, and for a reply that nobody reads.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
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
    /// A request was refused while its body is still arriving.
    Refused,
}

impl Pace {
    pub(super) fn idle(limits: &Limits) -> Pace {
        Pace::Idle(Instant::now() + limits.idle)
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
            (Poll::Ready(_), Pace::Head(_)) | (_, Pace::Answering | Pace::Refused) => {}
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
        if matches!(self.connection.phase(), Phase::Idle | Phase::Head | Phase::Closing) {
            self.connection.enter(Phase::Reply);
        }
        let deadline = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limits.stalled)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl<I: Write + Unpin> Write for Paced<'_, I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write(context, bytes);
        self.unless_stalled(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut *self.io).poll_flush(context);
        if flushed.is_ready() && self.connection.phase() == Phase::Reply {
            self.connection.enter(Phase::Idle);
        }
        self.unless_stalled(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(context)
    }
}
