//! Every setting that a client can send is either stored and shown, or refused by name. Otherwise a client would send
//! it again and again, or assume that it has an effect.

use serde_json::{Map, Value, json};

use super::push_body;
use crate::acme::Acme;
use crate::test_server::Answered;
use crate::vocabulary::text;

/// What these ask for is done once and not kept, or stands in the request's own path.
const DONE_ONCE: &[&str] = &[
    "scale_down_previous_production",
    "scale_down_previous_deployment",
    "preserve_env_instance_type",
    "create_environment_if_missing",
    "deployment_id",
];
/// What is kept and stands in no answer of the specification, by its column.
const KEPT: &[(&str, &str)] = &[("user_env", "user_env"), ("deploy_timeout_minutes", "timeout_minutes")];

/// The fields of a schema, each with a value.
fn fields(schema: &str) -> Vec<(&'static str, Value)> {
    let lines = include_str!("../data/settable.txt").lines();
    let of_schema = lines.skip_while(|line| *line != format!("[{schema}]")).skip(1).take_while(|line| !line.is_empty());
    let fields: Vec<_> = of_schema
        .map(|line| line.split_once(' ').unwrap())
        .map(|(path, value)| (path, serde_json::from_str(value).unwrap()))
        .collect();
    assert!(!fields.is_empty(), "{schema}");
    fields
}

/// `base` with a value at this path.
fn with(mut base: Value, path: &str, value: &Value) -> Value {
    let mut place = &mut base;
    for part in path.split('.') {
        place = match part.parse::<usize>() {
            Ok(at) => {
                if !place.is_array() {
                    *place = json!([{}]);
                }
                &mut place[at]
            }
            Err(_) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                &mut place[part]
            }
        };
    }
    *place = value.clone();
    base
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// Whether this was refused: then by the name of the field, or of what it stands in.
#[track_caller]
fn is_refused(path: &str, answered: &Answered) -> bool {
    if answered.status == 200 {
        return false;
    }
    let told = answered.body["message"].as_str().unwrap_or_default();
    assert_eq!((answered.status, &answered.body["code"]), (400, &json!("VALIDATION_ERROR")), "{path}: {told}");
    let named = path.split('.').any(|part| part.parse::<usize>().is_err() && told.contains(part));
    assert!(named, "{path} is refused and not named: {told}");
    true
}

/// Sends each field of a schema and looks for it in what is shown. Answers those that were refused.
#[track_caller]
fn walk(
    schema: &str,
    send: impl Fn(&str, &Value) -> (Answered, Value),
    shown_at: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut refused = Vec::new();
    for (path, value) in fields(schema) {
        let (answered, shown) = send(path, &value);
        if is_refused(path, &answered) {
            refused.push(path.to_owned());
        } else if !DONE_ONCE.contains(&path) {
            let found = shown.pointer(&shown_at(path));
            assert_eq!(found, Some(&value), "{schema}: {path} is not shown in {shown}");
        }
    }
    refused
}

const NOT_SERVED_OF_ENVIRONMENTS: &[&str] = &[
    "promotion_settings.ramp_up_while_promoting",
    "autoscaling_schedule_settings.timezone",
    "autoscaling_schedule_settings.schedules",
    "autoscaling_schedule_settings.delete_schedules",
    "traffic_routing_settings.delete_rules",
];

#[test]
fn of_an_environment() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let target = format!("/v1/models/{model}/environments");
    acme.post("max", &target, json!({ "name": "staging" }));
    let staging = format!("{target}/staging");
    let send = |path: &str, value: &Value| {
        (acme.send("max", "PATCH", &staging, Some(with(json!({}), path, value))), acme.get("max", &staging))
    };
    assert_eq!(walk("UpdateEnvironmentRequest", send, pointer), NOT_SERVED_OF_ENVIRONMENTS);
    let number = std::cell::Cell::new(0);
    let send = |path: &str, value: &Value| {
        number.set(number.get() + 1);
        let made =
            acme.send("max", "POST", &target, Some(with(json!({ "name": format!("e{}", number.get()) }), path, value)));
        let shown = made.body.clone();
        (made, shown)
    };
    assert_eq!(walk("CreateEnvironmentRequest", send, pointer), NOT_SERVED_OF_ENVIRONMENTS[..1]);
    for unknown in ["autoscaling_schedule_settings", "traffic_routing_settings"] {
        let told = acme.refused(400, "max", "POST", &target, json!({ "name": "another", unknown: {} }));
        assert!(told.contains(unknown), "{told}");
    }
}

#[test]
fn on_the_occasion_of_a_promotion() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let environments = format!("/v1/models/{model}/environments");
    acme.post("max", &environments, json!({ "name": "staging" }));
    let fresh = || {
        let id = text(&acme.push("max", &model, json!({}))["id"]);
        acme.run_all();
        id
    };
    let shown_at = |path: &str| pointer(path.trim_start_matches("environment_settings_update."));
    let to_production = |path: &str, value: &Value| {
        let target = format!("/v1/models/{model}/deployments/{}/promote", fresh());
        let answered = acme.send("max", "POST", &target, Some(with(json!({}), path, value)));
        acme.run_all();
        (answered, acme.get("max", &format!("{environments}/production")))
    };
    let refused = walk("PromoteRequest", to_production, shown_at);
    let to_staging = |path: &str, value: &Value| {
        let id = json!(fresh());
        let value = if path == "deployment_id" { &id } else { value };
        let body = with(json!({ "deployment_id": id }), path, value);
        let answered = acme.send("max", "POST", &format!("{environments}/staging/promote"), Some(body));
        acme.run_all();
        (answered, acme.get("max", &format!("{environments}/staging")))
    };
    assert_eq!(walk("PromoteToEnvironmentRequest", to_staging, shown_at), refused);
    let (overrides, updates): (Vec<_>, Vec<_>) =
        refused.iter().map(String::as_str).partition(|path| path.starts_with("promotion_settings_override."));
    let of_override =
        fields("PromoteRequest").into_iter().filter(|(path, _)| path.starts_with("promotion_settings_ov"));
    assert_eq!(overrides.len(), of_override.count());
    let not_served = [
        "region",
        "instance_type_id",
        "autoscaling_schedule_settings.timezone",
        "autoscaling_schedule_settings.schedules",
        "autoscaling_schedule_settings.delete_schedules",
        "promotion_settings.ramp_up_while_promoting",
    ];
    assert_eq!(updates, not_served.map(|path| format!("environment_settings_update.{path}")));
}

#[test]
fn of_the_environment_of_a_chain() {
    let acme = Acme::new();
    let chain = acme.rag().chain;
    let target = format!("/v1/chains/{chain}/environments");
    let production = format!("{target}/production");
    let of_chains = ["promotion_settings.rolling_deploy", "promotion_settings.ramp_up_while_promoting"];
    let send = |path: &str, value: &Value| {
        (acme.send("max", "PATCH", &production, Some(with(json!({}), path, value))), acme.get("max", &production))
    };
    assert_eq!(walk("UpdateChainEnvironmentRequest", send, pointer), of_chains);
    let number = std::cell::Cell::new(0);
    let send = |path: &str, value: &Value| {
        number.set(number.get() + 1);
        let mut base = json!({ "name": format!("e{}", number.get()) });
        if path.starts_with("chainlet_settings") {
            base["chainlet_settings"] = json!([{ "chainlet_name": "Hello" }]);
        }
        let made = acme.send("max", "POST", &target, Some(with(base, path, value)));
        let shown = made.body.clone();
        (made, shown)
    };
    let instance = |path: &str| pointer(&path.replace("instance_type_id", "instance_type.id"));
    assert_eq!(walk("CreateChainEnvironmentRequest", send, instance), of_chains);
    let update = |method: &'static str, what: &'static str| {
        let (acme, production) = (&acme, &production);
        move |path: &str, value: &Value| {
            let mut base = json!({ "updates": [{ "chainlet_name": "Hello" }] });
            let needed = if what == "autoscaling_settings" { what } else { "instance_type_id" };
            base["updates"][0][needed] = if what == "autoscaling_settings" { json!({}) } else { json!("4x16") };
            let body = with(base, path, value);
            let answered = acme.send("max", method, &format!("{production}/chainlet_settings/{what}"), Some(body));
            acme.run_all();
            (answered, acme.get("max", production))
        }
    };
    let shown_at = |path: &str| instance(&path.replace("updates.0", "chainlet_settings.0"));
    let autoscaling = "UpdateChainletEnvironmentAutoscalingSettingsRequest";
    assert_eq!(walk(autoscaling, update("PATCH", "autoscaling_settings"), shown_at), [""; 0]);
    let instance_type = "UpdateChainletEnvironmentInstanceTypeRequest";
    assert_eq!(walk(instance_type, update("POST", "instance_types/update"), shown_at), [""; 0]);
    let promote = |path: &str, value: &Value| {
        let id = json!(acme.push_again(&chain, ""));
        acme.run_all();
        let value = if path == "deployment_id" { &id } else { value };
        let body = with(json!({ "deployment_id": id }), path, value);
        let answered = acme.send("max", "POST", &format!("{production}/promote"), Some(body));
        acme.run_all();
        (answered, Value::Null)
    };
    assert_eq!(walk("PromoteToChainEnvironmentRequest", promote, pointer), [""; 0]);
}

#[test]
fn of_a_model_and_its_deployments() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    let one = format!("/v1/models/{model}");
    let rename = |path: &str, value: &Value| {
        (acme.send("max", "PATCH", &one, Some(with(json!({}), path, value))), acme.get("max", &one))
    };
    assert_eq!(walk("UpdateModelRequest", rename, pointer), [""; 0]);
    let deployments = format!("{one}/deployments");
    let patch = |what: &'static str| {
        let (acme, target) = (&acme, format!("{deployments}/{first}"));
        move |path: &str, value: &Value| {
            let body = with(json!({}), path, value);
            let answered = acme.send("max", "PATCH", &format!("{target}{what}"), Some(body));
            (answered, acme.get("max", &target))
        }
    };
    assert_eq!(walk("UpdateDeploymentRequest", patch(""), pointer), [""; 0]);
    let autoscaling = |path: &str| pointer(&format!("autoscaling_settings.{path}"));
    assert_eq!(walk("UpdateAutoscalingSettings", patch("/autoscaling_settings"), autoscaling), [""; 0]);
    let backpressure = |path: &str| pointer(&format!("request_backpressure_settings.{path}"));
    let send = patch("/request_backpressure_settings");
    assert_eq!(walk("UpdateRequestBackpressureSettings", send, backpressure), [""; 0]);

    let push = |path: &str, value: &Value| {
        let body = push_body(with(json!({}), path, value));
        let answered = acme.send("max", "POST", &deployments, Some(body));
        let mut shown = answered.body["deployment"].clone();
        if answered.status == 200 {
            let id = text(&shown["id"]);
            let config = acme.get("max", &format!("{deployments}/{id}/config"));
            shown["config"] = json!({ "one": config["config"]["one"] }); // with all that truss has by default beside it
            shown["raw_config"] = config["raw_config"].clone();
            for (field, column) in KEPT {
                let kept = format!("SELECT json_array({column}) FROM deployment WHERE id = '{id}'");
                let kept: String = acme.server.sql().query_row(&kept, [], |row| row.get(0)).unwrap();
                let kept = serde_json::from_str::<Value>(&kept).unwrap()[0].clone();
                // JSON stands there as text.
                shown[field] = kept.as_str().map_or(kept.clone(), |kept| serde_json::from_str(kept).unwrap());
            }
        }
        acme.run_all();
        (answered, shown)
    };
    let shown_at = |path: &str| match path {
        "environment_name" => pointer("environment"),
        "deployment_name" => pointer("name"),
        "instance_type_id" => pointer("instance_type_name"),
        path => pointer(path),
    };
    let refused = walk("DeploymentArchivePayload", push, shown_at);
    let not_served = ["region", "autoscaling_schedule_settings.", "promotion_settings_override."];
    assert!(refused.iter().all(|path| not_served.iter().any(|begin| path.starts_with(begin))), "{refused:?}");
    assert_eq!(refused.len(), 14);
}

#[test]
fn of_training() {
    let acme = Acme::new();
    acme.post("max", "/v1/teams/research/secrets", json!({ "name": "token", "value": "x" }));
    let target = "/v1/teams/research/training_projects";
    let upsert = |path: &str, value: &Value| {
        let body = json!({ "training_project": with(json!({}), path, value) });
        let made = acme.send("max", "POST", target, Some(body));
        let shown = made.body["training_project"].clone();
        (made, shown)
    };
    assert_eq!(walk("UpsertTrainingProject", upsert, pointer), [""; 0]);
    let project =
        acme.post("max", target, json!({ "training_project": { "name": "tune" } }))["training_project"].clone();
    let jobs = format!("/v1/training_projects/{}/jobs", text(&project["id"]));

    // All of a job at once: most of it is there for the sake of the rest.
    let upload = json!(acme.uploaded_for("training", "max", b"archive"));
    let fields = fields("CreateTrainingJob");
    let given = |value: &Value| if value == "UPLOAD" { upload.clone() } else { value.clone() };
    let job = fields.iter().fold(json!({}), |job, (path, value)| with(job, path, &given(value)));
    let made = acme.post("max", &jobs, json!({ "training_job": job }))["training_job"].clone();
    let id = text(&made["id"]);
    let kept = format!("SELECT spec FROM training_job WHERE id = '{id}'");
    let kept: String = acme.server.sql().query_row(&kept, [], |row| row.get(0)).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    for (path, value) in &fields {
        assert_eq!(kept.pointer(&pointer(path)), Some(&given(value)), "{path} is not in {kept}");
    }
    for (path, shown_at) in [
        ("name", "/name"),
        ("priority", "/priority"),
        ("compute.availability_model", "/availability_model"),
        ("compute.node_count", "/node_count"),
        ("compute.accelerator.accelerator", "/instance_type/gpu_type"),
        ("compute.accelerator.count", "/instance_type/gpu_count"),
    ] {
        let (_, value) = fields.iter().find(|(field, _)| *field == path).unwrap();
        assert_eq!(made.pointer(shown_at), Some(value), "{path} is not in {made}");
    }

    let one = format!("{jobs}/{id}");
    let pending = format!(
        "UPDATE training_job SET status = 'TRAINING_JOB_PENDING', availability = 'dedicated', priority = 0 WHERE id = '{id}'"
    );
    let update = |path: &str, value: &Value| {
        acme.run(&pending);
        let answered = acme.send("max", "PATCH", &one, Some(with(json!({}), path, value)));
        (answered, acme.get("max", &one)["training_job"].clone())
    };
    assert_eq!(walk("UpdateTrainingJobRequest", update, pointer), [""; 0]);
    let capacity = json!({ "team_id": "research", "gpu_type": "H100", "max_gpus": 1 });
    let capacity = |path: &str, value: &Value| {
        let answered = acme.send("ada", "PATCH", "/v1/training/capacity", Some(with(capacity.clone(), path, value)));
        let shown = answered.body["team_gpu_capacity"].clone();
        (answered, json!({ "team_id": "research", "gpu_type": shown["gpu_type"], "max_gpus": shown["limit"] }))
    };
    assert_eq!(walk("PatchTeamTrainingGpuCapacityRequest", capacity, pointer), [""; 0]);
}
