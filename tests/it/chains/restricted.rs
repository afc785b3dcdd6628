//! Who may change a deployment that serves a restricted environment or is its candidate.

use serde_json::{Value, json};

use super::Pushed;
use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

const SCALED: &str = "chainlet_settings/autoscaling_settings";
const SIZED: &str = "chainlet_settings/instance_types/update";

fn updates(more: &Value) -> Value {
    let mut update = json!({ "chainlet_name": "Hello" });
    update.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "updates": [update] })
}

/// Everything that changes what serves `production`, or what is set there.
fn writes(rag: &Pushed, second: &str) -> Vec<(&'static str, String, Value)> {
    let chain = format!("/v1/chains/{}", rag.chain);
    let production = format!("{chain}/environments/production");
    vec![
        ("PATCH", production.clone(), json!({ "promotion_settings": { "redeploy_on_promotion": false } })),
        ("PATCH", format!("{production}/{SCALED}"), updates(&json!({ "autoscaling_settings": { "max_replica": 2 } }))),
        ("POST", format!("{production}/{SIZED}"), updates(&json!({ "instance_type_id": "1x2" }))),
        ("POST", format!("{production}/promote"), json!({ "deployment_id": second })),
        ("POST", format!("{chain}/deployments/{}/deactivate", rag.id), Value::Null),
        ("POST", format!("{chain}/deployments/{second}/deactivate"), Value::Null),
        ("DELETE", format!("{chain}/deployments/{}", rag.id), Value::Null),
        ("DELETE", chain, Value::Null),
    ]
}

/// A Chain whose `production` is served, and a second deployment that serves nothing.
fn scene(acme: &Acme) -> (Pushed, String) {
    let rag = acme.rag();
    let second = acme.push_again(&rag.chain, "");
    acme.run_all();
    (rag, second)
}

fn grant(acme: &Acme, environment: &str, user_ids: &[&str], prefixes: &[&str]) {
    let access = json!({ "is_restricted": true, "user_ids": user_ids, "api_key_prefixes": prefixes });
    let target = format!("/v1/teams/research/environment_groups/{environment}");
    acme.patch("tess", &target, json!({ "manage_access": access }));
}

#[test]
fn what_serves_a_restricted_environment_is_changed_by_those_on_its_list_alone() {
    let acme = Acme::new();
    let (rag, second) = scene(&acme);
    let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
    acme.restrict("research", "production");
    for who in ["max", &key] {
        for (method, target, body) in writes(&rag, &second) {
            if target.ends_with(&format!("{second}/deactivate")) {
                continue; // it serves nothing
            }
            let told = acme.refused(403, who, method, &target, body);
            assert!(told.contains("\"production\"") && told.contains("restricted"), "{method} {target}: {told}");
        }
        let arguments = format!("chain_id: \"{}\" environment: \"production\"", rag.chain);
        let told = acme.push_refused("FORBIDDEN", who, &arguments, &acme.hello(who));
        assert!(told.contains("\"production\""), "{told}");
    }
    // Reading stays open, and so does what touches no restricted environment.
    acme.get("max", &format!("/v1/chains/{}/environments/production", rag.chain));
    acme.get("max", &format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id));
    acme.post("max", &format!("/v1/chains/{}/deployments/{second}/deactivate", rag.chain), json!({}));
    acme.push_again(&rag.chain, "");
    acme.push_again(&rag.chain, "is_draft: true");
}

#[test]
fn who_is_granted_and_who_leads_the_team_changes_it() {
    for who in ["max", "key", "tess", "ada"] {
        let acme = Acme::new();
        let (rag, second) = scene(&acme);
        let key = acme.team_key("research", "WORKSPACE_MANAGE_ALL");
        acme.restrict("research", "production");
        grant(&acme, "production", &["max"], &[prefix(&key)]);
        let who = if who == "key" { &key } else { who };
        for (method, target, body) in writes(&rag, &second) {
            let body = (!body.is_null()).then_some(body);
            let answered = acme.send(who, method, &target, body);
            assert_eq!(answered.status, 200, "{who} {method} {target}: {}", answered.body);
        }
    }
}

#[test]
fn what_waits_to_take_over_a_restricted_environment_is_as_guarded() {
    let acme = Acme::new();
    let rag = acme.rag();
    let waiting = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.restrict("research", "production");
    let at = format!("/v1/chains/{}/deployments/{waiting}", rag.chain);
    acme.refused(403, "max", "POST", &format!("{at}/deactivate"), None);
    acme.refused(403, "max", "DELETE", &at, None);
    // Also where nothing serves it: then the Chain holds what waits.
    acme.delete("tess", &format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id));
    let told = acme.refused(403, "max", "DELETE", &format!("/v1/chains/{}", rag.chain), None);
    assert!(told.contains("\"production\""), "{told}");
}

#[test]
fn the_first_of_a_new_chain_serves_nothing_where_production_is_closed() {
    let acme = Acme::new();
    acme.restrict("research", "production");
    let rag = acme.rag();
    assert_eq!(acme.chain_deployment(&rag.chain, &rag.id)["environment"], Value::Null);
    assert_eq!(acme.serving(&rag.chain, "production"), Value::Null);
    let target = format!("/v1/chains/{}/environments/production/promote", rag.chain);
    acme.refused(403, "max", "POST", &target, json!({ "deployment_id": rag.id }));
    let promoted = acme.post("tess", &target, json!({ "deployment_id": rag.id }));
    assert_eq!((&promoted["id"], &promoted["environment"]), (&json!(rag.id), &json!("production")));
    let by_name = "chain_name: \"new\" team_id: \"research\" environment: \"production\"";
    acme.push_refused("FORBIDDEN", "max", by_name, &acme.hello("max"));
    let of_tess = acme.push_chain("tess", "chain_name: \"new\" team_id: \"research\"");
    assert_eq!(acme.serving(&of_tess.chain, "production"), of_tess.id.as_str());
}

#[test]
fn a_restricted_environment_is_made_by_those_on_its_list() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.restrict("research", "staging");
    let target = format!("/v1/chains/{}/environments", rag.chain);
    let told = acme.refused(403, "max", "POST", &target, json!({ "name": "staging" }));
    assert!(told.contains("\"staging\""), "{told}");
    grant(&acme, "staging", &["max"], &[]);
    assert_eq!(text(&acme.post("max", &target, json!({ "name": "staging" }))["name"]), "staging");
    // The restriction of another team is none of ours.
    let theirs = acme.push_chain("ian", "chain_name: \"rag\" team_id: \"inference\"");
    acme.post("ian", &format!("/v1/chains/{}/environments", theirs.chain), json!({ "name": "staging" }));
}
