//! A field that a GraphQL document asks for.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use crate::error::Error;
use crate::wire;
use crate::wire::graphql::prepared::Prepared;

/// A field as it is asked for.
#[derive(Debug)]
pub struct Selected {
    /// What the answer calls it: its alias, or its name.
    pub key: String,
    pub name: String,
    pub arguments: Vec<(String, Arc<Value>)>,
    /// What was read of the arguments ahead of the transaction.
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

    /// The arguments. What cannot be read as the shape is refused with the argument's name.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        wire::read("an argument", MapDeserializer::new(self.arguments.iter().map(|(name, value)| (&**name, &**value))))
    }
}
