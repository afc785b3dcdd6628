//! Reads a GraphQL document before any transaction: variables are replaced by their values, and fragments by their
//! fields.
//!
//! The result is bounded before it is built: its tokens, its selections, and its arguments, where every use of a
//! variable counts. A variable that is a whole argument is shared, not copied.
//!
//! Everything in a document is either answered or refused with a message; nothing is ignored. Subscriptions,
//! directives, block strings and enum values are refused (no argument takes an enum value).

use std::collections::HashMap;
use std::sync::Arc;

use graphql_parser::query::{
    Definition, Directive, FragmentDefinition, OperationDefinition, Selection, SelectionSet, Type, TypeCondition,
    Value as Literal, VariableDefinition, parse_query,
};
use serde_json::{Number, Value};

use crate::error::{Error, quoted};
use crate::wire;
use crate::wire::graphql::selection::{Prepared, Selected};

mod bounds;

use bounds::{DEPTH_MAX, Left, ROOT_FIELDS_MAX, TOKENS_MAX, tokens};
pub use bounds::{DOCUMENT_BYTES_MAX, EXPANSION_MAX, SMALL_DOCUMENT_BYTES_MAX};

/// The content of the body of a request.
#[derive(Debug)]
pub enum Document {
    Operation(Operation),
    /// The document cannot be carried out. The client gets the error inside a GraphQL answer.
    Refused(Error),
    /// The body is not a GraphQL request. The client gets the error with an HTTP status, as on every route.
    Unreadable(Error),
}

/// The one operation of a document that is to be carried out.
#[derive(Debug)]
pub struct Operation {
    pub kind: Kind,
    pub fields: Vec<Selected>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Query,
    Mutation,
}

impl Document {
    /// Reads the body of a request. This takes up to tens of milliseconds, so call it on the pool.
    pub fn read(body: &[u8], bytes_max: usize) -> Document {
        if body.len() > EXPANSION_MAX * bytes_max {
            return Document::Unreadable(Error::TooLarge { bytes_max: EXPANSION_MAX * bytes_max });
        }
        let asked: wire::graphql::Request = match wire::parse(body) {
            Ok(asked) => asked,
            Err(error) => return Document::Unreadable(error),
        };
        Operation::read(asked, bytes_max).map_or_else(Document::Refused, Document::Operation)
    }

    /// Whether carrying out the document writes.
    pub fn writes(&self) -> bool {
        matches!(self, Document::Operation(Operation { kind: Kind::Mutation, .. }))
    }
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Query => "Query",
            Kind::Mutation => "Mutation",
        }
    }
}

impl Operation {
    fn read(asked: wire::graphql::Request, bytes_max: usize) -> Result<Operation, Error> {
        let wire::graphql::Request { query, variables: given, operation_name } = asked;
        if query.len() > bytes_max {
            return Err(Error::field("query", &format!("must be at most {bytes_max} bytes")));
        }
        // The parser panics at some block strings, and no client sends any.
        if query.contains("\"\"\"") {
            return Err(refused("a block string (\"\"\") is not understood here: write text in plain quotes"));
        }
        if tokens(&query) > TOKENS_MAX {
            return Err(refused(format!(
                "a document has at most {TOKENS_MAX} words and signs: send long values as variables"
            )));
        }
        let document = parse_query::<&str>(&query).map_err(|cause| unparsed(&cause.to_string()))?;
        let mut operations = Vec::new();
        let mut fragments = HashMap::new();
        for definition in &document.definitions {
            match definition {
                Definition::Operation(operation) => operations.push(Parts::of(operation)?),
                Definition::Fragment(fragment) => {
                    fragments.insert(fragment.name, fragment);
                }
            }
        }
        let operation = choose(&operations, operation_name.as_deref())?;
        no_directives(operation.directives)?;
        let left = Left::new(EXPANSION_MAX * bytes_max);
        let variables = variables(operation.variables, given.map(|given| given.0).unwrap_or_default(), &left)?;
        let reader = Reader { variables, fragments, left: &left };
        let fields = reader.fields(operation.selection_set)?;
        if fields.len() > ROOT_FIELDS_MAX {
            return Err(refused(format!("a document asks for at most {ROOT_FIELDS_MAX} root fields at once")));
        }
        Ok(Operation { kind: operation.kind, fields })
    }
}

/// The parts of an operation, the same for every syntax in which it can be written.
struct Parts<'d> {
    kind: Kind,
    name: Option<&'d str>,
    variables: &'d [VariableDefinition<'d, &'d str>],
    directives: &'d [Directive<'d, &'d str>],
    selection_set: &'d SelectionSet<'d, &'d str>,
}

impl<'d> Parts<'d> {
    fn of(operation: &'d OperationDefinition<'d, &'d str>) -> Result<Parts<'d>, Error> {
        match operation {
            OperationDefinition::SelectionSet(selection_set) => {
                Ok(Parts { kind: Kind::Query, name: None, variables: &[], directives: &[], selection_set })
            }
            OperationDefinition::Query(query) => Ok(Parts {
                kind: Kind::Query,
                name: query.name,
                variables: &query.variable_definitions,
                directives: &query.directives,
                selection_set: &query.selection_set,
            }),
            OperationDefinition::Mutation(mutation) => Ok(Parts {
                kind: Kind::Mutation,
                name: mutation.name,
                variables: &mutation.variable_definitions,
                directives: &mutation.directives,
                selection_set: &mutation.selection_set,
            }),
            OperationDefinition::Subscription(_) => {
                Err(refused("a subscription is not served here: ask with a query or a mutation"))
            }
        }
    }
}

/// Chooses the operation of this name; without a name, the only operation.
fn choose<'o, 'd>(operations: &'o [Parts<'d>], name: Option<&str>) -> Result<&'o Parts<'d>, Error> {
    match (name, operations) {
        (Some(name), _) => operations
            .iter()
            .find(|operation| operation.name == Some(name))
            .ok_or_else(|| refused(format!("the document has no operation named `{}`", quoted(name)))),
        (None, [only]) => Ok(only),
        (None, []) => Err(refused("the document has no operation: write a query or a mutation")),
        (None, [_, ..]) => Err(refused("the document has several operations: say which with `operationName`")),
    }
}

/// The value of a variable with its size; `None` where there is neither a value nor a default.
type Variable = Option<(Arc<Value>, (usize, usize))>;

/// Every variable that the operation declares.
fn variables<'d>(
    declared: &'d [VariableDefinition<'d, &'d str>],
    mut given: serde_json::Map<String, Value>,
    left: &Left,
) -> Result<HashMap<&'d str, Variable>, Error> {
    let constants = Reader { variables: HashMap::new(), fragments: HashMap::new(), left };
    let mut variables = HashMap::new();
    for variable in declared {
        let value = match (given.remove(variable.name), &variable.default_value) {
            (Some(value), _) => Some(value),
            (None, Some(default)) => constants.value(default)?,
            (None, None) => None,
        };
        let is_given = value.as_ref().is_some_and(|value| !value.is_null());
        if matches!(variable.var_type, Type::NonNullType(_)) && !is_given {
            let name = quoted(variable.name);
            return Err(refused(format!("the variable `${name}` must be given: it is declared with `!`")));
        }
        let value = value.map(|value| {
            let size = wire::tree::size(&value);
            (Arc::new(value), size)
        });
        if variables.insert(variable.name, value).is_some() {
            return Err(refused(format!("the variable `${}` is declared twice", quoted(variable.name))));
        }
    }
    Ok(variables)
}

struct Reader<'d, 'l> {
    variables: HashMap<&'d str, Variable>,
    fragments: HashMap<&'d str, &'d FragmentDefinition<'d, &'d str>>,
    left: &'l Left,
}

/// The position of a selection in the document.
#[derive(Clone, Copy)]
struct Position<'d> {
    depth: usize,
    /// The type condition of the fragments around the selection.
    of: Option<&'d str>,
}

impl<'d> Reader<'d, '_> {
    fn fields(&self, set: &'d SelectionSet<'d, &'d str>) -> Result<Vec<Selected>, Error> {
        let mut fields = Vec::new();
        self.spread(set, Position { depth: 0, of: None }, &mut fields)?;
        Ok(fields)
    }

    /// Adds the fields of a selection set to `fields`. The fields of a fragment take the place of the fragment.
    fn spread(
        &self,
        set: &'d SelectionSet<'d, &'d str>,
        position: Position<'d>,
        fields: &mut Vec<Selected>,
    ) -> Result<(), Error> {
        if position.depth > DEPTH_MAX {
            return Err(refused(format!(
                "fields and fragments nest at most {DEPTH_MAX} deep, and no fragment holds itself"
            )));
        }
        for selection in &set.items {
            self.left.take_selection()?;
            match selection {
                Selection::Field(field) => {
                    no_directives(&field.directives)?;
                    let mut inner = Vec::new();
                    let within = Position { depth: position.depth + 1, of: None };
                    self.spread(&field.selection_set, within, &mut inner)?;
                    let selected = Selected {
                        key: field.alias.unwrap_or(field.name).to_owned(),
                        name: field.name.to_owned(),
                        arguments: self.arguments(&field.arguments)?,
                        prepared: Prepared::default(),
                        of: position.of.map(str::to_owned),
                        fields: inner,
                    };
                    add(fields, selected)?;
                }
                Selection::InlineFragment(fragment) => {
                    no_directives(&fragment.directives)?;
                    let within = position.within(fragment.type_condition.as_ref())?;
                    self.spread(&fragment.selection_set, within, fields)?;
                }
                Selection::FragmentSpread(spread) => {
                    no_directives(&spread.directives)?;
                    let fragment = *self.fragments.get(spread.fragment_name).ok_or_else(|| {
                        refused(format!("there is no fragment named `{}`", quoted(spread.fragment_name)))
                    })?;
                    no_directives(&fragment.directives)?;
                    let within = position.within(Some(&fragment.type_condition))?;
                    self.spread(&fragment.selection_set, within, fields)?;
                }
            }
        }
        Ok(())
    }

    fn arguments(&self, given: &[(&'d str, Literal<'d, &'d str>)]) -> Result<Vec<(String, Arc<Value>)>, Error> {
        let mut arguments: Vec<(String, Arc<Value>)> = Vec::new();
        for (name, literal) in given {
            self.left.take_argument()?;
            let value = match literal {
                Literal::Variable(name) => self.variable(name)?,
                literal => self.value(literal)?.map(Arc::new),
            };
            let Some(value) = value else { continue };
            if arguments.iter().any(|(other, _)| other == name) {
                return Err(refused(format!("the argument `{}` is given twice", quoted(name))));
            }
            arguments.push(((*name).to_owned(), value));
        }
        Ok(arguments)
    }

    /// The value of a variable. `None` if it has no value: its argument is then absent.
    fn variable(&self, name: &str) -> Result<Option<Arc<Value>>, Error> {
        let undeclared = || refused(format!("the variable `${}` is not declared by its operation", quoted(name)));
        match self.variables.get(name).ok_or_else(undeclared)? {
            Some((value, size)) => self.left.take_value(*size).map(|()| Some(Arc::clone(value))),
            None => Ok(None),
        }
    }

    fn value(&self, literal: &Literal<'d, &'d str>) -> Result<Option<Value>, Error> {
        let leaf = match literal {
            // Inside a list or an object the value is copied, and the bounds count each copy.
            Literal::Variable(name) => return Ok(self.variable(name)?.map(|value| (*value).clone())),
            Literal::Int(number) => Value::from(number.as_i64()),
            Literal::Float(number) => Number::from_f64(*number)
                .map(Value::Number)
                .ok_or_else(|| refused("a number of the document is too large"))?,
            Literal::String(text) => Value::String(text.clone()),
            Literal::Boolean(flag) => Value::Bool(*flag),
            Literal::Null => Value::Null,
            Literal::Enum(word) => {
                let word = quoted(word);
                return Err(refused(format!("`{word}` is no value that an argument takes: write text in quotes")));
            }
            Literal::List(items) => {
                self.left.take_value((1, 2))?;
                let items = items.iter().map(|item| Ok(self.value(item)?.unwrap_or(Value::Null)));
                return Ok(Some(Value::Array(items.collect::<Result<_, Error>>()?)));
            }
            Literal::Object(fields) => {
                self.left.take_value((1, 2))?;
                let mut object = serde_json::Map::new();
                for (name, field) in fields {
                    self.left.take_value((1, name.len() + 4))?;
                    if let Some(value) = self.value(field)? {
                        object.insert((*name).to_owned(), value);
                    }
                }
                return Ok(Some(Value::Object(object)));
            }
        };
        self.left.take_value(wire::tree::size(&leaf))?;
        Ok(Some(leaf))
    }
}

impl<'d> Position<'d> {
    fn within(self, condition: Option<&TypeCondition<'d, &'d str>>) -> Result<Position<'d>, Error> {
        let of = match (self.of, condition) {
            (of, None) => of,
            (None, Some(TypeCondition::On(name))) => Some(*name),
            (Some(of), Some(TypeCondition::On(name))) if of == *name => Some(of),
            (Some(of), Some(TypeCondition::On(name))) => {
                let (name, of) = (quoted(name), quoted(of));
                return Err(refused(format!("`... on {name}` cannot stand in `... on {of}`: nothing is both")));
            }
        };
        Ok(Position { depth: self.depth + 1, of })
    }
}

/// Adds a field. A field that is requested twice is answered once, with all the fields that are selected in it.
fn add(fields: &mut Vec<Selected>, new: Selected) -> Result<(), Error> {
    let Some(old) = fields.iter_mut().find(|field| field.key == new.key) else {
        fields.push(new);
        return Ok(());
    };
    if old.name != new.name || old.arguments != new.arguments || old.of != new.of {
        return Err(refused(format!(
            "`{}` is asked for in two ways: give one of them another alias",
            quoted(&new.key)
        )));
    }
    new.fields.into_iter().try_for_each(|field| add(&mut old.fields, field))
}

fn no_directives<'d>(directives: &[Directive<'d, &'d str>]) -> Result<(), Error> {
    match directives {
        [] => Ok(()),
        [first, ..] => {
            Err(refused(format!("the directive `@{}` is not understood here: leave it out", quoted(first.name))))
        }
    }
}

/// The refusal of a document that cannot be parsed. It says where the parser stopped and why, without the lines that
/// quote the document, because their text may be long or secret.
fn unparsed(cause: &str) -> Error {
    let quotes = |line: &&str| line.contains(['`', '"']);
    let lines: Vec<&str> =
        cause.trim_start_matches("query parse error: ").lines().filter(|line| !quotes(line)).collect();
    refused(format!("the document cannot be read: {}", lines.join("; ")))
}

fn refused(why: impl Into<String>) -> Error {
    Error::Invalid(why.into())
}
