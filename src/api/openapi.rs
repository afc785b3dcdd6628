//! The description of the API, generated from the rows of the route table and the types that they name.
//!
//! What Baseten's interface does not have carries `x-guildhall: true`. Routes of the operator and routes that are not served
//! are left out.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::openapi::rows::shapes_of;
use crate::api::routes::{Answer, Origin, ROUTES, Route};
use crate::api::shapes::{Parameter, SchemaOf, Shapes};
use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::error::Error;
use crate::policy::{Caller, OrgAct, TeamAct};
use crate::wire::Refusal;

mod rows;

/// Generated once: it is the same for everyone.
static DOCUMENT: LazyLock<Vec<u8>> =
    LazyLock::new(|| serde_json::to_vec(&document()).expect("shapes of ours always serialize"));

pub fn show(_: &Tx, _: Option<&Caller>, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::bytes("application/json", DOCUMENT.clone()))
}

/// The whole description, OpenAPI 3.1.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in ROUTES {
        let shapes = shapes_of(route.method, route.template);
        if let Some(reply) = shapes.reply {
            let path = paths.entry(route.template).or_insert_with(|| json!({}));
            path[route.method.to_lowercase()] = operation(route, &shapes, reply, &mut schemas);
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

fn operation(route: &Route, shapes: &Shapes, reply: SchemaOf, schemas: &mut Schemas) -> Value {
    let content = |schema: Schema| json!({ "application/json": { "schema": schema } });
    let in_path = places(route.template).map(|name| parameter(name, "path", json!({ "type": "string" })));
    let in_query = shapes.query.iter().map(in_query);
    let mut operation = json!({
        "operationId": operation_id(route),
        "description": needs(&route.answer),
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done.", "content": content(reply(&mut schemas.replies)) },
            "default": {
                "description": "Refused; the message says why and what to do.",
                "content": content(schemas.replies.subschema_for::<Refusal>()),
            },
        },
    });
    if let Some(body) = shapes.body {
        operation["requestBody"] = json!({ "required": true, "content": content(body(&mut schemas.bodies)) });
    }
    if matches!(route.answer, Answer::Open(_) | Answer::Ready(_) | Answer::Password { .. }) {
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

fn places(template: &'static str) -> impl Iterator<Item = &'static str> {
    template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The method and the words of the path: `get_v1_teams_team_id_secrets`.
fn operation_id(route: &Route) -> String {
    let words = route.template.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.to_lowercase(), |id, word| id + "_" + word)
}

/// The schemas that routes refer to. What is read and what is written differ in what they require: a field that may be null
/// may be left out of a body, and a reply has it.
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

    /// All of them by name. What both read and write is the same in both: a set of names.
    fn components(mut self) -> Map<String, Value> {
        let mut components = self.bodies.take_definitions(true);
        for (name, schema) in self.replies.take_definitions(true) {
            let before = components.insert(name, schema);
            debug_assert!(before.is_none_or(|before| before.get("enum").is_some()), "one name, two schemas");
        }
        components
    }
}

/// JSON has one kind of number. The widths of Rust's are nothing to clients, and OpenAPI knows few of them.
fn remove_number_format(schema: &mut Schema) {
    let is_of_number = |format: &Value| {
        let format = format.as_str().unwrap_or_default();
        ["int", "uint", "double", "float"].iter().any(|kind| format.starts_with(kind))
    };
    if schema.get("format").is_some_and(is_of_number) {
        schema.remove("format");
    }
}

/// Who may, in the words of the permission tables.
fn needs(answer: &Answer) -> String {
    let org = |act: &OrgAct| format!("Needs \"{}\" in the organization", act.wording());
    let team = |act: &TeamAct, which: &str| format!("Needs \"{}\" in {which}", act.wording());
    match answer {
        Answer::Open(_) | Answer::Ready(_) | Answer::Password { .. } => "Open to anyone.".to_owned(),
        Answer::Caller(_) => "Open to any key.".to_owned(),
        Answer::Member(_) => "Open to the people of the organization.".to_owned(),
        Answer::Org(act, _) | Answer::OrgTeam(act, _) | Answer::OrgOwned(_, act, _) => org(act) + ".",
        Answer::OrgOrSelf(act, _) | Answer::OrgOrSelfAlone(act, _) => org(act) + ", or to be that person.",
        Answer::Team(act, _) => team(act, "the team") + ".",
        Answer::TeamByEither(act, other, _) => format!("{} or \"{}\".", team(act, "the team"), other.wording()),
        Answer::TeamOrSelf(act, _) => team(act, "the team") + ", or to be that person.",
        Answer::OwnTeam(act, _) => team(act, "a team key's own team, otherwise in the default team") + ".",
        Answer::AllTeams(act, _) => format!("Joins all teams in which the caller has \"{}\".", act.wording()),
        Answer::AllTeamsByEither(act, other, _) => {
            format!("Joins all teams in which the caller has \"{}\" or \"{}\".", act.wording(), other.wording())
        }
        Answer::AllTeamsToDeploy(_) => {
            let act = TeamAct::Deploy.wording();
            format!("Joins all teams in which the caller has \"{act}\", if only for some environments.")
        }
        Answer::ModelApis(_) => team(&TeamAct::View, "the default team") + ".",
        Answer::OwnedToDeploy(kind, _) => {
            let owner = format!("the team that owns the {}", kind.as_str());
            team(&TeamAct::Deploy, &owner) + "; what serves a restricted environment is for those on its list."
        }
        Answer::OwnedMetrics(kind, _) => {
            let owner = format!("the team that owns the {}", kind.as_str());
            team(&TeamAct::View, &owner) + ", or a key of that team of category WORKSPACE_EXPORT_METRICS."
        }
        Answer::Owned(kind, act, _) => team(act, &format!("the team that owns the {}", kind.as_str())) + ".",
        Answer::KeyMaker(_) => "Open to people and to keys that manage keys.".to_owned(),
        Answer::Operator(_) => "The operator's alone.".to_owned(),
        Answer::GraphQl => "Open to any key; each root field of the document has a need of its own.".to_owned(),
        Answer::Unserved | Answer::UnservedInference | Answer::UnservedOAuth => "Not served here.".to_owned(),
    }
}
