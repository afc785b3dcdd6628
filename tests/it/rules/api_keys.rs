//! Decisions 12 to 14: API keys.

use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, HOUR, at, by, make_key, one, sorted, with};

fn prefix(name: &str) -> String {
    WORLD.keys.prefix(name).to_owned()
}

fn team_key(server: &TestServer, body: Value) -> (String, String) {
    let mut body = body;
    body["team_id"] = json!("research");
    make_key(&by(server, "tess"), body)
}

/// How somebody sees a key.
fn entry(server: &TestServer, who: &str, prefix: &str) -> Value {
    one(&by(server, who).get("/v1/api_keys")["keys"], "prefix", prefix).clone()
}

// ---- decision 12 ----

#[test]
fn a_key_s_name_is_lower_case_letters_digits_and_hyphens_or_absent() {
    let server = WORLD.server();
    let max = by(&server, "max");
    for good in ["a", "ci-2", "0", &"x".repeat(64)] {
        make_key(&max, json!({ "type": "PERSONAL", "name": good }));
    }
    for bad in ["", "Robot", "a b", "ä", "a_b", &"x".repeat(65)] {
        let why = max.refused(400, "POST", "/v1/api_keys", Some(json!({ "type": "PERSONAL", "name": bad })));
        assert!(why.contains("name"), "{why}");
    }
    for _ in 0..2 {
        let (_, prefix) = make_key(&max, json!({ "type": "PERSONAL" }));
        assert_eq!(entry(&server, "max", &prefix)["name"], Value::Null, "unnamed keys are not told apart by names");
    }
}

#[test]
fn a_name_is_unique_among_unrevoked_keys_of_its_scope() {
    let server = WORLD.server();
    let (tess, ada) = (by(&server, "tess"), by(&server, "ada"));
    let named = |category: &str, team: &str| json!({ "type": category, "name": "robot", "team_id": team });
    let (_, first) = make_key(&tess, named("WORKSPACE_INVOKE", "research"));
    // In the team across categories; in another team it is free.
    tess.refused(409, "POST", "/v1/api_keys", Some(named("WORKSPACE_MANAGE_ALL", "research")));
    make_key(&ada, named("WORKSPACE_INVOKE", "inference"));
    // Of one user in one organization.
    make_key(&tess, json!({ "type": "PERSONAL", "name": "robot" }));
    tess.refused(409, "POST", "/v1/api_keys", Some(json!({ "type": "PERSONAL", "name": "robot" })));
    make_key(&by(&server, "max"), json!({ "type": "PERSONAL", "name": "robot" }));
    // Of the organization.
    let manager = json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "name": "robot" });
    make_key(&ada, manager.clone());
    by(&server, "grace").refused(409, "POST", "/v1/api_keys", Some(manager.clone()));
    make_key(&by(&server, "fay"), manager);
    // Free again once revoked.
    tess.delete(&format!("/v1/api_keys/{first}"));
    make_key(&tess, named("WORKSPACE_MANAGE_ALL", "research"));
}

// ---- decision 13 ----

#[test]
fn a_key_that_manages_all_may_what_a_team_member_may() {
    let server = WORLD.server();
    let robot = by(&server, "manage-all");
    robot.post("/v1/teams/research/secrets", json!({ "name": "x", "value": "x" }));
    robot.post("/v1/teams/research/training_projects", json!({ "training_project": { "name": "x" } }));
    robot.delete("/v1/models/researchmodel");
    let body = || Some(json!({ "user_id": "lone", "role": "MEMBER" }));
    assert!(robot.refused(403, "POST", "/v1/teams/research/members", body()).contains("Manage team members"));
    robot.refused(403, "POST", "/v1/teams/research/api_keys", Some(json!({ "type": "WORKSPACE_INVOKE" })));
}

#[test]
fn a_key_that_calls_or_measures_does_nothing_else() {
    let server = WORLD.server();
    for key in ["invoke", "metrics"] {
        let key = by(&server, key);
        for route in ["/v1/teams", "/v1/secrets", "/v1/models", "/v1/teams/research", "/v1/models/researchmodel"] {
            key.refused(403, "GET", route, None);
        }
        for route in ["/v1/teams/inference", "/v1/models/inferencemodel"] {
            key.refused(404, "GET", route, None);
        }
        assert_eq!(key.get("/v1/organizations/me")["org_id"], "acme");
    }
    let explained = |key: &str, act: &str| {
        let target = format!("/v1/permissions/explain?act={act}&team_id=research");
        by(&server, key).get(&target)["allowed"].as_bool().unwrap()
    };
    assert!(explained("invoke", "CALL_MODELS") && !explained("metrics", "CALL_MODELS"));
    assert!(!explained("invoke", "DEPLOY"));
}

#[test]
fn model_ids_go_with_invoke_and_export_metrics_alone() {
    let server = WORLD.server();
    for category in ["WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
        let (_, prefix) = team_key(&server, json!({ "type": category, "model_ids": ["researchmodel"] }));
        assert_eq!(entry(&server, "max", &prefix)["model_ids"], json!(["researchmodel"]));
    }
    let tess = by(&server, "tess");
    for (category, status) in [("WORKSPACE_MANAGE_ALL", 400), ("PERSONAL", 400)] {
        let team = if category == "PERSONAL" { Value::Null } else { json!("research") };
        let body = json!({ "type": category, "team_id": team, "model_ids": ["researchmodel"] });
        assert!(tess.refused(status, "POST", "/v1/api_keys", Some(body)).contains("model_ids"));
    }
    let (_, all) = team_key(&server, json!({ "type": "WORKSPACE_INVOKE" }));
    assert_eq!(entry(&server, "max", &all)["model_ids"], Value::Null);
}

#[test]
fn a_model_of_another_team_is_not_there_for_a_key() {
    let server = WORLD.server();
    for (who, model) in
        [("tess", "inferencemodel"), ("ada", "inferencemodel"), ("ada", "nosuch"), ("ada", "abroadmodel")]
    {
        let body = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "model_ids": [model] });
        by(&server, who).refused(404, "POST", "/v1/api_keys", Some(body));
    }
}

#[test]
fn a_narrowed_key_whose_models_are_gone_does_not_become_a_wide_one() {
    let server = WORLD.server();
    let (_, prefix) = team_key(&server, json!({ "type": "WORKSPACE_INVOKE", "model_ids": ["researchmodel"] }));
    by(&server, "max").delete("/v1/models/researchmodel");
    assert_eq!(entry(&server, "max", &prefix)["model_ids"], json!([]), "none is not all");
}

#[test]
fn environments_go_with_manage_all_and_invoke_alone() {
    let server = WORLD.server();
    for category in ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE"] {
        team_key(&server, json!({ "type": category, "environments": ["staging"] }));
    }
    for category in ["WORKSPACE_EXPORT_METRICS", "PERSONAL"] {
        let team = if category == "PERSONAL" { Value::Null } else { json!("research") };
        let body = json!({ "type": category, "team_id": team, "environments": ["staging"] });
        assert!(by(&server, "tess").refused(400, "POST", "/v1/api_keys", Some(body)).contains("environments"));
    }
    let body = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "environments": ["Not A Name"] });
    by(&server, "tess").refused(400, "POST", "/v1/api_keys", Some(body));
}

#[test]
fn routes_and_unknown_categories_are_refused_with_a_sentence() {
    let server = WORLD.server();
    for category in ["ROUTES", "OWNER", ""] {
        let why = by(&server, "ada").refused(400, "POST", "/v1/api_keys", Some(json!({ "type": category })));
        assert!(why.contains("type") || why.contains("ROUTES"), "{why}");
    }
    by(&server, "ada").refused(400, "POST", "/v1/api_keys", Some(json!({})));
}

#[test]
fn a_field_that_nobody_understood_never_makes_a_wider_key() {
    let server = WORLD.server();
    let before = by(&server, "ada").get("/v1/api_keys");
    for field in ["modelIds", "models", "scope", "environment", "user_id", "org_id", "prefix"] {
        let mut body = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" });
        body[field] = json!(["researchmodel"]);
        let why = by(&server, "ada").refused(400, "POST", "/v1/api_keys", Some(body));
        assert!(why.contains(field), "{why}");
    }
    assert_eq!(by(&server, "ada").get("/v1/api_keys"), before);
}

#[test]
fn a_key_managing_key_manages_team_keys_of_every_team_and_does_nothing_else() {
    let server = WORLD.server();
    let manager = by(&server, "key-manager");
    for team in ["research", "inference", "home", "empty"] {
        for category in ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
            let (_, prefix) = make_key(&manager, json!({ "type": category, "team_id": team }));
            let rotated = manager.post(&format!("/v1/api_keys/{prefix}/rotate"), json!({}));
            manager.delete(&format!("/v1/api_keys/{}", rotated["prefix"].as_str().unwrap()));
        }
    }
    for category in ["WORKSPACE_MANAGE_API_KEYS", "PERSONAL"] {
        manager.refused(403, "POST", "/v1/api_keys", Some(json!({ "type": category })));
    }
    for route in ["/v1/secrets", "/v1/teams/research/secrets", "/v1/users", "/v1/audit_logs", "/v1/models"] {
        manager.refused(403, "GET", route, None);
    }
    assert_eq!(manager.list("/v1/teams", "teams", "name"), ["Default", "Empty", "Inference", "Research"]);
    assert_eq!(manager.list("/v1/teams?name=Research", "teams", "id"), ["research"]);
    assert_eq!(manager.get("/v1/teams/inference")["name"], "Inference");
    manager.refused(404, "GET", "/v1/teams/abroad", None);
    let body = Some(json!({ "type": "WORKSPACE_INVOKE", "team_id": "abroad" }));
    manager.refused(404, "POST", "/v1/api_keys", body);
}

#[test]
fn only_organization_admins_in_person_make_a_key_managing_key() {
    let server = WORLD.server();
    let body = json!({ "type": "WORKSPACE_MANAGE_API_KEYS" });
    for other in ["tess", "max", "lone", "manage-all", "key-manager"] {
        by(&server, other).refused(403, "POST", "/v1/api_keys", Some(body.clone()));
    }
    let team = json!({ "type": "WORKSPACE_MANAGE_API_KEYS", "team_id": "research" });
    by(&server, "ada").refused(400, "POST", "/v1/api_keys", Some(team));
    by(&server, "ada").post("/v1/api_keys", body);
}

#[test]
fn a_personal_key_has_no_team() {
    let server = WORLD.server();
    let body = json!({ "type": "PERSONAL", "team_id": "research" });
    by(&server, "tess").refused(400, "POST", "/v1/api_keys", Some(body));
    let in_path =
        by(&server, "tess").refused(400, "POST", "/v1/teams/research/api_keys", Some(json!({ "type": "PERSONAL" })));
    assert!(!in_path.is_empty());
}

#[test]
fn the_team_of_the_body_is_that_of_the_path() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    ada.post("/v1/teams/research/api_keys", json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" }));
    let body = json!({ "type": "WORKSPACE_INVOKE", "team_id": "inference" });
    ada.refused(400, "POST", "/v1/teams/research/api_keys", Some(body));
}

#[test]
fn everyone_is_shown_their_own_keys_and_those_of_their_teams() {
    let server = WORLD.server();
    let seen = |who: &str| sorted(by(&server, who).list("/v1/api_keys", "keys", "prefix"));
    let keys = |names: &[&str]| sorted(names.iter().map(|name| prefix(name)).collect());
    let research = ["manage-all", "invoke", "metrics", "spare", "to-environments", "to-model"];
    let inference = ["inference-manage-all", "inference-spare"];
    let home = ["home-manage-all", "home-spare"];
    let managers = ["key-manager", "spare-key-manager"];
    let people = ["ada", "grace", "lone", "tess", "max", "ian", "dora", "crew"];
    assert_eq!(seen("max"), keys(&[&research[..], &["max"]].concat()));
    assert_eq!(seen("tess"), keys(&[&research[..], &["tess"]].concat()));
    assert_eq!(seen("lone"), keys(&["lone"]));
    assert_eq!(seen("ada"), keys(&[&research[..], &inference, &home, &managers, &people].concat()));
    assert_eq!(seen("key-manager"), keys(&[&research[..], &inference, &home, &["key-manager"]].concat()));
    for key in ["manage-all", "invoke", "metrics", "to-environments", "to-model"] {
        assert_eq!(seen(key), keys(&[key]), "any other key sees itself");
    }
    assert_eq!(sorted(by(&server, "max").list("/v1/teams/research/api_keys", "keys", "prefix")), keys(&research));
}

#[test]
fn owner_stands_on_every_personal_key_and_on_no_other() {
    let server = WORLD.server();
    for key in by(&server, "ada").get("/v1/api_keys")["keys"].as_array().unwrap() {
        assert_eq!(key["type"] == "PERSONAL", key["owner"].is_object(), "{key}");
    }
    let own = entry(&server, "max", &prefix("max"));
    assert_eq!(own["owner"], json!({ "user_id": "max", "email": "max@example.com", "name": "Max" }));
    assert_eq!(own["team_name"], Value::Null);
    assert_eq!(entry(&server, "max", &prefix("spare"))["team_name"], "Research");
}

#[test]
fn the_list_is_filtered_by_type_and_by_who_made_the_key() {
    let server = WORLD.server();
    let (_, mine) = team_key(&server, json!({ "type": "WORKSPACE_INVOKE" }));
    let tess = by(&server, "tess");
    let of = |filter: &str| sorted(tess.list(&format!("/v1/api_keys?{filter}"), "keys", "prefix"));
    assert_eq!(of("type=WORKSPACE_INVOKE"), sorted(vec![mine.clone(), prefix("invoke"), prefix("spare")]));
    assert!(of("created_by_me=true").contains(&mine) && !of("created_by_me=true").contains(&prefix("spare")));
    assert!(of("type=ROUTES").is_empty());
}

#[test]
fn any_key_may_revoke_itself() {
    let server = WORLD.server();
    for key in ["max", "manage-all", "invoke", "metrics", "key-manager"] {
        let gone = by(&server, key).delete(&format!("/v1/api_keys/{}", prefix(key)));
        assert_eq!(gone, json!({ "prefix": prefix(key) }));
        by(&server, key).refused(401, "GET", "/v1/organizations/me", None);
    }
}

#[test]
fn an_organization_admin_may_revoke_but_not_rotate_a_person_s_key() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    ada.refused(403, "POST", &format!("/v1/api_keys/{}/rotate", prefix("max")), Some(json!({})));
    by(&server, "max").get("/v1/users/me");
    ada.delete(&format!("/v1/api_keys/{}", prefix("max")));
    by(&server, "max").refused(401, "GET", "/v1/users/me", None);
    ada.refused(404, "DELETE", &format!("/v1/api_keys/{}", prefix("max")), None);
}

#[test]
fn a_demoted_person_s_key_has_what_is_left_of_its_owner() {
    let server = WORLD.server();
    let (key, _) = make_key(&by(&server, "grace"), json!({ "type": "PERSONAL" }));
    let laptop = with(&server, &key);
    laptop.get("/v1/audit_logs");
    by(&server, "ada").patch("/v1/users/grace", json!({ "role": "MEMBER" }));
    laptop.refused(403, "GET", "/v1/audit_logs", None);
    laptop.refused(404, "GET", "/v1/teams/research", None);
}

// ---- decision 14 ----

#[test]
fn a_key_ends_when_it_was_said_to() {
    let server = WORLD.server();
    let body = json!({ "type": "WORKSPACE_MANAGE_ALL", "expires_at": "2026-11-01T01:00:00Z" });
    let (key, prefix) = team_key(&server, body);
    assert_eq!(entry(&server, "max", &prefix)["expires_at"], "2026-11-01T01:00:00.000Z");
    server.now.set(at(HOUR - 1));
    with(&server, &key).get("/v1/secrets");
    server.now.set(at(HOUR));
    with(&server, &key).refused(401, "GET", "/v1/secrets", None);
    for bad in ["2026-10-31T23:59:59Z", "tomorrow", ""] {
        let body = json!({ "type": "PERSONAL", "expires_at": bad });
        assert!(by(&server, "max").refused(400, "POST", "/v1/api_keys", Some(body)).contains("expires_at"));
    }
}

#[test]
fn when_a_key_was_last_used_is_noted_at_most_once_a_minute() {
    let server = WORLD.server();
    let (key, prefix) = team_key(&server, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
    let last = || entry(&server, "ada", &prefix)["last_used_at"].clone();
    assert_eq!(last(), Value::Null);
    let use_at = |seconds: i64| {
        server.now.set(at(seconds));
        // A write waits for what was noted before it.
        with(&server, &key).post("/v1/teams/research/secrets", json!({ "name": "x", "value": "x" }));
    };
    use_at(10);
    assert_eq!(last(), "2026-11-01T00:00:10.000Z");
    use_at(69);
    assert_eq!(last(), "2026-11-01T00:00:10.000Z");
    use_at(70);
    assert_eq!(last(), "2026-11-01T00:01:10.000Z");
    use_at(20);
    assert_eq!(last(), "2026-11-01T00:01:10.000Z", "a clock that goes back does not take it back");
}

fn rotate(server: &TestServer, who: &str, prefix: &str, body: Value) -> Value {
    by(server, who).post(&format!("/v1/api_keys/{prefix}/rotate"), body)
}

#[test]
fn a_rotated_key_is_followed_by_one_of_the_same_kind() {
    let server = WORLD.server();
    let body = json!({ "type": "WORKSPACE_INVOKE", "name": "robot", "model_ids": ["researchmodel"] });
    let (old_key, old) = team_key(&server, body);
    let rotated = rotate(&server, "ada", &old, json!({}));
    let (key, new) = (rotated["api_key"].as_str().unwrap(), rotated["prefix"].as_str().unwrap());
    assert_eq!(rotated["replaces"], old);
    assert!(key.starts_with(&format!("{new}.")) && new != old);
    with(&server, &old_key).refused(401, "GET", "/v1/organizations/me", None);
    with(&server, key).get("/v1/organizations/me");
    let seen = entry(&server, "max", new);
    assert_eq!((&seen["name"], &seen["type"]), (&json!("robot"), &json!("WORKSPACE_INVOKE")));
    assert_eq!(seen["model_ids"], json!(["researchmodel"]), "no wider than the old");
    assert!(by(&server, "ada").list("/v1/api_keys?created_by_me=true", "keys", "prefix").contains(&new.to_owned()));
}

#[test]
fn rotation_leaves_the_old_key_its_overlap() {
    let server = WORLD.server();
    for (overlap, ends) in
        [(HOUR, "2026-11-01T01:00:00.000Z"), (DAY, "2026-11-02T00:00:00.000Z"), (7 * DAY, "2026-11-08T00:00:00.000Z")]
    {
        server.now.set(at(0));
        let (old_key, old) = team_key(&server, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
        let rotated = rotate(&server, "tess", &old, json!({ "overlap_seconds": overlap }));
        assert_eq!(rotated["old_expires_at"], ends);
        server.now.set(at(overlap - 1));
        with(&server, &old_key).get("/v1/secrets");
        server.now.set(at(overlap));
        with(&server, &old_key).refused(401, "GET", "/v1/secrets", None);
        with(&server, rotated["api_key"].as_str().unwrap()).get("/v1/secrets");
    }
    server.now.set(at(0));
    for bad in [json!(1), json!(-1), json!(59), json!(604_801), json!("3600"), json!(0.5)] {
        let target = format!("/v1/api_keys/{}/rotate", prefix("spare"));
        let why = by(&server, "tess").refused(400, "POST", &target, Some(json!({ "overlap_seconds": bad })));
        assert!(why.contains("overlap_seconds"), "{why}");
    }
}

#[test]
fn during_the_overlap_the_old_key_shows_its_name_and_does_not_count() {
    let server = WORLD.server();
    let (_, old) = team_key(&server, json!({ "type": "WORKSPACE_MANAGE_ALL", "name": "robot" }));
    let rotated = rotate(&server, "tess", &old, json!({ "overlap_seconds": 3600 }));
    let new = rotated["prefix"].as_str().unwrap();
    assert_eq!(entry(&server, "max", &old)["name"], "robot");
    assert_eq!(entry(&server, "max", new)["name"], "robot");
    by(&server, "tess").delete(&format!("/v1/api_keys/{new}"));
    team_key(&server, json!({ "type": "WORKSPACE_INVOKE", "name": "robot" }));
}

#[test]
fn rotating_a_replaced_key_is_a_conflict() {
    let server = WORLD.server();
    let (_, old) = team_key(&server, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
    rotate(&server, "tess", &old, json!({ "overlap_seconds": 3600 }));
    by(&server, "tess").refused(409, "POST", &format!("/v1/api_keys/{old}/rotate"), Some(json!({})));
}

#[test]
fn an_overlap_never_makes_a_key_live_longer_than_it_was_given() {
    let server = WORLD.server();
    let body = json!({ "type": "WORKSPACE_MANAGE_ALL", "expires_at": "2026-11-01T00:30:00Z" });
    let (key, old) = team_key(&server, body);
    rotate(&server, "tess", &old, json!({ "overlap_seconds": 604800 }));
    server.now.set(at(HOUR));
    with(&server, &key).refused(401, "GET", "/v1/secrets", None);
}

#[test]
fn the_new_key_takes_the_grants_and_the_old_keeps_its_until_it_ends() {
    let server = WORLD.server();
    let (old_key, old) = team_key(&server, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
    let grant = json!({ "manage_access": { "is_restricted": true, "api_key_prefixes": [old] } });
    by(&server, "tess").patch("/v1/teams/research/environment_groups/production", grant);
    let rotated = rotate(&server, "tess", &old, json!({ "overlap_seconds": 3600 }));
    let may = |key: &str| {
        let target = "/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment=production";
        with(&server, key).get(target)["allowed"].as_bool().unwrap()
    };
    assert!(may(&old_key) && may(rotated["api_key"].as_str().unwrap()));
    server.now.set(at(HOUR));
    assert!(may(rotated["api_key"].as_str().unwrap()));
}

#[test]
fn a_key_is_shown_once_and_hashed() {
    let server = WORLD.server();
    let (key, prefix) = team_key(&server, json!({ "type": "WORKSPACE_INVOKE", "name": "robot" }));
    let pattern: Vec<&str> = key.split('.').collect();
    assert!(pattern.len() == 2 && pattern[0].len() == 14 && pattern[1].len() == 38, "{key}");
    assert!(key.starts_with("guild_") && pattern[0] == prefix);
    let ada = by(&server, "ada");
    for answer in [ada.get("/v1/api_keys"), ada.get("/v1/audit_logs"), ada.get("/v1/teams/research/api_keys")] {
        assert!(!answer.to_string().contains(pattern[1]));
    }
}

/// Decision 13: no key makes one that reaches further than itself, in time too.
#[test]
fn a_key_that_ends_makes_and_replaces_none_that_lasts_longer() {
    let server = WORLD.server();
    let max = by(&server, "max");
    let until = at(HOUR).to_string();
    let (ending, _) = make_key(&max, json!({ "type": "PERSONAL", "expires_at": until }));
    let ending = with(&server, &ending);
    let why = ending.refused(403, "POST", "/v1/api_keys", Some(json!({ "type": "PERSONAL" })));
    assert!(why.contains("expires_at"), "{why}");
    let later = json!({ "type": "PERSONAL", "expires_at": at(HOUR + 1).to_string() });
    ending.refused(403, "POST", "/v1/api_keys", Some(later));
    let target = format!("/v1/api_keys/{}/rotate", prefix("max"));
    ending.refused(403, "POST", &target, Some(json!({})));
    max.get("/v1/users/me");
    make_key(&ending, json!({ "type": "PERSONAL", "expires_at": until }));
}

/// What was replaced, and is still good for its overlap, does not follow its successor.
#[test]
fn a_replaced_key_does_not_replace_its_successor() {
    let server = WORLD.server();
    let max = by(&server, "max");
    let target = format!("/v1/api_keys/{}/rotate", prefix("max"));
    let rotated = max.post(&target, json!({ "overlap_seconds": HOUR }));
    let successor = format!("/v1/api_keys/{}/rotate", rotated["prefix"].as_str().unwrap());
    max.refused(403, "POST", &successor, Some(json!({})));
    with(&server, rotated["api_key"].as_str().unwrap()).get("/v1/users/me");
}
