//! Does the audit log answer the questions of organization admins, and of nobody else?

use guildhall::api::Request;
use guildhall::api::dispatch::answer;
use guildhall::domain::{Client, Time};
use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams};
use crate::test_server::{BEGIN, TestServer};
use crate::vocabulary::text;

impl Org<'_> {
    /// The entries that a query finds.
    fn found(&self, query: &str) -> Vec<Value> {
        let page = self.get(&self.founder, &format!("/v1/audit_logs?{query}")).ok();
        page["items"].as_array().unwrap().clone()
    }

    /// What happened, by names and secrets, in the order in which a query finds it.
    fn found_types(&self, query: &str) -> Vec<String> {
        self.found(query).iter().map(|entry| text(&entry["event_type"])).collect()
    }

    fn set_secret(&self, by: &Someone, team: &str, name: &str) {
        self.post(by, &format!("/v1/teams/{team}/secrets"), json!({ "name": name, "value": "v" })).ok();
    }

    /// Writes an entry of what no route does yet.
    fn note(&self, event_type: &str, data: Value) {
        self.server
            .sql()
            .execute(
                "INSERT INTO audit (org_id, created_at, event_type, event_data, actor_type, source)
                 VALUES (?, ?, ?, ?, 'BASETEN_SYSTEM', 'SYSTEM')",
                (&self.id, self.server.now.get(), event_type, data.to_string()),
            )
            .unwrap();
    }
}

/// An organization, a team of it and a member of that; and when they were there.
fn office(server: &TestServer) -> (Org<'_>, String, Someone) {
    let org = Org::new(server, "acme", Teams::On);
    let blue = org.team("Blue");
    let ada = org.person("ada", "MEMBER", json!([{ "team_id": blue, "role": "MEMBER" }]));
    server.now.set(BEGIN.plus_seconds(60));
    (org, blue, ada)
}

fn since() -> String {
    format!("start_epoch_millis={}", BEGIN.plus_seconds(60).0)
}

#[test]
fn an_entry_says_who_did_what_to_whom_and_when() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    org.set_secret(&ada, &blue, "hf_token");
    let robot = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
    org.delete(&robot, &format!("/v1/teams/{blue}/secrets/hf-token")).ok();
    let [by_robot, by_ada] = &org.found(&since())[..] else { panic!("two entries") };
    let secret_id = &by_ada["event_data"]["secret_id"];
    let expected = json!({
        "id": by_ada["id"],
        "created": "2026-11-01T00:01:00.000Z",
        "event_type": "SECRET_UPDATED",
        "event_data": { "event_type": "SECRET_UPDATED", "secret_id": secret_id, "secret_name": "hf_token" },
        "source": "API",
        "actor": {
            "type": "USER", "email": "ada@people.example", "api_key_prefix": ada.key.split('.').next(),
            "api_key_name": "mine",
        },
        "client_name": null, "client_version": null, "client_session_id": null,
        "team_id": blue, "team_name": "Blue",
    });
    assert_eq!(by_ada, &expected);
    let actor = json!({ "type": "API_KEY", "email": null, "api_key_prefix": robot.id, "api_key_name": null });
    assert_eq!(by_robot["actor"], actor);
    assert_ne!(by_robot["id"], by_ada["id"]);
}

#[test]
fn who_is_no_member_any_more_is_told_apart() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    org.set_secret(&ada, &blue, "hf_token");
    org.delete(&org.founder, &format!("/v1/users/{}", ada.id)).ok();
    let entries = org.found("event_type_groups=SECRETS");
    assert_eq!(entries[0]["actor"]["type"], "TOMBSTONE_USER");
    assert_eq!(entries[0]["actor"]["email"], "ada@people.example");
    assert_eq!(org.found("event_type_groups=USER_MANAGEMENT")[0]["actor"]["type"], "USER");
    assert_eq!(org.found("direction=ASC")[0]["actor"]["type"], "BASETEN_SYSTEM", "the operator");
}

#[test]
fn the_client_is_named_as_it_names_itself() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    for user_agent in ["baseten-python/0.13.1 (Linux)", "curl", "(nothing)"] {
        let body = json!({ "name": "hf_token", "value": user_agent }).to_string();
        let asked = server.request(Some(&ada.key), "POST", &format!("/v1/teams/{blue}/secrets"), body.into());
        let request = Request { user_agent: Some(user_agent.to_owned()), ..asked };
        let reply =
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer(&server.app, request));
        assert_eq!(reply.status, 200);
    }
    let clients: Vec<Value> = org
        .found(&format!("direction=ASC&{}", since()))
        .iter()
        .map(|entry| json!([entry["client_name"], entry["client_version"]]))
        .collect();
    assert_eq!(clients, [json!(["baseten-python", "0.13.1"]), json!(["curl", null]), json!([null, null])]);
}

#[test]
fn what_a_client_calls_itself_is_short_and_plain() {
    let read = |text: &str| Client::parse(text).map(|c| (c.name().to_owned(), c.version().map(str::to_owned)));
    let named = |name: &str, version: Option<&str>| Some((name.to_owned(), version.map(str::to_owned)));
    assert_eq!(read("truss/0.18.36 python/3.11"), named("truss", Some("0.18.36")));
    assert_eq!(read("a/b/c"), named("a", None));
    assert_eq!(read(&format!("truss/{}", "1".repeat(65))), named("truss", None));
    for nothing in ["", " truss/1", "/1", "trüss/1", "<script>/1", &"x".repeat(65)] {
        assert_eq!(read(nothing), None, "{nothing}");
    }
}

#[test]
fn pages_join_to_the_whole_log_in_either_direction() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    for name in ["a", "b", "c", "d", "e"] {
        org.set_secret(&ada, &blue, name);
    }
    for (direction, order) in [("ASC", "abcde"), ("DESC", "edcba")] {
        let mut seen = String::new();
        let mut query = format!("limit=2&direction={direction}&{}", since());
        loop {
            let page = org.get(&org.founder, &format!("/v1/audit_logs?{query}")).ok();
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()));
            seen.extend(items.iter().map(|entry| text(&entry["event_data"]["secret_name"])));
            let pagination = &page["pagination"];
            assert_eq!(pagination["has_more"], !pagination["cursor"].is_null());
            let Some(cursor) = pagination["cursor"].as_str() else { break };
            // What is said of the direction beside a cursor does not count.
            query = format!("limit=2&direction=ASC&{}&cursor={cursor}", since());
        }
        assert_eq!(seen, order);
    }
}

#[test]
fn the_newest_twenty_come_unasked_and_a_clock_that_jumps_reorders_nothing() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    for number in 0..25 {
        server.now.set(Time(server.now.get().0 - 1000));
        org.set_secret(&ada, &blue, &format!("s{number}"));
    }
    let names = |query: &str| -> Vec<String> {
        org.found(query).iter().map(|entry| text(&entry["event_data"]["secret_name"])).collect()
    };
    let expected: Vec<String> = (5..25).rev().map(|number| format!("s{number}")).collect();
    assert_eq!(names(""), expected);
    assert_eq!(names("event_type_groups=SECRETS&limit=200&direction=ASC").len(), 25);
    assert_eq!(names("event_type_groups=SECRETS&limit=1&direction=ASC"), ["s0"]);
}

#[test]
fn entries_are_filtered_by_kind_actor_team_source_and_time() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    let red = org.team("Red");
    org.set_secret(&ada, &blue, "kite_token");
    server.now.set(BEGIN.plus_seconds(120));
    org.set_secret(&org.founder, &red, "other");
    org.note("SSH_CERTIFICATE_SIGNED", json!({ "workload_id": "w1" }));
    let all = ["SSH_CERTIFICATE_SIGNED", "SECRET_UPDATED", "SECRET_UPDATED", "TEAM_CREATED"];
    assert_eq!(org.found_types(&since()), all);
    let found = |query: String| org.found_types(&format!("{}&{query}", since()));
    assert_eq!(found("event_type_groups=SECRETS".to_owned()), all[1..3]);
    assert_eq!(found("event_type_groups=SECRETS&event_type_groups=METADATA".to_owned()), all[1..]);
    assert_eq!(found("event_type_groups=CODE".to_owned()), [""; 0], "a group without events of ours");
    assert_eq!(found(format!("user_ids={}", ada.id)), all[2..3]);
    assert_eq!(found(format!("user_ids={}&user_ids={}", ada.id, org.founder.id)), all[1..]);
    assert_eq!(found(format!("team_ids={blue}")), all[2..3]);
    assert_eq!(found(format!("team_ids={blue}&team_ids={red}")), all[1..]);
    assert_eq!(found("team_ids=nothing".to_owned()), [""; 0]);
    assert_eq!(found("sources=SYSTEM".to_owned()), all[..1]);
    assert_eq!(found("sources=SYSTEM&sources=API".to_owned()), all);
    let noon = BEGIN.plus_seconds(120).0;
    assert_eq!(org.found_types(&format!("start_epoch_millis={noon}")), all[..2]);
    assert_eq!(found(format!("end_epoch_millis={noon}")), all[2..]);
}

#[test]
fn entries_are_filtered_by_what_they_are_about() {
    let server = TestServer::empty();
    let (org, ..) = office(&server);
    org.note("MODEL_DEPLOYED", json!({ "model_id": "m1", "deployment_id": "d1", "environment_name": "production" }));
    org.note(
        "CHAIN_DEPLOYED",
        json!({ "chain_id": "c1", "chain_deployment_id": "cd1", "environment_name": "staging" }),
    );
    assert_eq!(org.found_types("deployment_ids=d1&deployment_ids=d2"), ["MODEL_DEPLOYED"]);
    assert_eq!(org.found_types("chain_deployment_ids=cd1"), ["CHAIN_DEPLOYED"]);
    assert_eq!(org.found_types("environment_names=staging"), ["CHAIN_DEPLOYED"]);
    assert_eq!(org.found_types("environment_names=staging&environment_names=production").len(), 2);
    assert_eq!(org.found_types("deployment_ids=cd1"), [""; 0]);
}

#[test]
fn search_finds_parts_of_values_without_regard_to_case() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    org.set_secret(&ada, &blue, "Kite_Token");
    let found = |text: &str| org.found_types(&format!("{}&search={text}", since()));
    for part in ["kite_tok", "KITE", "secret_upd", "ada@people", "blue", ada.key.split('.').next().unwrap()] {
        assert_eq!(found(part), ["SECRET_UPDATED"], "{part}");
    }
    for nothing in ["secret_name", "kite%", "%", "'", "\""] {
        assert_eq!(found(nothing), [""; 0], "{nothing}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let server = TestServer::empty();
    let (org, ..) = office(&server);
    let users = org.get(&org.founder, "/v1/users?limit=1").ok();
    let of_users = format!("cursor={}", text(&users["pagination"]["cursor"]));
    let bad = [
        ("limit=0", "`limit`"),
        ("limit=201", "200"),
        ("limit=-1", "`limit`"),
        ("direction=desc", "`direction`"),
        ("cursor=", "`cursor`"),
        ("cursor=nonsense", "`cursor`"),
        ("cursor=YXVkaXRfbG9nczpERVNDOng", "`cursor`"), // audit_logs:DESC:x
        (&of_users, "`cursor`"),
        ("event_type_groups=NOTHING", "SECRETS"),
        ("event_type_groups=SECRETS&event_type_groups=", "`event_type_groups`"),
        ("sources=api", "MCP"),
        ("start_epoch_millis=yesterday", "`start_epoch_millis`"),
        ("end_epoch_millis=1.5", "`end_epoch_millis`"),
    ];
    for (query, named) in bad {
        let told = org.get(&org.founder, &format!("/v1/audit_logs?{query}")).refused(400, "VALIDATION_ERROR");
        assert!(text(&told["message"]).contains(named), "{query}: {told}");
    }
    org.found("limit=200");
}

#[test]
fn organization_admins_alone_read_it_with_one_team_too() {
    let server = TestServer::empty();
    for (name, teams) in [("acme", Teams::On), ("solo", Teams::Off)] {
        let org = Org::new(&server, name, teams);
        let lead = json!([{ "team_id": org.default_team, "role": "ADMIN" }]);
        let lead = org.person(&format!("lead-{name}"), "MEMBER", lead);
        let key = org.key_of("WORKSPACE_MANAGE_ALL", Some(&org.default_team));
        for by in [&lead, &key] {
            org.get(by, "/v1/audit_logs").refused(403, "FORBIDDEN");
            org.get(by, "/v1/audit_logs?limit=x").refused(403, "FORBIDDEN");
        }
        let theirs = org.found("limit=200");
        assert!(!theirs.is_empty());
        let other = Org::new(&server, &format!("not{name}"), teams);
        let others = other.found("limit=200");
        assert!(theirs.iter().all(|entry| others.iter().all(|other| other["id"] != entry["id"])));
    }
}

#[test]
fn a_model_and_a_chain_have_a_log_of_their_own() {
    let server = TestServer::empty();
    let (org, blue, ada) = office(&server);
    let sql = server.sql();
    sql.execute("INSERT INTO model (id, org_id, team_id, name, instance_type, created_at) VALUES ('m1', ?, ?, 'llama', '1x2', 0)", [&org.id, &blue]).unwrap();
    sql.execute(
        "INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('c1', ?, ?, 'rag', 0)",
        [&org.id, &blue],
    )
    .unwrap();
    org.patch(&ada, "/v1/models/m1", json!({ "name": "llama-3" })).ok();
    org.note("CHAIN_DEPLOYED", json!({ "chain_id": "c1" }));
    org.note("MODEL_DEPLOYED", json!({ "model_id": "another" }));
    for (noun, id, event_type) in [("models", "m1", "MODEL_RENAMED"), ("chains", "c1", "CHAIN_DEPLOYED")] {
        let log = org.get(&org.founder, &format!("/v1/{noun}/{id}/audit_logs")).ok();
        let types: Vec<&Value> = log["items"].as_array().unwrap().iter().map(|entry| &entry["event_type"]).collect();
        assert_eq!(types, [event_type]);
        org.get(&ada, &format!("/v1/{noun}/{id}/audit_logs")).refused(403, "FORBIDDEN");
        org.get(&org.founder, &format!("/v1/{noun}/nothing/audit_logs")).refused(404, "NOT_FOUND");
        let lone = org.person(&format!("lone-{noun}"), "MEMBER", json!([]));
        let stranger = Org::new(&server, &format!("globex-{noun}"), Teams::On).founder;
        for by in [&lone, &stranger] {
            org.get(by, &format!("/v1/{noun}/{id}/audit_logs")).refused(404, "NOT_FOUND");
        }
    }
}
