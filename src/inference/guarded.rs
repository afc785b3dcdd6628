//! A connection whose server may send only so much before the head of its reply is complete.
//!
//! hyper bounds one head. It skips informational heads, of which a server could send any number.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes may arrive before the head of a reply is complete. The first bytes of its body may be among them.
const BEFORE_REPLY_BYTES_MAX: usize = 1 << 20;

/// How many bytes may still arrive.
pub(super) struct HeadBudget(AtomicUsize);

impl Default for HeadBudget {
    fn default() -> HeadBudget {
        HeadBudget(AtomicUsize::new(usize::MAX))
    }
}

impl HeadBudget {
    /// A request is being sent.
    pub fn begin(&self) {
        self.0.store(BEFORE_REPLY_BYTES_MAX, Ordering::Relaxed);
    }

    /// The head of its reply has arrived.
    pub fn end(&self) {
        self.0.store(usize::MAX, Ordering::Relaxed);
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == usize::MAX {
            return Ok(());
        }
        let left = left.checked_sub(bytes).ok_or(io::ErrorKind::InvalidData)?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

pub(super) struct Guarded<I> {
    io: I,
    budget: Arc<HeadBudget>,
}

impl<I> Guarded<I> {
    pub fn new(io: I, budget: Arc<HeadBudget>) -> Guarded<I> {
        Guarded { io, budget }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        Poll::Ready(self.budget.spend(buffer.filled().len() - before))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
