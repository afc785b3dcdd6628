//! Patches of a development deployment, as `truss watch` and the SDK send them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{CODE, CONFIG, push_body, tar, whole};
use crate::acme::Acme;
use crate::vocabulary::text;

/// A model with a development deployment that is active. Answers the ids of both.
pub fn developing(acme: &Acme) -> (String, String) {
    let (model, _) = acme.create("max", "research", "llama");
    let s3_key = acme.uploaded("max", &whole());
    let pushed = acme.push("max", &model, json!({ "s3_key": s3_key, "is_development": true }));
    acme.run_all();
    (model, text(&pushed["id"]))
}

fn watch_state(acme: &Acme, model: &str) -> Value {
    let document = format!(
        "{{truss_watch_state(id:\"{model}\"){{is_container_built_from_push django_patch_state{{current_hash}}
          container_patch_state{{current_hash}}}}}}"
    );
    acme.graphql("max", &document)["data"]["truss_watch_state"].clone()
}

pub fn state(acme: &Acme, model: &str) -> Value {
    acme.get("max", &format!("/v1/models/{model}/deployments/development/patches/state"))
}

/// A patch by REST that replaces the model's code, from this state on.
pub fn patch(from: &Value, code: &str) -> Value {
    let mut next = from.clone();
    next["content_hashes"]["model/model.py"] = json!(blake3::hash(code.as_bytes()).to_hex().as_str());
    json!({
        "prev_patch_hash": from["hash"],
        "next_patch_point": next,
        "patch_ops": [{ "type": "model_code", "action": "UPDATE", "path": "model.py", "content": code }],
    })
}

/// The files of what the development deployment's archive holds now.
pub fn files(acme: &Acme, model: &str) -> Vec<(String, String)> {
    let link = text(&acme.get("max", &format!("/v1/models/{model}/deployments/development/download"))["download_url"]);
    let path = link.strip_prefix("http://localhost:8000").unwrap();
    let archive = acme.server.reply(None, "GET", path, Vec::new()).archive.unwrap();
    let bytes = std::fs::read(archive.into_archive().unwrap().path(acme.server.data())).unwrap();
    let mut read = tar::Archive::new(&*bytes);
    let files = read.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, std::io::read_to_string(&mut entry).unwrap())
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[test]
fn what_runs_is_described_as_truss_describes_it() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let running = &state(&acme, &model)["running_patch_point"];
    let hash = |content: &str| json!(blake3::hash(content.as_bytes()).to_hex().as_str());
    assert_eq!(
        running["content_hashes"],
        json!({ "config.yaml": hash(CONFIG), "model": null, "model/__init__.py": hash(""), "model/model.py": hash(CODE) })
    );
    assert_eq!((&running["config"], &running["requirements"]), (&json!(CONFIG), &json!([])));
    // As truss 0.18.36 computes it of the same files.
    assert_eq!(running["hash"], "257e6716879bb36f72b1591fae4660bec5d7d45868ea0cf5f3fe8ab24eba450e");
    assert_eq!(state(&acme, &model)["pending_patch_point"], Value::Null);
    assert_eq!(
        watch_state(&acme, &model),
        json!({ "is_container_built_from_push": true, "django_patch_state": null, "container_patch_state": null })
    );
}

#[test]
fn a_patch_is_staged_synced_and_then_in_the_archive() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let at = |act: &str| format!("/v1/models/{model}/deployments/development/patches{act}");
    let before = state(&acme, &model)["running_patch_point"].clone();
    let code = format!("{CODE}# patched\n");
    let staged = acme.post("max", &at(""), patch(&before, &code))["patch_point"].clone();
    let waiting = state(&acme, &model);
    assert_eq!((&waiting["running_patch_point"], &waiting["pending_patch_point"]), (&before, &staged));
    acme.refused(409, "max", "POST", &at(""), patch(&before, "x = 1\n"));
    assert_eq!(acme.post("max", &at("/sync"), json!({})), json!({ "needs_full_deploy_reason": null }));
    assert_eq!(acme.status(&model, "development"), "UPDATING");
    acme.run_all();
    assert_eq!(acme.status(&model, "development"), "ACTIVE");
    assert_eq!(state(&acme, &model)["running_patch_point"], staged);
    assert!(files(&acme, &model).contains(&("model/model.py".to_owned(), code)));
    let told = watch_state(&acme, &model);
    assert_eq!(told["is_container_built_from_push"], false);
    assert_eq!(told["django_patch_state"]["current_hash"], staged["hash"]);
    for event in ["MODEL_DEPLOYMENT_PATCH_STAGED", "MODEL_DEPLOYMENT_PATCHES_SYNCED"] {
        assert_eq!(acme.events(event), 1, "{event}");
    }
}

#[test]
fn truss_is_told_in_the_answer_what_cannot_be_patched() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let stage = |prev_hash: &str| {
        let request = json!({
            "prev_hash": prev_hash,
            "prev_signature": {},
            "next_hash": "next",
            "next_signature": { "content_hashes_by_path": {}, "config": "model_name: other\n", "requirements_file_requirements": [] },
            "patch_ops": [{ "type": "model_code", "body": { "action": "ADD", "path": "new.py", "content": "x = 1\n" } },
                          { "type": "model_code", "body": { "action": "REMOVE", "path": "__init__.py", "content": null } }],
        });
        let patch = BASE64_STANDARD.encode(request.to_string());
        let document = format!(
            "mutation{{stage_patch_for_draft_truss(id:\"{model}\" patch:\"{patch}\"){{id succeeded needs_full_deploy error}}}}"
        );
        acme.graphql("max", &document)["data"]["stage_patch_for_draft_truss"].clone()
    };
    let stale = stage("stale");
    assert_eq!((&stale["succeeded"], &stale["needs_full_deploy"]), (&json!(false), &json!(false)));
    assert!(stale["error"].is_string());
    let running = text(&state(&acme, &model)["running_patch_point"]["hash"]);
    assert_eq!(stage(&running)["succeeded"], true);
    let sync = format!("mutation{{sync_draft_truss(id:\"{model}\"){{succeeded needs_full_deploy error}}}}");
    assert_eq!(acme.graphql("max", &sync)["data"]["sync_draft_truss"]["succeeded"], true);
    acme.run_all();
    let names: Vec<String> = files(&acme, &model).into_iter().map(|(path, _)| path).collect();
    assert_eq!(names, ["config.yaml", "model/model.py", "model/new.py"]);
    acme.post("max", &format!("/v1/models/{model}/deployments/development/deactivate"), json!({}));
    acme.run_all();
    let off = acme.graphql("max", &sync)["data"]["sync_draft_truss"].clone();
    assert_eq!((&off["succeeded"], &off["needs_full_deploy"]), (&json!(false), &json!(true)));
}

#[test]
fn a_patch_stays_inside_and_a_published_deployment_is_not_patched() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let target = format!("/v1/models/{model}/deployments/development/patches");
    let running = state(&acme, &model)["running_patch_point"].clone();
    for path in ["../../etc/passwd", "/etc/passwd", "a/../b", "a\0b", ""] {
        let mut body = patch(&running, "x");
        body["patch_ops"][0]["path"] = json!(path);
        acme.refused(400, "max", "POST", &target, body);
    }
    for path in ["n/".repeat(100) + "x", "n".repeat(5000)] {
        let mut body = patch(&running, "x");
        body["patch_ops"][0]["path"] = json!(path);
        let told = acme.refused(400, "max", "POST", &target, body);
        assert!(told.contains("patch_ops.path") && told.contains("100 levels"), "{told}");
    }
    let mut body = patch(&running, "x");
    body["patch_ops"][0]["type"] = json!("surprise");
    acme.refused(400, "max", "POST", &target, body);
    let production = format!("/v1/models/{model}/deployments/production/patches");
    acme.refused(409, "max", "POST", &format!("{production}/sync"), json!({}));
    acme.refused(404, "ian", "POST", &target, patch(&running, "x"));
}

#[test]
fn a_push_forgets_the_patches() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let running = state(&acme, &model)["running_patch_point"].clone();
    acme.post("max", &format!("/v1/models/{model}/deployments/development/patches"), patch(&running, "x"));
    let s3_key = acme.uploaded("max", &tar(&[("config.yaml", CONFIG), ("model/model.py", CODE)]));
    acme.post(
        "max",
        &format!("/v1/models/{model}/deployments"),
        push_body(json!({ "s3_key": s3_key, "is_development": true })),
    );
    acme.run_all();
    assert_eq!(state(&acme, &model)["pending_patch_point"], Value::Null);
}

/// What a patch may not make of an archive: nothing of it is brought in, and the log says why.
#[test]
fn a_patch_that_breaks_the_archive_is_not_brought_in() {
    for (operation, hashes, why) in [
        (json!({ "type": "model_code", "action": "REMOVE", "path": "model.py" }), json!({}), "no model/model.py"),
        (
            json!({ "type": "model_code", "action": "ADD", "path": "model.py/x", "content": "x" }),
            json!({ "model/model.py/x": blake3::hash(b"x").to_hex().as_str() }),
            "a file and a folder",
        ),
    ] {
        let acme = Acme::new();
        let (model, _) = developing(&acme);
        let (before, from) = (files(&acme, &model), state(&acme, &model)["running_patch_point"].clone());
        let mut next = from.clone();
        next["content_hashes"] = hashes;
        let at = format!("/v1/models/{model}/deployments/development");
        let body = json!({ "prev_patch_hash": from["hash"], "next_patch_point": next, "patch_ops": [operation] });
        acme.post("max", &format!("{at}/patches"), body);
        acme.post("max", &format!("{at}/patches/sync"), json!({}));
        acme.run_all();
        assert_eq!(acme.get("max", &at)["status"], "FAILED");
        let log = acme.get("max", &format!("{at}/logs"))["logs"].to_string();
        assert!(log.contains("cannot be patched") && log.contains(why), "{log}");
        assert_eq!(files(&acme, &model), before);
    }
}

#[test]
fn what_is_no_signature_is_not_kept_as_one() {
    let acme = Acme::new();
    let (model, _) = developing(&acme);
    let running = text(&state(&acme, &model)["running_patch_point"]["hash"]);
    for signature in
        [json!(5), json!("text"), json!({ "a": 1 }), json!({ "content_hashes_by_path": {}, "config": ":" })]
    {
        let patch = json!({
            "prev_hash": running, "prev_signature": "", "next_hash": "next", "next_signature": signature, "patch_ops": [],
        });
        let patch = BASE64_STANDARD.encode(patch.to_string());
        let document =
            format!("mutation{{stage_patch_for_draft_truss(id:\"{model}\" patch:\"{patch}\"){{succeeded}}}}");
        let answer = acme.graphql("max", &document);
        assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_ERROR", "{answer}");
        assert_eq!(state(&acme, &model)["pending_patch_point"], Value::Null);
    }
}
