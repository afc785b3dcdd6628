//! When the body of a request is read: a small body in the request's transaction, a large one before it, on the pool.
//!
//! A large body is read only for callers who are let in. The handler first runs in a read transaction. If it refuses
//! before it asks for the body, the request is refused. If it asks for the body, the handler stops, and the body is
//! read on the pool. Then the handler runs in its own transaction and gets the result.

use std::any::Any;
use std::cell::Cell;

use bytes::Bytes;

use crate::db::{Db, Now, Tx};
use crate::error::Error;
use crate::pool::Pool;

/// The size limit of a body, unless its route sets another limit.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The size limit of a body that anyone may send, even without a key.
pub const OPEN_BODY_BYTES_MAX: usize = 64 << 10;
/// The size limit of a body for a Model API. It may hold images.
pub const PROMPT_BYTES_MAX: usize = 8 << 20;
/// The size limit of a file of fixtures, which only the operator sends.
pub const FIXTURES_BYTES_MAX: usize = 64 << 20;

/// Bodies up to this size are read in the transaction, so that their handler runs only once.
const TRIED_ONCE_BYTES_MAX: usize = 1 << 10;
/// JSON up to this size is read where the handler asks for it: this takes well below a millisecond.
const READ_IN_PLACE_BYTES_MAX: usize = 16 << 10;

/// Where the body of a request is read.
#[derive(Default)]
pub enum Body {
    /// Where the handler asks for it.
    #[default]
    InPlace,
    /// On the pool. The work is stored here, and the handler stops.
    OnPool(Cell<Option<Reading>>),
    /// Before the transaction. The result is stored here.
    Read(Cell<Option<ReadBody>>),
}

/// The result of reading a body before its transaction.
pub type ReadBody = Box<dyn Any + Send>;
type Reading = Box<dyn FnOnce() -> Result<ReadBody, Error> + Send>;

/// How much work it is to read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Parsing JSON into its type.
    Json,
    /// More work, such as YAML, base 64 or hashes.
    High,
}

impl Body {
    pub fn of_read(read: impl Any + Send) -> Body {
        Body::Read(Cell::new(Some(Box::new(read))))
    }

    /// Reads the body, or takes the result if the body was read before the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] if the body must be read on the pool first, [`Error::Internal`] as in [`Body::take`], and the
    /// refusals of `read`.
    pub fn read<T: Send + 'static>(
        &self,
        bytes: &Bytes,
        cost: Cost,
        read: fn(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Body::InPlace => read(bytes),
            Body::OnPool(_) if cost == Cost::Json && bytes.len() <= READ_IN_PLACE_BYTES_MAX => read(bytes),
            Body::OnPool(reading) => {
                let bytes = bytes.clone();
                reading.set(Some(Box::new(move || read(&bytes).map(|read| Box::new(read) as ReadBody))));
                Err(Error::Unread)
            }
            Body::Read(_) => self.take(),
        }
    }

    /// Takes the result of reading the body before the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if there is no result: the handler asks a second time, or it wrote before it asked.
    pub fn take<T: 'static>(&self) -> Result<T, Error> {
        let read = match self {
            Body::Read(read) => read.take(),
            Body::InPlace | Body::OnPool(_) => None,
        };
        let read = read.and_then(|read| read.downcast().ok());
        read.map(|read| *read).ok_or_else(|| Error::Internal("a body was not read before its transaction".to_owned()))
    }
}

/// Reads a large body before its transaction. `attempt` runs the handler with a body, and returns the organization that
/// the work is for, the outcome and the body.
///
/// # Errors
///
/// [`Error::Busy`] if too much work of the organization waits for the pool, and the refusals of the handler and of
/// reading the body.
pub async fn read_before_transaction(
    db: &Db,
    pool: &Pool,
    now: Now,
    bytes: &Bytes,
    attempt: impl FnOnce(&Tx, Body) -> Result<(String, Result<(), Error>, Body), Error>,
) -> Result<Body, Error> {
    if bytes.len() <= TRIED_ONCE_BYTES_MAX {
        return Ok(Body::InPlace);
    }
    let (owner, tried, body) = db.read(now, |tx| attempt(tx, Body::OnPool(Cell::new(None))))?;
    let Body::OnPool(reading) = body else { return Ok(body) };
    match (reading.take(), tried) {
        (Some(reading), _) => {
            let read = pool.run(&owner, bytes.len(), reading).await?;
            Ok(Body::Read(Cell::new(Some(read))))
        }
        // The handler reads the body in place or not at all. A handler that writes fails in a read transaction and
        // succeeds in its own transaction.
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) if bytes.len() <= READ_IN_PLACE_BYTES_MAX => {
            Ok(Body::InPlace)
        }
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) => Ok(Body::Read(Cell::new(None))),
        (None, Err(refused)) => Err(refused),
    }
}
