//! When the body of a request is read: in its transaction if it is small, ahead of it and on the pool if it is not.
//!
//! A large body is read only for those who are let in. The handler is tried in a read transaction first: whatever refuses
//! before it asks for the body refuses there, and where it asks, what it asks for is read on the pool. Then the handler is
//! run in its own transaction and gets what was read.

use std::any::Any;
use std::cell::Cell;

use bytes::Bytes;

use crate::db::{Db, Now, Tx};
use crate::error::Error;
use crate::pool::Pool;

/// The limit of a body where its route sets no other.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The limit of a body that anyone may send, also without a key.
pub const OPEN_BODY_BYTES_MAX: usize = 64 << 10;
/// The limit of a file of fixtures, which only the operator sends.
pub const FIXTURES_BYTES_MAX: usize = 64 << 20;

/// Bodies up to this size are read in the transaction: a handler is not tried twice for them.
const TRIED_ONCE_BYTES_MAX: usize = 1 << 10;
/// JSON up to this size is read where it is asked for: it takes well below a millisecond.
const READ_IN_PLACE_BYTES_MAX: usize = 16 << 10;

/// Where the body of a request is read.
#[derive(Default)]
pub enum Body {
    /// Where it is asked for.
    #[default]
    InPlace,
    /// On the pool: the work is kept here, and the handler ends.
    OnPool(Cell<Option<Reading>>),
    /// It was read before the transaction.
    Read(Cell<Option<ReadBody>>),
}

/// What was read of a body before a transaction.
pub type ReadBody = Box<dyn Any + Send>;
type Reading = Box<dyn FnOnce() -> Result<ReadBody, Error> + Send>;

/// How much work it is to read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// JSON into its shape.
    Json,
    /// More: YAML, base 64, hashes.
    High,
}

impl Body {
    pub fn of_read(read: impl Any + Send) -> Body {
        Body::Read(Cell::new(Some(Box::new(read))))
    }

    /// Reads the body, or takes what was read of it before.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] where it is to be read on the pool first; otherwise what `read` refuses.
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

    /// Takes what was read of the body before the transaction.
    ///
    /// # Errors
    ///
    /// An internal error where nothing was read: the handler asks a second time, or wrote before it asked.
    pub fn take<T: 'static>(&self) -> Result<T, Error> {
        let read = match self {
            Body::Read(read) => read.take(),
            Body::InPlace | Body::OnPool(_) => None,
        };
        let read = read.and_then(|read| read.downcast().ok());
        read.map(|read| *read).ok_or_else(|| Error::Internal("a body was not read before its transaction".to_owned()))
    }
}

/// Reads a body before its transaction, if that is worth it. `attempt` runs the handler with a body, and returns the
/// organization that the work is for, the outcome and the body.
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
        // The handler reads the body in place, or not at all. One that writes fails in a read transaction and succeeds in its
        // own.
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) if bytes.len() <= READ_IN_PLACE_BYTES_MAX => {
            Ok(Body::InPlace)
        }
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) => Ok(Body::Read(Cell::new(None))),
        (None, Err(refused)) => Err(refused),
    }
}
