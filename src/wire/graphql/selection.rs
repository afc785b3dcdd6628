//! The fields that a GraphQL document selects.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use crate::error::Error;

/// A field that a document selects.
#[derive(Debug)]
pub struct Selected {
    /// The name in the reply: the field's alias, or its name.
    pub key: String,
    pub name: String,
    pub arguments: Vec<(String, Arc<Value>)>,
    /// The arguments that were read before the transaction.
    pub prepared: Prepared,
    /// The type that the fragment around this field states.
    pub of: Option<String>,
    /// The fields that are selected of the returned object.
    pub fields: Vec<Selected>,
}

impl Selected {
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.iter().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// Reads the arguments as this shape.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names the argument that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        crate::wire::read(
            "an argument",
            MapDeserializer::new(self.arguments.iter().map(|(name, value)| (&**name, &**value))),
        )
    }
}

/// The arguments of a root field. They are read on the pool and kept here until the resolver takes them in the
/// transaction.
#[derive(Default)]
pub struct Prepared(Cell<Option<Result<Box<dyn Any + Send>, Error>>>);

impl Prepared {
    pub fn set(&self, read: Result<Box<dyn Any + Send>, Error>) {
        self.0.set(Some(read));
    }

    /// Takes the arguments.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] if nothing was read yet, otherwise the error from reading the arguments.
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
