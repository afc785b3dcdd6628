//! Environments of Chains: created, shown, changed, and listed in two shapes at the same time.

use serde_json::{Value, json};

use crate::acme::Acme;

#[test]
fn every_chain_has_production_and_gets_others() {
    let acme = Acme::new();
    let rag = acme.rag();
    let target = format!("/v1/chains/{}/environments", rag.chain);
    let settings = json!([
        { "chainlet_name": "Hello", "autoscaling_settings": { "max_replica": 3 } },
        { "chainlet_name": "RandInt", "instance_type_id": "2x8" },
    ]);
    let body = json!({ "name": "staging", "chainlet_settings": settings, "surprise": 1,
                       "promotion_settings": { "promotion_cleanup_strategy": "KEEP" } });
    let made = acme.post("max", &target, body);
    assert_eq!((&made["name"], &made["chain_id"]), (&json!("staging"), &json!(rag.chain)));
    assert_eq!(made["promotion_settings"]["promotion_cleanup_strategy"], "KEEP");
    assert_eq!(made["promotion_settings"]["rolling_deploy"], false);
    let [hello, randint] = &made["chainlet_settings"].as_array().unwrap()[..] else { panic!("{made}") };
    assert_eq!(
        (&hello["autoscaling_settings"]["max_replica"], &hello["instance_type"]["id"]),
        (&json!(3), &json!("1x2"))
    );
    assert_eq!(
        (&randint["autoscaling_settings"]["max_replica"], &randint["instance_type"]["id"]),
        (&json!(1), &json!("2x8"))
    );
    assert_eq!((&made["current_deployment"], &made["candidate_deployment"]), (&Value::Null, &Value::Null));
    assert_eq!(acme.get("max", &format!("{target}/staging")), made);
    let names = |listed: &Value| -> Vec<Value> {
        listed["environments"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect()
    };
    acme.chain_environment(&rag.chain, "canary");
    assert_eq!(names(&acme.get("max", &target)), ["production", "canary", "staging"]);
    let told = acme.refused(409, "max", "POST", &target, json!({ "name": "staging" }));
    assert!(told.contains("rag") && told.contains("staging"), "{told}");
    acme.refused(409, "max", "POST", &target, json!({ "name": "production" }));
    acme.refused(404, "max", "GET", &format!("{target}/nothing"), None);
    acme.refused(404, "max", "GET", &format!("{target}/No Name"), None);
}

#[test]
fn what_an_environment_cannot_be_is_told_by_its_field() {
    let acme = Acme::new();
    let rag = acme.rag();
    let target = format!("/v1/chains/{}/environments", rag.chain);
    let chainlet = |more: Value| json!({ "name": "staging", "chainlet_settings": [more] });
    let many: Vec<Value> = (0..1001).map(|n| json!({ "chainlet_name": format!("c{n}") })).collect();
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "development" }), "name"),
        (json!({ "name": "UP" }), "name"),
        (json!({ "name": "staging", "promotion_settings": { "rolling_deploy": true } }), "rolling_deploy"),
        (
            json!({ "name": "staging", "promotion_settings": { "promotion_cleanup_strategy": "BURN" } }),
            "promotion_cleanup",
        ),
        (chainlet(json!({ "chainlet_name": "" })), "chainlet_name"),
        (chainlet(json!({ "chainlet_name": "Hello", "instance_type_id": "huge" })), "instance_type_id"),
        (chainlet(json!({ "chainlet_name": "Hello", "autoscaling_settings": { "max_replica": 0 } })), "max_replica"),
        (
            json!({ "name": "staging", "chainlet_settings": [{ "chainlet_name": "A" }, { "chainlet_name": "A" }] }),
            "twice",
        ),
        (json!({ "name": "staging", "chainlet_settings": many }), "at most"),
    ] {
        let told = acme.refused(400, "max", "POST", &target, body);
        assert!(told.contains(field), "{field}: {told}");
    }
}

#[test]
fn how_deployments_take_over_is_changed_and_an_empty_change_is_none() {
    let acme = Acme::new();
    let rag = acme.rag();
    let production = format!("/v1/chains/{}/environments/production", rag.chain);
    let before = acme.content();
    assert_eq!(acme.patch("max", &production, json!({})), json!({ "ok": true }));
    assert_eq!(
        acme.patch("max", &production, json!({ "promotion_settings": null, "surprise": 1 })),
        json!({ "ok": true })
    );
    assert_eq!(acme.content(), before);
    let change = |settings: Value| acme.patch("max", &production, json!({ "promotion_settings": settings }));
    change(json!({ "redeploy_on_promotion": true }));
    change(json!({ "promotion_cleanup_strategy": "DEACTIVATE", "rolling_deploy": false }));
    let settings = acme.chain_at(&rag.chain, "production")["promotion_settings"].clone();
    assert_eq!(
        (&settings["redeploy_on_promotion"], &settings["promotion_cleanup_strategy"]),
        (&json!(true), &json!("DEACTIVATE"))
    );
    let rolling = json!({ "promotion_settings": { "rolling_deploy": true } });
    let told = acme.refused(400, "max", "PATCH", &production, rolling);
    assert!(told.contains("rolling_deploy"), "{told}");
    acme.refused(404, "max", "PATCH", &format!("/v1/chains/{}/environments/nothing", rag.chain), json!({}));
}

/// The specification lists a Chain's environments in the shape of a model's.
#[test]
fn each_listed_environment_is_a_chains_and_a_models() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    acme.push_again(&rag.chain, "environment: \"production\"");
    let listed = acme.get("max", &format!("/v1/chains/{}/environments", rag.chain));
    let listed = listed["environments"].as_array().unwrap();
    for environment in listed {
        // As the SDK requires them of `Environment` and of `ChainEnvironment`.
        for field in [
            "name",
            "created_at",
            "model_id",
            "chain_id",
            "current_deployment",
            "autoscaling_settings",
            "promotion_settings",
            "instance_type",
            "request_backpressure_settings",
            "chainlet_settings",
        ] {
            assert!(environment.as_object().unwrap().contains_key(field), "{field}: {environment}");
        }
        let shown = acme.chain_at(&rag.chain, environment["name"].as_str().unwrap());
        for field in ["created_at", "promotion_settings", "chainlet_settings", "in_progress_promotion"] {
            assert_eq!(environment[field], shown[field], "{field}");
        }
    }
    let hello = acme.models_of(&rag.id)[0].0.clone();
    assert_eq!(listed[0]["model_id"], hello.as_str(), "the entrypoint's");
    assert_eq!(listed[1]["model_id"], rag.chain.as_str());
    for which in ["current_deployment", "candidate_deployment"] {
        for field in [
            "id",
            "created_at",
            "name",
            "model_id",
            "chain_id",
            "is_production",
            "is_development",
            "status",
            "chainlets",
            "active_replica_count",
            "autoscaling_settings",
            "instance_type_name",
            "environment",
            "request_backpressure_settings",
        ] {
            assert!(listed[0][which].as_object().unwrap().contains_key(field), "{field} of {which}");
        }
    }
    assert_eq!(listed[0]["current_deployment"]["is_production"], true);
    assert_eq!(listed[0]["candidate_deployment"]["is_production"], false);
}

#[test]
fn environments_of_chains_are_environments_of_the_team() {
    let acme = Acme::new();
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "blue");
    let listed = acme.get("max", "/v1/teams/research/environment_groups");
    let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["blue", "production"]);
    acme.refused(409, "tess", "DELETE", "/v1/teams/research/environment_groups/blue", None);
    acme.delete("max", &format!("/v1/chains/{}", rag.chain));
    assert_eq!(acme.get("max", "/v1/teams/research/environment_groups")["items"], json!([]));
}
