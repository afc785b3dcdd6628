//! A small organization that is written directly into the database, so that tests of keys and environments do not
//! depend on the routes for invitations and teams. Each person's id is the person's name.
//!
//! ```text
//! home (default)   dora member            ada, grace   organization admins
//! research         tess admin, max member lone         in no team
//! inference        ian member             fay          the admin of another organization, globex, with its team abroad
//! ```

use std::collections::BTreeMap;

use guildhall::domain::Time;
use guildhall::token::PlainKey;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, named_params};
use serde_json::{Value, json};

use crate::test_server::{Answered, BEGIN, TestServer};
use crate::vocabulary::{By, content_but_uses, text, with};

pub struct Acme {
    pub server: TestServer,
    /// Personal keys, by their owner.
    keys: BTreeMap<&'static str, String>,
}

impl Acme {
    pub fn new() -> Acme {
        let server = TestServer::empty();
        let sql = server.sql();
        sql.execute_batch(
            "PRAGMA foreign_keys = ON;
             INSERT INTO organization (id, name, name_key, teams_enabled, created_at)
             VALUES ('acme', 'Acme', 'acme', 1, 0), ('globex', 'Globex', 'globex', 1, 0);
             INSERT INTO team (id, org_id, name, name_key, is_default, created_at)
             VALUES ('home', 'acme', 'Default', 'default', 1, 0), ('research', 'acme', 'Research', 'research', 0, 0),
                    ('inference', 'acme', 'Inference', 'inference', 0, 0),
                    ('globexhome', 'globex', 'Default', 'default', 1, 0), ('abroad', 'globex', 'Abroad', 'abroad', 0, 0);",
        )
        .unwrap();
        let people = [
            ("ada", "acme", "ADMIN", None),
            ("grace", "acme", "ADMIN", None),
            ("tess", "acme", "MEMBER", Some(("research", "ADMIN"))),
            ("max", "acme", "MEMBER", Some(("research", "MEMBER"))),
            ("ian", "acme", "MEMBER", Some(("inference", "MEMBER"))),
            ("dora", "acme", "MEMBER", Some(("home", "MEMBER"))),
            ("lone", "acme", "MEMBER", None),
            ("fay", "globex", "ADMIN", None),
        ];
        let mut rng = StdRng::from_seed([3; 32]);
        let mut keys = BTreeMap::new();
        for (user, org, role, team) in people {
            person(&sql, user, org, role, team);
            keys.insert(user, personal_key(&sql, &mut rng, user, org));
        }
        drop(sql);
        Acme { server, keys }
    }

    /// The personal key of somebody, or a key itself.
    pub fn key<'a>(&'a self, who: &'a str) -> &'a str {
        self.keys.get(who).map_or(who, String::as_str)
    }

    /// Somebody of this organization, or whoever has this key.
    pub fn by(&self, who: &str) -> By<'_> {
        with(&self.server, self.key(who))
    }

    pub fn send(&self, who: &str, method: &str, target: &str, body: Option<Value>) -> Answered {
        self.server.send(Some(self.key(who)), method, target, body)
    }

    #[track_caller]
    pub fn get(&self, who: &str, target: &str) -> Value {
        self.by(who).get(target)
    }

    #[track_caller]
    pub fn post(&self, who: &str, target: &str, body: Value) -> Value {
        self.by(who).post(target, body)
    }

    #[track_caller]
    pub fn patch(&self, who: &str, target: &str, body: Value) -> Value {
        self.by(who).patch(target, body)
    }

    #[track_caller]
    pub fn delete(&self, who: &str, target: &str) -> Value {
        self.by(who).delete(target)
    }

    /// The whole answer to a document.
    #[track_caller]
    pub fn graphql(&self, who: &str, document: &str) -> Value {
        self.post(who, "/graphql/", json!({ "query": document }))
    }

    /// The sentence of a refusal, which has written nothing.
    #[track_caller]
    pub fn refused(
        &self,
        status: u16,
        who: &str,
        method: &str,
        target: &str,
        body: impl Into<Option<Value>>,
    ) -> String {
        self.by(who).refused_untouched(status, method, target, body)
    }

    /// A new key as whoever makes it asks for it.
    #[track_caller]
    pub fn make_key(&self, who: &str, body: Value) -> String {
        text(&self.post(who, "/v1/api_keys", body)["api_key"])
    }

    /// A key of the team.
    #[track_caller]
    pub fn team_key(&self, team: &str, category: &str) -> String {
        self.make_key("ada", json!({ "type": category, "team_id": team }))
    }

    pub fn model(&self, team: &str, id: &str) {
        self.run(&format!(
            "INSERT INTO model (id, org_id, team_id, name, instance_type, created_at)
             SELECT '{id}', org_id, id, '{id}', '1x2', 0 FROM team WHERE id = '{team}'"
        ));
        self.environment(id, "production");
    }

    pub fn environment(&self, model: &str, name: &str) {
        self.run(&format!(
            "INSERT INTO model_environment (model_id, name, org_id, team_id, created_at)
             SELECT id, '{name}', org_id, team_id, 0 FROM model WHERE id = '{model}'"
        ));
    }

    pub fn run(&self, statement: &str) {
        let sql = self.server.sql();
        sql.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        sql.execute_batch(statement).unwrap_or_else(|cause| panic!("{cause}: {statement}"));
        self.settle(); // this was written past the writer: it must commit once for readers to begin a new snapshot
    }

    /// Waits for all that was queued to be written.
    pub fn settle(&self) {
        self.server.app.db.write_blocking(self.server.now(), |_| Ok(())).unwrap();
    }

    pub fn wait(&self, seconds: i64) {
        self.server.now.set(self.server.now.get().plus_seconds(seconds));
    }

    pub fn in_seconds(&self, seconds: i64) -> Time {
        self.server.now.get().plus_seconds(seconds)
    }

    /// The entries of the audit log: what was done, in which team, by whom, and with what.
    pub fn audit(&self) -> Vec<Value> {
        let sql = self.server.sql();
        let mut rows = sql
            .prepare(
                "SELECT event_type, team_id, coalesce(actor_user_id, actor_prefix) AS actor, event_data
                 FROM audit
                 ORDER BY id",
            )
            .unwrap();
        let rows = rows.query_map([], |row| {
            let data: String = row.get("event_data")?;
            Ok(json!({
                "event_type": row.get::<_, String>("event_type")?,
                "team_id": row.get::<_, Option<String>>("team_id")?,
                "actor": row.get::<_, Option<String>>("actor")?,
                "data": serde_json::from_str::<Value>(&data).unwrap(),
            }))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The last entry alone, of as many as there must be.
    #[track_caller]
    pub fn last_of(&self, entries: usize) -> Value {
        let mut audit = self.audit();
        assert_eq!(audit.len(), entries, "{audit:?}");
        audit.pop().expect("there is one")
    }

    /// All that the database holds, but for when keys were last used.
    pub fn content(&self) -> String {
        content_but_uses(&self.server.sql())
    }
}

fn person(sql: &Connection, user: &str, org: &str, role: &str, team: Option<(&str, &str)>) {
    let name = user[..1].to_uppercase() + &user[1..];
    sql.execute(
        "INSERT INTO user (id, email, name, created_at) VALUES (:user, :user || '@example.com', :name, 0)",
        named_params! { ":user": user, ":name": name },
    )
    .unwrap();
    sql.execute(
        "INSERT INTO org_member (org_id, user_id, role, created_at) VALUES (:org, :user, :role, 0)",
        named_params! { ":org": org, ":user": user, ":role": role },
    )
    .unwrap();
    if let Some((team, role)) = team {
        sql.execute(
            "INSERT INTO team_member (org_id, team_id, user_id, role, created_at) VALUES (:org, :team, :user, :role, 0)",
            named_params! { ":org": org, ":team": team, ":user": user, ":role": role },
        )
        .unwrap();
    }
}

fn personal_key(sql: &Connection, rng: &mut StdRng, user: &str, org: &str) -> String {
    let key = PlainKey::generate(rng);
    sql.execute(
        "INSERT INTO api_key (hash, prefix, org_id, category, user_id, created_by, created_at)
         VALUES (:hash, :prefix, :org, 'PERSONAL', :user, :user, :now)",
        named_params! {
            ":hash": key.hash(), ":prefix": key.prefix(), ":org": org, ":user": user, ":now": BEGIN.plus_seconds(-60),
        },
    )
    .unwrap();
    key.reveal().to_owned()
}
