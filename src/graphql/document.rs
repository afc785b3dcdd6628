//! What a document asks for: read, its variables filled in and its fragments spread out, before any transaction.
//!
//! Whatever stands in a document is answered or refused with a sentence; nothing in it is passed over. What is not
//! understood here: subscriptions, directives, block strings and enum values (no argument takes one).

use std::collections::HashMap;

use graphql_parser::query::{
    Definition, Directive, FragmentDefinition, OperationDefinition, Selection, SelectionSet, Type, TypeCondition,
    Value as Literal, VariableDefinition, parse_query,
};
use serde_json::{Map, Number, Value};

use crate::error::Error;
use crate::wire;

// Bounds of a document, together. Braces, brackets and parentheses nest no deeper than the parser's own bound of 50.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
const ROOT_FIELDS_MAX: usize = 16;
/// Fields and fragments, those that a fragment brings counted each time.
const SELECTIONS_MAX: usize = 256;
const DEPTH_MAX: usize = 50;

/// What came in the body of a request.
#[derive(Debug)]
pub enum Document {
    Operation(Operation),
    /// The document cannot be carried out: its client is told inside GraphQL.
    Refused(Error),
    /// The body is no request of GraphQL's: its client is told by the status, as on every route.
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

/// A field as it is asked for.
#[derive(Debug)]
pub struct Selected {
    /// What the answer calls it: its alias, or its name.
    pub key: String,
    pub name: String,
    pub arguments: Map<String, Value>,
    /// The type that its fragment says it is a field of.
    pub of: Option<String>,
    /// What is asked of the object that it gives.
    pub fields: Vec<Selected>,
}

impl Document {
    pub fn read(body: &[u8]) -> Document {
        let asked: wire::graphql::Request = match wire::parse(body) {
            Ok(asked) => asked,
            Err(error) => return Document::Unreadable(error),
        };
        Operation::read(&asked).map_or_else(Document::Refused, Document::Operation)
    }

    /// Whether carrying it out writes.
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
    fn read(asked: &wire::graphql::Request) -> Result<Operation, Error> {
        if asked.query.len() > DOCUMENT_BYTES_MAX {
            let why = format!("must be at most {DOCUMENT_BYTES_MAX} bytes: if it carries a patch, push again instead");
            return Err(Error::field("query", &why));
        }
        // The parser panics at some of them, and no client writes any.
        if asked.query.contains("\"\"\"") {
            return Err(refused("a block string (\"\"\") is not understood here: write text in plain quotes"));
        }
        let document = parse_query::<&str>(&asked.query).map_err(|cause| unparsed(&cause.to_string()))?;
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
        let operation = choose(&operations, asked.operation_name.as_deref())?;
        no_directives(operation.directives)?;
        let given = asked.variables.as_ref();
        let mut reader = Reader { variables: variables(operation.variables, given)?, fragments, selections: 0 };
        let fields = reader.fields(operation.selection_set)?;
        if fields.len() > ROOT_FIELDS_MAX {
            return Err(refused(format!("a document asks for at most {ROOT_FIELDS_MAX} root fields at once")));
        }
        Ok(Operation { kind: operation.kind, fields })
    }
}

/// The parts of an operation, whichever way it is written.
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

/// The operation of this name; without a name, the only one.
fn choose<'o, 'd>(operations: &'o [Parts<'d>], name: Option<&str>) -> Result<&'o Parts<'d>, Error> {
    match (name, operations) {
        (Some(name), _) => operations
            .iter()
            .find(|operation| operation.name == Some(name))
            .ok_or_else(|| refused(format!("the document has no operation named `{name}`"))),
        (None, [only]) => Ok(only),
        (None, []) => Err(refused("the document has no operation: write a query or a mutation")),
        (None, [_, ..]) => Err(refused("the document has several operations: say which with `operationName`")),
    }
}

/// The value of every variable that the operation declares; `None` where there is neither a value nor a default.
fn variables<'d>(
    declared: &[VariableDefinition<'d, &'d str>],
    given: Option<&Map<String, Value>>,
) -> Result<HashMap<&'d str, Option<Value>>, Error> {
    let constants = Reader { variables: HashMap::new(), fragments: HashMap::new(), selections: 0 };
    let mut variables = HashMap::new();
    for variable in declared {
        let value = match (given.and_then(|given| given.get(variable.name)), &variable.default_value) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => constants.value(default)?,
            (None, None) => None,
        };
        let is_given = value.as_ref().is_some_and(|value| !value.is_null());
        if matches!(variable.var_type, Type::NonNullType(_)) && !is_given {
            return Err(refused(format!("the variable `${}` must be given: it is declared with `!`", variable.name)));
        }
        variables.insert(variable.name, value);
    }
    Ok(variables)
}

struct Reader<'d> {
    variables: HashMap<&'d str, Option<Value>>,
    fragments: HashMap<&'d str, &'d FragmentDefinition<'d, &'d str>>,
    /// How many selections were read so far.
    selections: usize,
}

/// Where a selection stands.
#[derive(Clone, Copy)]
struct Place<'d> {
    depth: usize,
    /// The type that the fragments around it say.
    of: Option<&'d str>,
}

impl<'d> Reader<'d> {
    fn fields(&mut self, set: &'d SelectionSet<'d, &'d str>) -> Result<Vec<Selected>, Error> {
        let mut fields = Vec::new();
        self.spread(set, Place { depth: 0, of: None }, &mut fields)?;
        Ok(fields)
    }

    /// Adds what a selection set asks for, that of its fragments in their places.
    fn spread(
        &mut self,
        set: &'d SelectionSet<'d, &'d str>,
        place: Place<'d>,
        fields: &mut Vec<Selected>,
    ) -> Result<(), Error> {
        if place.depth > DEPTH_MAX {
            return Err(refused(format!(
                "fields and fragments nest at most {DEPTH_MAX} deep, and no fragment holds itself"
            )));
        }
        for selection in &set.items {
            self.count()?;
            match selection {
                Selection::Field(field) => {
                    no_directives(&field.directives)?;
                    let mut inner = Vec::new();
                    let within = Place { depth: place.depth + 1, of: None };
                    self.spread(&field.selection_set, within, &mut inner)?;
                    let selected = Selected {
                        key: field.alias.unwrap_or(field.name).to_owned(),
                        name: field.name.to_owned(),
                        arguments: self.arguments(&field.arguments)?,
                        of: place.of.map(str::to_owned),
                        fields: inner,
                    };
                    add(fields, selected)?;
                }
                Selection::InlineFragment(fragment) => {
                    no_directives(&fragment.directives)?;
                    let within = place.within(fragment.type_condition.as_ref())?;
                    self.spread(&fragment.selection_set, within, fields)?;
                }
                Selection::FragmentSpread(spread) => {
                    no_directives(&spread.directives)?;
                    let fragment = *self
                        .fragments
                        .get(spread.fragment_name)
                        .ok_or_else(|| refused(format!("there is no fragment named `{}`", spread.fragment_name)))?;
                    no_directives(&fragment.directives)?;
                    let within = place.within(Some(&fragment.type_condition))?;
                    self.spread(&fragment.selection_set, within, fields)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Error> {
        self.selections += 1;
        if self.selections > SELECTIONS_MAX {
            return Err(refused(format!("a document asks for at most {SELECTIONS_MAX} fields and fragments")));
        }
        Ok(())
    }

    fn arguments(&self, given: &[(&'d str, Literal<'d, &'d str>)]) -> Result<Map<String, Value>, Error> {
        let mut arguments = Map::new();
        for (name, literal) in given {
            let Some(value) = self.value(literal)? else { continue };
            if arguments.insert((*name).to_owned(), value).is_some() {
                return Err(refused(format!("the argument `{name}` is given twice")));
            }
        }
        Ok(arguments)
    }

    /// `None` is a variable without a value: its argument is absent.
    fn value(&self, literal: &Literal<'d, &'d str>) -> Result<Option<Value>, Error> {
        Ok(Some(match literal {
            Literal::Variable(name) => {
                let undeclared = || refused(format!("the variable `${name}` is not declared by its operation"));
                return Ok(self.variables.get(name).ok_or_else(undeclared)?.clone());
            }
            Literal::Int(number) => Value::from(number.as_i64()),
            Literal::Float(number) => Number::from_f64(*number)
                .map(Value::Number)
                .ok_or_else(|| refused("a number of the document is too large"))?,
            Literal::String(text) => Value::String(text.clone()),
            Literal::Boolean(flag) => Value::Bool(*flag),
            Literal::Null => Value::Null,
            Literal::Enum(word) => {
                return Err(refused(format!("`{word}` is no value that an argument takes: write text in quotes")));
            }
            Literal::List(items) => {
                let items = items.iter().map(|item| Ok(self.value(item)?.unwrap_or(Value::Null)));
                Value::Array(items.collect::<Result<_, Error>>()?)
            }
            Literal::Object(fields) => {
                let fields = fields.iter().filter_map(|(name, field)| match self.value(field) {
                    Ok(value) => value.map(|value| Ok(((*name).to_owned(), value))),
                    Err(error) => Some(Err(error)),
                });
                Value::Object(fields.collect::<Result<_, Error>>()?)
            }
        }))
    }
}

impl<'d> Place<'d> {
    fn within(self, condition: Option<&TypeCondition<'d, &'d str>>) -> Result<Place<'d>, Error> {
        let of = match (self.of, condition) {
            (of, None) => of,
            (None, Some(TypeCondition::On(name))) => Some(*name),
            (Some(of), Some(TypeCondition::On(name))) if of == *name => Some(of),
            (Some(of), Some(TypeCondition::On(name))) => {
                return Err(refused(format!("`... on {name}` cannot stand in `... on {of}`: nothing is both")));
            }
        };
        Ok(Place { depth: self.depth + 1, of })
    }
}

/// A field that is asked for twice is answered once, with all that is asked of it.
fn add(fields: &mut Vec<Selected>, new: Selected) -> Result<(), Error> {
    let Some(old) = fields.iter_mut().find(|field| field.key == new.key) else {
        fields.push(new);
        return Ok(());
    };
    if old.name != new.name || old.arguments != new.arguments || old.of != new.of {
        return Err(refused(format!("`{}` is asked for in two ways: give one of them another alias", new.key)));
    }
    new.fields.into_iter().try_for_each(|field| add(&mut old.fields, field))
}

fn no_directives<'d>(directives: &[Directive<'d, &'d str>]) -> Result<(), Error> {
    match directives {
        [] => Ok(()),
        [first, ..] => Err(refused(format!("the directive `@{}` is not understood here: leave it out", first.name))),
    }
}

/// Where the parser stopped and why, without the lines that quote the document: what stands there may be long, or secret.
fn unparsed(cause: &str) -> Error {
    let quotes = |line: &&str| line.contains(['`', '"']);
    let lines: Vec<&str> =
        cause.trim_start_matches("query parse error: ").lines().filter(|line| !quotes(line)).collect();
    refused(format!("the document cannot be read: {}", lines.join("; ")))
}

fn refused(why: impl Into<String>) -> Error {
    Error::Invalid(why.into())
}
