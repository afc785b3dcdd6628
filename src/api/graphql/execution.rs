//! Carries out the root fields of an operation. In a query, each root field succeeds or fails alone; a mutation carries
//! out all of its root fields or none.

use crate::api::graphql::context::{FieldContext, Left};
use crate::api::graphql::document::{Kind, Operation};
use crate::api::graphql::root_fields::{Prepare, RootField};
use crate::api::request::Request;
use crate::db::Tx;
use crate::error::{Error, quoted};
use crate::policy::Caller;
use crate::wire;
use crate::wire::graphql::selection::Selected;
use crate::wire::graphql::shape::Given;

/// The root fields whose arguments must be read on the pool. Root fields that are refused before their arguments are
/// needed are left out: they are refused again when they are carried out.
pub fn to_prepare<'o>(
    tx: &Tx,
    caller: &Caller,
    operation: &'o Operation,
    request: &Request,
    table: &'static [RootField],
) -> Vec<(&'o Selected, Prepare)> {
    let left = Left::new();
    let admitted = |selected: &'o Selected| {
        let prepare = find(operation.kind, selected, table).ok()?.prepare?;
        let tried = answer(tx, caller, operation.kind, &FieldContext { selected, request, left: &left }, table);
        matches!(tried, Err(Error::Unread)).then_some((selected, prepare))
    };
    operation.fields.iter().filter_map(admitted).collect()
}

/// Carries out an operation with the root fields of a table, and answers in GraphQL's shape.
///
/// # Errors
///
/// An internal error, or [`Error::StorageFull`]: no root field caused it, and nothing was written.
pub fn execute(
    tx: &Tx,
    caller: &Caller,
    operation: &Operation,
    request: &Request,
    table: &[RootField],
) -> Result<Vec<u8>, Error> {
    let left = Left::new();
    let answer = |selected| answer(tx, caller, operation.kind, &FieldContext { selected, request, left: &left }, table);
    match operation.kind {
        Kind::Query => each(operation, answer),
        Kind::Mutation => all_or_nothing(tx, operation, answer),
    }
}

fn each<'o>(operation: &'o Operation, answer: impl Fn(&'o Selected) -> Result<Given, Error>) -> Result<Vec<u8>, Error> {
    let (mut data, mut failures) = (Vec::new(), Vec::new());
    for selected in &operation.fields {
        let given = match answer(selected) {
            Ok(given) => Some(given),
            Err(error) => {
                failures.push(wire::graphql::Failure::of_field(&selected.key, &for_client(error)?));
                None
            }
        };
        data.push((selected.key.as_str(), given));
    }
    Ok(wire::graphql::answer(Some(&data), &failures))
}

fn all_or_nothing<'o>(
    tx: &Tx,
    operation: &'o Operation,
    answer: impl Fn(&'o Selected) -> Result<Given, Error>,
) -> Result<Vec<u8>, Error> {
    let done = tx.attempt(|| {
        let fields = operation.fields.iter().map(|selected| match answer(selected) {
            Ok(given) => Ok((selected.key.as_str(), Some(given))),
            Err(error) => Err((selected.key.as_str(), error)),
        });
        fields.collect::<Result<Vec<_>, _>>()
    })?;
    match done {
        Ok(data) => Ok(wire::graphql::answer(Some(&data), &[])),
        Err((key, error)) => {
            Ok(wire::graphql::answer(None, &[wire::graphql::Failure::of_field(key, &for_client(error)?)]))
        }
    }
}

/// The error as the client reads it at a root field. An error that no root field caused is returned as `Err`: an
/// internal error, or a full disk.
fn for_client(error: Error) -> Result<Error, Error> {
    match error {
        Error::Internal(_) | Error::Defect(_) | Error::StorageFull => Err(error),
        // The root field was refused before its arguments were read, and it is not refused any more.
        Error::Unread => Ok(Error::Unavailable("what this is about has just changed: send it again")),
        error => Ok(error),
    }
}

fn answer(tx: &Tx, caller: &Caller, kind: Kind, ctx: &FieldContext, table: &[RootField]) -> Result<Given, Error> {
    let selected = ctx.selected;
    let of = selected.of.as_deref().filter(|of| *of != kind.as_str());
    if let Some(of) = of {
        let of = quoted(of);
        return Err(Error::Invalid(format!("`... on {of}` does not fit here: this is `{}`", kind.as_str())));
    }
    if selected.name == "__typename" {
        return ctx.give(&kind.as_str());
    }
    let row = find(kind, selected, table)?;
    row.access.answer(tx, Some(caller), ctx)
}

fn find<'t>(kind: Kind, selected: &Selected, table: &'t [RootField]) -> Result<&'t RootField, Error> {
    let name = &selected.name;
    let missing = || format!("there is no {} named `{}` here", kind.as_str().to_lowercase(), quoted(name));
    let row = table.iter().find(|row| row.name == name).ok_or_else(|| Error::Invalid(missing()))?;
    if row.kind != kind {
        let (is, not) = (row.kind.as_str().to_lowercase(), kind.as_str().to_lowercase());
        return Err(Error::Invalid(format!("`{name}` is a {is}, not a {not}: begin the document with `{is}`")));
    }
    let unknown = selected.arguments.iter().find(|(argument, _)| !row.arguments.contains(&argument.as_str()));
    match unknown.map(|(argument, _)| quoted(argument)) {
        None => Ok(row),
        Some(unknown) if row.arguments.is_empty() => {
            Err(Error::Invalid(format!("`{name}` takes no arguments: leave `{unknown}` out")))
        }
        Some(unknown) => {
            let known: Vec<String> = row.arguments.iter().map(|argument| format!("`{argument}`")).collect();
            Err(Error::Invalid(format!("`{name}` has no argument `{unknown}`: it takes {}", known.join(", "))))
        }
    }
}
