//! Helpers that all tests share: callers that send requests, the form of refusals, and the content of the database.

use guildhall::api::Listener;
use guildhall::domain::Time;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::{BEGIN, TestServer};

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;

/// Somebody with a key, in a server.
pub struct By<'h> {
    pub server: &'h TestServer,
    key: Option<String>,
}

/// Somebody of the world.
pub fn by<'h>(server: &'h TestServer, name: &str) -> By<'h> {
    with(server, WORLD.keys.text(name))
}

pub fn with<'h>(server: &'h TestServer, key: &str) -> By<'h> {
    By { server, key: Some(key.to_owned()) }
}

pub fn nobody(server: &TestServer) -> By<'_> {
    By { server, key: None }
}

impl By<'_> {
    #[track_caller]
    pub fn get(&self, target: &str) -> Value {
        self.done("GET", target, None)
    }

    #[track_caller]
    pub fn post(&self, target: &str, body: Value) -> Value {
        self.done("POST", target, Some(body))
    }

    #[track_caller]
    pub fn patch(&self, target: &str, body: Value) -> Value {
        self.done("PATCH", target, Some(body))
    }

    #[track_caller]
    pub fn delete(&self, target: &str) -> Value {
        self.done("DELETE", target, None)
    }

    #[track_caller]
    pub fn done(&self, method: &str, target: &str, body: Option<Value>) -> Value {
        let answered = self.server.send(self.key.as_deref(), method, target, body);
        assert_eq!(answered.status, 200, "{method} {target}: {}", answered.body);
        answered.body
    }

    /// The sentence of a refusal, which has the code of its status.
    #[track_caller]
    pub fn refused(&self, status: u16, method: &str, target: &str, body: impl Into<Option<Value>>) -> String {
        let body = body.into();
        let asked = format!("{method} {target} {}", body.clone().unwrap_or_default());
        let answered = self.server.send(self.key.as_deref(), method, target, body);
        assert_eq!(answered.status, status, "{asked}: {}", answered.body);
        assert_eq!(answered.body["code"], code(status), "{asked}");
        text(&answered.body["message"])
    }

    /// The sentence of a refusal that has written nothing. A request that finds a key or an invitation expired, or a
    /// password wrong, writes that.
    #[track_caller]
    pub fn refused_untouched(&self, status: u16, method: &str, target: &str, body: impl Into<Option<Value>>) -> String {
        let before = content_but_uses(&self.server.sql());
        let sentence = self.refused(status, method, target, body);
        assert!(content_but_uses(&self.server.sql()) == before, "{method} {target} was refused and wrote");
        sentence
    }

    #[track_caller]
    pub fn status(&self, method: &str, target: &str) -> u16 {
        self.server.send(self.key.as_deref(), method, target, None).status
    }

    /// One field of every item of a list, in its order.
    #[track_caller]
    pub fn list(&self, target: &str, list: &str, field: &str) -> Vec<String> {
        all(&self.get(target)[list], field)
    }

    /// Names of the events since `before`, oldest first.
    pub fn events_since(&self, before: usize) -> Vec<String> {
        let mut events = self.list("/v1/audit_logs?limit=200", "items", "event_type");
        events.reverse();
        events.split_off(before)
    }

    pub fn events(&self) -> usize {
        self.events_since(0).len()
    }
}

/// One field of every item.
#[track_caller]
pub fn all(items: &Value, field: &str) -> Vec<String> {
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    items.iter().map(|item| item[field].as_str().unwrap_or_else(|| panic!("no {field}: {item}")).to_owned()).collect()
}

#[track_caller]
pub fn one<'v>(items: &'v Value, field: &str, value: &str) -> &'v Value {
    let items = items.as_array().unwrap_or_else(|| panic!("not a list: {items}"));
    let mut found = items.iter().filter(|item| item[field] == value);
    let first = found.next().unwrap_or_else(|| panic!("no {field} {value} in {items:?}"));
    assert!(found.next().is_none(), "{field} {value} stands twice in {items:?}");
    first
}

pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

pub fn at(seconds: i64) -> Time {
    BEGIN.plus_seconds(seconds)
}

/// The token of an invitation's link.
#[track_caller]
pub fn token(invitation: &Value) -> String {
    let url = text(&invitation["accept_url"]);
    url.rsplit('/').next().expect("an address has a last segment").to_owned()
}

/// Invites and accepts as a new person; gives the answer to the acceptance.
#[track_caller]
pub fn newcomer(server: &TestServer, admin: &str, invitation: Value) -> Value {
    let invitation = by(server, admin).post("/v1/invitations", invitation);
    let body = json!({ "token": token(&invitation), "name": "New Comer", "api_key_name": "first" });
    nobody(server).post("/v1/invitations/accept", body)
}

/// A team key made by somebody: its text and its prefix.
#[track_caller]
pub fn make_key(maker: &By, body: Value) -> (String, String) {
    let made = maker.post("/v1/api_keys", body);
    let key = text(&made["api_key"]);
    let prefix = key.split('.').next().expect("a text has a first part").to_owned();
    (key, prefix)
}

/// What the operator does, by the socket.
#[track_caller]
pub fn operate(server: &TestServer, target: &str, body: Value) -> Value {
    let mut request = server.request(None, "POST", target, body.to_string().into_bytes());
    request.from = Listener::Operator;
    let reply = server.answer(request);
    let body = serde_json::from_slice(&reply.body).unwrap_or_default();
    assert_eq!(reply.status, 200, "{target}: {body}");
    body
}

pub fn prefix(key: &str) -> &str {
    key.split('.').next().expect("there is always a first part")
}

/// The code of a refusal with this status (decision 19).
pub fn code(status: u16) -> &'static str {
    match status {
        400 => "VALIDATION_ERROR",
        401 => "UNAUTHENTICATED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_ALLOWED",
        409 => "CONFLICT",
        413 => "PAYLOAD_TOO_LARGE",
        429 => "RATE_LIMITED",
        501 => "NOT_IMPLEMENTED",
        503 => "UNAVAILABLE",
        other => panic!("{other} is no refusal"),
    }
}

/// All that the database holds, as text: two states are the same when this is.
pub fn content(sql: &Connection) -> String {
    dump(sql, &[])
}

/// All that the database holds, but for when keys were last used.
pub fn content_but_uses(sql: &Connection) -> String {
    dump(sql, &["last_used_at"])
}

fn dump(sql: &Connection, left_out: &[&str]) -> String {
    let mut tables = sql
        .prepare_cached(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
        .unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut content = String::new();
    for table in tables {
        let mut rows = sql.prepare_cached(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let names: Vec<String> = rows.column_names().map(str::to_owned).collect();
        let kept: Vec<usize> = (0..names.len()).filter(|at| !left_out.contains(&&*names[*at])).collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for at in &kept {
                content.push_str(&format!("{table} {:?} ", row.get_ref(*at).unwrap()));
            }
            content.push('\n');
        }
    }
    content
}
