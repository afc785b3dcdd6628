//! When the body of a request is read: in its transaction if it is small, ahead of it and on the pool if it is not.
//!
//! A large body is read only for those who are let in. The handler is tried in a read transaction first: whatever refuses
//! before it asks for the body refuses there, and where it asks, what it asks for is read on the pool. Then the handler is
//! run in its own transaction and gets what was read.

use std::any::Any;
use std::cell::Cell;

use bytes::Bytes;

use crate::api::App;
use crate::db::{Now, Tx};
use crate::error::Error;

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
    /// On the pool: how is noted, and the handler ends.
    Ahead(Cell<Option<Reading>>),
    /// It has been read.
    Read(Cell<Option<Prepared>>),
}

/// What was read ahead of a transaction.
pub type Prepared = Box<dyn Any + Send>;
type Reading = Box<dyn FnOnce() -> Result<Prepared, Error> + Send>;

/// How much work it is to read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// JSON into its shape.
    Json,
    /// More: YAML, base 64, hashes.
    High,
}

impl Body {
    pub fn read<T: Send + 'static>(
        &self,
        bytes: &Bytes,
        cost: Cost,
        read: fn(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Body::InPlace => read(bytes),
            Body::Ahead(_) if cost == Cost::Json && bytes.len() <= READ_IN_PLACE_BYTES_MAX => read(bytes),
            Body::Ahead(reading) => {
                let bytes = bytes.clone();
                reading.set(Some(Box::new(move || read(&bytes).map(|read| Box::new(read) as Prepared))));
                Err(Error::Unread)
            }
            // Nothing was read where the handler asks another time, or wrote before it asked.
            Body::Read(prepared) => {
                let prepared = prepared.take().and_then(|prepared| prepared.downcast().ok());
                prepared.map(|read| *read).ok_or_else(|| Error::Internal("a body was not read ahead".to_owned()))
            }
        }
    }
}

/// Reads a body ahead of its transaction, if that is worth it. `attempt` runs the handler with it, and gives the
/// organization that the work is for, what came of it and the body.
pub async fn read_ahead(
    app: &App,
    now: Now,
    bytes: &Bytes,
    attempt: impl FnOnce(&Tx, Body) -> Result<(String, Result<(), Error>, Body), Error>,
) -> Result<Body, Error> {
    if bytes.len() <= TRIED_ONCE_BYTES_MAX {
        return Ok(Body::InPlace);
    }
    let (owner, tried, body) = app.db.read(now, |tx| attempt(tx, Body::Ahead(Cell::new(None))))?;
    let Body::Ahead(reading) = body else { return Ok(body) };
    match (reading.take(), tried) {
        (Some(reading), _) => {
            let prepared = app.pool.run(&owner, bytes.len(), reading).await?;
            Ok(Body::Read(Cell::new(Some(prepared))))
        }
        // It takes the body in place, or none: a handler that writes fails in a read transaction, and not in its own.
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) if bytes.len() <= READ_IN_PLACE_BYTES_MAX => {
            Ok(Body::InPlace)
        }
        (None, Ok(()) | Err(Error::Internal(_) | Error::Defect(_))) => Ok(Body::Read(Cell::new(None))),
        (None, Err(refused)) => Err(refused),
    }
}
