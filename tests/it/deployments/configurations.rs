//! The configuration of a deployment, with truss's defaults and after patches; and the refusal if no archive was
//! uploaded that a patch could change.

use serde_json::{Value, json};

use super::watch::{developing, state};
use super::{CONFIG, push_body, whole};
use crate::acme::Acme;
use crate::vocabulary::text;

/// What a patch of the configuration leads to.
const PATCHED: &str = "model_name: llama\nenvironment_variables:\n  STAGE: two\n";

fn config(acme: &Acme, model: &str, which: &str, format: &str) -> Value {
    acme.get("max", &format!("/v1/models/{model}/deployments/{which}/config?output_format={format}"))
}

#[test]
fn the_parsed_configuration_has_the_defaults_of_truss() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    for format in ["parsed", "both"] {
        let parsed = config(&acme, &model, &id, format)["config"].clone();
        assert_eq!(parsed.as_object().unwrap().len(), 37, "every field of TrussConfig: {parsed}");
        assert_eq!((&parsed["model_name"], &parsed["python_version"]), (&json!("llama"), &json!("py313")));
        assert_eq!(parsed["resources"], json!({ "cpu": "1", "memory": "2Gi", "accelerator": null, "use_gpu": false }));
        assert_eq!(parsed["runtime"]["transport"], json!({ "kind": "http" }));
        assert_eq!(parsed["runtime"]["health_checks"]["restart_threshold_seconds"], Value::Null);
        assert_eq!(parsed["bdn"], json!({ "mounts": [], "access": [], "hotload": { "enabled": false } }));
        assert_eq!((&parsed["base_image"], &parsed["spec_version"]), (&Value::Null, &json!("2.0")));
    }
    assert_eq!(config(&acme, &model, &id, "raw")["raw_config"], CONFIG);
}

#[test]
fn what_is_set_stays_and_is_completed() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let set = json!({
        "python_version": "py311",
        "resources": { "accelerator": "L4:2", "memory": "16Gi" },
        "runtime": { "is_websocket_endpoint": true, "predict_concurrency": 4 },
        "base_image": { "image": "vllm/vllm-openai" },
        "model_cache": [{ "repo_id": "a/b", "use_volume": true, "revision": "main" }],
        "external_data": [{ "url": "u", "local_data_path": "p" }],
        "something_newer": { "than": ["this"] },
    });
    let pushed = acme.push("max", &model, json!({ "config": set, "deployment_name": "set" }));
    let parsed = config(&acme, &model, &text(&pushed["id"]), "parsed")["config"].clone();
    assert_eq!((&parsed["python_version"], &parsed["model_name"]), (&json!("py311"), &Value::Null));
    assert_eq!(parsed["resources"], json!({ "cpu": "1", "memory": "16Gi", "accelerator": "L4:2", "use_gpu": true }));
    let runtime = &parsed["runtime"];
    assert_eq!((&runtime["predict_concurrency"], &runtime["is_websocket_endpoint"]), (&json!(4), &json!(true)));
    assert_eq!(
        runtime["transport"],
        json!({ "kind": "websocket", "ping_interval_seconds": null, "ping_timeout_seconds": null })
    );
    assert_eq!(
        parsed["base_image"],
        json!({ "image": "vllm/vllm-openai", "python_executable_path": "", "docker_auth": null })
    );
    let cache = &parsed["model_cache"][0];
    assert_eq!(
        (&cache["revision"], &cache["kind"], &cache["use_volume"]),
        (&json!("main"), &json!("hf"), &json!(true))
    );
    assert_eq!(parsed["external_data"][0]["backend"], "http_public");
    assert_eq!(parsed["something_newer"], json!({ "than": ["this"] }));
}

#[test]
fn a_patched_configuration_is_the_configuration() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let mut next = state(&acme, &model)["running_patch_point"].clone();
    let prev = next["hash"].clone();
    next["config"] = json!(PATCHED);
    next["content_hashes"]["config.yaml"] = json!(blake3::hash(PATCHED.as_bytes()).to_hex().as_str());
    let at = format!("/v1/models/{model}/deployments/development/patches");
    let operations = json!([{ "type": "environment_variable", "action": "ADD" }]);
    acme.post("max", &at, json!({ "prev_patch_hash": prev, "next_patch_point": next, "patch_ops": operations }));
    assert_eq!(config(&acme, &model, "development", "raw")["raw_config"], CONFIG, "it is not brought in yet");
    acme.post("max", &format!("{at}/sync"), json!({}));
    acme.run_all();
    let both = config(&acme, &model, "development", "both");
    assert_eq!(both["raw_config"], PATCHED);
    assert_eq!(both["config"]["environment_variables"], json!({ "STAGE": "two" }));
    assert_eq!(both["config"]["python_version"], "py313", "what the patch took away is as by default");
    let s3_key = acme.uploaded("max", &whole());
    acme.push("max", &model, json!({ "s3_key": s3_key, "is_development": true }));
    assert_eq!(config(&acme, &model, "development", "raw")["raw_config"], CONFIG);
}

/// A client that is told to try again would do so for ever.
#[test]
fn what_was_made_without_an_archive_says_that_none_was_uploaded() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let made = acme.push("max", &model, json!({ "is_development": true }));
    let at = format!("/v1/models/{model}/deployments/development");
    let body = json!({
        "prev_patch_hash": "x", "patch_ops": [],
        "next_patch_point": { "content_hashes": {}, "config": "a: 1", "requirements": [] },
    });
    for run in [false, true] {
        if run {
            acme.run_all();
        }
        for (method, path, body) in [("GET", "/patches/state", None), ("POST", "/patches", Some(body.clone()))] {
            let told = acme.send("max", method, &format!("{at}{path}"), body);
            assert_eq!(told.status, 404, "{}", told.body);
            assert!(text(&told.body["message"]).contains("none was uploaded"), "{}", told.body);
        }
    }
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
    let messages = acme.messages(&model, &text(&made["id"]));
    assert!(messages.iter().any(|line| line.contains("active") && line.contains("no archive was uploaded")));
    let sync = acme.post("max", &format!("{at}/patches/sync"), json!({}));
    assert!(text(&sync["needs_full_deploy_reason"]).contains("no archive"));
}

#[test]
fn what_failed_before_it_was_known_is_not_waited_for() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("max", b"no tar");
    let target = format!("/v1/models/{model}/deployments");
    acme.post("max", &target, push_body(json!({ "s3_key": s3_key, "is_development": true })));
    let at = format!("{target}/development/patches/state");
    assert_eq!(acme.send("max", "GET", &at, None).status, 503, "it is not built yet");
    acme.run_all();
    acme.refused(409, "max", "GET", &at, None);
}
