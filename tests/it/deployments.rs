//! Deployments, environments and promotion: a test a rule.

mod watch;

use std::sync::atomic::{AtomicU32, Ordering};

use guildhall::model::Archive;
use guildhall::runner;
use serde_json::{Value, json};

use crate::acme::{Acme, prefix, text};

const CONFIG: &str = "model_name: llama\n# a comment that stays\npython_version: py311\n";
const CODE: &str = "class Model:\n    def predict(self, x):\n        return x\n";

impl Acme {
    /// Lets the runner take everything to where it comes to rest.
    pub fn run_all(&self) {
        runner::work(&self.house.app.db, &|| self.house.moment(), &|| false).unwrap();
    }

    /// An upload of this caller's, whose archive stands on the disk. Answers its key.
    pub fn uploaded(&self, who: &str, archive: &[u8]) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let s3_key = format!("models/upload{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let stored = Archive { hash: blake3::hash(archive).into(), bytes: archive.len() as u64 };
        let path = stored.path(self.house.data());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, archive).unwrap();
        let key = prefix(self.key(who));
        self.run(&format!(
            "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, hash, bytes, uploaded_at)
             SELECT '{s3_key}', org_id, user_id, prefix, x'{}', {}, 0 FROM api_key WHERE prefix = '{key}'",
            stored.hex(),
            stored.bytes
        ));
        s3_key
    }

    /// Pushes a new model to a team by REST. Answers the ids of the model and its first deployment.
    fn create(&self, who: &str, team: &str, name: &str) -> (String, String) {
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

    fn restrict(&self, team: &str, environment: &str) {
        let body = json!({ "name": environment, "manage_access": { "is_restricted": true } });
        let made = self.send("ada", "POST", &format!("/v1/teams/{team}/environment_groups"), Some(body));
        if made.status == 409 {
            let body = json!({ "manage_access": { "is_restricted": true } });
            self.patch("ada", &format!("/v1/teams/{team}/environment_groups/{environment}"), body);
        }
    }

    fn events(&self, event_type: &str) -> usize {
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

fn whole() -> Vec<u8> {
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
    for event in [
        "MODEL_DEPLOYMENT_ACTIVATED",
        "MODEL_DEPLOYMENT_DEACTIVATED",
        "MODEL_DEPLOYMENT_RETRIED",
        "MODEL_DEPLOYMENT_DELETED",
    ] {
        assert!(acme.events(event) > 0, "{event}");
    }
}

#[test]
fn a_broken_archive_ends_in_build_failed_and_its_log_says_why() {
    let acme = Acme::new();
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, "model/model.py", "/etc/passwd").unwrap();
    let outside = whole().windows(11).position(|window| window == b"config.yaml").map(|at| {
        let mut archive = whole();
        archive[at..at + 11].copy_from_slice(b"../../passd");
        archive
    });
    let broken: [(Vec<u8>, &str); 6] = [
        (b"no tar at all".repeat(100), "no readable tar archive"),
        (tar(&[("model/model.py", CODE)]), "no config.yaml"),
        (tar(&[("config.yaml", "model_name: [1"), ("model/model.py", CODE)]), "config.yaml cannot be read"),
        (tar(&[("config.yaml", CONFIG)]), "no model/model.py"),
        (link.into_inner().unwrap(), "neither a file nor a folder"),
        (outside.unwrap(), "tar archive"),
    ];
    for (archive, why) in broken {
        let (model, _) = acme.create("max", "research", &format!("m{}", why.len()));
        acme.run_all();
        let s3_key = acme.uploaded("max", &archive);
        let pushed = acme.push("max", &model, json!({ "s3_key": s3_key, "environment_name": "production" }));
        acme.run_all();
        let id = text(&pushed["id"]);
        assert_eq!(acme.status(&model, &id), "BUILD_FAILED", "{why}");
        let messages = acme.messages(&model, &id);
        assert!(messages.iter().any(|line| line.contains(why)), "{why}: {messages:?}");
        assert_eq!(acme.at(&model, "production")["candidate_deployment"], Value::Null);
        acme.refused(409, "max", "POST", &format!("/v1/models/{model}/deployments/{id}/promote"), json!({}));
        assert_eq!(acme.post("max", &format!("/v1/models/{model}/deployments/{id}/retry"), json!({}))["retried"], true);
    }
}

#[test]
fn a_whole_archive_is_built_and_comes_back_by_a_link_that_needs_no_key_and_ends() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("max", &whole());
    let pushed = acme.push("max", &model, json!({ "s3_key": s3_key }));
    acme.run_all();
    let id = text(&pushed["id"]);
    assert_eq!(acme.status(&model, &id), "ACTIVE");
    let link = text(&acme.get("max", &format!("/v1/models/{model}/deployments/{id}/download"))["download_url"]);
    let path = link.strip_prefix("http://localhost:8000").unwrap().to_owned();
    let reply = acme.house.reply(None, "GET", &path, Vec::new());
    assert_eq!(reply.status, 200);
    let archive = reply.archive.unwrap();
    assert_eq!(std::fs::read(archive.path(acme.house.data())).unwrap(), whole());
    let mut forged = path.clone();
    forged.replace_range(path.len() - 1.., if path.ends_with('0') { "1" } else { "0" });
    assert_eq!(acme.house.send(None, "GET", &forged, None).status, 404);
    acme.wait(601);
    assert_eq!(acme.house.send(None, "GET", &path, None).status, 404);
}

#[test]
fn a_model_made_without_downloads_gives_none() {
    let acme = Acme::new();
    let s3_key = acme.uploaded("max", &whole());
    let body = json!({ "source": { "kind": "model_archive", "name": "closed", "deployment": payload(), "s3_key": s3_key,
                                   "disable_archive_download": true } });
    let made = acme.post("max", "/v1/teams/research/models", body);
    let at =
        format!("/v1/models/{}/deployments/{}/download", text(&made["model"]["id"]), text(&made["deployment"]["id"]));
    acme.refused(403, "max", "GET", &at, None);
}

#[test]
fn an_upload_is_of_no_use_to_anybody_else() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("tess", &whole());
    acme.refused(
        404,
        "max",
        "POST",
        &format!("/v1/models/{model}/deployments"),
        push_body(json!({ "s3_key": s3_key })),
    );
    acme.push("tess", &model, json!({ "s3_key": s3_key }));
}

#[test]
fn the_last_deployment_of_an_upload_takes_it_along() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("max", &whole());
    let pushed = acme.push("max", &model, json!({ "s3_key": s3_key }));
    let uploads = || acme.house.sql().query_row("SELECT count(*) FROM upload", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(uploads(), 1);
    acme.delete("max", &format!("/v1/models/{model}/deployments/{}", text(&pushed["id"])));
    assert_eq!(uploads(), 0);
}

#[test]
fn the_configuration_comes_back_byte_for_byte() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    let at = |format: &str| format!("/v1/models/{model}/deployments/{id}/config{format}");
    let both = acme.get("max", &at(""));
    assert_eq!((&both["raw_config"], &both["config"]), (&json!(CONFIG), &json!({ "model_name": "llama" })));
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
    let at = |query: &str| format!("/v1/models/{model}/deployments/{id}/metrics{query}");
    let current = acme.get("max", &at(""));
    assert_eq!((&current["mode"], &current["metric_values"][0]["values"]), (&json!("CURRENT"), &json!([[1]])));
    assert_eq!(current["metric_descriptors"][0]["name"], "baseten_replicas_active");
    assert_eq!(acme.get("max", &at("?mode=SERIES"))["mode"], "SERIES");
    acme.refused(400, "max", "GET", &at("?mode=LOUD"), None);
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
    acme.refused(409, "max", "POST", "/v1/teams/research/models", body);
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
    assert_eq!(acme.send("max", "PATCH", &staging, Some(json!({ "traffic_routing_settings": {} }))).status, 501);
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

#[test]
fn the_runner_goes_on_where_it_was_stopped() {
    let acme = Acme::new();
    let (model, id) = acme.create("max", "research", "llama");
    let Acme { house, .. } = &acme;
    let steps = AtomicU32::new(0);
    runner::work(&house.app.db, &|| house.moment(), &|| steps.fetch_add(1, Ordering::Relaxed) > 0).unwrap();
    assert_eq!(acme.status(&model, &id), "DEPLOYING");
    acme.run_all();
    assert_eq!(acme.status(&model, &id), "ACTIVE");
}

#[test]
fn an_upload_is_prepared_dry_or_with_credentials_and_for_go_clients_without() {
    let acme = Acme::new();
    let prepare = |body: Value| acme.send("max", "POST", "/v1/prepare_model_upload", Some(body)).body;
    let dry = prepare(json!({ "name": "llama", "team_id": "research", "deployment": payload(), "dry_run": true }));
    assert_eq!(dry, json!({ "creds": null, "s3_bucket": null, "s3_key": null, "s3_region": null }));
    let real = prepare(json!({ "name": "llama", "team_id": "research", "deployment": payload() }));
    assert!(text(&real["s3_key"]).starts_with("models/") && real["creds"]["aws_session_token"].is_string());
    let (model, _) = acme.create("max", "research", "llama");
    assert!(prepare(json!({ "model_id": model, "deployment": payload() }))["s3_key"].is_string());
    let target = "/v1/prepare_model_upload";
    acme.refused(404, "ian", "POST", target, json!({ "model_id": model, "deployment": payload() }));
    acme.refused(404, "max", "POST", target, json!({ "name": "x", "team_id": "inference", "deployment": payload() }));
    acme.refused(400, "max", "POST", target, json!({ "deployment": payload() }));
    let body = json!({ "name": "llama2", "team_id": "research", "deployment": payload() }).to_string().into_bytes();
    let mut request = acme.house.request(Some(acme.key("max")), "POST", target, body);
    request.user_agent = Some("baseten-cli/0.4".to_owned());
    let reply: Value = serde_json::from_slice(&acme.house.answer(request).body).unwrap();
    assert_eq!(reply["creds"], Value::Null);
}

#[test]
fn what_comes_from_a_library_is_not_served() {
    let acme = Acme::new();
    let body =
        json!({ "source": { "kind": "library_listing", "lab_display_name": "x", "user_defined_listing_id": "y" } });
    let told = acme.send("max", "POST", "/v1/teams/research/models", Some(body));
    assert_eq!(told.status, 501, "{}", told.body);
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
