//! Response bodies: in memory, read from the disk in pieces, or passed on from a model.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::paced::Streaming;
use crate::budget::memory::{Account, FREE_BYTES, Held};
use crate::inference::Answer;

const PIECE_BYTES: usize = 128 << 10;
/// How many bytes of a body in memory hyper copies at a time. It keeps the largest copy for the life of the
/// connection.
const SLICE_BYTES: usize = 64 << 10;

pub enum Outgoing {
    /// A body in memory, with the account that it is charged to.
    Whole(Bytes, Option<Held>),
    File {
        file: File,
        bytes_left: u64,
    },
    /// The reply of a model, as it arrives.
    Call {
        answer: Box<Answer>,
        _streaming: Streaming,
    },
}

impl Outgoing {
    /// Charges a body in memory to the caller until it is sent.
    pub(super) fn charge(&mut self, account: &Account) {
        if let Outgoing::Whole(body, held) = self
            && body.len() > FREE_BYTES
        {
            held.insert(account.hold()).take(body.len());
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    /// Reads the next piece on this thread, which takes less time than another thread would.
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Outgoing::Whole(rest, _) if rest.is_empty() => Poll::Ready(None),
            Outgoing::Whole(rest, _) => {
                let slice = rest.split_to(SLICE_BYTES.min(rest.len()));
                Poll::Ready(Some(Ok(Frame::data(slice))))
            }
            Outgoing::Call { answer, .. } => Pin::new(answer).poll_frame(context),
            Outgoing::File { bytes_left: 0, .. } => Poll::Ready(None),
            Outgoing::File { file, bytes_left } => Poll::Ready(Some(piece(file, bytes_left))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(rest, _) => rest.is_empty(),
            Outgoing::File { bytes_left, .. } => *bytes_left == 0,
            Outgoing::Call { answer, .. } => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(rest, _) => SizeHint::with_exact(rest.len() as u64),
            Outgoing::File { bytes_left, .. } => SizeHint::with_exact(*bytes_left),
            Outgoing::Call { answer, .. } => answer.size_hint(),
        }
    }
}

fn piece(file: &mut File, bytes_left: &mut u64) -> io::Result<Frame<Bytes>> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(*bytes_left).unwrap_or(PIECE_BYTES))];
    let read = file.read(&mut piece)?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof)); // the connection breaks, so that the client does not take a partial file for the whole
    }
    piece.truncate(read);
    *bytes_left -= read as u64;
    Ok(Frame::data(Bytes::from(piece)))
}
