//! Does each reply have the shape in the API description? [`check`] is called for every reply of every test server.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use guildhall::api::openapi::document;
use guildhall::api::routes;

/// The description of all routes, those of the operator included.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&routes::all().copied().collect::<Vec<_>>()));

/// Fails where a reply is not of its route's shape: a field too many, one that is missing, or a value of another type.
/// Replies of routes that are not described are left alone.
pub fn check(method: &str, path: &[String], status: u16, body: &[u8]) {
    let Some(operation) = operation(method, path) else { return };
    let response = if status == 200 { "200" } else { "default" };
    let schema = &operation["responses"][response]["content"]["application/json"]["schema"];
    let reply: Value = serde_json::from_slice(body).expect("a described reply is JSON");
    if let Some(found) = mismatch("", schema, &reply) {
        panic!("{method} /{} answers {status}, and {found}:\n{reply:#}", path.join("/"));
    }
}

/// The operation of a path: of two templates that fit, the one with fewer free segments.
fn operation(method: &str, path: &[String]) -> Option<&'static Value> {
    let templates = DOCUMENT["paths"].as_object().unwrap().iter();
    let fitting = templates.filter(|(template, _)| {
        let parts: Vec<&str> = template[1..].split('/').collect();
        parts.len() == path.len() && parts.iter().zip(path).all(|(part, given)| part.starts_with('{') || part == given)
    });
    let described = fitting.filter_map(|(template, path)| Some((template, path.get(method.to_lowercase())?)));
    described.min_by_key(|(template, _)| template.matches('{').count()).map(|(_, operation)| operation)
}

/// Where the value is not of the schema, if anywhere. An object has the fields of its schema and no other.
fn mismatch(at: &str, schema: &Value, value: &Value) -> Option<String> {
    let Some(parts) = schema.as_object() else { return (schema != true).then(|| format!("{at} may not be")) };
    parts.iter().find_map(|(keyword, said)| match keyword.as_str() {
        "$ref" => {
            let pointer = said.as_str().unwrap().trim_start_matches('#');
            mismatch(at, DOCUMENT.pointer(pointer).expect("the schema is there"), value)
        }
        "anyOf" => {
            let none = said.as_array().unwrap().iter().all(|schema| mismatch(at, schema, value).is_some());
            let first = said.as_array().unwrap().iter().find_map(|schema| mismatch(at, schema, value));
            none.then(|| first.unwrap_or_default())
        }
        "type" => {
            let kinds = said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]);
            (!kinds.iter().any(|kind| is_of_kind(value, kind.as_str().unwrap()))).then(|| format!("{at} is no {said}"))
        }
        "enum" => (!said.as_array().unwrap().contains(value)).then(|| format!("{at} is none of {said}")),
        "minimum" => {
            let below = value.as_f64().is_some_and(|number| number < said.as_f64().unwrap());
            below.then(|| format!("{at} is below {said}"))
        }
        "maximum" => {
            let above = value.as_f64().is_some_and(|number| number > said.as_f64().unwrap());
            above.then(|| format!("{at} is above {said}"))
        }
        "format" => {
            let length = match said.as_str().unwrap() {
                "date-time" => "2026-11-01T00:00:00.000Z".len(),
                "date" => "2026-11-01".len(),
                other => panic!("nothing is known of the format {other}"),
            };
            value.as_str().filter(|text| text.len() != length).map(|text| format!("{at} is no {said}: {text}"))
        }
        "items" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            items.filter_map(|(number, item)| mismatch(&format!("{at}[{number}]"), said, item)).next()
        }
        "properties" => {
            let fields = value.as_object().into_iter().flatten();
            fields.filter_map(|(name, value)| field_mismatch(at, parts, said, name, value)).next()
        }
        "required" => {
            let fields = value.as_object()?;
            let mut names = said.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            names.find(|name| !fields.contains_key(*name)).map(|name| format!("{at}.{name} is missing"))
        }
        "description" | "additionalProperties" | "x-guildhall" => None,
        other => panic!("nothing is known of the keyword {other}"),
    })
}

fn field_mismatch(at: &str, parts: &Map<String, Value>, fields: &Value, name: &str, value: &Value) -> Option<String> {
    let at = format!("{at}.{name}");
    match fields.get(name).or(parts.get("additionalProperties")) {
        Some(schema) => mismatch(&at, schema, value),
        None => Some(format!("{at} is not described")),
    }
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("nothing is a {other}"),
    }
}

#[test]
fn a_reply_of_another_shape_is_seen() {
    let team = json!({
        "id": "research", "name": "Research", "default": false, "created_at": "2026-11-01T00:00:00.000Z", "icon": null,
    });
    let answer = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut team = team.as_object().unwrap().clone();
        change(&mut team);
        let path = ["v1", "teams", "research"].map(str::to_owned);
        let body = serde_json::to_vec(&team).unwrap();
        std::panic::catch_unwind(move || check("GET", &path, 200, &body)).is_err()
    };
    assert!(!answer(&|_| {}));
    assert!(answer(&|team| drop(team.remove("icon"))), "a field is missing");
    assert!(answer(&|team| drop(team.insert("color".into(), json!("red")))), "a field too many");
    assert!(answer(&|team| drop(team.insert("default".into(), json!("false")))), "another type");
    assert!(answer(&|team| drop(team.insert("name".into(), json!(null)))), "null");
    assert!(answer(&|team| drop(team.insert("created_at".into(), json!("yesterday")))), "no time");
}
