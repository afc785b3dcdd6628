//! Do models, Chains and training projects belong to their team, and Model APIs and instance types to no team?

use std::collections::BTreeSet;

use guildhall::domain::Time;
use rusqlite::named_params;
use serde_json::{Value, json};

use crate::org::{Org, Someone, Teams, refused_untouched};
use crate::test_server::{BEGIN, TestServer};
use crate::vocabulary::text;

const BORN: &str = "2026-11-01T00:00:00.000Z";

impl Org<'_> {
    /// Gives the team a model, a Chain or a training project: `table` says which. Its id is `id`.
    fn give(&self, table: &str, team: &str, id: &str, name: &str) {
        let more = match table {
            "model" => "instance_type) VALUES (:id, :org, :team, :name, :now, 'L4:4x16')",
            "training_project" => "updated_at) VALUES (:id, :org, :team, :name, :now, :now)",
            _ => "name) VALUES (:id, :org, :team, :now, :name)",
        };
        let columns = if table == "chain" { "created_at" } else { "name, created_at" };
        self.server
            .sql()
            .execute(
                &format!("INSERT INTO {table} (id, org_id, team_id, {columns}, {more}"),
                named_params! {
                    ":id": id, ":org": self.id, ":team": team, ":name": name, ":now": self.server.now.get(),
                },
            )
            .unwrap();
        self.server.now.set(Time(self.server.now.get().0 + 1));
    }

    fn listed(&self, by: &Someone, target: &str) -> Vec<String> {
        let body = self.get(by, target).ok();
        let (_, items) = body.as_object().unwrap().iter().next().unwrap();
        items.as_array().unwrap().iter().map(|item| text(&item["id"])).collect()
    }
}

/// An organization of two teams besides the default one, with a member of `blue` alone.
struct Office<'h> {
    org: Org<'h>,
    blue: String,
    red: String,
    ada: Someone,
}

impl<'h> Office<'h> {
    fn new(server: &'h TestServer) -> Office<'h> {
        let org = Org::new(server, "acme", Teams::On);
        let (blue, red) = (org.team("Blue"), org.team("Red"));
        let ada = org.person("ada", "MEMBER", json!([{ "team_id": blue, "role": "MEMBER" }]));
        server.now.set(BEGIN);
        Office { org, blue, red, ada }
    }
}

// ---- models ----

#[test]
fn models_are_listed_over_all_teams_one_sees_the_newest_first() {
    let server = TestServer::empty();
    let Office { org, blue, red, ada } = Office::new(&server);
    org.give("model", &blue, "b1", "llama");
    org.give("model", &red, "r1", "llama");
    org.give("model", &blue, "b2", "whisper");
    assert_eq!(org.listed(&org.founder, "/v1/models"), ["b2", "r1", "b1"]);
    assert_eq!(org.listed(&ada, "/v1/models"), ["b2", "b1"]);
    assert_eq!(org.listed(&ada, &format!("/v1/teams/{blue}/models")), ["b2", "b1"]);
    org.get(&ada, &format!("/v1/teams/{red}/models")).refused(404, "NOT_FOUND");
    let of_blue = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
    assert_eq!(org.listed(&of_blue, "/v1/models"), ["b2", "b1"]);
    for category in ["WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
        org.get(&org.key_of(category, Some(&blue)), "/v1/models").refused(403, "FORBIDDEN");
    }
    let stranger = Org::new(&server, "globex", Teams::On).founder;
    assert_eq!(org.listed(&stranger, "/v1/models"), [""; 0]);
}

#[test]
fn a_name_is_matched_whole_and_an_empty_one_matches_nothing() {
    let server = TestServer::empty();
    let Office { org, blue, red, .. } = Office::new(&server);
    org.give("model", &blue, "b1", "llama");
    org.give("model", &red, "r1", "llama");
    org.give("model", &blue, "b2", "llama-2");
    assert_eq!(org.listed(&org.founder, "/v1/models?name=llama"), ["r1", "b1"]);
    assert_eq!(org.listed(&org.founder, &format!("/v1/teams/{blue}/models?name=llama")), ["b1"]);
    for nothing in ["", "Llama", "llam"] {
        assert_eq!(org.listed(&org.founder, &format!("/v1/models?name={nothing}")), [""; 0]);
    }
}

#[test]
fn a_model_is_shown_renamed_and_deleted_by_its_team() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    org.give("model", &blue, "b1", "llama");
    org.give("model", &blue, "b2", "whisper");
    let mut model = json!({
        "id": "b1", "created_at": BORN, "name": "llama", "deployments_count": 0, "production_deployment_id": null,
        "development_deployment_id": null, "instance_type_name": "L4:4x16", "team_name": "Blue",
    });
    assert_eq!(org.get(&ada, "/v1/models/b1").ok(), model);
    let before = org.last_entry();
    assert_eq!(org.patch(&ada, "/v1/models/b1", json!({})).ok(), model);
    assert_eq!(org.patch(&ada, "/v1/models/b1", json!({ "name": null })).ok(), model);
    assert_eq!(org.events_since(before), [""; 0]);
    model["name"] = json!("llama 3");
    assert_eq!(org.patch(&ada, "/v1/models/b1", json!({ "name": " llama 3 " })).ok(), model);
    assert_eq!(org.get(&ada, "/v1/models/b1").ok(), model);
    assert_eq!(org.delete(&ada, "/v1/models/b1").ok(), json!({ "id": "b1", "deleted": true }));
    let audit = [
        ("MODEL_RENAMED".to_owned(), json!({ "model_id": "b1", "model_name": "llama 3", "previous_name": "llama" })),
        ("MODEL_DELETED".to_owned(), json!({ "model_id": "b1", "model_name": "llama 3" })),
    ];
    assert_eq!(org.audit_since(before), audit);
    org.get(&ada, "/v1/models/b1").refused(404, "NOT_FOUND");
    org.delete(&ada, "/v1/models/b1").refused(404, "NOT_FOUND");
    assert_eq!(org.listed(&ada, "/v1/models"), ["b2"]);
}

#[test]
fn a_model_is_not_renamed_to_what_its_team_has_or_to_no_name() {
    let server = TestServer::empty();
    let Office { org, blue, red, ada } = Office::new(&server);
    org.give("model", &blue, "b1", "llama");
    org.give("model", &blue, "b2", "whisper");
    org.give("model", &red, "r1", "dream");
    let rename = |name: Value| org.patch(&ada, "/v1/models/b1", json!({ "name": name }));
    refused_untouched(&server, 409, "CONFLICT", || rename(json!("whisper")));
    for bad in [json!(""), json!("  "), json!("a\nb"), json!("x".repeat(256)), json!(7)] {
        let told = refused_untouched(&server, 400, "VALIDATION_ERROR", || rename(bad));
        assert!(text(&told["message"]).contains("`name`"), "{told}");
    }
    let told = refused_untouched(&server, 400, "VALIDATION_ERROR", || {
        org.patch(&ada, "/v1/models/b1", json!({ "name": "x", "team_id": red }))
    });
    assert!(text(&told["message"]).contains("team_id"), "{told}");
    rename(json!("dream")).ok();
    rename(json!("x".repeat(255))).ok();
}

#[test]
fn what_another_team_owns_is_not_there() {
    let server = TestServer::empty();
    let Office { org, blue, red, ada } = Office::new(&server);
    for (table, noun, id) in
        [("model", "models", "r1"), ("chain", "chains", "r2"), ("training_project", "training_projects", "r3")]
    {
        org.give(table, &red, id, "theirs");
        let there = org.get(&ada, &format!("/v1/{noun}/{id}")).refused(404, "NOT_FOUND");
        let nowhere = org.get(&ada, &format!("/v1/{noun}/nothing")).refused(404, "NOT_FOUND");
        assert_eq!(there, nowhere);
        refused_untouched(&server, 404, "NOT_FOUND", || org.delete(&ada, &format!("/v1/{noun}/{id}")));
        let stranger = Org::new(&server, &format!("globex{id}"), Teams::Off).founder;
        refused_untouched(&server, 404, "NOT_FOUND", || org.delete(&stranger, &format!("/v1/{noun}/{id}")));
        let of_red = org.key_of("WORKSPACE_INVOKE", Some(&red));
        refused_untouched(&server, 403, "FORBIDDEN", || org.delete(&of_red, &format!("/v1/{noun}/{id}")));
        let of_blue = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
        refused_untouched(&server, 404, "NOT_FOUND", || org.delete(&of_blue, &format!("/v1/{noun}/{id}")));
        org.get(&org.founder, &format!("/v1/{noun}/{id}")).ok();
    }
    refused_untouched(&server, 404, "NOT_FOUND", || org.patch(&ada, "/v1/models/r1", json!({ "name": "mine" })));
}

#[test]
fn a_key_that_was_narrowed_to_a_deleted_model_stays_narrowed() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    org.give("model", &blue, "b1", "llama");
    let key = org.key_of("WORKSPACE_INVOKE", Some(&blue));
    let sql = server.sql();
    sql.execute("UPDATE api_key SET narrowed_to_models = 1 WHERE prefix = ?", [&key.id]).unwrap();
    sql.execute("INSERT INTO api_key_model VALUES (?, 'b1', ?, ?)", [&key.id, &org.id, &blue]).unwrap();
    org.delete(&ada, "/v1/models/b1").ok();
    let (narrowed, models): (i64, i64) = sql
        .query_row(
            "SELECT narrowed_to_models, (SELECT count(*) FROM api_key_model) FROM api_key WHERE prefix = ?",
            [&key.id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((narrowed, models), (1, 0));
}

// ---- Chains ----

#[test]
fn chains_are_listed_shown_and_deleted_by_their_team() {
    let server = TestServer::empty();
    let Office { org, blue, red, ada } = Office::new(&server);
    org.give("chain", &blue, "b1", "rag");
    org.give("chain", &red, "r1", "rag");
    assert_eq!(org.listed(&org.founder, "/v1/chains"), ["r1", "b1"]);
    assert_eq!(org.listed(&ada, "/v1/chains"), ["b1"]);
    let chain = json!({ "id": "b1", "created_at": BORN, "name": "rag", "deployments_count": 0, "team_name": "Blue" });
    assert_eq!(org.get(&ada, "/v1/chains/b1").ok(), chain);
    let before = org.last_entry();
    assert_eq!(org.delete(&ada, "/v1/chains/b1").ok(), json!({ "id": "b1", "deleted": true }));
    let data = json!({ "chain_id": "b1", "chain_name": "rag", "chain_deployment_name": null });
    assert_eq!(org.audit_since(before), [("CHAIN_DELETED".to_owned(), data)]);
    org.get(&ada, "/v1/chains/b1").refused(404, "NOT_FOUND");
}

// ---- training projects ----

#[test]
fn a_training_project_is_made_once_a_name_in_a_team() {
    let server = TestServer::empty();
    let Office { org, blue, red, ada } = Office::new(&server);
    let upsert = |by: &Someone, team: &str| {
        let body = json!({ "training_project": { "name": "tune" } });
        org.post(by, &format!("/v1/teams/{team}/training_projects"), body)
    };
    let before = org.last_entry();
    let made = upsert(&ada, &blue).ok();
    let id = text(&made["training_project"]["id"]);
    let project = json!({
        "id": id, "name": "tune", "created_at": BORN, "updated_at": BORN, "team_name": "Blue", "latest_job": null,
    });
    assert_eq!(made, json!({ "training_project": project }));
    assert_eq!(org.get(&ada, &format!("/v1/training_projects/{id}")).ok(), made);
    server.now.set(server.now.get().plus_seconds(1));
    let again = upsert(&ada, &blue).ok();
    assert_eq!(again["training_project"]["updated_at"], "2026-11-01T00:00:01.000Z");
    assert_eq!(
        (&again["training_project"]["id"], &again["training_project"]["created_at"]),
        (&json!(id), &json!(BORN))
    );
    let other = text(&upsert(&org.founder, &red).ok()["training_project"]["id"]);
    assert_ne!(other, id);
    assert_eq!(org.listed(&org.founder, "/v1/training_projects"), [other, id.clone()]);
    assert_eq!(org.listed(&ada, "/v1/training_projects"), [id.as_str()]);
    refused_untouched(&server, 404, "NOT_FOUND", || upsert(&ada, &red));
    org.delete(&ada, &format!("/v1/training_projects/{id}")).ok();
    org.get(&ada, &format!("/v1/training_projects/{id}")).refused(404, "NOT_FOUND");
    let made = "TRAINING_PROJECT_CREATED";
    assert_eq!(org.events_since(before), [made, "TRAINING_PROJECT_UPDATED", made, "TRAINING_PROJECT_DELETED"]);
    let data = json!({ "training_project_id": id, "training_project_name": "tune" });
    assert_eq!(org.audit_since(before)[3].1, data);
}

#[test]
fn without_a_team_in_its_path_a_training_project_is_the_default_teams_or_the_keys() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    let upsert = |by: &Someone| org.post(by, "/v1/training_projects", json!({ "training_project": { "name": "t" } }));
    assert_eq!(upsert(&org.founder).ok()["training_project"]["team_name"], "Default");
    let of_blue = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
    assert_eq!(upsert(&of_blue).ok()["training_project"]["team_name"], "Blue");
    let invoke = org.key_of("WORKSPACE_INVOKE", Some(&blue));
    refused_untouched(&server, 403, "FORBIDDEN", || upsert(&ada));
    refused_untouched(&server, 403, "FORBIDDEN", || upsert(&invoke));
}

#[test]
fn the_body_of_a_training_project_is_closed_and_means_the_team_of_its_path() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    let upsert = |body: Value| org.post(&ada, &format!("/v1/teams/{blue}/training_projects"), body);
    upsert(json!({ "training_project": { "name": "tune", "team_name": "Blue" } })).ok();
    upsert(json!({ "training_project": { "name": "tune", "team_name": null } })).ok();
    let bad = [
        (json!({ "training_project": { "name": "tune", "team_name": "Red" } }), "training_project.team_name"),
        (json!({ "training_project": { "name": "" } }), "training_project.name"),
        (json!({ "training_project": { "name": "x".repeat(256) } }), "training_project.name"),
        (json!({ "training_project": { "name": "tune", "jobs": [] } }), "jobs"),
        (json!({ "training_project": {} }), "name"),
        (json!({ "name": "tune" }), "name"),
    ];
    for (body, named) in bad {
        let told = refused_untouched(&server, 400, "VALIDATION_ERROR", || upsert(body));
        assert!(text(&told["message"]).contains(named), "{told}");
    }
}

// ---- Model APIs ----

#[test]
fn model_apis_are_listed_in_pages_and_shown() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    let all = org.get(&org.founder, "/v1/model_apis").ok();
    let all = all["items"].as_array().unwrap();
    assert!(all.len() > 2);
    let names: BTreeSet<String> = all.iter().map(|item| text(&item["name"])).collect();
    assert_eq!(names.len(), all.len());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = org.get(&org.founder, &format!("/v1/model_apis?limit=1{cursor}")).ok();
        seen.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["pagination"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(&seen, all);
    for item in all {
        assert_eq!(&org.get(&org.founder, &format!("/v1/model_apis/{}", text(&item["name"]))).ok(), item);
        assert_eq!(item["invoke_url"], "http://localhost:8000");
        assert_eq!(item["org_details"], Value::Null);
        let slug = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(text(&item["name"]).chars().all(slug), "{item}");
    }
    org.get(&org.founder, "/v1/model_apis/nothing").refused(404, "NOT_FOUND");
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=x", "added_only=1"] {
        org.get(&org.founder, &format!("/v1/model_apis?{bad}")).refused(400, "VALIDATION_ERROR");
    }
}

#[test]
fn what_the_organization_added_says_since_when() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    let globex = Org::new(&server, "globex", Teams::Off);
    server
        .sql()
        .execute("INSERT INTO model_api (org_id, name, added_at) VALUES (?, 'gpt-oss-120b', ?)", (&org.id, BEGIN))
        .unwrap();
    let added = org.get(&org.founder, "/v1/model_apis?added_only=true").ok();
    let [item] = &added["items"].as_array().unwrap()[..] else { panic!("{added}") };
    assert_eq!(item["name"], "gpt-oss-120b");
    assert_eq!(item["org_details"], json!({ "added_at": BORN, "last_used_at": null }));
    assert_eq!(globex.get(&globex.founder, "/v1/model_apis?added_only=true").ok()["items"], json!([]));
}

#[test]
fn model_apis_are_of_the_default_team_alone() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    let of_default = org.key_of("WORKSPACE_MANAGE_ALL", Some(&org.default_team));
    org.get(&of_default, "/v1/model_apis").ok();
    let of_blue = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
    let invoke = org.key_of("WORKSPACE_INVOKE", Some(&org.default_team));
    for by in [&ada, &of_blue, &invoke] {
        org.get(by, "/v1/model_apis").refused(403, "FORBIDDEN");
        org.get(by, "/v1/model_apis/gpt-oss-120b").refused(403, "FORBIDDEN");
        org.get(by, "/v1/model_apis/nothing").refused(403, "FORBIDDEN");
    }
}

// ---- instance types ----

#[test]
fn instance_types_are_the_same_with_and_without_their_prices() {
    let server = TestServer::empty();
    let org = Org::new(&server, "acme", Teams::Off);
    let types = org.get(&org.founder, "/v1/instance_types").ok();
    let prices = org.get(&org.founder, "/v1/instance_type_prices").ok();
    let (types, prices) = (types["instance_types"].as_array().unwrap(), prices["instance_types"].as_array().unwrap());
    let priced: Vec<&Value> = prices.iter().map(|item| &item["instance_type"]).collect();
    assert_eq!(types.iter().collect::<Vec<_>>(), priced);
    assert!(prices.iter().all(|item| item["price"].as_f64().unwrap() > 0.0));
    let ids: BTreeSet<&str> = types.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), types.len());
    for known in ["1x2", "16x64", "L4:4x16", "H100:26x234"] {
        assert!(ids.contains(known), "{known}");
    }
    for item in types {
        let has_gpu = item["gpu_count"].as_u64().unwrap() > 0;
        assert_eq!((item["gpu_type"].is_string(), item["gpu_memory_limit_mib"].is_u64()), (has_gpu, has_gpu), "{item}");
        // The id says what the instance has.
        let cpu_and_memory = item["id"].as_str().unwrap().rsplit(':').next().unwrap();
        let (cpus, gib) = cpu_and_memory.split_once('x').unwrap();
        assert_eq!(item["millicpu_limit"], cpus.parse::<u64>().unwrap() * 1000, "{item}");
        assert_eq!(item["memory_limit_mib"], gib.parse::<u64>().unwrap() * 1024, "{item}");
    }
}

#[test]
fn instance_types_are_for_who_may_view_something() {
    let server = TestServer::empty();
    let Office { org, blue, ada, .. } = Office::new(&server);
    let lone = org.person("lone", "MEMBER", json!([]));
    let manage_all = org.key_of("WORKSPACE_MANAGE_ALL", Some(&blue));
    let invoke = org.key_of("WORKSPACE_INVOKE", Some(&blue));
    let manager = org.key_of("WORKSPACE_MANAGE_API_KEYS", None);
    for target in ["/v1/instance_types", "/v1/instance_type_prices"] {
        for by in [&ada, &lone, &manage_all] {
            org.get(by, target).ok();
        }
        for by in [&invoke, &manager] {
            org.get(by, target).refused(403, "FORBIDDEN");
        }
    }
}
