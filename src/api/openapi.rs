//! The OpenAPI description, generated from the rows of the route table and the types that they name.
//!
//! Operations that are not in Baseten's interface carry `x-guildhall: true`. Routes of the operator and routes that are
//! not served are left out.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::path_template::parameters;
use crate::api::route::{Origin, Route};
use crate::api::shapes::{Parameter, TypeOf};
use crate::wire::Refusal;

/// Describes these routes in OpenAPI 3.1.
pub fn document(routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes {
        let Some(reply) = route.shapes.reply else { continue };
        for template in route.paths() {
            let operation = operation(route, &template, reply, &mut schemas);
            let path = paths.entry(template).or_insert_with(|| json!({}));
            path[route.method.to_lowercase()] = operation;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Guildhall", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "An API key; `Api-Key <key>` is taken too." },
            },
        },
        "security": [{ "key": [] }],
    })
}

fn operation(route: &Route, template: &str, reply: TypeOf, schemas: &mut Schemas) -> Value {
    let content = |schema: Schema| json!({ "application/json": { "schema": schema } });
    let in_path = parameters(template).map(|name| parameter(name, "path", json!({ "type": "string" })));
    let in_query = route.shapes.query.iter().map(in_query);
    let mut operation = json!({
        "operationId": operation_id(route.method, template),
        "description": route.access.to_string(),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done.", "content": content((reply.schema)(&mut schemas.replies)) },
            "default": {
                "description": "Refused; the message says why and what to do.",
                "content": content(schemas.replies.subschema_for::<Refusal>()),
            },
        },
    });
    if let Some(body) = route.shapes.body {
        operation["requestBody"] = json!({ "required": true, "content": content((body.schema)(&mut schemas.bodies)) });
    }
    if route.access.is_open() {
        operation["security"] = json!([]);
    }
    if route.origin == Origin::Ours {
        operation["x-guildhall"] = json!(true);
    }
    operation
}

fn in_query(of: &Parameter) -> Value {
    parameter(of.name, "query", of.schema())
}

fn parameter(name: &str, place: &str, schema: Value) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema })
}

/// The operation id: the method and the words of the path, such as `get_v1_teams_team_id_secrets`.
fn operation_id(method: &str, template: &str) -> String {
    let words = template.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(method.to_lowercase(), |id, word| id + "_" + word)
}

/// The schemas that routes refer to. Bodies and replies differ in their required fields: a field that may be null may
/// be left out of a body, but a reply always has it.
struct Schemas {
    bodies: SchemaGenerator,
    replies: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .with_transform(RecursiveTransform(remove_number_format));
        Schemas {
            bodies: settings.clone().for_deserialize().into_generator(),
            replies: settings.for_serialize().into_generator(),
        }
    }

    /// All schemas by name. A schema that occurs in both bodies and replies is the same in both, because it is a set of
    /// names.
    fn components(mut self) -> Map<String, Value> {
        let mut components = self.bodies.take_definitions(true);
        for (name, schema) in self.replies.take_definitions(true) {
            let before = components.insert(name, schema);
            debug_assert!(before.is_none_or(|before| before.get("enum").is_some()), "one name, two schemas");
        }
        components
    }
}

/// Removes the format of a number. JSON has one kind of number; clients do not need the widths of Rust's numbers, and
/// OpenAPI knows few of them.
fn remove_number_format(schema: &mut Schema) {
    let is_of_number = |format: &Value| {
        let format = format.as_str().unwrap_or_default();
        ["int", "uint", "double", "float"].iter().any(|kind| format.starts_with(kind))
    };
    if schema.get("format").is_some_and(is_of_number) {
        schema.remove("format");
    }
}
