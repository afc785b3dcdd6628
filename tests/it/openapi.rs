//! Does the description say what is served?

use std::collections::BTreeSet;

use guildhall::http::openapi::document;
use guildhall::http::routes::{Answer, Origin, ROUTES};
use serde_json::Value;

/// What describes itself, and what is no interface of JSON shapes.
const NOT_DESCRIBED: &[&str] = &["/openapi.json", "/downloads/{token}", "/graphql", "/graphql/"];

#[test]
fn every_route_is_described_and_ours_are_marked() {
    let document = document();
    for route in ROUTES {
        if matches!(route.answer, Answer::Operator(_) | Answer::Unserved) || NOT_DESCRIBED.contains(&route.template) {
            continue;
        }
        let operation = &document["paths"][route.template][route.method.to_lowercase()];
        assert!(operation.is_object(), "{} {} is not described", route.method, route.template);
        assert_eq!(operation["x-guildhall"] == true, route.origin == Origin::Ours, "{}", route.template);
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
