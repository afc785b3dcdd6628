//! What a route takes and answers: the parameters of its query, its body and its reply.
//!
//! A row of the route table names bodies and replies by their types, and the OpenAPI description is generated from
//! them. Nothing here checks a request: a body is read by the `Deserialize` of its type, which also determines its
//! schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The type of a body or of a reply.
#[derive(Clone, Copy)]
pub struct TypeOf {
    /// The schema; a reference if the schema has a name.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    pub name: fn() -> Cow<'static, str>,
}

impl TypeOf {
    const fn new<T: JsonSchema>() -> TypeOf {
        TypeOf { schema: SchemaGenerator::subschema_for::<T>, name: T::schema_name }
    }
}

/// What a route takes and answers.
#[derive(Clone, Copy)]
pub struct Shapes {
    pub query: &'static [Parameter],
    pub body: Option<TypeOf>,
    /// The reply to a request that succeeds. `None` if it is not JSON of a fixed shape: such a route is not described.
    pub reply: Option<TypeOf>,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Text,
    /// `true` or `false`; `false` if absent.
    Flag,
    Integer,
    IntegerFrom(u32),
    /// The parameter may be repeated.
    Texts,
}

/// The shapes of a route that takes no body and answers a `T`.
pub const fn answers<T: JsonSchema>() -> Shapes {
    Shapes { query: &[], body: None, reply: Some(TypeOf::new::<T>()) }
}

impl Shapes {
    /// The shapes of a route whose reply is not JSON of a fixed shape. The route is left out of the description.
    pub const UNDESCRIBED: Shapes = Shapes { query: &[], body: None, reply: None };

    pub const fn takes<T: JsonSchema>(self) -> Shapes {
        Shapes { body: Some(TypeOf::new::<T>()), ..self }
    }

    /// Whether a handler of the route may read this parameter. It may read only parameters that are described.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|parameter| parameter.name == name)
    }

    /// Whether a handler of the route may read its body as a `T`.
    pub fn takes_a<T: JsonSchema>(&self) -> bool {
        self.body.is_some_and(|body| (body.name)() == T::schema_name())
    }

    pub const fn query(self, query: &'static [Parameter]) -> Shapes {
        Shapes { query, ..self }
    }
}

impl Parameter {
    pub fn schema(&self) -> Value {
        match self.holds {
            Holds::Text => json!({ "type": "string" }),
            Holds::Flag => json!({ "type": "boolean" }),
            Holds::Integer => json!({ "type": "integer" }),
            Holds::IntegerFrom(minimum) => json!({ "type": "integer", "minimum": minimum }),
            Holds::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        }
    }
}

const fn text(name: &'static str) -> Parameter {
    Parameter { name, holds: Holds::Text }
}

const fn flag(name: &'static str) -> Parameter {
    Parameter { name, holds: Holds::Flag }
}

const fn integer(name: &'static str) -> Parameter {
    Parameter { name, holds: Holds::Integer }
}

const fn integer_from(name: &'static str, minimum: u32) -> Parameter {
    Parameter { name, holds: Holds::IntegerFrom(minimum) }
}

const fn texts(name: &'static str) -> Parameter {
    Parameter { name, holds: Holds::Texts }
}

/// The parameters of the routes' queries. A name means the same on every route.
pub mod query {
    use super::{Parameter, flag, integer, integer_from, text, texts};

    pub const NAME: Parameter = text("name");
    pub const FORCE: Parameter = flag("force");
    pub const REVOKE_CREATED_API_KEYS: Parameter = flag("revoke_created_api_keys");
    const CURSOR: Parameter = text("cursor");
    const LIMIT: Parameter = integer_from("limit", 1);
    const START: Parameter = integer("start_epoch_millis");
    const END: Parameter = integer("end_epoch_millis");
    const DIRECTION: Parameter = text("direction");

    pub const PAGE: &[Parameter] = &[CURSOR, LIMIT];
    pub const MEMBERS: &[Parameter] = &[flag("include_implicit"), CURSOR, LIMIT];
    pub const USERS: &[Parameter] = &[text("email"), CURSOR, LIMIT];
    pub const INVITATIONS: &[Parameter] = &[text("status"), CURSOR, LIMIT];
    pub const API_KEYS: &[Parameter] = &[text("type"), flag("created_by_me")];
    pub const CONFIG: &[Parameter] = &[text("output_format")];
    pub const MODEL_APIS: &[Parameter] = &[CURSOR, LIMIT, flag("added_only")];
    pub const USAGE: &[Parameter] = &[text("start_date"), text("end_date")];
    pub const EXPLANATION: &[Parameter] =
        &[text("act"), text("team_id"), text("environment"), text("user_id"), text("api_key_prefix")];
    pub const METRICS: &[Parameter] = &[text("mode"), START, END, texts("metrics")];
    pub const JOB_METRICS: &[Parameter] = &[START, END, integer("step_seconds")];
    pub const CHECKPOINT_FILES: &[Parameter] = &[integer_from("page_size", 1), integer_from("page_token", 0)];
    pub const LOGS: &[Parameter] = &[
        START,
        END,
        DIRECTION,
        LIMIT,
        text("min_level"),
        text("replica"),
        text("request_id"),
        text("component"),
        text("search_pattern"),
        texts("includes"),
        texts("excludes"),
    ];
    pub const AUDIT_LOG: &[Parameter] = &[
        CURSOR,
        LIMIT,
        DIRECTION,
        text("search"),
        texts("event_type_groups"),
        texts("user_ids"),
        texts("deployment_ids"),
        texts("chain_deployment_ids"),
        texts("environment_names"),
        texts("sources"),
        texts("team_ids"),
        START,
        END,
    ];
}
