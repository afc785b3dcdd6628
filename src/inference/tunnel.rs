//! A websocket: after the handshake, bytes pass in both directions until one side closes.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::progress::Progress;

/// Bytes that are read before they are passed on, in each direction.
const PIECE_BYTES: usize = 16 << 10;

/// The side of the model. It holds its replica as long as the websocket is open.
pub struct Tunnel {
    model: Upgraded,
    progress: Progress,
    /// How long nothing may pass before the websocket is closed.
    idle: Duration,
}

impl Tunnel {
    pub(super) fn new(model: Upgraded, progress: Progress, idle: Duration) -> Tunnel {
        Tunnel { model, progress, idle }
    }

    /// Passes bytes on until one side closes, the process of the model ends, or nothing has passed for too long.
    /// `already` are bytes that the caller sent before the handshake was complete.
    pub async fn run<I: Read + Write + Unpin>(mut self, caller: &mut I, already: Bytes) {
        let (from_caller, to_caller) = tokio::io::split(TokioIo::new(caller));
        let (from_model, mut to_model) = tokio::io::split(TokioIo::new(self.model));
        let (bytes, last) = (Cell::new(already.len() as u64), Cell::new(Instant::now()));
        let up = async {
            to_model.write_all(&already).await?;
            pass(from_caller, to_model, &bytes, &last).await
        };
        tokio::select! {
            _ = up => {}
            _ = pass(from_model, to_caller, &bytes, &last) => {}
            () = ended(&self.progress) => {}
            () = idles(&last, self.idle) => {}
        }
        self.progress.exchanged(bytes.get());
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: &Cell<u64>,
    last: &Cell<Instant>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..count]).await?;
        bytes.set(bytes.get() + count as u64);
        last.set(Instant::now());
    }
}

async fn ended(progress: &Progress) {
    match progress.lease() {
        Some(lease) => lease.replica.ended().await,
        None => std::future::pending().await,
    }
}

async fn idles(last: &Cell<Instant>, idle: Duration) {
    while last.get().elapsed() < idle {
        tokio::time::sleep_until((last.get() + idle).into()).await;
    }
}
