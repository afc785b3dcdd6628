//! `GET /v1/permissions` and `…/explain`: both use the functions that enforce the permissions.

use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{by, one};

mod explained;

fn explain(server: &TestServer, who: &str, query: &str) -> Value {
    by(server, who).get(&format!("/v1/permissions/explain?{query}"))
}

#[test]
fn the_tables_are_shown_as_the_documents_word_them() {
    let server = WORLD.server();
    let shown = by(&server, "lone").get("/v1/permissions");
    let acts = &shown["organization"]["acts"];
    assert_eq!(acts.as_array().unwrap().len(), 4);
    let billing = one(acts, "act", "MANAGE_BILLING");
    assert_eq!((&billing["title"], &billing["allowed"]), (&json!("Manage billing"), &json!(["ADMIN"])));
    assert_eq!(shown["organization"]["roles"], json!(["ADMIN", "MEMBER"]));
    let acts = &shown["team"]["acts"];
    assert_eq!(acts.as_array().unwrap().len(), 6);
    assert_eq!(one(acts, "act", "DEPLOY")["allowed"], json!(["ADMIN", "MEMBER"]));
    assert_eq!(one(acts, "act", "CREATE_TEAM_API_KEYS")["allowed"], json!(["ADMIN"]));
    let keys = &shown["team_api_keys"]["acts"];
    assert_eq!(one(keys, "act", "CALL_MODELS")["allowed"], json!(["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE"]));
}

#[test]
fn an_explanation_says_what_would_happen() {
    let server = WORLD.server();
    for (who, query, allowed) in [
        ("ada", "act=MANAGE_BILLING", true),
        ("max", "act=MANAGE_BILLING", false),
        ("ada", "act=VIEW_ALL_TEAMS", true),
        ("ada", "act=MANAGE_TEAM_MEMBERS&team_id=research", true),
        ("tess", "act=MANAGE_TEAM_MEMBERS&team_id=research", true),
        ("max", "act=MANAGE_TEAM_MEMBERS&team_id=research", false),
        ("max", "act=DEPLOY&team_id=research", true),
        ("manage-all", "act=DEPLOY&team_id=research", true),
        ("invoke", "act=CALL_MODELS&team_id=research", true),
        ("metrics", "act=CALL_MODELS&team_id=research", false),
        ("key-manager", "act=CREATE_TEAM_API_KEYS&team_id=inference", true),
        ("key-manager", "act=VIEW_TEAM_RESOURCES&team_id=inference", false),
        ("manage-all", "act=MANAGE_BILLING", false),
    ] {
        let told = explain(&server, who, query);
        assert_eq!(told["allowed"], allowed, "{who} {query}: {told}");
        assert!(told["because"].as_array().is_some_and(|because| !because.is_empty()), "{told}");
    }
}

#[test]
fn an_explanation_names_its_subject() {
    let server = WORLD.server();
    let told = explain(&server, "max", "act=DEPLOY&team_id=research");
    assert_eq!(
        (&told["act"], &told["team_id"], &told["environment"]),
        (&json!("DEPLOY"), &json!("research"), &Value::Null)
    );
    let subject = &told["subject"];
    assert_eq!((&subject["user_id"], &subject["organization_role"]), (&json!("max"), &json!("MEMBER")));
    assert_eq!(subject["team_role"], "MEMBER");
    let told = explain(&server, "manage-all", "act=DEPLOY&team_id=research");
    assert_eq!(told["subject"]["api_key_prefix"], WORLD.keys.prefix("manage-all"));
    assert_eq!(told["subject"]["category"], "WORKSPACE_MANAGE_ALL");
}

#[test]
fn about_others_ask_those_who_manage_them() {
    let server = WORLD.server();
    let spare = WORLD.keys.prefix("spare");
    assert_eq!(explain(&server, "tess", "act=DEPLOY&team_id=research&user_id=max")["allowed"], true);
    assert_eq!(
        explain(&server, "tess", &format!("act=DEPLOY&team_id=research&api_key_prefix={spare}"))["allowed"],
        false
    );
    assert_eq!(explain(&server, "ada", "act=MANAGE_BILLING&user_id=max")["allowed"], false);
    assert_eq!(explain(&server, "max", "act=MANAGE_BILLING&user_id=max")["allowed"], false, "oneself, by name");
    let ask = |who: &str, status: u16, query: &str| {
        by(&server, who).refused(status, "GET", &format!("/v1/permissions/explain?{query}"), None);
    };
    ask("max", 403, "act=DEPLOY&team_id=research&user_id=tess");
    ask("tess", 403, "act=MANAGE_BILLING&user_id=max");
    ask("ada", 404, "act=MANAGE_BILLING&user_id=fay");
    ask("ada", 404, "act=DEPLOY&team_id=abroad");
    ask("max", 404, "act=DEPLOY&team_id=inference");
}

#[test]
fn a_question_that_cannot_be_is_refused() {
    let server = WORLD.server();
    for bad in [
        "",
        "act=RULE_THE_WORLD",
        "act=DEPLOY",
        "act=CHANGE_ENVIRONMENT&team_id=research",
        "act=CHANGE_ENVIRONMENT&team_id=research&environment=Not-A-Name",
    ] {
        by(&server, "ada").refused(400, "GET", &format!("/v1/permissions/explain?{bad}"), None);
    }
}

#[test]
fn what_no_row_says_of_a_key_that_manages_keys_is_said_beside_them() {
    let server = WORLD.server();
    let told = explain(&server, "key-manager", "act=VIEW_TEAM_RESOURCES&team_id=research");
    assert_eq!(told["allowed"], false);
    assert!(told["because"].to_string().contains("which teams there are"), "{told}");
}

#[test]
fn an_explanation_agrees_with_the_act() {
    let server = WORLD.server();
    for who in ["ada", "tess", "max", "manage-all", "invoke", "metrics", "key-manager"] {
        for (act, method, target, body) in [
            ("VIEW_TEAM_RESOURCES", "GET", "/v1/teams/research/secrets", None),
            ("DEPLOY", "POST", "/v1/teams/research/secrets", Some(json!({ "name": "x", "value": "x" }))),
            (
                "CREATE_TEAM_API_KEYS",
                "POST",
                "/v1/teams/research/api_keys",
                Some(json!({ "type": "WORKSPACE_INVOKE" })),
            ),
        ] {
            let told = explain(&server, who, &format!("act={act}&team_id=research"))["allowed"].as_bool().unwrap();
            let done = server.send(Some(WORLD.keys.text(who)), method, target, body).status == 200;
            assert_eq!(told, done, "{who} {act}");
        }
    }
}
