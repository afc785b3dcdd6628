//! Does something that a person made give that person more access than the person has, or longer access? There is one
//! test for each way to make keys and links, where the maker loses the role, is removed, or has a key that expires.

use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams, accept};
use crate::test_server::{Answered, TestServer};
use crate::vocabulary::{DAY, HOUR, text, token};

mod accounts;
mod clock;
mod commands;
mod made_keys;
mod minting;
mod parents;
mod resets;
mod used_links;
mod way_in;

/// Somebody with a key, by what making it answered.
fn with_key(made: &Value) -> Someone {
    let key = text(&made["api_key"]);
    Someone { id: prefix(&key).to_owned(), key }
}

fn prefix(key: &str) -> &str {
    key.split('.').next().unwrap()
}

/// A time so many seconds from now, as a body says it.
fn in_seconds(server: &TestServer, seconds: i64) -> String {
    server.now.get().plus_seconds(seconds).to_string()
}

fn wait(server: &TestServer, seconds: i64) {
    server.now.set(server.now.get().plus_seconds(seconds));
}

/// A key as its maker asks for it.
#[track_caller]
fn make(org: &Org, by: &Someone, body: Value) -> Someone {
    with_key(&org.post(by, "/v1/api_keys", body).ok())
}

fn works(server: &TestServer, key: &Someone) -> bool {
    match server.send(Some(&key.key), "GET", "/v1/users/me", None).status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

/// A restricted environment of the default team, granted to these keys.
#[track_caller]
fn restrict(org: &Org, name: &str, prefixes: &[&str]) {
    let body = json!({ "name": name, "manage_access": { "is_restricted": true, "api_key_prefixes": prefixes } });
    org.post(&org.founder, "/v1/environment_groups", body).ok();
}

/// The keys that are granted a restricted environment of the default team.
#[track_caller]
fn granted(org: &Org, name: &str) -> Value {
    let group = org.get(&org.founder, &format!("/v1/environment_groups/{name}")).ok();
    group["manage_access"]["api_key_prefixes"].clone()
}

fn remaining(answered: &Value) -> Vec<(String, String, Value, String)> {
    let keys = answered["remaining_team_api_keys"].as_array().unwrap();
    let told = |key: &Value| (text(&key["prefix"]), text(&key["type"]), key["team_id"].clone(), text(&key["made_by"]));
    keys.iter().map(told).collect()
}
