//! Decisions 10 and 11: secrets, and routes that name no team.

use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{by, sorted};

const RESEARCH: &str = "/v1/teams/research/secrets";

fn set(server: &TestServer, name: &str, value: &str) -> (u16, Value) {
    let body = Some(json!({ "name": name, "value": value }));
    let answered = server.send(Some(WORLD.keys.text("max")), "POST", RESEARCH, body);
    (answered.status, answered.body)
}

// ---- decision 10 ----

#[test]
fn a_secret_s_name_is_letters_digits_and_marks_with_a_letter_or_digit() {
    let server = WORLD.server();
    for good in ["a", "HF_TOKEN", "hf-token.2", "0", "_x_", &"x".repeat(128)] {
        assert_eq!(set(&server, good, "x").0, 200, "{good}");
    }
    for bad in ["", "_", "-.-", "a b", "ä", "a/b", "a\u{0}", &"x".repeat(129)] {
        let (status, body) = set(&server, bad, "x");
        assert_eq!(status, 400, "{bad:?}");
        assert!(body["message"].as_str().unwrap().contains("name"), "{body}");
    }
}

#[test]
fn a_secret_s_value_is_1_byte_to_64_kib() {
    let server = WORLD.server();
    for good in ["x", "\u{0}\n\u{1f600}", &"x".repeat(64 << 10)] {
        assert_eq!(set(&server, "k", good).0, 200);
    }
    for bad in ["", &"x".repeat((64 << 10) + 1), &"ä".repeat(33 << 10)] {
        let (status, body) = set(&server, "k", bad);
        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().contains("value"), "{body}");
    }
    for wrong in [json!({ "name": "k", "value": 5 }), json!({ "name": "k" }), json!({ "name": "k", "value": null })] {
        assert!(by(&server, "max").refused(400, "POST", RESEARCH, Some(wrong)).contains("value"));
    }
}

#[test]
fn marks_and_case_do_not_tell_two_names_apart_and_the_last_spelling_is_shown() {
    let server = WORLD.server();
    let first = set(&server, "Hf-Access.Token", "1").1;
    for spelling in ["hf_access_token", "HF-ACCESS-TOKEN", "hf.access.token"] {
        let again = set(&server, spelling, "2").1;
        assert_eq!((&again["id"], &again["name"]), (&first["id"], &json!(spelling)), "an upsert keeps the id");
    }
    let max = by(&server, "max");
    assert_eq!(max.list(RESEARCH, "secrets", "name"), ["hf.access.token", "Token"]);
    assert_eq!(max.delete(&format!("{RESEARCH}/HF.ACCESS.TOKEN")), json!({ "name": "hf.access.token" }));
    assert_eq!(set(&server, "hf_access_token", "3").1["name"], "hf_access_token", "gone is gone");
}

#[test]
fn setting_and_deleting_need_deploy_and_listing_needs_view() {
    let server = WORLD.server();
    let body = || Some(json!({ "name": "x", "value": "x" }));
    for key in ["invoke", "metrics", "key-manager"] {
        let why = by(&server, key).refused(403, "POST", RESEARCH, body());
        assert!(why.contains("Deploy models, Chains, and training projects"), "{why}");
        by(&server, key).refused(403, "DELETE", &format!("{RESEARCH}/token"), None);
        assert!(by(&server, key).refused(403, "GET", RESEARCH, None).contains("View team resources"));
    }
}

#[test]
fn a_name_in_a_path_that_no_secret_has_valid_or_not_is_not_there() {
    let server = WORLD.server();
    let max = by(&server, "max");
    let answers: Vec<String> = ["nosuch", "not valid", "-", "ä", "a%2Fb"]
        .iter()
        .map(|name| max.refused(404, "DELETE", &format!("{RESEARCH}/{name}"), None))
        .collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn no_value_of_a_secret_leaves_by_the_api() {
    let server = WORLD.server();
    let canary = "canary-93b1";
    let (_, set) = set(&server, "k", canary);
    let ada = by(&server, "ada");
    let answers = [set, ada.get(RESEARCH), ada.get("/v1/secrets"), ada.get("/v1/audit_logs")];
    assert!(answers.iter().all(|answer| !answer.to_string().contains(canary)));
    let listed = &answers[1]["secrets"][0];
    let fields: Vec<&String> = listed.as_object().unwrap().keys().collect();
    assert_eq!(sorted(fields.into_iter().cloned().collect()), ["created_at", "id", "name", "team_name"]);
}

// ---- decision 11 ----

#[test]
fn without_a_team_a_team_key_s_own_is_meant_and_otherwise_the_default_team() {
    let server = WORLD.server();
    let body = json!({ "name": "fresh", "value": "x" });
    assert_eq!(by(&server, "manage-all").post("/v1/secrets", body.clone())["team_name"], "Research");
    assert_eq!(by(&server, "inference-manage-all").post("/v1/secrets", body.clone())["team_name"], "Inference");
    assert_eq!(by(&server, "ada").post("/v1/secrets", body.clone())["team_name"], "Default");
    assert_eq!(by(&server, "dora").post("/v1/secrets", body.clone())["team_name"], "Default");
    let why = by(&server, "max").refused(403, "POST", "/v1/secrets", Some(body));
    assert!(why.contains("default team"), "{why}");
    by(&server, "max").refused(403, "DELETE", "/v1/secrets/token", None);
    let project = json!({ "training_project": { "name": "fresh" } });
    let made = by(&server, "manage-all").post("/v1/training_projects", project.clone());
    assert_eq!(made["training_project"]["team_name"], "Research");
    by(&server, "max").refused(403, "POST", "/v1/training_projects", Some(project));
}

#[test]
fn lists_without_a_team_join_all_teams_the_caller_sees() {
    let server = WORLD.server();
    for (who, teams) in [
        ("ada", vec!["Default", "Inference", "Research"]),
        ("crew", vec!["Default", "Inference", "Research"]),
        ("max", vec!["Research"]),
        ("lone", vec![]),
        ("manage-all", vec!["Research"]),
        ("fay", vec!["Abroad", "Default"]),
    ] {
        for (target, list) in [
            ("/v1/secrets", "secrets"),
            ("/v1/models", "models"),
            ("/v1/chains", "chains"),
            ("/v1/training_projects", "training_projects"),
        ] {
            assert_eq!(sorted(by(&server, who).list(target, list, "team_name")), teams, "{who} {target}");
        }
    }
}

#[test]
fn environment_groups_without_a_team_are_the_default_team_s() {
    let server = WORLD.server();
    let crew = by(&server, "crew");
    assert_eq!(crew.get("/v1/environment_groups"), crew.get("/v1/teams/home/environment_groups"));
    let groups = by(&server, "manage-all").list("/v1/environment_groups", "items", "team_id");
    assert!(!groups.is_empty() && groups.iter().all(|team| team == "research"));
    for single in ["/v1/environment_groups", "/v1/environment_groups/production", "/v1/environment_groups/nosuch"] {
        by(&server, "max").refused(403, "GET", single, None);
    }
}

#[test]
fn a_training_project_s_name_is_1_to_255_characters_and_its_body_closed() {
    let server = WORLD.server();
    let max = by(&server, "max");
    let project = |name: &str| json!({ "training_project": { "name": name } });
    for good in ["x", &"x".repeat(255), "Größe & co"] {
        max.post("/v1/teams/research/training_projects", project(good));
    }
    for bad in ["", &"x".repeat(256)] {
        max.refused(400, "POST", "/v1/teams/research/training_projects", Some(project(bad)));
    }
    let unknown = json!({ "training_project": { "name": "x", "surprise": 1 } });
    let why = max.refused(400, "POST", "/v1/teams/research/training_projects", Some(unknown));
    assert!(why.contains("surprise"), "{why}");
}

// ---- the value is bound to its row ----

/// What of the associated data is altered, by which statements, and where the secret is then: the team, its name, and
/// somebody who may set it.
const ALTERED: [(&str, &str, [&str; 3]); 5] = [
    (
        "organization",
        "DROP TRIGGER default_team_changed;
         UPDATE team SET org_id = 'globex' WHERE id = 'empty';
         UPDATE secret SET org_id = 'globex' WHERE lookup = 'hf_token'",
        ["empty", "hf_token", "fay"],
    ),
    ("team", "UPDATE secret SET team_id = 'research' WHERE lookup = 'hf_token'", ["research", "hf_token", "ada"]),
    (
        "secret id",
        "UPDATE secret_value SET secret_id = 'another' WHERE secret_id = (SELECT id FROM secret WHERE lookup = 'hf_token');
         UPDATE secret SET id = 'another' WHERE lookup = 'hf_token'",
        ["empty", "hf_token", "ada"],
    ),
    ("name", "UPDATE secret SET name = 'HF_TOKEN' WHERE lookup = 'hf_token'", ["empty", "HF_TOKEN", "ada"]),
    ("version", "UPDATE secret SET version = 2 WHERE lookup = 'hf_token'", ["empty", "hf_token", "ada"]),
];

/// The server opens the value that it has when the same is set again: it then writes nothing.
fn opens(altered: &str, [team, name, who]: [&str; 3]) -> bool {
    let server = WORLD.server();
    by(&server, "ada").post("/v1/teams/empty/secrets", json!({ "name": "hf_token", "value": "hf_1" }));
    let sql = server.sql();
    sql.execute_batch(&format!("PRAGMA foreign_keys = OFF; {altered}")).unwrap();
    server.app.db.write_blocking(server.now(), |_| Ok(())).unwrap(); // readers begin a new snapshot
    let sealed = || -> Vec<u8> {
        let query = "SELECT sealed FROM secret_value JOIN secret ON secret.id = secret_id WHERE lookup = 'hf_token'";
        sql.query_row(query, [], |row| row.get(0)).unwrap()
    };
    let before = sealed();
    by(&server, who).post(&format!("/v1/teams/{team}/secrets"), json!({ "name": name, "value": "hf_1" }));
    sealed() == before
}

#[test]
fn a_value_whose_row_is_altered_in_any_part_does_not_open() {
    assert!(opens("", ["empty", "hf_token", "ada"]), "nothing was altered");
    for (part, statements, place) in ALTERED {
        assert!(!opens(statements, place), "the value opens with another {part}");
    }
}
