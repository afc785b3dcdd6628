//! The settings of chainlets in an environment.

use serde_json::{Value, json};

use super::Pushed;
use crate::acme::Acme;
use crate::vocabulary::text;

struct Settings<'a> {
    acme: &'a Acme,
    chain: &'a str,
}

impl Settings<'_> {
    fn autoscaling(&self, environment: &str) -> String {
        format!("/v1/chains/{}/environments/{environment}/chainlet_settings/autoscaling_settings", self.chain)
    }

    fn instance_types(&self, environment: &str) -> String {
        format!("/v1/chains/{}/environments/{environment}/chainlet_settings/instance_types/update", self.chain)
    }

    #[track_caller]
    fn scale(&self, environment: &str, updates: Value) -> String {
        text(&self.acme.patch("max", &self.autoscaling(environment), json!({ "updates": updates }))["status"])
    }

    #[track_caller]
    fn resize(&self, environment: &str, updates: Value) -> Value {
        self.acme.post("max", &self.instance_types(environment), json!({ "updates": updates }))
    }

    fn of(&self, environment: &str, chainlet: &str) -> Value {
        let shown = self.acme.chain_at(self.chain, environment);
        let settings = shown["chainlet_settings"].as_array().unwrap();
        settings.iter().find(|it| it["chainlet_name"] == chainlet).cloned().unwrap_or_default()
    }
}

fn scaled(chainlet: &str, max_replica: i64) -> Value {
    json!({ "chainlet_name": chainlet, "autoscaling_settings": { "max_replica": max_replica } })
}

fn sized(chainlet: &str, instance_type: &str) -> Value {
    json!({ "chainlet_name": chainlet, "instance_type_id": instance_type })
}

fn rag(acme: &Acme) -> Pushed {
    acme.rag()
}

#[test]
fn scaling_is_in_force_at_once_and_unchanged_is_said() {
    let acme = Acme::new();
    let rag = rag(&acme);
    let settings = Settings { acme: &acme, chain: &rag.chain };
    assert_eq!(settings.scale("production", json!([scaled("Hello", 3), scaled("RandInt", 4)])), "ACCEPTED");
    let shown = acme.chain_deployment(&rag.chain, &rag.id);
    let of = |place: usize| shown["chainlets"][place]["autoscaling_settings"]["max_replica"].clone();
    assert_eq!([of(0), of(1)], [3, 4]);
    let before = acme.content();
    assert_eq!(settings.scale("production", json!([scaled("Hello", 3)])), "UNCHANGED");
    assert_eq!(settings.scale("production", json!([])), "UNCHANGED");
    assert_eq!(acme.content(), before);
    assert_eq!(settings.scale("production", json!([scaled("Hello", 3), scaled("RandInt", 5)])), "ACCEPTED");
    // One field leaves the others as they are.
    let delay = json!([{ "chainlet_name": "Hello", "autoscaling_settings": { "scale_down_delay": 60 } }]);
    assert_eq!(settings.scale("production", delay), "ACCEPTED");
    let hello = settings.of("production", "Hello")["autoscaling_settings"].clone();
    assert_eq!((&hello["max_replica"], &hello["scale_down_delay"]), (&json!(3), &json!(60)));
    assert_eq!(acme.events("CHAINLET_AUTOSCALING_SETTINGS_CHANGED"), 4);
}

#[test]
fn what_is_set_before_anything_was_deployed_is_taken_on_later() {
    let acme = Acme::new();
    let rag = rag(&acme);
    acme.chain_environment(&rag.chain, "staging");
    let settings = Settings { acme: &acme, chain: &rag.chain };
    assert_eq!(settings.scale("staging", json!([scaled("RandInt", 6)])), "ACCEPTED");
    assert_eq!(settings.scale("staging", json!([scaled("RandInt", 6)])), "UNCHANGED");
    let resized = settings.resize("staging", json!([sized("Hello", "4x16")]));
    assert_eq!((&resized["requires_redeployment"], &resized["chain_deployment"]), (&json!(false), &Value::Null));
    assert_eq!(settings.of("staging", "Hello")["instance_type"]["id"], "4x16");
    assert_eq!(settings.of("staging", "RandInt")["autoscaling_settings"]["max_replica"], 6);
    let staged = acme.push_again(&rag.chain, "environment: \"staging\"");
    let shown = acme.chain_deployment(&rag.chain, &staged)["chainlets"].clone();
    assert_eq!(shown[0]["instance_type_name"], "4x16");
    assert_eq!(shown[1]["autoscaling_settings"]["max_replica"], 6);
    assert_eq!(settings.of("production", "RandInt")["autoscaling_settings"]["max_replica"], 1, "another environment");
}

#[test]
fn another_instance_type_is_a_new_deployment_that_takes_over() {
    let acme = Acme::new();
    let rag = rag(&acme);
    let settings = Settings { acme: &acme, chain: &rag.chain };
    let same = settings.resize("production", json!([sized("Hello", "1x2")]));
    assert_eq!((&same["requires_redeployment"], &same["chain_deployment"]), (&json!(false), &Value::Null));
    let resized = settings.resize("production", json!([sized("Hello", "2x8"), sized("RandInt", "4x16")]));
    assert_eq!(resized["requires_redeployment"], true);
    let types = |of: &Value| [0, 1].map(|place| of["chainlets"][place]["instance_type_name"].clone());
    assert_eq!(types(&resized["chain_deployment"]), ["2x8", "4x16"]);
    let set: Vec<&Value> = resized["chainlet_environment_settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["instance_type"]["id"])
        .collect();
    assert_eq!(set, ["2x8", "4x16"]);
    let new = text(&resized["chain_deployment"]["id"]);
    assert_eq!(acme.serving(&rag.chain, "production"), rag.id.as_str());
    // While it waits no second one is made.
    acme.refused(
        409,
        "max",
        "POST",
        &settings.instance_types("production"),
        json!({ "updates": [sized("Hello", "1x4")] }),
    );
    acme.run_all();
    assert_eq!(acme.serving(&rag.chain, "production"), new.as_str());
    assert_eq!(acme.chain_status(&rag.chain, &rag.id), "SCALED_TO_ZERO");
    let before = acme.content();
    assert_eq!(settings.resize("production", json!([sized("Hello", "2x8")]))["requires_redeployment"], false);
    assert_eq!(acme.content(), before);
}

#[test]
fn scaling_that_was_set_outlives_a_change_of_instance_types() {
    let acme = Acme::new();
    let rag = rag(&acme);
    let settings = Settings { acme: &acme, chain: &rag.chain };
    settings.scale("production", json!([scaled("Hello", 9)]));
    let resized = settings.resize("production", json!([sized("Hello", "2x8")]));
    acme.run_all();
    let shown = acme.chain_deployment(&rag.chain, &text(&resized["chain_deployment"]["id"]));
    assert_eq!(shown["chainlets"][0]["autoscaling_settings"]["max_replica"], 9);
}

#[test]
fn a_chainlet_that_the_chain_has_not_or_that_is_named_twice_is_refused() {
    let acme = Acme::new();
    let rag = rag(&acme);
    acme.push_chainlets("max", "chain_name: \"other\" team_id: \"research\"", &acme.chainlets("max", &["Stranger"]));
    let settings = Settings { acme: &acme, chain: &rag.chain };
    let (scaling, types) = (settings.autoscaling("production"), settings.instance_types("production"));
    for (method, target, updates, told_of) in [
        ("PATCH", &scaling, json!([scaled("Stranger", 2)]), "Stranger"),
        ("PATCH", &scaling, json!([scaled("Hello", 2), scaled("Nobody", 2)]), "Nobody"),
        ("PATCH", &scaling, json!([scaled("Hello", 2), scaled("Hello", 3)]), "twice"),
        ("PATCH", &scaling, json!([scaled("Hello", 0)]), "max_replica"),
        ("PATCH", &scaling, json!([{ "chainlet_name": "Hello" }]), "autoscaling_settings"),
        ("POST", &types, json!([sized("Stranger", "2x8")]), "Stranger"),
        ("POST", &types, json!([sized("Hello", "2x8"), sized("Nobody", "2x8")]), "Nobody"),
        ("POST", &types, json!([sized("Hello", "2x8"), sized("Hello", "4x16")]), "twice"),
        ("POST", &types, json!([sized("Hello", "huge")]), "instance_type_id"),
        ("POST", &types, json!([{ "chainlet_name": "Hello" }]), "instance_type_id"),
    ] {
        let told = acme.refused(400, "max", method, target, json!({ "updates": updates }));
        assert!(told.contains(told_of), "{told_of}: {told}");
        let told = acme.refused(400, "max", method, target, json!({}));
        assert!(told.contains("updates"), "{told}");
    }
    let elsewhere = settings.autoscaling("nothing");
    acme.refused(404, "max", "PATCH", &elsewhere, json!({ "updates": [scaled("Hello", 2)] }));
}

#[test]
fn a_chainlet_that_an_environment_was_made_with_may_be_set_before_it_is_pushed() {
    let acme = Acme::new();
    let rag = rag(&acme);
    let body = json!({ "name": "staging", "chainlet_settings": [sized("Later", "2x8")] });
    acme.post("max", &format!("/v1/chains/{}/environments", rag.chain), body);
    let settings = Settings { acme: &acme, chain: &rag.chain };
    assert_eq!(settings.scale("staging", json!([scaled("Later", 2)])), "ACCEPTED");
    acme.refused(400, "max", "PATCH", &settings.autoscaling("production"), json!({ "updates": [scaled("Later", 2)] }));
}
