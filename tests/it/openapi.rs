//! Does the API description match what is served?

use std::collections::BTreeSet;

use guildhall::api::openapi;
use guildhall::api::refusal::Api;
use guildhall::api::route::Origin;
use guildhall::api::routes::{self, ROUTES};
use serde_json::Value;

mod before;
mod bodies;
pub mod replies;

fn document() -> Value {
    openapi::document(ROUTES)
}

/// What describes itself, and what is no interface of JSON shapes. A file of fixtures is described in the documentation.
const NOT_DESCRIBED: &[&str] =
    &["/openapi.json", "/downloads/{token}", "/graphql", "/graphql/", "/metrics", "/v1/operator/fixtures"];

#[test]
fn every_row_says_what_it_takes_and_answers() {
    for route in routes::all() {
        let is_described = route.shapes.reply.is_some();
        let is_of_models = matches!(route.api, Api::Inference | Api::OpenAi);
        let is_to_be = route.is_served() && !is_of_models && !NOT_DESCRIBED.contains(&route.template);
        assert_eq!(is_described, is_to_be, "{} {}", route.method, route.template);
    }
}

#[test]
fn every_route_is_described_and_ours_are_marked() {
    let document = document();
    for route in ROUTES {
        if !route.is_served() || NOT_DESCRIBED.contains(&route.template) {
            continue;
        }
        for path in route.paths() {
            let operation = &document["paths"][&path][route.method.to_lowercase()];
            assert!(operation.is_object(), "{} {path} is not described", route.method);
            assert_eq!(operation["x-guildhall"] == true, route.origin == Origin::Ours, "{path}");
        }
    }
}

#[test]
fn every_shape_that_is_named_is_there_and_every_shape_is_named() {
    let document = document();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    let there: BTreeSet<String> =
        document["components"]["schemas"].as_object().unwrap().keys().map(|name| name.to_owned()).collect();
    assert_eq!(named, there);
}

/// As Baseten's specification types them, so that generated clients of either fit.
#[test]
fn parameters_are_typed_as_what_they_are() {
    let document = document();
    let mut types = std::collections::BTreeMap::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for parameter in operation["parameters"].as_array().unwrap() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            if parameter["in"] == "path" {
                assert_eq!(schema["type"], "string", "{name}");
            } else {
                types.insert(name.to_owned(), schema["type"].as_str().unwrap().to_owned());
            }
        }
    }
    let of = |wanted: &str| -> Vec<&str> {
        types.iter().filter(|(_, kind)| *kind == wanted).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(
        of("integer"),
        ["end_epoch_millis", "limit", "page_size", "page_token", "start_epoch_millis", "step_seconds"]
    );
    assert_eq!(of("boolean"), ["added_only", "created_by_me", "force", "include_implicit", "revoke_created_api_keys"]);
    let lists = of("array");
    assert!(["includes", "excludes", "metrics", "user_ids", "sources"].iter().all(|name| lists.contains(name)));
    // What is counted is a number in every shape too.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (shape, schema) in schemas {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let is_number = ["_seconds", "_percent", "_count", "_millis", "_replica", "priority", "_gpus", "_minutes"]
                .iter()
                .any(|end| field.ends_with(end));
            let kind = schema["type"].to_string();
            assert!(!is_number || kind.contains("integer") || kind.contains("number"), "{shape}.{field} is {kind}");
        }
    }
}

fn references(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                named.insert(name.rsplit('/').next().unwrap().to_owned());
            }
            fields.values().for_each(|value| references(value, named));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, named)),
        _ => {}
    }
}
