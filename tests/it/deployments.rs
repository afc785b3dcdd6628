//! Deployments, environments and promotion: one test for each rule.

mod archives;
mod attempts;
mod configurations;
mod environments;
mod failures;
mod links;
mod naming;
mod settable;
mod turns;
mod watch;

use std::sync::atomic::{AtomicU32, Ordering};

use guildhall::domain::Archive;
use guildhall::runner;
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::vocabulary::{prefix, text};

pub const CONFIG: &str = "model_name: llama\n# a comment that stays\npython_version: py311\n";
pub const CODE: &str = "class Model:\n    def predict(self, x):\n        return x\n";

impl Acme {
    /// Lets the runner take everything to where it comes to rest.
    pub fn run_all(&self) {
        runner::work(&self.server.app.db, &|| self.server.now(), &|| false).unwrap();
    }

    /// An upload of this caller's for a model, whose archive stands on the disk. Answers its key.
    pub fn uploaded(&self, who: &str, archive: &[u8]) -> String {
        self.uploaded_for("models", who, archive)
    }

    /// The same for what such keys begin with.
    pub fn uploaded_for(&self, purpose: &str, who: &str, archive: &[u8]) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let s3_key = format!("{purpose}/upload{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let stored = Archive { hash: blake3::hash(archive).into(), bytes: archive.len() as u64 };
        let path = stored.path(self.server.data());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, archive).unwrap();
        self.record_upload(who, &s3_key, &stored);
        s3_key
    }

    /// Records an upload of this caller whose archive is on the disk.
    pub fn record_upload(&self, who: &str, s3_key: &str, archive: &Archive) {
        let key = prefix(self.key(who));
        self.run(&format!(
            "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, hash, bytes, uploaded_at)
             SELECT '{s3_key}', org_id, user_id, prefix, x'{}', {}, 0 FROM api_key WHERE prefix = '{key}'",
            archive.hex(),
            archive.bytes
        ));
    }

    /// Pushes a new model to a team by REST. Answers the ids of the model and its first deployment.
    pub fn create(&self, who: &str, team: &str, name: &str) -> (String, String) {
        let body = json!({ "source": { "kind": "model_archive", "name": name, "deployment": payload() } });
        let made = self.post(who, &format!("/v1/teams/{team}/models"), body);
        (text(&made["model"]["id"]), text(&made["deployment"]["id"]))
    }

    /// Pushes a deployment to a model. Answers it.
    fn push(&self, who: &str, model: &str, more: Value) -> Value {
        self.post(who, &format!("/v1/models/{model}/deployments"), push_body(more))["deployment"].clone()
    }

    fn deployment(&self, model: &str, which: &str) -> Value {
        self.get("ada", &format!("/v1/models/{model}/deployments/{which}"))
    }

    fn status(&self, model: &str, which: &str) -> String {
        text(&self.deployment(model, which)["status"])
    }

    fn at(&self, model: &str, environment: &str) -> Value {
        self.get("ada", &format!("/v1/models/{model}/environments/{environment}"))
    }

    fn messages(&self, model: &str, deployment: &str) -> Vec<String> {
        let logs = self.get("ada", &format!("/v1/models/{model}/deployments/{deployment}/logs?direction=asc"));
        logs["logs"].as_array().unwrap().iter().map(|line| text(&line["message"])).collect()
    }

    pub fn restrict(&self, team: &str, environment: &str) {
        let body = json!({ "name": environment, "manage_access": { "is_restricted": true } });
        let made = self.send("ada", "POST", &format!("/v1/teams/{team}/environment_groups"), Some(body));
        if made.status == 409 {
            let body = json!({ "manage_access": { "is_restricted": true } });
            self.patch("ada", &format!("/v1/teams/{team}/environment_groups/{environment}"), body);
        }
    }

    pub fn events(&self, event_type: &str) -> usize {
        self.audit().iter().filter(|entry| entry["event_type"] == event_type).count()
    }
}

fn payload() -> Value {
    json!({ "config": { "model_name": "llama" }, "raw_config": CONFIG })
}

fn push_body(more: Value) -> Value {
    let mut payload = payload();
    let mut source = json!({ "kind": "model_archive" });
    for (name, value) in more.as_object().unwrap() {
        let place = if name == "s3_key" { &mut source } else { &mut payload };
        place[name] = value.clone();
    }
    source["deployment"] = payload;
    json!({ "source": source })
}

/// An archive of these files.
pub fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn whole() -> Vec<u8> {
    tar(&[("config.yaml", CONFIG), ("model/__init__.py", ""), ("model/model.py", CODE)])
}

#[test]
fn the_first_published_deployment_becomes_production_and_the_runner_makes_it_active() {
    let acme = Acme::new();
    let (model, deployment) = acme.create("max", "research", "llama");
    let pushed = acme.deployment(&model, &deployment);
    assert_eq!((&pushed["status"], &pushed["name"]), (&json!("BUILDING"), &json!("deployment-1")));
    assert_eq!((&pushed["is_production"], &pushed["environment"]), (&json!(true), &json!("production")));
    assert_eq!(pushed["request_backpressure_settings"]["policy"], "QUEUE_ON_FULL");
    acme.run_all();
    assert_eq!(acme.status(&model, "production"), "ACTIVE");
    assert!(acme.messages(&model, &deployment).iter().any(|line| line.contains("configuration alone")));
    let shown = acme.get("max", &format!("/v1/models/{model}"));
    assert_eq!((&shown["deployments_count"], &shown["production_deployment_id"]), (&json!(1), &json!(deployment)));
    let entry = acme.audit().into_iter().find(|entry| entry["event_type"] == "MODEL_DEPLOYED").unwrap();
    assert_eq!(
        entry["data"],
        json!({
            "model_id": model, "model_name": "llama", "deployment_id": deployment, "deployment_name": "deployment-1",
            "scale_previous_to_zero": false, "trusted": true, "publish": true, "environment_name": "production",
        })
    );
}

#[test]
fn a_later_push_serves_nothing_until_it_is_promoted() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    let second = acme.push("max", &model, json!({ "deployment_name": "v2", "labels": { "by": "ci" } }));
    acme.run_all();
    assert_eq!(
        (&second["name"], &second["environment"], &second["labels"]),
        (&json!("v2"), &Value::Null, &json!({ "by": "ci" }))
    );
    let promoted =
        acme.post("max", &format!("/v1/models/{model}/deployments/{}/promote", text(&second["id"])), json!({}));
    assert_eq!(promoted["id"], second["id"]);
    assert_eq!(promoted["is_production"], true);
    assert_eq!(acme.status(&model, &first), "SCALED_TO_ZERO");
    assert_eq!(acme.events("MODEL_DEPLOYMENT_PROMOTED"), 1);
}

#[test]
fn a_model_has_one_development_deployment_which_every_push_replaces() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let one = acme.push("max", &model, json!({ "is_development": true }));
    acme.run_all();
    let two = acme.push("max", &model, json!({ "is_development": true }));
    assert_eq!(one["id"], two["id"]);
    assert_eq!(
        (&two["status"], &two["is_development"], &two["name"]),
        (&json!("BUILDING"), &json!(true), &json!("development"))
    );
    acme.run_all();
    let promoted = acme.post("max", &format!("/v1/models/{model}/deployments/development/promote"), json!({}));
    assert_ne!(promoted["id"], two["id"]);
    acme.run_all();
    assert_eq!(acme.deployment(&model, "production")["id"], promoted["id"]);
    let target = format!("/v1/models/{model}/deployments");
    acme.refused(400, "max", "POST", &target, push_body(json!({ "is_development": true, "deployment_name": "x" })));
}

#[test]
fn deployments_are_switched_off_and_on_tried_again_and_deleted() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.run_all();
    let at = |act: &str| format!("/v1/models/{model}/deployments/{first}/{act}");
    assert_eq!(acme.post("max", &at("activate"), json!({}))["no_op"], true);
    assert_eq!(acme.post("max", &at("deactivate"), json!({}))["no_op"], false);
    assert_eq!(acme.status(&model, &first), "DEACTIVATING");
    acme.run_all();
    assert_eq!(acme.status(&model, &first), "INACTIVE");
    acme.post("max", &at("activate"), json!({}));
    acme.run_all();
    assert_eq!(acme.status(&model, &first), "ACTIVE");
    assert_eq!(acme.post("max", &at("retry"), json!({}))["retried"], false);
    let gone = acme.delete("max", &format!("/v1/models/{model}/deployments/{first}"));
    assert_eq!(gone, json!({ "id": first, "deleted": true, "model_id": model }));
    assert_eq!(acme.at(&model, "production")["current_deployment"], Value::Null);
    for event in ["MODEL_DEPLOYMENT_ACTIVATED", "MODEL_DEPLOYMENT_DEACTIVATED", "MODEL_DEPLOYMENT_DELETED"] {
        assert!(acme.events(event) > 0, "{event}");
    }
    assert_eq!(acme.events("MODEL_DEPLOYMENT_RETRIED"), 0, "nothing was changed");
}

#[test]
fn the_configuration_comes_back_byte_for_byte() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    let at = |format: &str| format!("/v1/models/{model}/deployments/{id}/config{format}");
    let both = acme.get("max", &at(""));
    assert_eq!((&both["raw_config"], &both["config"]["model_name"]), (&json!(CONFIG), &json!("llama")));
    assert_eq!(acme.get("max", &at("?output_format=raw"))["config"], Value::Null);
    assert_eq!(acme.get("max", &at("?output_format=parsed"))["raw_config"], Value::Null);
    acme.refused(400, "max", "GET", &at("?output_format=xml"), None);
}

#[test]
fn logs_have_windows_levels_words_and_pages() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    acme.run_all();
    let at = |query: &str| format!("/v1/models/{model}/deployments/{id}/logs{query}");
    let lines = |query: &str| acme.get("max", &at(query))["logs"].as_array().unwrap().clone();
    let all = lines("");
    assert!(all.len() > 3);
    let stamp = |line: &Value| text(&line["timestamp"]).parse::<i64>().unwrap();
    assert!(all.windows(2).all(|pair| stamp(&pair[0]) > stamp(&pair[1])), "newest first");
    assert!(all.iter().all(|line| line.as_object().unwrap().contains_key("replica")));
    let millis = |line: &Value| stamp(line) / 1_000_000;
    let mut paged: Vec<Value> = lines("?limit=2");
    loop {
        let end = millis(paged.last().unwrap()) - 1;
        let page = lines(&format!("?limit=2&end_epoch_millis={end}"));
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(lines("?includes=LOADING").len(), 1);
    assert_eq!(lines("?excludes=loading").len(), all.len() - 1);
    assert_eq!(lines("?min_level=WARNING").len(), 0);
    acme.refused(400, "max", "GET", &at("?min_level=LOUD"), None);
    acme.refused(400, "max", "GET", &at("?limit=0"), None);
    acme.refused(400, "max", "GET", &at("?start_epoch_millis=0"), None);
    let by_body = acme.send("max", "POST", &at(""), Some(json!({ "limit": 1 })));
    assert_eq!(by_body.body["logs"].as_array().unwrap().len(), 1);
}

#[test]
fn metrics_say_how_many_replicas_run() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    acme.run_all();
    let at =
        |query: &str| format!("/v1/models/{model}/deployments/{id}/metrics?metrics=baseten_replicas_active{query}");
    let current = acme.get("max", &at(""));
    assert_eq!((&current["mode"], &current["metric_values"][0]["values"]), (&json!("CURRENT"), &json!([[1]])));
    assert_eq!(current["metric_descriptors"][0]["name"], "baseten_replicas_active");
    assert_eq!(acme.get("max", &at("&mode=SERIES"))["mode"], "SERIES");
    acme.refused(400, "max", "GET", &at("&mode=LOUD"), None);
}

#[test]
fn a_secret_that_the_team_has_not_is_told_at_push() {
    let acme = Acme::new();
    acme.post("ian", "/v1/teams/inference/secrets", json!({ "name": "hf_token", "value": "hf" }));
    let body =
        json!({ "source": { "name": "llama", "deployment": { "config": { "secrets": { "hf-token": null } } } } });
    let told = acme.refused(400, "max", "POST", "/v1/teams/research/models", body.clone());
    assert!(told.contains("hf-token") && told.contains("Research"), "{told}");
    acme.post("max", "/v1/teams/research/secrets", json!({ "name": "hf_token", "value": "hf" }));
    acme.post("max", "/v1/teams/research/models", body);
}

#[test]
fn the_same_name_in_two_teams_is_two_models_and_twice_in_one_is_refused() {
    let acme = Acme::new();
    let (one, _) = acme.create("max", "research", "llama");
    let (two, _) = acme.create("ian", "inference", "llama");
    assert_ne!(one, two);
    let body = json!({ "source": { "name": "llama", "deployment": payload() } });
    let told = acme.refused(409, "max", "POST", "/v1/teams/research/models", body);
    assert!(told.contains("llama") && told.contains("Research"), "{told}");
    acme.refused(404, "ian", "POST", &format!("/v1/models/{one}/deployments"), push_body(json!({})));
    acme.refused(404, "fay", "GET", &format!("/v1/models/{one}/deployments"), None);
    acme.refused(404, "ian", "GET", &format!("/v1/models/{one}/environments/production"), None);
}

#[test]
fn a_deployment_of_another_model_is_not_there() {
    let acme = Acme::new();
    let (one, first) = acme.create("max", "research", "llama");
    let (two, _) = acme.create("max", "research", "mistral");
    acme.refused(404, "max", "GET", &format!("/v1/models/{two}/deployments/{first}"), None);
    acme.refused(
        404,
        "max",
        "POST",
        &format!("/v1/models/{two}/environments/production/promote"),
        json!({ "deployment_id": first }),
    );
    let listed = acme.get("max", &format!("/v1/models/{one}/deployments?name=deployment-1"));
    assert_eq!(listed["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(acme.get("max", &format!("/v1/models/{one}/deployments?name=nothing"))["deployments"], json!([]));
}

#[test]
fn the_runner_goes_on_where_it_was_stopped() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    let Acme { server, .. } = &acme;
    let steps = AtomicU32::new(0);
    runner::work(&server.app.db, &|| server.now(), &|| steps.fetch_add(1, Ordering::Relaxed) > 0).unwrap();
    assert_eq!(acme.status(&model, &id), "DEPLOYING");
    acme.run_all();
    assert_eq!(acme.status(&model, &id), "ACTIVE");
}

#[test]
fn what_comes_from_a_library_is_not_served() {
    let acme = Acme::new();
    let body =
        json!({ "source": { "kind": "library_listing", "lab_display_name": "x", "user_defined_listing_id": "y" } });
    let told = acme.refused(400, "max", "POST", "/v1/teams/research/models", body);
    assert!(told.contains("`source.kind`"), "{told}");
}

#[test]
fn bad_pushes_name_the_field() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let target = format!("/v1/models/{model}/deployments");
    for (more, field) in [
        (json!({ "deployment_name": "a b" }), "deployment_name"),
        (json!({ "environment_name": "UP" }), "environment_name"),
        (json!({ "deploy_timeout_minutes": 5 }), "deploy_timeout_minutes"),
        (json!({ "config": { "resources": { "accelerator": "Z80" } } }), "config.resources"),
        (json!({ "config": 1 }), "config"),
        (json!({ "raw_config": "x".repeat(200_000) }), "raw_config"),
    ] {
        let told = acme.refused(400, "max", "POST", &target, push_body(more));
        assert!(told.contains(field), "{told}");
    }
    let sized = acme.push(
        "max",
        &model,
        json!({ "config": { "resources": { "accelerator": "L4", "cpu": "4", "memory": "16Gi" } } }),
    );
    assert_eq!(sized["instance_type_name"], "L4:4x16");
}
