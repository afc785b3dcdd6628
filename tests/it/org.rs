//! An organization in a server, made through the public routes, and requests that many tests need.

use guildhall::token::PlainKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::named_params;
use serde_json::{Value, json};

use crate::test_server::{Answered, TestServer};
use crate::vocabulary::{content_but_uses, text, token};

pub struct Org<'h> {
    pub server: &'h TestServer,
    pub id: String,
    pub founder: Someone,
    pub default_team: String,
}

pub struct Someone {
    pub id: String,
    pub key: String,
}

impl Answered {
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{}", self.body);
        self.body
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Teams {
    On,
    Off,
}

impl<'h> Org<'h> {
    pub fn new(server: &'h TestServer, name: &str, teams: Teams) -> Org<'h> {
        let founded = server
            .send_as_operator(
                "POST",
                "/v1/operator/organizations",
                json!({
                    "name": name,
                    "email": format!("founder@{name}.example"),
                    "user_name": "Fay Founder",
                    "teams_enabled": teams == Teams::On,
                }),
            )
            .ok();
        let founder = Someone { id: text(&founded["user_id"]), key: text(&founded["api_key"]) };
        let listed = server.send(Some(&founder.key), "GET", "/v1/teams", None).ok();
        let default_team = text(&listed["teams"][0]["id"]);
        Org { server, id: text(&founded["org_id"]), founder, default_team }
    }

    pub fn get(&self, by: &Someone, target: &str) -> Answered {
        self.server.send(Some(&by.key), "GET", target, None)
    }

    pub fn post(&self, by: &Someone, target: &str, body: Value) -> Answered {
        self.server.send(Some(&by.key), "POST", target, Some(body))
    }

    pub fn patch(&self, by: &Someone, target: &str, body: Value) -> Answered {
        self.server.send(Some(&by.key), "PATCH", target, Some(body))
    }

    pub fn delete(&self, by: &Someone, target: &str) -> Answered {
        self.server.send(Some(&by.key), "DELETE", target, None)
    }

    /// Invites an address, and gives the invitation with its token.
    pub fn invite(&self, email: &str, role: &str, teams: Value) -> (Value, String) {
        let body = json!({ "email": email, "role": role, "teams": teams });
        let invitation = self.post(&self.founder, "/v1/invitations", body).ok();
        let token = token(&invitation);
        (invitation, token)
    }

    /// A new person of the organization, with a key.
    pub fn person(&self, name: &str, role: &str, teams: Value) -> Someone {
        let (_, token) = self.invite(&format!("{name}@people.example"), role, teams);
        let accepted = accept(self.server, None, &token, json!({ "name": name, "api_key_name": "mine" })).ok();
        Someone { id: text(&accepted["user"]["user_id"]), key: text(&accepted["api_key"]) }
    }

    pub fn team(&self, name: &str) -> String {
        text(&self.post(&self.founder, "/v1/teams", json!({ "name": name })).ok()["id"])
    }

    /// A key of a team, or without one a key that manages the team keys of the organization.
    pub fn key(&self, name: Option<&str>, team_id: Option<&str>, made_by: &str) -> String {
        let category = if team_id.is_some() { "WORKSPACE_MANAGE_ALL" } else { "WORKSPACE_MANAGE_API_KEYS" };
        self.insert_key(category, name, team_id, made_by).reveal().to_owned()
    }

    /// A key of this category, whose id is its prefix.
    pub fn key_of(&self, category: &str, team_id: Option<&str>) -> Someone {
        let key = self.insert_key(category, None, team_id, &self.founder.id);
        Someone { id: key.prefix().to_owned(), key: key.reveal().to_owned() }
    }

    fn insert_key(&self, category: &str, name: Option<&str>, team_id: Option<&str>, made_by: &str) -> PlainKey {
        let key = PlainKey::generate(&mut StdRng::from_seed(self.server.now().seed));
        self.server
            .sql()
            .execute(
                "INSERT INTO api_key (hash, prefix, org_id, category, team_id, name, created_by, created_at)
                 VALUES (:hash, :prefix, :org_id, :category, :team_id, :name, :made_by, :now)",
                named_params! {
                    ":hash": key.hash(), ":prefix": key.prefix(), ":org_id": self.id, ":category": category,
                    ":team_id": team_id, ":name": name, ":made_by": made_by, ":now": self.server.now.get(),
                },
            )
            .unwrap();
        key
    }

    /// The audit log since an entry, as event types.
    pub fn events_since(&self, id: i64) -> Vec<String> {
        self.audit_since(id).into_iter().map(|(event_type, _)| event_type).collect()
    }

    pub fn audit_since(&self, id: i64) -> Vec<(String, Value)> {
        let sql = self.server.sql();
        let mut query =
            sql.prepare("SELECT event_type, event_data FROM audit WHERE org_id = ? AND id > ? ORDER BY id").unwrap();
        let entry = |row: &rusqlite::Row| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let entries = query.query_map((&self.id, id), entry).unwrap();
        entries.map(Result::unwrap).map(|(event_type, data)| (event_type, parsed(&data))).collect()
    }

    pub fn last_entry(&self) -> i64 {
        self.server.sql().query_row("SELECT max(id) FROM audit", [], |row| row.get(0)).unwrap()
    }
}

pub fn accept(server: &TestServer, key: Option<&str>, token: &str, mut body: Value) -> Answered {
    body["token"] = json!(token);
    server.send(key, "POST", "/v1/invitations/accept", Some(body))
}

pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// All that the database holds, but for when keys were last used.
pub fn contents(server: &TestServer) -> String {
    content_but_uses(&server.sql())
}

/// Refused, and nothing written by it.
#[track_caller]
pub fn refused_untouched(server: &TestServer, status: u16, code: &str, ask: impl FnOnce() -> Answered) -> Value {
    let before = contents(server);
    let body = ask().refused(status, code);
    assert_eq!(before, contents(server));
    body
}

pub fn ids(items: &Value, field: &str) -> Vec<String> {
    items["items"].as_array().unwrap().iter().map(|item| text(&item[field])).collect()
}
