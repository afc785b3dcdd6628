//! Secrets: each team's own, and a change reaches what runs.

use serde_json::{Value, json};

use super::{Site, echo};
use crate::vocabulary::text;

fn with_secret() -> Value {
    let mut config = echo("--secret word");
    config["secrets"] = json!({ "word": null });
    config
}

#[test]
fn a_changed_secret_reaches_a_running_model_with_the_same_process() {
    let site = Site::new();
    site.set_secret("word", "first");
    let model = site.push("echo", with_secret(), json!({}));
    site.wait_for(&model, "ACTIVE");
    let first = site.call(&model);
    site.wait_for_line(&model, "listening");
    let replica = site.replica(&model);
    assert!(first["secret_sha256"].is_string(), "{first}");
    site.set_secret("word", "second");
    site.wait_until(&model, "another secret", || site.call(&model)["secret_sha256"] != first["secret_sha256"]);
    site.done("DELETE", "/v1/secrets/word", None);
    site.wait_until(&model, "no secret", || site.call(&model)["secret_sha256"].is_null());
    assert_eq!((site.call(&model)["process"].clone(), site.replica(&model)), (first["process"].clone(), replica));
}

#[test]
fn two_teams_have_a_secret_of_one_name_each_its_own() {
    let site = Site::new();
    let mut hashes = Vec::new();
    for (team, value) in [("red", "of red"), ("blue", "of blue")] {
        let made = site.done("POST", "/v1/teams", Some(json!({ "name": team })));
        let path = format!("/v1/teams/{}", text(&made["id"]));
        site.done("POST", &format!("{path}/secrets"), Some(json!({ "name": "word", "value": value })));
        let model = site.push_to(&format!("{path}/models"), "echo", with_secret(), json!({}));
        site.wait_for(&model, "ACTIVE");
        hashes.push(text(&site.call(&model)["secret_sha256"]));
    }
    assert_ne!(hashes[0], hashes[1]);
}
