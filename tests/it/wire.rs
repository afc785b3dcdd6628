//! Do replies have the shapes that clients read? The expected replies, under a fixed clock, are in `data/wire*.txt`.
//!
//! A reply is compared as a whole: an extra field fails like a missing one. Random values are written as `<id>`,
//! `<key>`, `<prefix>` or `<link>`. A null may be left out, `<none>` may also be an empty list, and an amount of money
//! is equal as a number or as its text.

use serde_json::Value;

use crate::seed::WORLD;
use crate::test_server::TestServer;

struct Golden<'t> {
    who: &'t str,
    method: &'t str,
    target: String,
    body: Option<Value>,
    status: u16,
    reply: Value,
}

/// Reads `### who METHOD target`, an optional line `> body`, the status where it is not 200, and the reply.
fn read(text: &str) -> Vec<Golden<'_>> {
    text.split("\n### ").skip(1).map(read_one).collect()
}

fn read_one(part: &str) -> Golden<'_> {
    let (head, rest) = part.split_once('\n').expect("a reply follows");
    let words: Vec<&str> = head.splitn(3, ' ').collect();
    let [who, method, target] = words[..] else { panic!("cannot be read: {head}") };
    let (body, rest) = match rest.strip_prefix("> ") {
        Some(rest) => {
            let (body, rest) = rest.split_once('\n').expect("a reply follows");
            (Some(parse(&named(body))), rest)
        }
        None => (None, rest),
    };
    let (status, reply) = match rest.trim_start().split_once('\n') {
        Some((status, reply)) if status.parse::<u16>().is_ok() => (status.parse().expect("it was"), reply),
        _ => (200, rest),
    };
    let reply: String = reply.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    Golden { who, method, target: named(target), body, status, reply: parse(&named(&reply)) }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
}

/// `{prefix:max}` is the prefix of that key of the world.
fn named(text: &str) -> String {
    let mut parts = text.split("{prefix:");
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').expect("a brace ends it");
        named.push_str(WORLD.keys.prefix(name));
        named.push_str(rest);
    }
    named
}

/// Where the two differ, by the way to it.
fn difference(way: &str, expected: &Value, got: &Value) -> Option<String> {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            let missing = Value::Null;
            let surplus = got.iter().find(|(name, value)| !expected.contains_key(*name) && !value.is_null());
            if let Some((name, value)) = surplus {
                return Some(format!("{way}.{name} is not expected: {value}"));
            }
            let mut fields = expected.iter();
            fields.find_map(|(name, value)| {
                difference(&format!("{way}.{name}"), value, got.get(name).unwrap_or(&missing))
            })
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            let mut pairs = expected.iter().zip(got).enumerate();
            pairs.find_map(|(at, (expected, got))| difference(&format!("{way}[{at}]"), expected, got))
        }
        (Value::String(kind), got) if kind == "<none>" => {
            let none = got.is_null() || got.as_array().is_some_and(Vec::is_empty);
            (!none).then(|| format!("{way} is {got}, not nothing"))
        }
        (Value::String(kind), Value::String(got)) if kind.starts_with('<') => {
            (!is_a(kind, got)).then(|| format!("{way} is no {kind}: {got}"))
        }
        (Value::Number(expected), Value::String(got)) => {
            let same = got.parse::<f64>().ok() == expected.as_f64();
            (!same).then(|| format!("{way} is {got}, not {expected}"))
        }
        (Value::Number(a), Value::Number(b)) => (a.as_f64() != b.as_f64()).then(|| format!("{way} is {b}, not {a}")),
        (expected, got) => (expected != got).then(|| format!("{way} is {got}, not {expected}")),
    }
}

fn is_a(kind: &str, text: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    match kind {
        "<id>" => text.len() == 10 && text.chars().all(lower),
        "<prefix>" => text.len() == 14 && text.strip_prefix("guild_").is_some_and(alphanumeric),
        "<key>" => text
            .split_once('.')
            .is_some_and(|(prefix, rest)| is_a("<prefix>", prefix) && rest.len() == 38 && alphanumeric(rest)),
        "<link>" => text.starts_with("http") && text.rsplit('/').next().is_some_and(|token| token.len() >= 32),
        "<text>" => !text.is_empty(),
        "<number>" => text.parse::<u64>().is_ok(),
        _ => panic!("nothing is a {kind}"),
    }
}

#[test]
fn every_shape_is_as_the_clients_read_it() {
    let mut wrong = Vec::new();
    let goldens = read(concat!(include_str!("data/wire.txt"), include_str!("data/wire_chains.txt")));
    assert!(goldens.len() > 40, "they are all read");
    for golden in goldens {
        let server: TestServer = WORLD.server();
        let key = (golden.who != "nobody").then(|| WORLD.keys.text(golden.who));
        let answered = server.send(key, golden.method, &golden.target, golden.body);
        let found = match answered.status == golden.status {
            true => difference("", &golden.reply, &answered.body),
            false => Some(format!("is {}, not {}", answered.status, golden.status)),
        };
        if let Some(found) = found {
            let shown = serde_json::to_string_pretty(&answered.body).expect("it was read");
            wrong.push(format!("{} {}: {found}\n{shown}", golden.method, golden.target));
        }
    }
    assert!(wrong.is_empty(), "{} shapes differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn the_same_moment_and_chance_give_the_same_bytes() {
    let act = || {
        let server = WORLD.server();
        let body = br#"{"name":"Platform"}"#.to_vec();
        let made = server.reply(Some(WORLD.keys.text("ada")), "POST", "/v1/teams", body);
        let listed = server.reply(Some(WORLD.keys.text("ada")), "GET", "/v1/teams", Vec::new());
        (made.body, listed.body)
    };
    assert_eq!(act(), act());
}

#[test]
fn answers_are_json_and_say_so() {
    let server = WORLD.server();
    for (who, target) in [("ada", "/v1/teams"), ("ada", "/v1/secrets"), ("ada", "/v1/nowhere"), ("bad", "/v1/teams")] {
        let reply = server.reply(Some(WORLD.keys.text(who)), "GET", target, Vec::new());
        assert_eq!(reply.content_type, "application/json", "{target}");
    }
}

#[test]
fn a_difference_is_seen() {
    let see = |expected: &str, got: &str| difference("", &parse(expected), &parse(got)).is_some();
    assert!(!see(r#"{"a":"<id>","b":null,"c":1}"#, r#"{"a":"abcdefghi0","c":"1.00","d":null}"#));
    for (expected, got) in [
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#),
        (r#"{"a":"<id>"}"#, r#"{"a":"ABC"}"#),
        (r#"{"a":null}"#, r#"{"a":0}"#),
        ("[1]", "[1,1]"),
        (r#"{"a":true}"#, r#"{"a":"true"}"#),
        (r#"{"a":"<key>"}"#, r#"{"a":"guild_abcdefgh"}"#),
    ] {
        assert!(see(expected, got), "{expected} {got}");
    }
}
