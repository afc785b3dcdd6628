//! The default values of a truss configuration (`TrussConfig`, truss 0.18), which `config.yaml` may omit.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// The maximum number of objects in lists that get their defaults. Further objects are shown as they were pushed.
const FILLED_MAX: usize = 1000;

/// The defaults of each object, by its path. An object that is `null` here gets defaults only if it is set.
const DEFAULTS: &[(&str, &str)] = &[
    (
        "",
        r#"{"model_name": null, "model_metadata": {}, "description": null, "examples_filename": "examples.yaml",
            "data_dir": "data", "external_data": null, "external_package_dirs": [], "python_version": "py313",
            "base_image": null, "requirements_file": null, "requirements": [], "system_packages": [],
            "environment_variables": {}, "secrets": {}, "resources": {}, "runtime": {}, "build": {}, "build_commands": [],
            "docker_server": null, "model_cache": [], "weights": [], "bdn": {}, "trt_llm": null,
            "training_checkpoints": null, "bis_llm": null, "input_type": "Any", "model_framework": "custom",
            "model_type": "Model", "model_module_dir": "model", "model_class_filename": "model.py",
            "model_class_name": "Model", "bundled_packages_dir": "packages", "use_local_src": false,
            "cache_internal": [], "live_reload": false, "apply_library_patches": true, "spec_version": "2.0"}"#,
    ),
    ("base_image", r#"{"image": "", "python_executable_path": "", "docker_auth": null}"#),
    (
        "base_image.docker_auth",
        r#"{"aws_oidc_role_arn": null, "aws_oidc_region": null, "gcp_oidc_service_account": null,
            "gcp_oidc_workload_id_provider": null, "aws_assume_role_arn": null, "aws_assume_role_region": null,
            "registry": "", "secret_name": null, "aws_access_key_id_secret_name": "aws_access_key_id",
            "aws_secret_access_key_secret_name": "aws_secret_access_key"}"#,
    ),
    ("bdn", r#"{"mounts": [], "access": [], "hotload": {}}"#),
    ("bdn.hotload", r#"{"enabled": false}"#),
    ("bdn.mounts", r#"{"include": [], "exclude": []}"#),
    ("bis_llm", r#"{"config": null, "version": "", "additional_autoscaling_config": null}"#),
    ("build", r#"{"model_server": "TrussServer", "arguments": {}, "secret_to_path_mapping": {}, "no_cache": false}"#),
    ("cache_internal", MODEL_REPOSITORY),
    ("docker_server", r#"{"start_command": null, "run_as_user_id": null, "no_build": null}"#),
    ("external_data", r#"{"backend": "http_public", "name": null}"#),
    ("model_cache", MODEL_REPOSITORY),
    ("resources", r#"{"cpu": "1", "memory": "2Gi", "accelerator": null}"#),
    (
        "runtime",
        r#"{"predict_concurrency": 1, "streaming_read_timeout": 60, "enable_tracing_data": false,
            "enable_debug_logs": false, "transport": {}, "is_websocket_endpoint": false, "health_checks": {}, "oidc": {},
            "remote_ssh": {}, "egress_restrictions": null, "truss_server_version_override": null}"#,
    ),
    ("runtime.egress_restrictions", r#"{"ip_allow_list": null, "fqdn_allow_list": null}"#),
    (
        "runtime.health_checks",
        r#"{"restart_check_delay_seconds": null, "restart_threshold_seconds": null,
            "stop_traffic_threshold_seconds": null, "startup_threshold_seconds": null}"#,
    ),
    ("runtime.oidc", r#"{"enabled": null}"#),
    ("runtime.remote_ssh", r#"{"enabled": false}"#),
    ("runtime.transport", r#"{"kind": "http"}"#),
    (
        "training_checkpoints",
        r#"{"download_folder": "\/tmp\/training_checkpoints", "artifact_references": [], "loops_checkpoint_ids": []}"#,
    ),
    ("training_checkpoints.artifact_references", r#"{"paths": []}"#),
    ("weights", r#"{"auth": null, "auth_secret_name": null, "allow_patterns": null, "ignore_patterns": null}"#),
    (
        "weights.auth",
        r#"{"aws_oidc_role_arn": null, "aws_oidc_region": null, "gcp_oidc_service_account": null,
            "gcp_oidc_workload_id_provider": null, "aws_assume_role_arn": null, "aws_assume_role_region": null,
            "auth_secret_name": null}"#,
    ),
];

const MODEL_REPOSITORY: &str = r#"{"revision": "", "allow_patterns": null, "ignore_patterns": null, "volume_folder": null,
    "use_volume": false, "kind": "hf", "runtime_secret_name": "hf_access_token"}"#;

static BY_PATH: LazyLock<HashMap<&str, Map<String, Value>>> = LazyLock::new(|| {
    let parse = |text| serde_json::from_str(text).expect("the table is JSON");
    DEFAULTS.iter().map(|(path, text)| (*path, parse(text))).collect()
});

/// A configuration with the default values that it omits, as truss would show it.
pub fn with_defaults(config: &Map<String, Value>) -> Map<String, Value> {
    let mut config = config.clone();
    if let Some(cache) = config.remove("hf_cache") {
        config.entry("model_cache").or_insert(cache); // its older name
    }
    let is_websocket = config.get("runtime").is_some_and(|runtime| {
        runtime.get("transport").is_none_or(Value::is_null) && runtime["is_websocket_endpoint"] == true
    });
    fill(&mut config, "", &mut FILLED_MAX.clone());
    derive(&mut config, is_websocket);
    config
}

fn fill(object: &mut Map<String, Value>, path: &str, left: &mut usize) {
    let Some(defaults) = BY_PATH.get(path) else { return };
    for (name, default) in defaults {
        let value = object.entry(name.as_str()).or_insert_with(|| default.clone());
        if value.is_null() && default.is_object() {
            *value = default.clone();
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Object(inner) => fill(inner, &path, left),
            Value::Array(items) => fill_each(items, &path, left),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn fill_each(items: &mut [Value], path: &str, left: &mut usize) {
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        fill(item, path, left);
    }
}

/// Sets the values that depend on other fields.
fn derive(config: &mut Map<String, Value>, is_websocket: bool) {
    if let Some(resources) = config.get_mut("resources").and_then(Value::as_object_mut) {
        let uses_gpu = resources.get("accelerator").is_some_and(|accelerator| !accelerator.is_null());
        resources.insert("use_gpu".to_owned(), json!(uses_gpu));
    }
    let Some(runtime) = config.get_mut("runtime").and_then(Value::as_object_mut) else { return };
    if let Some(transport) = runtime.get_mut("transport").and_then(Value::as_object_mut) {
        if is_websocket {
            transport.insert("kind".to_owned(), json!("websocket"));
        }
        let is_websocket = transport.get("kind").is_some_and(|kind| kind == "websocket");
        if is_websocket {
            transport.entry("ping_interval_seconds").or_insert(Value::Null);
            transport.entry("ping_timeout_seconds").or_insert(Value::Null);
        }
        runtime.insert("is_websocket_endpoint".to_owned(), json!(is_websocket));
    }
}
