//! The fields that a GraphQL document asks for.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use crate::error::Error;

/// A field as a document asks for it.
#[derive(Debug)]
pub struct Selected {
    /// What the answer calls it: its alias, or its name.
    pub key: String,
    pub name: String,
    pub arguments: Vec<(String, Arc<Value>)>,
    /// What was read of the arguments before the transaction.
    pub prepared: Prepared,
    /// The type that its fragment says it is a field of.
    pub of: Option<String>,
    /// What is asked of the object that it gives.
    pub fields: Vec<Selected>,
}

impl Selected {
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.iter().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// The arguments, read as this shape.
    ///
    /// # Errors
    ///
    /// 400 with the name of the argument that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        crate::wire::read(
            "an argument",
            MapDeserializer::new(self.arguments.iter().map(|(name, value)| (&**name, &**value))),
        )
    }
}

/// What was read of a root field's arguments on the pool, until the resolver takes it in the transaction.
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
