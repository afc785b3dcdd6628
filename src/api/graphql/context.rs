//! The context of a root field: through it, a resolver reads what was sent.

use std::cell::Cell;

use serde::de::DeserializeOwned;

use crate::api::access::{self, Context, Surface};
use crate::api::request::{Listener, Request};
use crate::domain::Team;
use crate::domain::calls::Callee;
use crate::error::Error;
use crate::wire::graphql::selection::Selected;
use crate::wire::graphql::shape::{Given, Shape};

/// The kind of table that holds the root fields of GraphQL.
#[derive(Clone, Copy, Debug)]
pub struct GraphQl;

impl Surface for GraphQl {
    type Context<'c> = FieldContext<'c>;
    type Reply = Given;
}

/// Who may use a root field.
pub type Access = access::Access<GraphQl>;

// Bounds of an answer, for all its root fields together.
/// The most rows that are read from the database for an answer: models, deployments, Chains, chainlets.
const ROWS_MAX: usize = 50_000;
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How many rows and bytes an answer may still use.
pub(super) struct Left {
    rows: Cell<usize>,
    bytes: Cell<usize>,
}

impl Left {
    pub(super) fn new() -> Left {
        Left { rows: Cell::new(ROWS_MAX), bytes: Cell::new(ANSWER_BYTES_MAX) }
    }
}

fn too_much() -> Error {
    Error::Invalid(format!(
        "the answer would be more than {ROWS_MAX} rows or {ANSWER_BYTES_MAX} bytes: ask for one team, one model or fewer fields"
    ))
}

/// A root field that is being carried out.
pub struct FieldContext<'d> {
    pub(super) selected: &'d Selected,
    /// The request that brought the document.
    pub request: &'d Request,
    pub(super) left: &'d Left,
}

impl FieldContext<'_> {
    /// The arguments as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with the name of the argument that cannot be read.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.selected.read()
    }

    /// Takes the result of reading the arguments on the pool. Call it once, after the checks that do not need it and
    /// before anything is written.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] if the arguments were not read, and otherwise the error of reading them.
    pub(super) fn prepared<T: 'static>(&self) -> Result<T, Error> {
        self.selected.prepared.take()
    }

    /// Counts rows that were read for this field, and refuses an answer that needs too many.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the whole answer needs more than 50,000 rows.
    pub(super) fn count(&self, rows: usize) -> Result<(), Error> {
        self.left.rows.set(self.left.rows.get().checked_sub(rows).ok_or_else(too_much)?);
        Ok(())
    }

    /// An argument that is an id.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is absent or not text.
    pub fn id(&self, argument: &str) -> Result<&str, Error> {
        let id = self.selected.argument(argument).and_then(serde_json::Value::as_str);
        id.ok_or_else(|| Error::field(argument, "must be given, as text"))
    }

    /// Whether this field is selected at the top level of the answer to the root field.
    pub(super) fn wants(&self, field: &str) -> bool {
        self.selected.fields.iter().any(|selected| selected.name == field)
    }

    /// Whether this field is selected at any depth.
    pub(super) fn wants_anywhere(&self, field: &str) -> bool {
        fn has(selected: &Selected, field: &str) -> bool {
            selected.fields.iter().any(|inner| inner.name == field || has(inner, field))
        }
        has(self.selected, field)
    }

    /// Returns the selected fields of a shape.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a field that the shape does not have, or if the whole answer becomes too large.
    pub fn give(&self, shape: &impl Shape) -> Result<Given, Error> {
        let bytes_left = self.left.bytes.get();
        let given = Given::select(shape, self.selected, bytes_left)?;
        self.left.bytes.set(bytes_left.checked_sub(given.as_json().len()).ok_or_else(too_much)?);
        Ok(given)
    }
}

impl Context for FieldContext<'_> {
    fn named(&self, name: &str) -> Result<&str, Error> {
        self.id(name)
    }

    fn listener(&self) -> Listener {
        self.request.from
    }

    /// A document is sent to no model.
    fn callee(&self) -> Option<&Callee> {
        None
    }

    /// A document may be about several teams, so the log names none.
    fn note_team(&self, _: &Team) {}
}
