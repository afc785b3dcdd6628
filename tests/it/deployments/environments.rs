//! Deployments in environments: pushes, promotions, and who may change a deployment that serves an environment.

use serde_json::{Value, json};

use super::push_body;
use crate::acme::Acme;
use crate::vocabulary::text;

#[test]
fn a_push_to_an_environment_takes_over_once_it_is_active() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    let second = acme.push("max", &model, json!({ "environment_name": "production" }));
    let waiting = acme.at(&model, "production");
    assert_eq!(waiting["current_deployment"]["id"], first.as_str());
    assert_eq!(waiting["candidate_deployment"]["id"], second["id"]);
    assert_eq!(waiting["in_progress_promotion"]["status"], "RELEASING");
    acme.refused(
        409,
        "max",
        "POST",
        &format!("/v1/models/{model}/deployments"),
        push_body(json!({ "environment_name": "production" })),
    );
    acme.run_all();
    let after = acme.at(&model, "production");
    assert_eq!(after["current_deployment"]["id"], second["id"]);
    assert_eq!(after["candidate_deployment"], Value::Null);
    assert_eq!(acme.status(&model, &first), "SCALED_TO_ZERO");
}

#[test]
fn an_environment_that_is_not_there_is_made_by_a_push_to_it() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let staged = acme.push("max", &model, json!({ "environment_name": "staging" }));
    assert_eq!(staged["environment"], "staging");
    assert_eq!(acme.events("ENVIRONMENT_CREATED"), 1);
    let target = format!("/v1/models/{model}/deployments");
    let body = push_body(json!({ "environment_name": "canary", "create_environment_if_missing": false }));
    acme.refused(404, "max", "POST", &target, body);
}

#[test]
fn a_deployment_that_serves_one_environment_is_copied_into_another() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    acme.post("max", &format!("/v1/models/{model}/environments"), json!({ "name": "staging" }));
    let copy = acme.post(
        "max",
        &format!("/v1/models/{model}/environments/staging/promote"),
        json!({ "deployment_id": first }),
    );
    assert_ne!(copy["id"], first.as_str());
    assert_eq!(copy["environment"], "staging");
    assert_eq!(acme.deployment(&model, &first)["environment"], "production");
    acme.refused(
        409,
        "max",
        "POST",
        &format!("/v1/models/{model}/environments/production/promote"),
        json!({ "deployment_id": first }),
    );
}

#[test]
fn what_becomes_of_the_deployment_before_is_set_on_the_environment() {
    for (strategy, status) in [("KEEP", "ACTIVE"), ("SCALE_TO_ZERO", "SCALED_TO_ZERO"), ("DEACTIVATE", "INACTIVE")] {
        let acme = Acme::new();
        let (model, first) = acme.create("max", "research", "llama");
        let environment = format!("/v1/models/{model}/environments/production");
        let body = json!({ "promotion_settings": { "promotion_cleanup_strategy": strategy } });
        assert_eq!(acme.patch("max", &environment, body)["status"], "ACCEPTED");
        acme.run_all();
        acme.push("max", &model, json!({ "environment_name": "production" }));
        acme.run_all();
        assert_eq!(acme.status(&model, &first), status);
    }
}

#[test]
fn a_new_occupant_takes_on_the_settings_of_its_environment() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    let scale = format!("/v1/models/{model}/deployments/{first}/autoscaling_settings");
    assert_eq!(acme.patch("max", &scale, json!({ "max_replica": 5 }))["status"], "ACCEPTED");
    assert_eq!(acme.patch("max", &scale, json!({ "max_replica": 5 }))["status"], "UNCHANGED");
    assert_eq!(acme.at(&model, "production")["autoscaling_settings"]["max_replica"], 5);
    acme.run_all();
    let second = acme.push("max", &model, json!({ "environment_name": "production" }));
    acme.run_all();
    assert_eq!(acme.deployment(&model, &text(&second["id"]))["autoscaling_settings"]["max_replica"], 5);
    acme.refused(400, "max", "PATCH", &scale, json!({ "min_replica": 9, "max_replica": 3 }));
    acme.refused(400, "max", "PATCH", &scale, json!({ "surprise": 1 }));
}

#[test]
fn what_serves_a_restricted_environment_is_changed_by_those_on_its_list_alone() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    let second = text(&acme.push("max", &model, json!({}))["id"]);
    acme.run_all();
    acme.restrict("research", "production");
    let m = format!("/v1/models/{model}");
    let refused = [
        ("POST", format!("{m}/deployments/{second}/promote"), json!({})),
        ("POST", format!("{m}/environments/production/promote"), json!({ "deployment_id": second })),
        ("POST", format!("{m}/deployments/{first}/deactivate"), json!({})),
        ("POST", format!("{m}/environments/production/deactivate"), json!({})),
        ("DELETE", format!("{m}/deployments/{first}"), json!(null)),
        ("PATCH", format!("{m}/deployments/{first}/autoscaling_settings"), json!({ "max_replica": 2 })),
        ("PATCH", format!("{m}/environments/production"), json!({ "autoscaling_settings": { "max_replica": 2 } })),
        ("POST", format!("{m}/deployments"), push_body(json!({ "environment_name": "production" }))),
        ("DELETE", format!("{m}/environments/production"), json!(null)),
    ];
    for (method, target, body) in &refused {
        let told = acme.refused(403, "max", method, target, body.clone());
        assert!(told.contains("production"), "{told}");
    }
    // Reading stays open, and so does what touches no restricted environment.
    acme.get("max", &format!("{m}/environments/production"));
    acme.get("max", &format!("{m}/deployments/{first}/logs"));
    acme.post("max", &format!("{m}/deployments/{second}/deactivate"), json!({}));
    acme.push("max", &model, json!({}));
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.refused(403, &key, "POST", &format!("{m}/deployments/{first}/deactivate"), json!({}));
    acme.post("tess", &format!("{m}/deployments/{first}/deactivate"), json!({}));
    // The first of a new model then serves nothing, until somebody on the list promotes it.
    let (new, deployment) = acme.create("max", "research", "mistral");
    assert_eq!(acme.deployment(&new, &deployment)["environment"], Value::Null);
}

#[test]
fn what_waits_to_take_over_a_restricted_environment_is_not_deleted_with_its_model() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    acme.push("max", &model, json!({ "environment_name": "production" }));
    acme.restrict("research", "production");
    acme.delete("tess", &format!("/v1/models/{model}/deployments/{first}"));
    let told = acme.refused(403, "max", "DELETE", &format!("/v1/models/{model}"), None);
    assert!(told.contains("production"), "{told}");
    acme.delete("tess", &format!("/v1/models/{model}"));
}

#[test]
fn a_key_narrowed_to_an_environment_deploys_into_that_alone() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    let key = acme
        .make_key("ada", json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "environments": ["staging"] }));
    acme.push(&key, &model, json!({ "environment_name": "staging" }));
    acme.refused(403, &key, "POST", &format!("/v1/models/{model}/deployments"), push_body(json!({})));
    acme.refused(
        403,
        &key,
        "POST",
        &format!("/v1/models/{model}/deployments"),
        push_body(json!({ "environment_name": "production" })),
    );
    acme.refused(403, &key, "POST", &format!("/v1/models/{model}/deployments/{first}/deactivate"), json!({}));
    acme.post(&key, &format!("/v1/models/{model}/environments/staging/deactivate"), json!({}));
}

#[test]
fn environments_are_made_shown_changed_and_deleted() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let target = format!("/v1/models/{model}/environments");
    let made = acme.post("max", &target, json!({ "name": "staging", "autoscaling_settings": { "max_replica": 3 } }));
    assert_eq!((&made["name"], &made["autoscaling_settings"]["max_replica"]), (&json!("staging"), &json!(3)));
    assert_eq!((&made["instance_type"]["name"], &made["model_id"]), (&json!("1x2"), &json!(model)));
    acme.refused(409, "max", "POST", &target, json!({ "name": "staging" }));
    acme.refused(400, "max", "POST", &target, json!({ "name": "development" }));
    let names: Vec<Value> =
        acme.get("max", &target)["environments"].as_array().unwrap().iter().map(|e| e["name"].clone()).collect();
    assert_eq!(names, ["production", "staging"]);
    let staging = format!("{target}/staging");
    let empty = acme.audit().len();
    assert_eq!(acme.patch("max", &staging, json!({}))["status"], "UNCHANGED");
    assert_eq!(acme.audit().len(), empty);
    let changed =
        acme.patch("max", &staging, json!({ "request_backpressure_settings": { "policy": "REJECT_ON_FULL" } }));
    assert_eq!(changed["environment"]["request_backpressure_settings"]["policy"], "REJECT_ON_FULL");
    acme.refused(400, "max", "PATCH", &staging, json!({ "surprise": 1 }));
    let told = acme.refused(400, "max", "PATCH", &staging, json!({ "traffic_routing_settings": {} }));
    assert!(told.contains("`traffic_routing_settings`"), "{told}");
    let served = acme.push("max", &model, json!({ "environment_name": "staging" }));
    acme.run_all();
    assert_eq!(acme.delete("max", &staging), json!({ "name": "staging", "model_id": model, "deleted": true }));
    assert_eq!(acme.status(&model, &text(&served["id"])), "SCALED_TO_ZERO");
    acme.refused(404, "max", "GET", &staging, None);
    acme.refused(409, "max", "DELETE", &format!("{target}/production"), None);
    for event in ["ENVIRONMENT_CREATED", "ENVIRONMENT_UPDATED", "ENVIRONMENT_DELETED"] {
        assert_eq!(acme.events(event), 1, "{event}");
    }
}

#[test]
fn a_promotion_that_waits_is_canceled_or_forced() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    let target = format!("/v1/models/{model}/environments/production");
    acme.refused(409, "max", "POST", &format!("{target}/cancel_promotion"), None);
    acme.push("max", &model, json!({ "environment_name": "production" }));
    assert_eq!(acme.post("max", &format!("{target}/cancel_promotion"), json!({}))["status"], "CANCELED");
    acme.run_all();
    assert_eq!(acme.deployment(&model, "production")["id"], first.as_str());
    let third = acme.push("max", &model, json!({ "environment_name": "production" }));
    assert_eq!(acme.post("max", &format!("{target}/force_roll_forward_promotion"), json!({}))["success"], true);
    assert_eq!(acme.deployment(&model, "production")["id"], third["id"]);
    assert_eq!(acme.events("MODEL_PROMOTION_CONTROL_ACTION"), 2);
}
