//! Decision 19: statuses, the order of checks, and the audit log.

use serde_json::json;

use crate::seed::{self, WORLD};
use crate::vocabulary::{all, by, content, make_key, newcomer, nobody, one, text, with};

// ---- decision 19 ----

#[test]
fn a_refusal_is_a_code_and_a_sentence() {
    let server = WORLD.server();
    for (key, method, target, body, status, code) in [
        (None, "GET", "/v1/teams", "", 401, "UNAUTHENTICATED"),
        (Some("max"), "POST", "/v1/teams/research/secrets", "{", 400, "VALIDATION_ERROR"),
        (Some("max"), "GET", "/v1/audit_logs", "", 403, "FORBIDDEN"),
        (Some("max"), "GET", "/v1/teams/inference", "", 404, "NOT_FOUND"),
        (Some("max"), "GET", "/v1/nowhere", "", 404, "NOT_FOUND"),
        (Some("ada"), "DELETE", "/v1/teams/home", "", 409, "CONFLICT"),
        (Some("ada"), "GET", "/v1/volumes", "", 501, "NOT_IMPLEMENTED"),
    ] {
        let key = key.map(|name| WORLD.keys.text(name));
        let answered = server.send_bytes(key, method, target, body.as_bytes().to_vec());
        assert_eq!((answered.status, answered.body["code"].as_str()), (status, Some(code)), "{method} {target}");
        assert!(!text(&answered.body["message"]).is_empty());
    }
}

#[test]
fn a_403_prints_the_row_of_the_table_that_refuses() {
    let server = WORLD.server();
    for (who, method, target, row) in [
        ("max", "GET", "/v1/billing/usage_summary", "Manage billing"),
        ("max", "POST", "/v1/teams", "Manage teams"),
        ("max", "GET", "/v1/invitations", "Manage organization members"),
        ("max", "POST", "/v1/teams/research/members", "Manage team members"),
        ("max", "POST", "/v1/teams/research/environment_groups", "Create restricted environments"),
        ("max", "POST", "/v1/teams/research/api_keys", "Create team API keys"),
        ("invoke", "POST", "/v1/teams/research/secrets", "Deploy models, Chains, and training projects"),
        ("invoke", "GET", "/v1/teams/research", "View team resources"),
    ] {
        let why = by(&server, who).refused(403, method, target, None);
        assert!(why.contains(row), "{who} {target}: {why}");
    }
}

#[test]
fn a_key_that_does_not_work_is_refused_wherever_it_is_sent() {
    let server = WORLD.server();
    let (revoked, prefix) = make_key(&by(&server, "max"), json!({ "type": "PERSONAL" }));
    by(&server, "max").delete(&format!("/v1/api_keys/{prefix}"));
    let almost = WORLD.keys.text("max").replace("guild_", "b10_");
    let longer = format!("{}x", WORLD.keys.text("max"));
    for key in [WORLD.keys.text("bad"), &revoked, &almost, &longer, "", "x", "ä", WORLD.keys.prefix("max")] {
        for target in ["/v1/teams", "/v1/nowhere", "/healthz", "/v1/volumes"] {
            assert_eq!(with(&server, key).status("GET", target), 401, "{key:?} {target}");
        }
    }
    assert_eq!(nobody(&server).status("GET", "/healthz"), 200);
    assert_eq!(nobody(&server).status("GET", "/v1/nowhere"), 404);
}

#[test]
fn both_schemes_are_the_same_and_no_other_is_one() {
    let server = WORLD.server();
    let ask = |header: Option<String>| {
        let mut request = server.request(None, "GET", "/v1/users/me", Vec::new());
        request.authorization = header;
        server.answer(request).status
    };
    let key = WORLD.keys.text("max");
    for scheme in ["Bearer", "Api-Key", "bearer", "API-KEY"] {
        assert_eq!(ask(Some(format!("{scheme} {key}"))), 200, "{scheme}");
    }
    for bad in [
        format!("Basic {key}"),
        key.to_owned(),
        format!("Bearer{key}"),
        "Bearer ".to_owned(),
        format!("Bearer {key} x"),
    ] {
        assert_eq!(ask(Some(bad.clone())), 401, "{bad}");
    }
    assert_eq!(ask(None), 401);
}

#[test]
fn the_path_is_judged_before_the_body_and_the_body_before_what_it_names() {
    let server = WORLD.server();
    let send = |who: &str, target: &str, body: &str| {
        server.send_bytes(Some(WORLD.keys.text(who)), "POST", target, body.as_bytes().to_vec()).status
    };
    assert_eq!(send("bad", "/v1/teams/inference/members", "{"), 401);
    assert_eq!(send("max", "/v1/teams/inference/members", "{"), 404);
    assert_eq!(send("max", "/v1/teams/research/members", "{"), 403);
    assert_eq!(send("tess", "/v1/teams/research/members", r#"{"user_id":"nosuchuser"}"#), 400);
    assert_eq!(send("tess", "/v1/teams/research/members", r#"{"user_id":"nosuchuser","role":"MEMBER"}"#), 404);
    assert_eq!(send("tess", "/v1/teams/research/members", r#"{"user_id":"max","role":"MEMBER"}"#), 409);
}

#[test]
fn bodies_that_cannot_be_read_are_refused_and_named() {
    let server = WORLD.server();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let bodies: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), ""),
        (b"{".to_vec(), ""),
        (b"[]".to_vec(), ""),
        (b"null".to_vec(), ""),
        (b"\"x\"".to_vec(), ""),
        (br#"{"name":"x","value":"x"} {}"#.to_vec(), ""),
        (br#"{"name":"x","name":"y","value":"x"}"#.to_vec(), "name"),
        (br#"{"name":["x"],"value":"x"}"#.to_vec(), "name"),
        (br#"{"name":"x","value":{"a":1}}"#.to_vec(), "value"),
        (br#"{"name":"x","value":1e400}"#.to_vec(), ""),
        (br#"{"name":"x"}"#.to_vec(), "value"),
        (b"{\"name\":\"\xff\",\"value\":\"x\"}".to_vec(), ""),
        (br#"{"name":"\ud800","value":"x"}"#.to_vec(), ""),
        (deep.into_bytes(), ""),
    ];
    for (body, names) in bodies {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answered = server.send_bytes(Some(WORLD.keys.text("max")), "POST", "/v1/teams/research/secrets", body);
        assert_eq!((answered.status, answered.body["code"].as_str()), (400, Some("VALIDATION_ERROR")), "{shown}");
        assert!(text(&answered.body["message"]).contains(names), "{shown}: {}", answered.body);
    }
}

#[test]
fn an_empty_patch_changes_nothing_and_leaves_no_entry() {
    let server = WORLD.server();
    let sql = seed::open(server.data());
    let before = content(&sql);
    for (who, target) in [
        ("ada", "/v1/organizations/me"),
        ("ada", "/v1/teams/research"),
        ("max", "/v1/users/me"),
        ("ada", "/v1/users/max"),
        ("tess", "/v1/teams/research/members/max"),
        ("tess", "/v1/teams/research/environment_groups/production"),
        ("ada", "/v1/environment_groups/production"),
    ] {
        for empty in [json!({}), json!({ "name": null, "role": null, "icon": null, "manage_access": null })] {
            let fields: &[&str] = match target {
                "/v1/organizations/me" | "/v1/users/me" => &["name"],
                "/v1/teams/research" => &["name", "icon"],
                "/v1/users/max" | "/v1/teams/research/members/max" => &["role"],
                _ => &["manage_access"],
            };
            let mut body = empty;
            body.as_object_mut().unwrap().retain(|field, _| fields.contains(&field.as_str()));
            by(&server, who).patch(target, body);
            assert!(content(&sql) == before, "{target}");
        }
    }
}

/// What ours.md and the SDK call the events, for each act.
#[test]
fn every_act_leaves_its_entry() {
    let spare = WORLD.keys.prefix("spare");
    let rotate = format!("/v1/api_keys/{spare}/rotate");
    let revoke = format!("/v1/api_keys/{spare}");
    let group = json!({ "name": "canary", "manage_access": { "is_restricted": true } });
    let invitation = json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] });
    let project = |name: &str| Some(json!({ "training_project": { "name": name } }));
    for (method, target, body, event) in [
        ("PATCH", "/v1/organizations/me", Some(json!({ "name": "A" })), "ORGANIZATION_UPDATED"),
        ("POST", "/v1/teams", Some(json!({ "name": "A" })), "TEAM_CREATED"),
        ("PATCH", "/v1/teams/research", Some(json!({ "name": "A" })), "TEAM_UPDATED"),
        ("DELETE", "/v1/teams/empty", None, "TEAM_DELETED"),
        (
            "POST",
            "/v1/teams/research/members",
            Some(json!({ "user_id": "lone", "role": "MEMBER" })),
            "TEAM_MEMBER_ADDED",
        ),
        ("PATCH", "/v1/teams/research/members/max", Some(json!({ "role": "ADMIN" })), "USER_TEAM_ROLE_UPDATED"),
        ("DELETE", "/v1/teams/research/members/max", None, "TEAM_MEMBER_REMOVED"),
        ("PATCH", "/v1/users/max", Some(json!({ "role": "ADMIN" })), "USER_ROLE_UPDATED"),
        ("PATCH", "/v1/users/me", Some(json!({ "name": "A" })), "USER_UPDATED"),
        ("DELETE", "/v1/users/max", None, "USER_REMOVED"),
        ("POST", "/v1/invitations", Some(invitation), "USER_INVITED"),
        ("POST", "/v1/invitations/pending/resend", Some(json!({})), "INVITATION_RESENT"),
        ("DELETE", "/v1/invitations/pending", None, "INVITATION_REVOKED"),
        ("POST", "/v1/secrets", Some(json!({ "name": "x", "value": "x" })), "SECRET_UPDATED"),
        ("DELETE", "/v1/secrets/token", None, "SECRET_DELETED"),
        ("POST", "/v1/api_keys", Some(json!({ "type": "PERSONAL" })), "API_KEY_CREATED"),
        ("POST", rotate.as_str(), Some(json!({})), "API_KEY_ROTATED"),
        ("DELETE", revoke.as_str(), None, "API_KEY_DELETED"),
        ("POST", "/v1/environment_groups", Some(group), "ENVIRONMENT_GROUP_CREATED"),
        (
            "PATCH",
            "/v1/environment_groups/staging",
            Some(json!({ "manage_access": { "is_restricted": false } })),
            "ENVIRONMENT_GROUP_UPDATED",
        ),
        ("DELETE", "/v1/teams/research/environment_groups/staging", None, "ENVIRONMENT_GROUP_DELETED"),
        ("DELETE", "/v1/models/researchmodel", None, "MODEL_DELETED"),
        ("DELETE", "/v1/chains/researchchain", None, "CHAIN_DELETED"),
        ("POST", "/v1/training_projects", project("new"), "TRAINING_PROJECT_CREATED"),
        ("DELETE", "/v1/training_projects/researchproject", None, "TRAINING_PROJECT_DELETED"),
    ] {
        let server = WORLD.server();
        let ada = by(&server, "ada");
        ada.done(method, target, body);
        let log = ada.get("/v1/audit_logs?limit=50");
        assert!(all(&log["items"], "event_type").contains(&event.to_owned()), "{event}: {log}");
        let entry = one(&log["items"], "event_type", event);
        assert_eq!(entry["actor"]["email"], "ada@example.com", "{entry}");
        assert_eq!(entry["source"], "API");
    }
    let server = WORLD.server();
    let sol = by(&server, "sol");
    sol.patch("/v1/organizations/me", json!({ "teams_enabled": true }));
    sol.patch("/v1/organizations/me", json!({ "teams_enabled": false }));
    assert_eq!(sol.events_since(0), ["TEAMS_ENABLED", "TEAMS_DISABLED"]);
}

#[test]
fn who_joins_is_noted() {
    let server = WORLD.server();
    newcomer(&server, "ada", json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] }));
    let events = by(&server, "ada").events_since(0);
    assert!(events.contains(&"USER_INVITED".to_owned()) && events.contains(&"USER_JOINED_ORGANIZATION".to_owned()));
}

#[test]
fn the_audit_log_is_read_by_organization_admins_only_also_with_one_team() {
    let server = WORLD.server();
    by(&server, "max").post("/v1/teams/research/secrets", json!({ "name": "x", "value": "x" }));
    by(&server, "ian").post("/v1/teams/inference/secrets", json!({ "name": "x", "value": "x" }));
    for who in ["tess", "max", "manage-all", "key-manager", "lone"] {
        by(&server, who).refused(403, "GET", "/v1/audit_logs", None);
    }
    by(&server, "sam").refused(403, "GET", "/v1/audit_logs", None);
    by(&server, "sol").get("/v1/audit_logs");
    let log = by(&server, "ada").get("/v1/audit_logs?team_ids=research");
    assert_eq!(all(&log["items"], "team_id"), ["research"]);
    assert_eq!(log["items"][0]["team_name"], "Research");
    assert_eq!(log["items"][0]["actor"]["email"], "max@example.com");
    assert!(by(&server, "fay").list("/v1/audit_logs", "items", "id").is_empty());
}

#[test]
fn the_audit_log_names_no_key_and_no_secret() {
    let server = WORLD.server();
    let (key, _) = make_key(&by(&server, "ada"), json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }));
    by(&server, "ada").post("/v1/secrets", json!({ "name": "x", "value": "canary-77" }));
    let log = by(&server, "ada").get("/v1/audit_logs").to_string();
    assert!(!log.contains("canary-77") && !log.contains(key.split('.').nth(1).unwrap()));
}

#[test]
fn a_path_that_is_there_by_another_method_says_so() {
    let server = WORLD.server();
    let answered = by(&server, "max").server.send(Some(WORLD.keys.text("max")), "PUT", "/v1/teams", None);
    assert_eq!(answered.status, 405);
}

/// A shape is an object and a name a string: what serde would take by position is refused.
#[test]
fn a_body_is_an_object_also_inside() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for (method, target, body) in [
        ("POST", "/v1/teams", json!(["Speech", null])),
        ("PATCH", "/v1/users/me", json!(["Ada"])),
        ("POST", "/v1/secrets", json!(["name", "value"])),
        ("POST", "/v1/api_keys", json!(["robot", "WORKSPACE_INVOKE", null, null, null, null])),
        (
            "POST",
            "/v1/invitations",
            json!({ "email": "a@b.example", "role": "MEMBER", "teams": [["research", "MEMBER"]] }),
        ),
        ("POST", "/v1/environment_groups", json!({ "name": "staging", "manage_access": [true, null, null] })),
        ("PATCH", "/v1/users/max", json!({ "role": { "ADMIN": null } })),
    ] {
        let why = ada.refused(400, method, target, Some(body));
        assert!(!why.contains("struct"), "nothing of how it is built is told: {why}");
    }
}

#[test]
fn a_switch_that_is_given_twice_is_no_answer() {
    let server = WORLD.server();
    by(&server, "ada").refused(400, "DELETE", "/v1/teams/research?force=true&force=false", None);
}
