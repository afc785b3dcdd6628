//! What was read of a root field's arguments on the pool, for the resolver that runs in the transaction.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use crate::error::Error;

/// Holds it until the resolver takes it.
#[derive(Default)]
pub struct Prepared(Cell<Option<Result<Box<dyn Any + Send>, Error>>>);

impl Prepared {
    pub fn set(&self, read: Result<Box<dyn Any + Send>, Error>) {
        self.0.set(Some(read));
    }

    /// # Errors
    /// [`Error::Unread`] where nothing was read yet, otherwise what refused the arguments.
    pub fn take<T: 'static>(&self) -> Result<T, Error> {
        let read = self.0.take().ok_or(Error::Unread)??;
        read.downcast().map(|read| *read).map_err(|_| Error::Internal("another type was prepared".to_owned()))
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}
