//! Decisions 16 to 18: restricted environments.

use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{all, by, make_key, sorted, with};

const GROUPS: &str = "/v1/teams/research/environment_groups";

fn restrict(server: &TestServer, who: &str, name: &str, access: Value) -> Value {
    by(server, who).patch(&format!("{GROUPS}/{name}"), json!({ "manage_access": access }))
}

fn may_change(server: &TestServer, who: &str, name: &str) -> bool {
    let target = format!("/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment={name}");
    by(server, who).get(&target)["allowed"].as_bool().expect("an explanation says so")
}

/// Those whom the answer names, but for the admins, who always have access.
fn granted(group: &Value) -> Vec<String> {
    let mut named = all(&group["manage_access"]["users"], "user_id");
    named.retain(|user| !["ada", "grace", "tess"].contains(&user.as_str()));
    sorted(named)
}

// ---- decision 16 ----

#[test]
fn an_environment_s_name_stands_in_a_host_name() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    let group = |name: &str| json!({ "name": name, "manage_access": { "is_restricted": false } });
    for good in ["a", "0", "us-east-1", &"x".repeat(40)] {
        assert_eq!(tess.post(GROUPS, group(good))["name"], good);
    }
    for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "development", &"x".repeat(41)] {
        let why = tess.refused(400, "POST", GROUPS, Some(group(bad)));
        assert!(why.contains("name"), "{bad}: {why}");
    }
}

// ---- decision 17 ----

#[test]
fn one_may_be_made_before_any_model_has_it() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    let made =
        tess.post(GROUPS, json!({ "name": "canary", "manage_access": { "is_restricted": true, "user_ids": ["max"] } }));
    assert_eq!((&made["team_id"], &made["team_name"]), (&json!("research"), &json!("Research")));
    assert_eq!(granted(&made), ["max"]);
    assert_eq!(by(&server, "max").get(&format!("{GROUPS}/canary")), made);
    tess.refused(409, "POST", GROUPS, Some(json!({ "name": "canary", "manage_access": { "is_restricted": true } })));
    tess.refused(400, "POST", GROUPS, Some(json!({ "name": "other" })));
}

#[test]
fn organization_and_team_admins_always_have_access() {
    let server = WORLD.server();
    let group = restrict(&server, "tess", "production", json!({ "is_restricted": true }));
    let named = all(&group["manage_access"]["users"], "user_id");
    for admin in ["ada", "grace", "tess"] {
        assert!(named.contains(&admin.to_owned()), "{group}");
        if admin != "grace" {
            assert!(may_change(&server, admin, "production"));
        }
    }
    assert!(granted(&group).is_empty());
    assert!(!may_change(&server, "max", "production") && !may_change(&server, "manage-all", "production"));
}

#[test]
fn a_team_key_changes_it_only_if_it_is_granted() {
    let server = WORLD.server();
    let prefix = WORLD.keys.prefix("manage-all");
    let access = json!({ "is_restricted": true, "user_ids": ["max"], "api_key_prefixes": [prefix] });
    let group = restrict(&server, "tess", "production", access);
    assert_eq!(group["manage_access"]["api_key_prefixes"], json!([prefix]));
    assert!(may_change(&server, "manage-all", "production") && may_change(&server, "max", "production"));
    // A grant lets a key that may not deploy do no more.
    let access = json!({ "is_restricted": true, "api_key_prefixes": [WORLD.keys.prefix("invoke")] });
    restrict(&server, "tess", "production", access);
    assert!(!may_change(&server, "invoke", "production") && !may_change(&server, "manage-all", "production"));
}

#[test]
fn a_key_made_by_who_is_granted_is_not_granted_by_that() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true }));
    let (key, _) = make_key(&by(&server, "ada"), json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let target = "/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment=production";
    assert_eq!(with(&server, &key).get(target)["allowed"], false);
}

#[test]
fn a_grant_is_to_members_and_keys_of_the_team() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    for (field, stranger) in [
        ("user_ids", "lone"),
        ("user_ids", "ian"),
        ("user_ids", "fern"),
        ("user_ids", "nosuchuser"),
        ("user_ids", "ada"),
        ("api_key_prefixes", WORLD.keys.prefix("inference-spare")),
        ("api_key_prefixes", WORLD.keys.prefix("abroad-spare")),
        ("api_key_prefixes", WORLD.keys.prefix("max")),
        ("api_key_prefixes", "guild_nosuch00"),
    ] {
        let access = json!({ "manage_access": { "is_restricted": true, field: [stranger] } });
        for (method, target) in [("PATCH", format!("{GROUPS}/production")), ("POST", GROUPS.to_owned())] {
            let mut body = access.clone();
            if method == "POST" {
                body["name"] = json!("canary");
            }
            let why = tess.refused(400, method, &target, Some(body));
            assert!(why.contains(field), "{stranger}: {why}");
        }
    }
}

#[test]
fn who_may_make_one_may_change_its_list_and_a_granted_member_may_not() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true, "user_ids": ["max"] }));
    let lift = Some(json!({ "manage_access": { "is_restricted": false } }));
    let why = by(&server, "max").refused(403, "PATCH", &format!("{GROUPS}/production"), lift);
    assert!(why.contains("Create restricted environments"), "{why}");
    assert_eq!(
        granted(&restrict(&server, "ada", "production", json!({ "is_restricted": true, "user_ids": ["crew"] }))),
        ["crew"]
    );
    assert!(!may_change(&server, "max", "production"), "the list is replaced");
}

#[test]
fn leaving_the_team_ends_a_grant() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true, "user_ids": ["max", "crew"] }));
    by(&server, "max").delete("/v1/teams/research/members/max");
    by(&server, "ada").post("/v1/teams/research/members", json!({ "user_id": "max", "role": "MEMBER" }));
    assert!(!may_change(&server, "max", "production"), "coming back does not bring it back");
    assert_eq!(granted(&by(&server, "max").get(&format!("{GROUPS}/production"))), ["crew"]);
}

#[test]
fn revoking_a_key_ends_its_grant() {
    let server = WORLD.server();
    let prefix = WORLD.keys.prefix("manage-all");
    restrict(&server, "tess", "production", json!({ "is_restricted": true, "api_key_prefixes": [prefix] }));
    by(&server, "tess").delete(&format!("/v1/api_keys/{prefix}"));
    let group = by(&server, "tess").get(&format!("{GROUPS}/production"));
    assert_eq!(group["manage_access"]["api_key_prefixes"], json!([]));
}

#[test]
fn team_admins_restrict_also_while_teams_are_off() {
    let server = WORLD.server();
    by(&server, "sol").patch("/v1/teams/solohome/members/sam", json!({ "role": "ADMIN" }));
    let restricted = json!({ "manage_access": { "is_restricted": true } });
    by(&server, "sam").patch("/v1/environment_groups/production", restricted);
}

#[test]
fn reads_stay_open_to_the_team() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true }));
    for who in ["max", "manage-all"] {
        by(&server, who).get(&format!("{GROUPS}/production"));
        by(&server, who).get("/v1/models/researchmodel");
    }
}

#[test]
fn lifting_the_restriction_opens_it_to_the_team_again() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true, "user_ids": ["crew"] }));
    let lifted = restrict(&server, "tess", "production", json!({ "is_restricted": false }));
    assert_eq!(lifted["manage_access"]["is_restricted"], false);
    assert!(may_change(&server, "max", "production"));
    restrict(&server, "tess", "production", json!({ "is_restricted": true }));
    assert!(!may_change(&server, "crew", "production"), "an old grant does not come back");
}

// ---- decision 18 ----

#[test]
fn a_refusal_names_the_environment() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true }));
    let target = "/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id=research&environment=production";
    let because = by(&server, "max").get(target)["because"].to_string();
    assert!(because.contains("production"), "{because}");
}

#[test]
fn a_group_is_listed_once_a_model_has_the_environment_or_the_group_was_made() {
    let server = WORLD.server();
    let max = by(&server, "max");
    // `preview` and `trial` are the model's own, `guarded` is the Chain's and was made.
    let all = ["guarded", "preview", "production", "staging", "trial"];
    assert_eq!(sorted(max.list(GROUPS, "items", "name")), all);
    let production = max.get(&format!("{GROUPS}/production"));
    assert_eq!(production["manage_access"]["is_restricted"], false, "nobody restricted it");
    by(&server, "tess").delete(&format!("{GROUPS}/staging"));
    assert_eq!(max.list(GROUPS, "items", "name"), ["guarded", "preview", "production", "trial"]);
    max.refused(404, "GET", &format!("{GROUPS}/staging"), None);
    max.delete("/v1/models/researchmodel");
    assert!(max.list(GROUPS, "items", "name").contains(&"production".to_owned()), "the Chain has it too");
    max.refused(403, "DELETE", "/v1/chains/researchchain", None);
    by(&server, "tess").delete("/v1/chains/researchchain");
    assert_eq!(max.list(GROUPS, "items", "name"), ["guarded"], "it was made");
    by(&server, "tess").delete(&format!("{GROUPS}/guarded"));
    assert!(max.list(GROUPS, "items", "name").is_empty());
    max.refused(404, "GET", &format!("{GROUPS}/production"), None);
}

#[test]
fn a_group_that_a_model_has_is_not_deleted() {
    let server = WORLD.server();
    by(&server, "tess").refused(409, "DELETE", &format!("{GROUPS}/production"), None);
    let gone = by(&server, "tess").delete(&format!("{GROUPS}/staging"));
    assert_eq!(gone, json!({ "name": "staging", "team_id": "research", "deleted": true }));
}

/// Decision 17: deleting what serves a restricted environment is covered, also by way of its model.
#[test]
fn a_model_that_serves_a_restricted_environment_is_deleted_by_its_list_alone() {
    let server = WORLD.server();
    restrict(&server, "tess", "production", json!({ "is_restricted": true, "user_ids": [] }));
    let why = by(&server, "max").refused(403, "DELETE", "/v1/models/researchmodel", None);
    assert!(why.contains("production"), "{why}");
    by(&server, "max").get("/v1/models/researchmodel");
    by(&server, "tess").delete("/v1/models/researchmodel");
}
