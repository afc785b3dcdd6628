//! Decisions 1 to 4: organizations and teams.

use serde_json::{Value, json};

use crate::seed::{LINK_OF_FAY, WORLD};
use crate::test_server::TestServer;
use crate::vocabulary::{all, by, make_key, newcomer, nobody, one, operate, text, token, with};

// ---- decision 1 ----

#[test]
fn a_person_may_be_in_several_organizations_and_a_key_acts_in_one() {
    let server = WORLD.server();
    let fay = by(&server, "fay");
    let joined = fay.post("/v1/invitations/accept", json!({ "token": LINK_OF_FAY, "api_key_name": "acme" }));
    assert_eq!((&joined["user"]["user_id"], &joined["organization"]["org_id"]), (&json!("fay"), &json!("acme")));
    assert_eq!(fay.get("/v1/organizations/me")["org_id"], "globex");
    assert_eq!(fay.get("/v1/users/me")["role"], "ADMIN");
    let in_acme = with(&server, &text(&joined["api_key"]));
    assert_eq!(in_acme.get("/v1/organizations/me")["org_id"], "acme");
    assert_eq!(in_acme.get("/v1/users/me")["role"], "MEMBER", "a role is of one organization");
    assert_eq!(in_acme.get("/v1/users/me")["user_id"], "fay");
    in_acme.refused(404, "GET", "/v1/teams/abroad", None);
    in_acme.refused(403, "GET", "/v1/audit_logs", None);
    fay.get("/v1/audit_logs");
    // Leaving one is not leaving the other.
    in_acme.delete("/v1/users/fay");
    in_acme.refused(401, "GET", "/v1/users/me", None);
    fay.get("/v1/teams/abroad");
}

#[test]
fn an_organization_s_name_follows_that_of_teams_and_is_unique_in_the_installation() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let rename = |name: &str| {
        server.send(Some(WORLD.keys.text("ada")), "PATCH", "/v1/organizations/me", Some(json!({ "name": name })))
    };
    for taken in ["Globex", "GLOBEX", " globex "] {
        assert_eq!(rename(taken).status, 409, "{taken}");
    }
    for bad in ["", "   ", "a\u{7}b", &"x".repeat(65)] {
        assert_eq!(rename(bad).status, 400, "{bad:?}");
    }
    assert_eq!(rename("ACME").body["name"], "ACME", "its own name in another case is its own");
    assert_eq!(ada.get("/v1/organizations/me")["name"], "ACME");
    let body = json!({ "name": "acme", "email": "f@f.example", "user_name": "F", "teams_enabled": true });
    let mut request = server.request(None, "POST", "/v1/operator/organizations", body.to_string().into_bytes());
    request.from = guildhall::api::Listener::Operator;
    assert_eq!(server.answer(request).status, 409);
}

// ---- decision 2 ----

fn switch(server: &TestServer, admin: &str, enabled: bool) -> (u16, Value) {
    let body = Some(json!({ "teams_enabled": enabled }));
    let answered = server.send(Some(WORLD.keys.text(admin)), "PATCH", "/v1/organizations/me", body);
    (answered.status, answered.body)
}

#[test]
fn teams_are_switched_off_again_only_while_the_default_team_is_the_only_one() {
    let server = WORLD.server();
    assert_eq!(switch(&server, "ada", false).0, 409);
    let ada = by(&server, "ada");
    for team in ["research", "inference", "empty"] {
        ada.delete(&format!("/v1/teams/{team}?force=true"));
    }
    let (status, organization) = switch(&server, "ada", false);
    assert_eq!((status, &organization["teams_enabled"]), (200, &json!(false)));
}

#[test]
fn while_teams_are_off_creating_one_is_refused_with_how_to_enable_them() {
    let server = WORLD.server();
    let sol = by(&server, "sol");
    let why = sol.refused(403, "POST", "/v1/teams", Some(json!({ "name": "Second" })));
    assert!(why.contains("teams_enabled"), "{why}");
    assert_eq!(switch(&server, "sol", true).0, 200);
    sol.post("/v1/teams", json!({ "name": "Second" }));
}

#[test]
fn while_teams_are_off_the_list_shows_the_default_team() {
    let server = WORLD.server();
    let teams = by(&server, "sam").get("/v1/teams");
    assert_eq!((&teams["teams"][0]["id"], &teams["teams"][0]["default"]), (&json!("solohome"), &json!(true)));
    assert_eq!(teams["teams"].as_array().unwrap().len(), 1);
}

#[test]
fn while_teams_are_off_whoever_joins_as_a_member_is_put_into_the_default_team() {
    let server = WORLD.server();
    let sol = by(&server, "sol");
    let joined = newcomer(&server, "sol", json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] }));
    assert_eq!(one(&joined["teams"], "team_id", "solohome")["role"], "MEMBER");
    let teams = json!([{ "team_id": "solohome", "role": "ADMIN" }]);
    let joined = newcomer(&server, "sol", json!({ "email": "a@e.org", "role": "MEMBER", "teams": teams }));
    assert_eq!(one(&joined["teams"], "team_id", "solohome")["role"], "ADMIN", "unless the invitation says admin");
    let joined = newcomer(&server, "sol", json!({ "email": "o@e.org", "role": "ADMIN", "teams": [] }));
    assert_eq!(joined["teams"], json!([]), "an organization admin is implicit");
    assert_eq!(sol.get("/v1/teams/solohome/members")["items"].as_array().unwrap().len(), 3);
}

#[test]
fn while_teams_are_off_nobody_is_taken_out_of_the_default_team() {
    let server = WORLD.server();
    by(&server, "sol").refused(409, "DELETE", "/v1/teams/solohome/members/sam", None);
    by(&server, "sam").refused(409, "DELETE", "/v1/teams/solohome/members/sam", None);
    assert_eq!(switch(&server, "sol", true).0, 200);
    by(&server, "sam").delete("/v1/teams/solohome/members/sam");
}

#[test]
fn while_teams_are_off_an_admin_who_becomes_a_member_is_then_in_the_default_team() {
    let server = WORLD.server();
    let sol = by(&server, "sol");
    sol.patch("/v1/users/sal", json!({ "role": "MEMBER" }));
    let members = sol.get("/v1/teams/solohome/members");
    assert_eq!(one(&members["items"], "user_id", "sal")["role"], "MEMBER");
    by(&server, "sal").get("/v1/teams/solohome/secrets");
}

#[test]
fn the_tables_hold_while_teams_are_off() {
    let server = WORLD.server();
    let sam = by(&server, "sam");
    sam.post("/v1/secrets", json!({ "name": "x", "value": "x" }));
    let why = sam.refused(403, "POST", "/v1/teams/solohome/api_keys", Some(json!({ "type": "WORKSPACE_INVOKE" })));
    assert!(why.contains("Create team API keys"), "{why}");
    let why = sam.refused(403, "GET", "/v1/audit_logs", None);
    assert!(!why.is_empty());
}

#[test]
fn while_teams_are_on_an_invitation_without_teams_joins_none() {
    let server = WORLD.server();
    let joined = newcomer(&server, "ada", json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] }));
    assert_eq!(joined["teams"], json!([]));
    let them = with(&server, &text(&joined["api_key"]));
    assert!(them.list("/v1/teams", "teams", "id").is_empty());
}

#[test]
fn neither_the_founder_nor_who_makes_a_team_gets_a_membership_by_it() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let team = text(&ada.post("/v1/teams", json!({ "name": "Platform" }))["id"]);
    assert!(ada.list(&format!("/v1/teams/{team}/members"), "items", "user_id").is_empty());
    let implicit = ada.get(&format!("/v1/teams/{team}/members?include_implicit=true"));
    for admin in ["ada", "grace"] {
        assert_eq!(one(&implicit["items"], "user_id", admin)["via"], "ORGANIZATION");
    }
    assert_eq!(implicit["items"].as_array().unwrap().len(), 2);
}

// ---- decision 3 ----

#[test]
fn a_team_s_name_is_1_to_64_characters_without_control_characters_trimmed_and_composed() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for bad in ["", "  ", "a\nb", "a\u{0}", "\u{7f}", &"x".repeat(65), &"ä".repeat(65)] {
        let why = ada.refused(400, "POST", "/v1/teams", Some(json!({ "name": bad })));
        assert!(why.contains("name"), "{why}");
        ada.refused(400, "PATCH", "/v1/teams/empty", Some(json!({ "name": bad })));
    }
    ada.refused(400, "POST", "/v1/teams", Some(json!({})));
    for (given, kept) in [
        ("  Kites  ", "Kites"),
        ("Cafe\u{301}", "Café"),
        ("R&D / Größe +1?", "R&D / Größe +1?"),
        (&"ä".repeat(64), &"ä".repeat(64)),
        ("研究", "研究"),
    ] {
        assert_eq!(ada.post("/v1/teams", json!({ "name": given }))["name"], kept);
    }
}

#[test]
fn a_team_s_name_is_unique_in_its_organization_without_regard_to_case() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    ada.post("/v1/teams", json!({ "name": "Größe" }));
    for taken in ["Research", "RESEARCH", " research ", "default", "GRÖSSE".replace("SS", "ß").as_str(), "GRÖẞE"] {
        ada.refused(409, "POST", "/v1/teams", Some(json!({ "name": taken })));
    }
    ada.refused(409, "PATCH", "/v1/teams/empty", Some(json!({ "name": "inference" })));
    ada.patch("/v1/teams/empty", json!({ "name": "EMPTY" }));
    by(&server, "fay").post("/v1/teams", json!({ "name": "Research" }));
}

#[test]
fn an_icon_is_one_emoji_or_none() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for icon in ["🚀", "👩‍🔬", "🇨🇭", "👍🏽"] {
        assert_eq!(ada.patch("/v1/teams/empty", json!({ "icon": icon }))["icon"], icon);
    }
    for bad in ["x", "🚀🚀", "rocket", "🚀 ", "<b>"] {
        let why = ada.refused(400, "PATCH", "/v1/teams/empty", Some(json!({ "icon": bad })));
        assert!(why.contains("icon"), "{why}");
    }
    assert_eq!(ada.patch("/v1/teams/empty", json!({ "icon": null }))["icon"], "👍🏽", "a null is an absent field");
    assert_eq!(ada.get("/v1/teams/research")["icon"], Value::Null);
}

// ---- decision 4 ----

#[test]
fn a_team_that_holds_something_is_deleted_only_by_force() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let refused = server.send(Some(WORLD.keys.text("ada")), "DELETE", "/v1/teams/research", None);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body["details"], json!({ "models": 1, "chains": 1, "training_projects": 1 }));
    ada.refused(400, "DELETE", "/v1/teams/research?force=yes", None);
    ada.delete("/v1/teams/research?force=true");
    for gone in ["/v1/teams/research", "/v1/models/researchmodel", "/v1/chains/researchchain"] {
        ada.refused(404, "GET", gone, None);
    }
    assert_eq!(by(&server, "max").get("/v1/users/me")["user_id"], "max", "its members stay in the organization");
}

#[test]
fn what_goes_with_a_team_is_each_in_the_audit_log() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let before = ada.events();
    ada.delete("/v1/teams/research?force=true");
    let events = ada.events_since(before);
    for (event, times) in [
        ("MODEL_DELETED", 1),
        ("CHAIN_DELETED", 1),
        ("TRAINING_PROJECT_DELETED", 1),
        ("SECRET_DELETED", 1),
        ("API_KEY_DELETED", 6),
        ("ENVIRONMENT_GROUP_DELETED", 2),
        ("TEAM_MEMBER_REMOVED", 3),
        ("TEAM_DELETED", 1),
    ] {
        assert_eq!(events.iter().filter(|found| *found == event).count(), times, "{event}: {events:?}");
    }
    assert_eq!(events.last().unwrap(), "TEAM_DELETED");
}

#[test]
fn a_deleted_team_s_keys_are_worth_nothing_at_once() {
    let server = WORLD.server();
    let (key, _) = make_key(&by(&server, "tess"), json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let robot = with(&server, &key);
    robot.get("/v1/secrets");
    by(&server, "ada").delete("/v1/teams/research?force=true");
    robot.refused(401, "GET", "/v1/secrets", None);
    by(&server, "manage-all").refused(401, "GET", "/v1/organizations/me", None);
    by(&server, "inference-manage-all").get("/v1/secrets");
}

#[test]
fn a_team_deleted_since_is_left_out_of_an_invitation() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let teams = json!([{ "team_id": "research", "role": "MEMBER" }, { "team_id": "empty", "role": "MEMBER" }]);
    let invited = ada.post("/v1/invitations", json!({ "email": "n@e.org", "role": "MEMBER", "teams": teams }));
    ada.delete("/v1/teams/empty");
    let listed = ada.get("/v1/invitations");
    let listed = one(&listed["items"], "email", "n@e.org");
    assert_eq!(all(&listed["teams"], "team_id"), ["research"]);
    let body = json!({ "token": token(&invited), "name": "N", "api_key_name": "first" });
    let joined = nobody(&server).post("/v1/invitations/accept", body);
    assert_eq!(all(&joined["teams"], "team_id"), ["research"]);
}

#[test]
fn organizations_of_an_installation_do_not_see_each_other() {
    let server = WORLD.server();
    let body = json!({ "name": "Initech", "email": "ada@example.com", "user_name": "Ada", "teams_enabled": true });
    let made = operate(&server, "/v1/operator/organizations", body);
    // The same person, by the same address, in an organization of their own.
    assert_eq!(made["user_id"], "ada");
    let there = with(&server, &text(&made["api_key"]));
    assert_eq!(there.get("/v1/organizations/me")["name"], "Initech");
    there.refused(404, "GET", "/v1/teams/research", None);
    by(&server, "ada").get("/v1/teams/research");
}

/// Decision 3: without regard to case, and nothing unseen that would make two names look alike.
#[test]
fn names_that_look_alike_are_one_name_or_none() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for name in ["ΣΑΣ", "Straße"] {
        ada.post("/v1/teams", json!({ "name": name }));
    }
    for taken in ["σασ", "σας", "STRASSE", "Re\u{200D}search", "Research\u{FE0F}"] {
        ada.refused(409, "POST", "/v1/teams", Some(json!({ "name": taken })));
    }
    for unseen in [
        "\u{200B}",
        "\u{FEFF}",
        "\u{AD}",
        "Research\u{200B}",
        "\u{2066}x",
        "a\u{2028}b",
        "\u{FFFF}",
        "x\u{E0001}",
        "a\u{202E}b",
    ] {
        ada.refused(400, "POST", "/v1/teams", Some(json!({ "name": unseen })));
    }
    assert_eq!(ada.post("/v1/teams", json!({ "name": "👩\u{200D}🔬 lab" }))["name"], "👩\u{200D}🔬 lab");
}
