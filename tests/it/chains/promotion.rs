//! How a deployment of a Chain starts to serve an environment, and what happens to the previous deployment.

use guildhall::runner;
use serde_json::{Value, json};

use super::{Chainlet, broken};
use crate::acme::Acme;
use crate::vocabulary::text;

#[test]
fn a_candidate_takes_over_once_all_its_chainlets_are_active() {
    let acme = Acme::new();
    let rag = acme.rag();
    let second = acme.push_again(&rag.chain, "environment: \"production\"");
    let waiting = acme.chain_at(&rag.chain, "production");
    assert_eq!(waiting["current_deployment"]["id"], rag.id.as_str());
    assert_eq!(waiting["candidate_deployment"]["id"], second.as_str());
    assert_eq!(waiting["in_progress_promotion"]["status"], "RELEASING");
    // One of two chainlets gets there first.
    let [(_, hello), (_, randint)] = &acme.models_of(&second)[..] else { panic!("two chainlets") };
    acme.run(&format!("UPDATE deployment SET status = 'LOADING_MODEL' WHERE id = '{hello}'"));
    let status = |id: &str| {
        let asked = format!("SELECT status FROM deployment WHERE id = '{id}'");
        acme.server.sql().query_row(&asked, [], |row| row.get::<_, String>(0)).unwrap()
    };
    runner::work(&acme.server.app.db, &|| acme.server.now(), &|| status(hello) == "ACTIVE").unwrap();
    assert_ne!(status(randint), "ACTIVE");
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str(), "one is not all");
    acme.run_all();
    let after = acme.chain_at(&rag.chain, "production");
    assert_eq!((&after["current_deployment"]["id"], &after["candidate_deployment"]), (&json!(second), &Value::Null));
    assert_eq!(after["in_progress_promotion"], Value::Null);
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "SCALED_TO_ZERO");
    assert_eq!(acme.chain_deployment(&rag.chain, &rag.id)["environment"], Value::Null);
}

#[test]
fn a_push_goes_into_production_while_what_is_there_has_failed() {
    let acme = Acme::new();
    let mut chainlets = acme.hello("max");
    chainlets[1].s3_key = acme.uploaded("max", &broken());
    let failed = acme.push_chainlets("max", "chain_name: \"rag\" team_id: \"research\"", &chainlets);
    acme.run_all();
    assert_eq!(acme.serving(&failed.chain, "production"), failed.id.as_str());
    let good = acme.push_again(&failed.chain, "");
    acme.run_all();
    assert_eq!(acme.serving(&failed.chain, "production"), good.as_str());
    acme.push_again(&failed.chain, "");
    acme.run_all();
    assert_eq!(acme.serving(&failed.chain, "production"), good.as_str());
}

#[test]
fn a_broken_chainlet_fails_the_deployment_and_the_one_before_still_serves() {
    let acme = Acme::new();
    let rag = acme.rag();
    for place in [0, 1] {
        let mut chainlets = acme.hello("max");
        chainlets[place].s3_key = acme.uploaded("max", &broken());
        let arguments = format!("chain_id: \"{}\" environment: \"production\"", rag.chain);
        let failed = acme.push_chainlets("max", &arguments, &chainlets).id;
        acme.run_all();
        assert_eq!(acme.chain_status(&rag.chain, &failed), "BUILD_FAILED");
        let production = acme.chain_at(&rag.chain, "production");
        assert_eq!(production["current_deployment"]["id"], rag.id.as_str());
        assert_eq!(production["candidate_deployment"], Value::Null, "it waits no longer");
        assert_eq!(acme.chain_status(&rag.chain, &rag.id), "ACTIVE");
        let target = format!("/v1/chains/{}/environments/production/promote", rag.chain);
        let told = acme.refused(409, "max", "POST", &target, json!({ "deployment_id": failed }));
        assert!(told.contains("has failed") && told.contains("push again"), "{told}");
    }
    // And the environment is free for the next.
    let next = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), next.as_str());
}

#[test]
fn a_candidate_takes_over_also_where_nobody_is_left_to_take_over_from() {
    let acme = Acme::new();
    let rag = acme.rag();
    let waiting = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.delete("max", &format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id));
    assert_eq!(acme.serving(&rag.chain, "production"), Value::Null);
    let third = acme.push_again(&rag.chain, "");
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), waiting.as_str());
    assert_eq!(acme.chain_deployment(&rag.chain, &third)["environment"], Value::Null);
}

#[test]
fn a_candidate_that_is_deleted_leaves_its_environment_to_others() {
    let acme = Acme::new();
    let rag = acme.rag();
    let waiting = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.delete("max", &format!("/v1/chains/{}/deployments/{waiting}", rag.chain));
    let next = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), next.as_str());
}

#[test]
fn what_is_active_takes_over_at_once_as_itself() {
    let acme = Acme::new();
    let rag = acme.rag();
    let second = acme.push_again(&rag.chain, "");
    acme.run_all();
    let promoted = acme.promote(&rag.chain, "production", &second);
    assert_eq!((&promoted["id"], &promoted["environment"]), (&json!(second), &json!("production")));
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "SCALED_TO_ZERO");
    // What sleeps or was switched off is woken first.
    let woken = acme.promote(&rag.chain, "production", &rag.id);
    assert_eq!((&woken["id"], &woken["status"]), (&json!(rag.id), &json!("WAKING_UP")));
    assert_eq!(acme.serving(&rag.chain, "production"), second.as_str());
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str());
    acme.post("max", &format!("/v1/chains/{}/deployments/{second}/deactivate", rag.chain), json!({}));
    acme.run_all();
    assert_eq!(acme.promote(&rag.chain, "production", &second)["status"], "DEPLOYING");
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), second.as_str());
}

#[test]
fn what_is_development_or_serves_elsewhere_is_copied() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    let development = acme.push_again(&rag.chain, "is_draft: true");
    acme.run_all();
    let sizes = || (acme.count("model"), acme.count("deployment"), acme.count("upload"));
    let before = sizes();
    let staged = acme.promote(&rag.chain, "staging", &development);
    assert_ne!(staged["id"], development.as_str());
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "staging"), staged["id"]);
    assert_eq!(sizes(), (before.0, before.1 + 2, before.2), "of the same models and archives");
    let copied = acme.promote(&rag.chain, "staging", &rag.id);
    assert_ne!(copied["id"], json!(rag.id));
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "staging"), copied["id"]);
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str(), "and it goes on serving where it was");
    // What the copy runs from stays when the original goes.
    acme.delete("max", &format!("/v1/chains/{}/deployments/{}", rag.chain, rag.id));
    let copy = text(&copied["id"]);
    acme.run_all();
    assert_eq!(acme.chain_status(&rag.chain, &copy), "ACTIVE");
    acme.push_again(&rag.chain, "is_draft: true");
    assert_eq!(acme.models_of(&text(&staged["id"])).len(), 2);
}

#[test]
fn an_environment_may_want_a_new_deployment_each_time() {
    let acme = Acme::new();
    let rag = acme.rag();
    let production = format!("/v1/chains/{}/environments/production", rag.chain);
    let body = json!({ "promotion_settings": { "redeploy_on_promotion": true } });
    assert_eq!(acme.patch("max", &production, body), json!({ "ok": true }));
    let second = acme.push_again(&rag.chain, "");
    acme.run_all();
    let promoted = acme.promote(&rag.chain, "production", &second);
    assert_ne!(promoted["id"], second.as_str());
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), promoted["id"]);
    // Then what serves it is deployed anew, too.
    let again = acme.promote(&rag.chain, "production", &text(&promoted["id"]));
    assert_ne!(again["id"], promoted["id"]);
}

#[test]
fn what_has_another_instance_type_than_the_environment_sets_is_copied() {
    let acme = Acme::new();
    let rag = acme.rag();
    let settings = json!([{ "chainlet_name": "RandInt", "instance_type_id": "2x8" }]);
    let body = json!({ "name": "staging", "chainlet_settings": settings });
    acme.post("max", &format!("/v1/chains/{}/environments", rag.chain), body);
    let second = acme.push_again(&rag.chain, "");
    acme.run_all();
    let promoted = acme.promote(&rag.chain, "staging", &second);
    assert_ne!(promoted["id"], second.as_str());
    let types: Vec<&Value> =
        promoted["chainlets"].as_array().unwrap().iter().map(|it| &it["instance_type_name"]).collect();
    assert_eq!(types, ["1x2", "2x8"]);
    // What is pushed to it has them from the start.
    let pushed = acme.push_again(&rag.chain, "environment: \"production\"");
    assert_eq!(acme.chain_deployment(&rag.chain, &pushed)["chainlets"][1]["instance_type_name"], "1x2");
    acme.run_all();
    let pushed = acme.push_again(&rag.chain, "environment: \"staging\"");
    assert_eq!(acme.chain_deployment(&rag.chain, &pushed)["chainlets"][1]["instance_type_name"], "2x8");
}

#[test]
fn what_serves_already_is_not_promoted_and_one_promotion_waits_at_a_time() {
    let acme = Acme::new();
    let rag = acme.rag();
    let target = format!("/v1/chains/{}/environments/production/promote", rag.chain);
    let told = acme.refused(409, "max", "POST", &target, json!({ "deployment_id": rag.id }));
    assert!(told.contains("serves \"production\" already"), "{told}");
    let second = acme.push_again(&rag.chain, "");
    let waiting = acme.push_again(&rag.chain, "environment: \"production\"");
    let told = acme.refused(409, "max", "POST", &target, json!({ "deployment_id": second }));
    assert!(told.contains("is being promoted"), "{told}");
    acme.refused(409, "max", "POST", &target, json!({ "deployment_id": waiting }));
    let arguments = format!("chain_id: \"{}\" environment: \"production\"", rag.chain);
    acme.push_refused("CONFLICT", "max", &arguments, &acme.hello("max"));
    acme.push_again(&rag.chain, "");
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), waiting.as_str());
}

#[test]
fn what_becomes_of_the_deployment_before_is_set_on_the_environment() {
    for (strategy, status) in [("KEEP", "ACTIVE"), ("SCALE_TO_ZERO", "SCALED_TO_ZERO"), ("DEACTIVATE", "INACTIVE")] {
        let acme = Acme::new();
        let rag = acme.rag();
        let production = format!("/v1/chains/{}/environments/production", rag.chain);
        let body = json!({ "promotion_settings": { "promotion_cleanup_strategy": strategy } });
        acme.patch("max", &production, body);
        acme.push_again(&rag.chain, "environment: \"production\"");
        acme.run_all();
        assert_eq!(acme.chain_status(&rag.chain, &rag.id), status);
    }
}

#[test]
fn a_promotion_may_say_that_the_one_before_stays_as_it_is() {
    for (scale_down, status) in
        [(json!(false), "ACTIVE"), (json!(true), "SCALED_TO_ZERO"), (Value::Null, "SCALED_TO_ZERO")]
    {
        let acme = Acme::new();
        let rag = acme.rag();
        let second = acme.push_again(&rag.chain, "");
        acme.run_all();
        let body = json!({ "deployment_id": second, "scale_down_previous_deployment": scale_down });
        acme.post("max", &format!("/v1/chains/{}/environments/production/promote", rag.chain), body);
        assert_eq!(acme.chain_status(&rag.chain, &rag.id), status);
        // Also where it waits first.
        let third = acme.push_again(&rag.chain, "");
        let body = json!({ "deployment_id": third, "scale_down_previous_deployment": scale_down });
        acme.post("max", &format!("/v1/chains/{}/environments/production/promote", rag.chain), body);
        acme.run_all();
        assert_eq!(acme.chain_status(&rag.chain, &second), status);
    }
}

#[test]
fn deactivating_switches_off_every_chainlet_and_once_is_enough() {
    let acme = Acme::new();
    let rag = acme.rag();
    let at = |id: &str| format!("/v1/chains/{}/deployments/{id}/deactivate", rag.chain);
    assert_eq!(acme.post("max", &at(&rag.id), json!({})), json!({ "success": true, "no_op": false }));
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "DEACTIVATING");
    assert_eq!(acme.post("max", &at(&rag.id), json!({}))["no_op"], true);
    acme.run_all();
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "INACTIVE");
    let off = acme.chain_at(&rag.chain, "production");
    assert_eq!(off["current_deployment"]["id"], rag.id.as_str(), "it is still the one of production");
    assert_eq!(off["current_deployment"]["chainlets"][0]["active_replica_count"], 0);
    // Promoted where it is, it is switched on again: nothing else does that.
    let on = acme.promote(&rag.chain, "production", &rag.id);
    assert_eq!((&on["id"], &on["status"]), (&json!(rag.id), &json!("DEPLOYING")));
    let target = format!("/v1/chains/{}/environments/production/promote", rag.chain);
    acme.refused(409, "max", "POST", &target, json!({ "deployment_id": rag.id }));
    acme.run_all();
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "ACTIVE");
    // A candidate that is switched off waits no longer.
    let second = acme.push_again(&rag.chain, "environment: \"production\"");
    acme.post("max", &at(&second), json!({}));
    acme.run_all();
    assert_eq!(acme.chain_at(&rag.chain, "production")["candidate_deployment"], Value::Null);
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str());
}

#[test]
fn a_new_occupant_takes_on_what_the_environment_sets_its_chainlets_to() {
    let acme = Acme::new();
    let rag = acme.rag();
    let settings = format!("/v1/chains/{}/environments/production/chainlet_settings/autoscaling_settings", rag.chain);
    let update = json!({ "updates": [{ "chainlet_name": "RandInt", "autoscaling_settings": { "max_replica": 7 } }] });
    assert_eq!(acme.patch("max", &settings, update)["status"], "ACCEPTED");
    let replicas = |id: &str| {
        let shown = acme.chain_deployment(&rag.chain, id);
        [0, 1].map(|place| shown["chainlets"][place]["autoscaling_settings"]["max_replica"].clone())
    };
    assert_eq!(replicas(&rag.id), [1, 7]);
    let chainlets: Vec<Chainlet> = acme.hello("max");
    let arguments = format!("chain_id: \"{}\" environment: \"production\"", rag.chain);
    let second = acme.push_chainlets("max", &arguments, &chainlets).id;
    assert_eq!(replicas(&second), [1, 1]);
    acme.run_all();
    assert_eq!(replicas(&second), [1, 7]);
}
