//! The body of a response: held whole, or read from the disk piece by piece.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

const PIECE_BYTES: usize = 128 << 10;

pub enum Outgoing {
    Whole(Full<Bytes>),
    File { file: File, bytes_left: u64 },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    /// A piece is read where it is asked for: it takes less than handing it to another thread.
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Outgoing::Whole(body) => {
                let polled = Pin::new(body).poll_frame(context);
                polled.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Outgoing::File { bytes_left: 0, .. } => Poll::Ready(None),
            Outgoing::File { file, bytes_left } => Poll::Ready(Some(piece(file, bytes_left))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(body) => body.is_end_stream(),
            Outgoing::File { bytes_left, .. } => *bytes_left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(body) => body.size_hint(),
            Outgoing::File { bytes_left, .. } => SizeHint::with_exact(*bytes_left),
        }
    }
}

fn piece(file: &mut File, bytes_left: &mut u64) -> io::Result<Frame<Bytes>> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(*bytes_left).unwrap_or(PIECE_BYTES))];
    let read = file.read(&mut piece)?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof)); // the connection is cut: the reader must not take it for whole
    }
    piece.truncate(read);
    *bytes_left -= read as u64;
    Ok(Frame::data(Bytes::from(piece)))
}
