//! One test for each sentence of the document.

use serde_json::json;

use crate::seed::WORLD;
use crate::vocabulary::{all, by, make_key, newcomer, nobody, one, operate, sorted, text, token, with};

#[test]
fn every_organization_has_a_default_team_that_contains_all_existing_resources() {
    let server = WORLD.server();
    for (admin, default) in [("ada", "home"), ("fay", "globexhome"), ("sol", "solohome")] {
        let teams = by(&server, admin).get("/v1/teams");
        let defaults: Vec<_> = teams["teams"].as_array().unwrap().iter().filter(|t| t["default"] == true).collect();
        assert_eq!(defaults.len(), 1);
        assert_eq!(defaults[0]["id"], default);
    }
    assert_eq!(by(&server, "sol").list("/v1/models", "models", "team_name"), ["Default"]);
}

#[test]
fn in_the_single_team_world_you_work_within_the_default_team() {
    let server = WORLD.server();
    let sam = by(&server, "sam");
    assert_eq!(sam.list("/v1/teams", "teams", "id"), ["solohome"]);
    sam.post("/v1/secrets", json!({ "name": "hf_token", "value": "x" }));
    assert_eq!(sam.list("/v1/teams/solohome/secrets", "secrets", "name"), ["hf_token", "Token"]);
}

#[test]
fn when_teams_are_enabled_organization_admins_can_create_additional_teams() {
    let server = WORLD.server();
    let made = by(&server, "ada").post("/v1/teams", json!({ "name": "Platform", "icon": "🚀" }));
    assert_eq!((&made["name"], &made["icon"], &made["default"]), (&json!("Platform"), &json!("🚀"), &json!(false)));
    assert!(by(&server, "grace").list("/v1/teams", "teams", "name").contains(&"Platform".to_owned()));
    for other in ["tess", "max", "lone"] {
        by(&server, other).refused(403, "POST", "/v1/teams", Some(json!({ "name": "Theirs" })));
    }
}

#[test]
fn each_team_operates_as_an_isolated_unit_with_its_own_resources() {
    let server = WORLD.server();
    let (max, ian) = (by(&server, "max"), by(&server, "ian"));
    for (list, items, mine, theirs) in [
        ("/v1/models", "models", "researchmodel", "inferencemodel"),
        ("/v1/chains", "chains", "researchchain", "inferencechain"),
        ("/v1/training_projects", "training_projects", "researchproject", "inferenceproject"),
        ("/v1/secrets", "secrets", "researchsecret", "inferencesecret"),
    ] {
        assert_eq!(max.list(list, items, "id"), [mine]);
        assert_eq!(ian.list(list, items, "id"), [theirs]);
    }
    let spare = |name: &str| WORLD.keys.prefix(name).to_owned();
    let keys = max.list("/v1/api_keys", "keys", "prefix");
    assert!(keys.contains(&spare("spare")) && !keys.contains(&spare("inference-spare")));
    for isolated in ["members", "environment_groups", "secrets", "models", "api_keys"] {
        max.get(&format!("/v1/teams/research/{isolated}"));
        ian.refused(404, "GET", &format!("/v1/teams/research/{isolated}"), None);
    }
}

#[test]
fn billing_is_managed_at_the_organization_level_and_all_teams_share_the_same_account() {
    let server = WORLD.server();
    let window = "/v1/billing/usage_summary?start_date=2026-10-02T00:00:00Z&end_date=2026-11-01T00:00:00Z";
    let summary = by(&server, "ada").get(window);
    let breakdown = summary["dedicated_usage"]["breakdown"].as_array().expect("a breakdown");
    let teams = breakdown.iter().map(|item| text(&item["billable_resource"]["team_id"])).collect();
    assert_eq!(sorted(teams), ["home", "inference", "research"]);
    let total = &summary["dedicated_usage"]["total"];
    let total = total.as_f64().or_else(|| total.as_str()?.parse().ok()).expect("money");
    assert!((total - 3.0).abs() < 0.01, "three teams at one dollar: {total}");
}

#[test]
fn the_billing_dashboard_is_visible_only_to_organization_admins() {
    let server = WORLD.server();
    let window = "/v1/billing/usage_summary?start_date=2026-10-02T00:00:00Z&end_date=2026-11-01T00:00:00Z";
    for other in ["tess", "max", "lone", "dora", "manage-all", "key-manager"] {
        assert!(by(&server, other).refused(403, "GET", window, None).contains("Manage billing"));
    }
}

#[test]
fn organization_admins_have_implicit_admin_level_access_to_all_teams_and_all_restricted_environments() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for team in ["home", "research", "inference", "empty"] {
        assert!(!ada.list(&format!("/v1/teams/{team}/members"), "items", "user_id").contains(&"ada".to_owned()));
        ada.post(&format!("/v1/teams/{team}/members"), json!({ "user_id": "lone", "role": "ADMIN" }));
        ada.post(&format!("/v1/teams/{team}/api_keys"), json!({ "type": "WORKSPACE_INVOKE" }));
        let group = json!({ "name": "canary", "manage_access": { "is_restricted": true } });
        ada.post(&format!("/v1/teams/{team}/environment_groups"), group);
        let why = ada.get(&format!("/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id={team}&environment=canary"));
        assert_eq!(why["allowed"], true, "{why}");
    }
}

#[test]
fn a_user_can_have_different_roles_in_different_teams() {
    let server = WORLD.server();
    by(&server, "ada").post("/v1/teams/inference/members", json!({ "user_id": "tess", "role": "MEMBER" }));
    let tess = by(&server, "tess");
    tess.post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    let refusal =
        tess.refused(403, "POST", "/v1/teams/inference/members", Some(json!({ "user_id": "lone", "role": "MEMBER" })));
    assert!(refusal.contains("Manage team members"), "{refusal}");
    tess.post("/v1/teams/inference/secrets", json!({ "name": "x", "value": "x" }));
}

#[test]
fn organization_admins_can_create_and_delete_teams() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    assert_eq!(ada.delete("/v1/teams/empty"), json!({ "id": "empty", "deleted": true }));
    ada.refused(404, "GET", "/v1/teams/empty", None);
    by(&server, "tess").refused(403, "DELETE", "/v1/teams/research?force=true", None);
}

#[test]
fn team_admins_can_manage_membership_within_their_teams() {
    let server = WORLD.server();
    let tess = by(&server, "tess");
    tess.post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    let changed = tess.patch("/v1/teams/research/members/lone", json!({ "role": "ADMIN" }));
    assert_eq!((&changed["user_id"], &changed["role"]), (&json!("lone"), &json!("ADMIN")));
    let gone = tess.delete("/v1/teams/research/members/lone");
    assert_eq!(
        gone,
        json!({ "team_id": "research", "user_id": "lone", "deleted": true, "remaining_team_api_keys": [] })
    );
    by(&server, "max").refused(
        403,
        "POST",
        "/v1/teams/research/members",
        Some(json!({ "user_id": "lone", "role": "MEMBER" })),
    );
}

#[test]
fn the_default_team_cannot_be_deleted_but_you_can_rename_it() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for force in ["", "?force=false", "?force=true"] {
        ada.refused(409, "DELETE", &format!("/v1/teams/home{force}"), None);
    }
    let renamed = ada.patch("/v1/teams/home", json!({ "name": "Commons" }));
    assert_eq!((&renamed["name"], &renamed["default"]), (&json!("Commons"), &json!(true)));
}

#[test]
fn the_invited_user_is_automatically_added_to_the_selected_teams_with_the_specified_roles() {
    let server = WORLD.server();
    let teams = json!([{ "team_id": "research", "role": "ADMIN" }, { "team_id": "inference", "role": "MEMBER" }]);
    let joined = newcomer(&server, "ada", json!({ "email": "new@example.org", "role": "MEMBER", "teams": teams }));
    assert_eq!(joined["organization"]["org_id"], "acme");
    assert_eq!(joined["user"]["email"], "new@example.org");
    assert_eq!(one(&joined["teams"], "team_id", "research")["role"], "ADMIN");
    assert_eq!(one(&joined["teams"], "team_id", "inference")["role"], "MEMBER");
    let key = text(&joined["api_key"]);
    let them = with(&server, &key);
    assert_eq!(sorted(them.list("/v1/teams", "teams", "id")), ["inference", "research"]);
    them.post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    let body = Some(json!({ "user_id": "lone", "role": "MEMBER" }));
    them.refused(403, "POST", "/v1/teams/inference/members", body);
}

#[test]
fn an_organization_admin_can_be_invited_as_such() {
    let server = WORLD.server();
    let joined = newcomer(&server, "ada", json!({ "email": "new@example.org", "role": "ADMIN", "teams": [] }));
    let key = text(&joined["api_key"]);
    assert_eq!(with(&server, &key).get("/v1/users/me")["role"], "ADMIN");
    with(&server, &key).patch("/v1/organizations/me", json!({ "name": "Acme & Sons" }));
}

#[test]
fn an_existing_organization_member_is_added_from_the_team_s_members() {
    let server = WORLD.server();
    let lone = by(&server, "lone");
    lone.refused(404, "GET", "/v1/teams/research", None);
    let added = by(&server, "tess").post("/v1/teams/research/members", json!({ "user_id": "lone", "role": "MEMBER" }));
    assert_eq!(added["via"], "TEAM");
    assert_eq!((&added["email"], &added["name"]), (&json!("lone@example.com"), &json!("Lone")));
    assert_eq!(lone.list("/v1/teams", "teams", "id"), ["research"]);
}

#[test]
fn removing_a_member_from_the_organization_removes_them_from_all_teams() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let gone = ada.delete("/v1/users/crew");
    assert_eq!((&gone["user_id"], &gone["deleted"]), (&json!("crew"), &json!(true)));
    for team in ["research", "inference", "home"] {
        let members = ada.list(&format!("/v1/teams/{team}/members"), "items", "user_id");
        assert!(!members.contains(&"crew".to_owned()), "{team}");
    }
    ada.refused(404, "GET", "/v1/users/crew", None);
}

#[test]
fn a_member_is_removed_from_a_team_without_removing_them_from_the_organization() {
    let server = WORLD.server();
    by(&server, "tess").delete("/v1/teams/research/members/crew");
    let crew = by(&server, "crew");
    assert_eq!(sorted(crew.list("/v1/teams", "teams", "id")), ["home", "inference"]);
    crew.refused(404, "GET", "/v1/teams/research/secrets", None);
    by(&server, "max").get("/v1/users/crew");
}

#[test]
fn a_member_s_organization_role_can_be_changed() {
    let server = WORLD.server();
    let changed = by(&server, "ada").patch("/v1/users/max", json!({ "role": "ADMIN" }));
    assert_eq!((&changed["user_id"], &changed["role"]), (&json!("max"), &json!("ADMIN")));
    let max = by(&server, "max");
    assert_eq!(max.list("/v1/teams", "teams", "id").len(), 4);
    by(&server, "ada").patch("/v1/users/max", json!({ "role": "MEMBER" }));
    assert_eq!(max.list("/v1/teams", "teams", "id"), ["research"], "what was explicit stays");
}

#[test]
fn the_team_selector_displays_all_teams_you_have_access_to() {
    let server = WORLD.server();
    for (who, teams) in [
        ("ada", vec!["empty", "home", "inference", "research"]),
        ("tess", vec!["research"]),
        ("crew", vec!["home", "inference", "research"]),
        ("lone", vec![]),
        ("manage-all", vec!["research"]),
        ("fay", vec!["abroad", "globexhome"]),
    ] {
        assert_eq!(sorted(by(&server, who).list("/v1/teams", "teams", "id")), teams, "{who}");
    }
}

#[test]
fn secrets_are_scoped_to_individual_teams() {
    let server = WORLD.server();
    let crew = by(&server, "crew");
    let secret = |team: &str| {
        let target = format!("/v1/teams/{team}/secrets");
        crew.post(&target, json!({ "name": "hf_token", "value": team }))
    };
    let (research, inference) = (secret("research"), secret("inference"));
    assert_ne!(research["id"], inference["id"]);
    crew.delete("/v1/teams/research/secrets/hf_token");
    assert_eq!(crew.list("/v1/teams/inference/secrets", "secrets", "name"), ["hf_token", "Token"]);
    assert_eq!(crew.list("/v1/teams/research/secrets", "secrets", "name"), ["Token"]);
}

#[test]
fn personal_api_keys_provide_access_to_resources_across_all_teams_you_belong_to() {
    let server = WORLD.server();
    let (key, _) = make_key(&by(&server, "crew"), json!({ "type": "PERSONAL", "name": "laptop" }));
    let laptop = with(&server, &key);
    assert_eq!(sorted(laptop.list("/v1/models", "models", "id")), ["homemodel", "inferencemodel", "researchmodel"]);
    by(&server, "ada").post("/v1/teams/empty/members", json!({ "user_id": "crew", "role": "MEMBER" }));
    laptop.get("/v1/teams/empty");
    by(&server, "ada").delete("/v1/teams/research/members/crew");
    assert_eq!(sorted(laptop.list("/v1/models", "models", "id")), ["homemodel", "inferencemodel"]);
}

#[test]
fn team_api_keys_can_only_access_their_team_s_resources() {
    let server = WORLD.server();
    // Made by an organization admin, and no more for that.
    let (key, _) = make_key(&by(&server, "ada"), json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research" }));
    let robot = with(&server, &key);
    assert_eq!(robot.list("/v1/teams", "teams", "id"), ["research"]);
    assert_eq!(robot.list("/v1/models", "models", "id"), ["researchmodel"]);
    for elsewhere in ["/v1/teams/inference", "/v1/teams/home/secrets", "/v1/models/inferencemodel"] {
        robot.refused(404, "GET", elsewhere, None);
    }
}

#[test]
fn only_team_admins_and_organization_admins_can_create_team_api_keys() {
    let server = WORLD.server();
    for (who, status) in [("ada", 200), ("tess", 200), ("max", 403), ("lone", 404), ("manage-all", 403)] {
        for category in ["WORKSPACE_MANAGE_ALL", "WORKSPACE_INVOKE", "WORKSPACE_EXPORT_METRICS"] {
            let body = json!({ "type": category, "team_id": "research" });
            let answered = server.send(Some(WORLD.keys.text(who)), "POST", "/v1/api_keys", Some(body));
            assert_eq!(answered.status, status, "{who} {category}: {}", answered.body);
        }
    }
}

#[test]
fn a_restricted_environment_applies_to_all_models_and_chains_within_that_team() {
    let server = WORLD.server();
    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": ["crew"] } });
    by(&server, "tess").patch("/v1/teams/research/environment_groups/production", restricted);
    let ask = |who: &str, team: &str| {
        let target = format!("/v1/permissions/explain?act=CHANGE_ENVIRONMENT&team_id={team}&environment=production");
        by(&server, who).get(&target)["allowed"].as_bool().unwrap()
    };
    assert!(ask("crew", "research") && !ask("max", "research") && ask("tess", "research"));
    assert!(ask("ian", "inference"), "in another team the environment of this name is not restricted");
}

#[test]
fn model_apis_are_only_available_in_the_default_team() {
    let server = WORLD.server();
    for who in ["ada", "dora", "crew", "home-manage-all"] {
        assert!(!by(&server, who).list("/v1/model_apis", "items", "name").is_empty(), "{who}");
    }
    for who in ["tess", "max", "lone", "manage-all"] {
        assert!(by(&server, who).refused(403, "GET", "/v1/model_apis", None).contains("default team"), "{who}");
    }
}

#[test]
fn the_same_name_can_exist_in_different_teams_and_once_in_each() {
    let server = WORLD.server();
    let crew = by(&server, "crew");
    let body = json!({ "training_project": { "name": "tune" } });
    for team in ["research", "inference"] {
        let target = format!("/v1/teams/{team}/training_projects");
        let upserted = crew.post(&target, body.clone());
        assert_eq!(upserted["training_project"]["id"], format!("{team}project"), "the one that is there");
    }
    assert_eq!(crew.list("/v1/models", "models", "name"), ["llama", "llama", "llama"]);
    assert_eq!(crew.list("/v1/chains", "chains", "name"), ["rag", "rag", "rag"]);
}

#[test]
fn when_teams_are_enabled_all_existing_resources_remain_in_the_default_team() {
    let server = WORLD.server();
    let (sol, sam) = (by(&server, "sol"), by(&server, "sam"));
    let resources = ["/v1/models", "/v1/chains", "/v1/training_projects", "/v1/secrets"];
    let before = resources.map(|list| sam.get(list));
    assert_eq!(sol.patch("/v1/organizations/me", json!({ "teams_enabled": true }))["teams_enabled"], true);
    sol.post("/v1/teams", json!({ "name": "Second" }));
    assert_eq!(resources.map(|list| sam.get(list)), before);
    assert_eq!(sam.list("/v1/teams", "teams", "id"), ["solohome"]);
}

#[test]
fn the_original_resource_in_the_default_team_can_then_be_deleted() {
    let server = WORLD.server();
    let dora = by(&server, "dora");
    assert_eq!(dora.delete("/v1/models/homemodel"), json!({ "id": "homemodel", "deleted": true }));
    // It has a restricted environment, so this is for whoever may change that.
    assert_eq!(by(&server, "ada").delete("/v1/chains/homechain"), json!({ "id": "homechain", "deleted": true }));
    dora.refused(404, "GET", "/v1/models/homemodel", None);
    by(&server, "max").get("/v1/models/researchmodel");
}

#[test]
fn a_new_organization_has_a_default_team_and_its_founder_is_an_admin_of_it() {
    let server = WORLD.server();
    let body = json!({ "name": "Initech", "email": "f@initech.example", "user_name": "F", "teams_enabled": false });
    let made = operate(&server, "/v1/operator/organizations", body);
    let founder = with(&server, &text(&made["api_key"]));
    let teams = founder.get("/v1/teams");
    assert_eq!(all(&teams["teams"], "name"), ["Default"]);
    let default = text(&teams["teams"][0]["id"]);
    assert!(founder.list(&format!("/v1/teams/{default}/members"), "items", "user_id").is_empty());
    let implicit = founder.get(&format!("/v1/teams/{default}/members?include_implicit=true"));
    let me = one(&implicit["items"], "user_id", &text(&made["user_id"]));
    assert_eq!((&me["role"], &me["via"]), (&json!("ADMIN"), &json!("ORGANIZATION")));
    assert_eq!(founder.get("/v1/users/me")["role"], "ADMIN");
    assert_eq!(founder.get("/v1/organizations/me")["org_id"], made["org_id"]);
}

#[test]
fn the_link_alone_opens_the_way_for_a_new_person() {
    let server = WORLD.server();
    let invited =
        by(&server, "ada").post("/v1/invitations", json!({ "email": "n@e.org", "role": "MEMBER", "teams": [] }));
    let body = json!({ "token": token(&invited), "name": "N", "password": "correct horse battery" });
    let joined = nobody(&server).post("/v1/invitations/accept", body);
    assert_eq!(joined["teams"], json!([]));
    assert_eq!(joined["user"]["name"], "N");
    assert!(joined.get("api_key").is_none_or(serde_json::Value::is_null), "no key was asked for");
}
