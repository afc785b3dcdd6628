//! Does a write that changes nothing leave the database unchanged?

use guildhall::api::routes;
use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;

/// What is sent twice: a route, what it is about, and a body.
type Write = (&'static str, &'static str, &'static str, Value);

#[rustfmt::skip]
fn writes() -> Vec<Write> {
    let restricted = || json!({ "manage_access": { "is_restricted": true, "user_ids": ["max"] } });
    let autoscaling = || json!({ "max_replica": 3, "autoscaling_window": 60 });
    vec![
        ("PATCH", "/v1/organizations/me", "/v1/organizations/me", json!({ "name": "Renamed", "teams_enabled": true })),
        ("PATCH", "/v1/teams/{team_id}", "/v1/teams/research", json!({ "name": "Renamed", "icon": "🛠" })),
        ("PATCH", "/v1/teams/{team_id}/members/{user_id}", "/v1/teams/research/members/max", json!({ "role": "ADMIN" })),
        ("PATCH", "/v1/users/me", "/v1/users/me", json!({ "name": "Renamed" })),
        ("PATCH", "/v1/users/{user_id}", "/v1/users/max", json!({ "role": "ADMIN" })),
        ("PATCH", "/v1/environment_groups/{env_name}", "/v1/environment_groups/staging",
         json!({ "manage_access": { "is_restricted": true, "user_ids": ["dora"] } })),
        ("PATCH", "/v1/teams/{team_id}/environment_groups/{env_name}", "/v1/teams/research/environment_groups/staging",
         restricted()),
        ("PATCH", "/v1/models/{model_id}", "/v1/models/researchmodel", json!({ "name": "renamed" })),
        ("PATCH", "/v1/models/{model_id}/deployments/development/autoscaling_settings",
         "/v1/models/researchmodel/deployments/development/autoscaling_settings", autoscaling()),
        ("PATCH", "/v1/models/{model_id}/deployments/production/autoscaling_settings",
         "/v1/models/researchmodel/deployments/production/autoscaling_settings", autoscaling()),
        ("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}", "/v1/models/researchmodel/deployments/researchidle",
         json!({ "name": "renamed" })),
        ("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings",
         "/v1/models/researchmodel/deployments/researchidle/autoscaling_settings", autoscaling()),
        ("PATCH", "/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings",
         "/v1/models/researchmodel/deployments/researchidle/request_backpressure_settings",
         json!({ "policy": "REJECT_ON_FULL" })),
        ("PATCH", "/v1/models/{model_id}/environments/{env_name}", "/v1/models/researchmodel/environments/preview",
         json!({ "autoscaling_settings": { "max_replica": 2 } })),
        ("PATCH", "/v1/chains/{chain_id}/environments/{env_name}", "/v1/chains/researchchain/environments/trial",
         json!({ "promotion_settings": { "redeploy_on_promotion": true } })),
        ("PATCH", "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/autoscaling_settings",
         "/v1/chains/researchchain/environments/trial/chainlet_settings/autoscaling_settings",
         json!({ "updates": [{ "chainlet_name": "Hello", "autoscaling_settings": { "max_replica": 2 } }] })),
        ("POST", "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/instance_types/update",
         "/v1/chains/researchchain/environments/trial/chainlet_settings/instance_types/update",
         json!({ "updates": [{ "chainlet_name": "Hello", "instance_type_id": "2x8" }] })),
        ("PATCH", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         "/v1/training_projects/researchproject/jobs/researchjob", json!({ "priority": 7 })),
        ("PATCH", "/v1/training/capacity", "/v1/training/capacity",
         json!({ "team_id": "research", "gpu_type": "H100", "max_gpus": 8 })),
        ("POST", "/v1/secrets", "/v1/secrets", json!({ "name": "new_token", "value": "hf_1" })),
        ("POST", "/v1/teams/{team_id}/secrets", "/v1/teams/research/secrets", json!({ "name": "new_token", "value": "hf_1" })),
    ]
}

/// Routes whose place the world does not have, each with the test that has it.
const ELSEWHERE: &[&str] = &[
    "/v1/models/{model_id}/deployments/development/autoscaling_settings",
    "/v1/models/{model_id}/deployments/production/autoscaling_settings",
];

fn entries(server: &TestServer) -> i64 {
    server.sql().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_written_again_leaves_no_second_entry() {
    for (method, template, target, body) in writes() {
        let server = WORLD.server();
        let send = || server.send(Some(WORLD.keys.text("ada")), method, target, Some(body.clone()));
        let before = entries(&server);
        let first = send();
        if first.status == 404 && ELSEWHERE.contains(&template) {
            continue;
        }
        assert_eq!(first.status, 200, "{method} {target}: {}", first.body);
        let after = entries(&server);
        assert!(after > before, "{method} {target} left no entry");
        let again = send();
        assert!(matches!(again.status, 200 | 409), "{method} {target}: {}", again.body);
        assert_eq!(entries(&server), after, "{method} {target} left an entry and changed nothing");
        server.now.set(server.now.get().plus_seconds(60));
        send();
        assert_eq!(entries(&server), after, "{method} {target} left an entry a minute later");
    }
}

/// Every route that changes what is there stands above; what makes or does something each time does not.
#[test]
fn every_route_that_changes_what_is_there_is_tried() {
    let writes = writes();
    let patches = routes::all().filter(|route| route.method == "PATCH" && route.is_served());
    let missing: Vec<String> = patches
        .flat_map(|route| route.paths())
        .filter(|template| !writes.iter().any(|(method, tried, ..)| *method == "PATCH" && tried == template))
        .filter(|template| {
            let served = WORLD.server().send(Some(WORLD.keys.text("ada")), "PATCH", template, None);
            served.status != 501
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_secret_with_its_value_again_is_as_it_was_and_with_another_is_not() {
    let server = WORLD.server();
    let set = |name: &str, value: &str| {
        let body = json!({ "name": name, "value": value });
        server.send(Some(WORLD.keys.text("max")), "POST", "/v1/teams/research/secrets", Some(body)).ok()
    };
    let version = || -> i64 {
        let query = "SELECT version FROM secret WHERE team_id = 'research' AND lookup = 'spelled'";
        server.sql().query_row(query, [], |row| row.get(0)).unwrap()
    };
    set("spelled", "one");
    set("spelled", "one");
    assert_eq!(version(), 1);
    set("spelled", "two");
    assert_eq!(version(), 2);
    set("SPELLED", "two");
    assert_eq!(version(), 3, "another spelling is a change");
}

/// That a key was used is noted whatever becomes of the write.
#[test]
fn a_write_that_changes_nothing_still_shows_that_its_key_was_used() {
    let server = WORLD.server();
    let prefix = WORLD.keys.prefix("ada");
    let used = || -> Option<i64> {
        let query = "SELECT last_used_at FROM api_key WHERE prefix = ?";
        server.sql().query_row(query, [prefix], |row| row.get(0)).unwrap()
    };
    let rename = || server.send(Some(WORLD.keys.text("ada")), "PATCH", "/v1/users/me", Some(json!({ "name": "Same" })));
    rename().ok();
    server.now.set(server.now.get().plus_seconds(3600));
    rename().ok();
    assert_eq!(used(), Some(server.now.get().0));
}
