//! One test for each sentence of the documents and each decision, named after it. All of it goes over HTTP.

use guildhall::api::Listener;
use guildhall::domain::Time;
use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::{BEGIN, TestServer};

mod api_keys;
mod document;
mod environments;
mod errors;
mod invitations;
mod metrics;
mod people;
mod permissions;
mod secrets;
mod teams;
mod training;

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;

/// Somebody with a key, in a server.
struct By<'h> {
    server: &'h TestServer,
    key: Option<String>,
}

/// Somebody of the world.
fn by<'h>(server: &'h TestServer, name: &str) -> By<'h> {
    with(server, WORLD.keys.text(name))
}

fn with<'h>(server: &'h TestServer, key: &str) -> By<'h> {
    By { server, key: Some(key.to_owned()) }
}

fn nobody(server: &TestServer) -> By<'_> {
    By { server, key: None }
}

impl By<'_> {
    fn get(&self, target: &str) -> Value {
        self.done("GET", target, None)
    }

    fn post(&self, target: &str, body: Value) -> Value {
        self.done("POST", target, Some(body))
    }

    fn patch(&self, target: &str, body: Value) -> Value {
        self.done("PATCH", target, Some(body))
    }

    fn delete(&self, target: &str) -> Value {
        self.done("DELETE", target, None)
    }

    #[track_caller]
    fn done(&self, method: &str, target: &str, body: Option<Value>) -> Value {
        let answered = self.server.send(self.key.as_deref(), method, target, body);
        assert_eq!(answered.status, 200, "{method} {target}: {}", answered.body);
        answered.body
    }

    /// The sentence of a refusal.
    #[track_caller]
    fn refused(&self, status: u16, method: &str, target: &str, body: Option<Value>) -> String {
        let shown = body.clone().unwrap_or_default();
        let answered = self.server.send(self.key.as_deref(), method, target, body);
        assert_eq!(answered.status, status, "{method} {target} {shown}: {}", answered.body);
        answered.body["message"].as_str().expect("a refusal says why").to_owned()
    }

    #[track_caller]
    fn status(&self, method: &str, target: &str) -> u16 {
        self.server.send(self.key.as_deref(), method, target, None).status
    }

    /// One field of every item of a list, in its order.
    #[track_caller]
    fn list(&self, target: &str, list: &str, field: &str) -> Vec<String> {
        all(&self.get(target)[list], field)
    }

    /// Names of the events since `before`, oldest first.
    fn events_since(&self, before: usize) -> Vec<String> {
        let mut events = self.list("/v1/audit_logs?limit=200", "items", "event_type");
        events.reverse();
        events.split_off(before)
    }

    fn events(&self) -> usize {
        self.events_since(0).len()
    }
}

/// One field of every item.
#[track_caller]
fn all(items: &Value, field: &str) -> Vec<String> {
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    items.iter().map(|item| item[field].as_str().unwrap_or_else(|| panic!("no {field}: {item}")).to_owned()).collect()
}

#[track_caller]
fn one<'v>(items: &'v Value, field: &str, value: &str) -> &'v Value {
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    let mut found = items.iter().filter(|item| item[field] == value);
    let first = found.next().unwrap_or_else(|| panic!("no {field} {value} in {items:?}"));
    assert!(found.next().is_none(), "{field} {value} stands twice in {items:?}");
    first
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

pub fn at(seconds: i64) -> Time {
    BEGIN.plus_seconds(seconds)
}

/// The token of an invitation's link.
#[track_caller]
fn token(invitation: &Value) -> String {
    let url = text(&invitation["accept_url"]);
    url.rsplit('/').next().expect("an address has a last segment").to_owned()
}

/// Invites and accepts as a new person; gives the answer to the acceptance.
#[track_caller]
fn newcomer(server: &TestServer, admin: &str, invitation: Value) -> Value {
    let invitation = by(server, admin).post("/v1/invitations", invitation);
    let body = json!({ "token": token(&invitation), "name": "New Comer", "api_key_name": "first" });
    nobody(server).post("/v1/invitations/accept", body)
}

/// A team key made by somebody: its text and its prefix.
#[track_caller]
fn make_key(maker: &By, body: Value) -> (String, String) {
    let made = maker.post("/v1/api_keys", body);
    let key = text(&made["api_key"]);
    let prefix = key.split('.').next().expect("a text has a first part").to_owned();
    (key, prefix)
}

/// What the operator does, by the socket.
#[track_caller]
fn operate(server: &TestServer, target: &str, body: Value) -> Value {
    let mut request = server.request(None, "POST", target, body.to_string().into_bytes());
    request.from = Listener::Operator;
    let reply = server.answer(request);
    let body = serde_json::from_slice(&reply.body).unwrap_or_default();
    assert_eq!(reply.status, 200, "{target}: {body}");
    body
}
