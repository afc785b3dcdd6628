//! The models that a Chain makes for its chainlets: they are read like other models and changed only through the Chain.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::acme::Acme;
use crate::deployments::{CODE, whole};
use crate::vocabulary::text;

#[test]
fn the_models_of_chainlets_are_not_among_the_models_of_the_team() {
    let acme = Acme::new();
    let (llama, _) = acme.create("max", "research", "llama");
    let rag = acme.rag();
    for target in ["/v1/models", "/v1/teams/research/models"] {
        let listed = acme.get("max", target)["models"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{target}");
        assert_eq!(listed[0]["id"], llama.as_str());
    }
    let hello = acme.models_of(&rag.id)[0].0.clone();
    let name = text(&acme.get("max", &format!("/v1/models/{hello}"))["name"]);
    assert_eq!(acme.get("max", &format!("/v1/models?name={name}"))["models"], json!([]));
    let ids = |document: &str| -> Vec<String> {
        let answer = acme.graphql("max", document);
        answer["data"]["models"].as_array().unwrap().iter().map(|it| text(&it["id"])).collect()
    };
    assert_eq!(ids("{ models(all: true) { id } }"), [llama.as_str()]);
    assert_eq!(ids("{ models(team_id: \"research\") { id } }"), [llama.as_str()]);
    let mut of_chains = ids("{ models(all: true, chainlets_only: true) { id } }");
    let mut models: Vec<String> = acme.models_of(&rag.id).into_iter().map(|(model, _)| model).collect();
    of_chains.sort();
    models.sort();
    assert_eq!(of_chains, models);
    let theirs = acme.graphql("ian", "{ models(all: true, chainlets_only: true) { id } }");
    assert_eq!(theirs["data"]["models"], json!([]));
    let by_name = acme.graphql("max", &format!("{{ model(name: \"{name}\") {{ id }} }}"));
    assert_eq!(by_name["data"]["model"]["id"], hello.as_str(), "truss watches a chainlet by its name");
}

#[test]
fn a_model_of_a_chainlet_is_changed_by_way_of_its_chain() {
    let acme = Acme::new();
    let rag = acme.rag();
    let (model, deployment) = acme.models_of(&rag.id)[0].clone();
    let m = format!("/v1/models/{model}");
    let d = format!("{m}/deployments/{deployment}");
    let payload = json!({ "source": { "deployment": { "config": {} } } });
    let writes = [
        ("PATCH", m.clone(), json!({ "name": "renamed" })),
        ("DELETE", m.clone(), Value::Null),
        ("POST", format!("{m}/deployments"), payload),
        ("POST", "/v1/prepare_model_upload".to_owned(), json!({ "model_id": model, "deployment": { "config": {} } })),
        ("PATCH", d.clone(), json!({ "name": "renamed" })),
        ("DELETE", d.clone(), Value::Null),
        ("PATCH", format!("{d}/autoscaling_settings"), json!({ "max_replica": 2 })),
        ("PATCH", format!("{d}/request_backpressure_settings"), json!({ "policy": "REJECT_ON_FULL" })),
        ("POST", format!("{d}/promote"), json!({})),
        ("POST", format!("{d}/activate"), Value::Null),
        ("POST", format!("{d}/deactivate"), Value::Null),
        ("POST", format!("{d}/retry"), Value::Null),
        ("POST", format!("{m}/environments"), json!({ "name": "staging" })),
        ("PATCH", format!("{m}/environments/production"), json!({ "autoscaling_settings": { "max_replica": 2 } })),
        ("DELETE", format!("{m}/environments/production"), Value::Null),
        ("POST", format!("{m}/environments/production/promote"), json!({ "deployment_id": deployment })),
        ("POST", format!("{m}/environments/production/activate"), Value::Null),
        ("POST", format!("{m}/environments/production/deactivate"), Value::Null),
        ("POST", format!("{m}/environments/production/cancel_promotion"), Value::Null),
        ("POST", format!("{m}/environments/production/force_cancel_promotion"), Value::Null),
        ("POST", format!("{m}/environments/production/force_roll_forward_promotion"), Value::Null),
    ];
    for (method, target, body) in writes {
        for who in ["max", "ada"] {
            let told = acme.refused(409, who, method, &target, body.clone());
            assert!(told.contains("Chain \"rag\""), "{method} {target}: {told}");
        }
    }
    let s3_key = acme.uploaded("max", &whole());
    let before = acme.content();
    let version = acme.graphql(
        "max",
        &format!(
            "mutation {{ create_model_version_from_truss(model_id: \"{model}\" s3_key: \"{s3_key}\" config: \"e30=\")
               {{ model_version {{ id }} }} }}"
        ),
    );
    assert_eq!(version["errors"][0]["extensions"]["code"], "CONFLICT", "{version}");
    assert!(text(&version["errors"][0]["message"]).contains("Chain \"rag\""));
    assert_eq!(acme.content(), before);
}

#[test]
fn a_development_chainlet_is_not_changed_by_way_of_its_model_either() {
    let acme = Acme::new();
    let draft = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\" is_draft: true");
    acme.run_all();
    let (model, _) = acme.models_of(&draft.id)[0].clone();
    let d = format!("/v1/models/{model}/deployments/development");
    for (method, target, body) in [
        ("POST", format!("{d}/promote"), json!({})),
        ("POST", format!("{d}/activate"), Value::Null),
        ("POST", format!("{d}/deactivate"), Value::Null),
        ("POST", format!("{d}/retry"), Value::Null),
        ("PATCH", format!("{d}/autoscaling_settings"), json!({ "max_replica": 2 })),
    ] {
        let told = acme.refused(409, "max", method, &target, body);
        assert!(told.contains("Chain \"rag\""), "{method} {target}: {told}");
    }
    // The name is taken, so a push of a model of this name does not end in the Chain.
    let name = text(&acme.get("max", &format!("/v1/models/{model}"))["name"]);
    let s3_key = acme.uploaded("max", &whole());
    let before = acme.content();
    let answer = acme.graphql(
        "max",
        &format!(
            "mutation {{ deploy_draft_truss(name: \"{name}\" team_id: \"research\" s3_key: \"{s3_key}\" config: \"e30=\")
               {{ model_version {{ id }} }} }}"
        ),
    );
    assert_eq!(answer["errors"][0]["extensions"]["code"], "CONFLICT", "{answer}");
    assert_eq!(acme.content(), before);
}

#[test]
fn a_key_is_not_narrowed_to_a_chainlet() {
    let acme = Acme::new();
    let rag = acme.rag();
    let (model, _) = acme.models_of(&rag.id)[0].clone();
    let narrowed = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "model_ids": [model] });
    acme.refused(404, "ada", "POST", "/v1/api_keys", narrowed);
}

#[test]
fn a_model_of_a_chainlet_is_read_like_every_model() {
    let acme = Acme::new();
    let rag = acme.rag();
    let (model, deployment) = acme.models_of(&rag.id)[1].clone();
    let d = format!("/v1/models/{model}/deployments/{deployment}");
    assert_eq!(acme.get("max", &d)["status"], "ACTIVE");
    assert_eq!(acme.get("max", &format!("{d}/config"))["config"]["model_name"], "RandInt");
    acme.get("max", &format!("{d}/logs"));
    acme.get("max", &format!("{d}/metrics"));
    acme.get("max", &format!("{d}/download"));
    assert_eq!(acme.get("max", &format!("/v1/models/{model}/deployments"))["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(acme.get("max", &format!("/v1/models/{model}/environments"))["environments"], json!([]));
    for who in ["ian", "lone", "fay"] {
        acme.refused(404, who, "GET", &d, None);
    }
    let answer =
        acme.graphql("max", &format!("{{ model_version(id: \"{deployment}\") {{ is_draft oracle {{ id }} }} }}"));
    assert_eq!(answer["data"]["model_version"], json!({ "is_draft": false, "oracle": { "id": model } }));
}

#[test]
fn a_development_chainlet_is_patched_as_truss_watches_it() {
    let acme = Acme::new();
    let draft = acme.push_chain("max", "chain_name: \"rag\" team_id: \"research\" is_draft: true");
    acme.run_all();
    let (model, _) = acme.models_of(&draft.id)[1].clone();
    let state = || acme.get("max", &format!("/v1/models/{model}/deployments/development/patches/state"));
    let running = state()["running_patch_point"].clone();
    let code = format!("{CODE}# patched\n");
    let mut hashes = running["content_hashes"].clone();
    hashes["model/model.py"] = json!(blake3::hash(code.as_bytes()).to_hex().as_str());
    let next = json!({ "content_hashes_by_path": hashes, "config": running["config"],
                       "requirements_file_requirements": running["requirements"] });
    let request = json!({
        "prev_hash": running["hash"], "prev_signature": {}, "next_hash": "next", "next_signature": next,
        "patch_ops": [{ "type": "model_code", "body": { "action": "UPDATE", "path": "model.py", "content": code } }],
    });
    let patch = BASE64_STANDARD.encode(request.to_string());
    let stage = format!(
        "mutation {{ stage_patch_for_draft_truss(id: \"{model}\" patch: \"{patch}\") {{ succeeded needs_full_deploy error }} }}"
    );
    let sync = format!("mutation {{ sync_draft_truss(id: \"{model}\") {{ succeeded needs_full_deploy error }} }}");
    let done = json!({ "succeeded": true, "needs_full_deploy": false, "error": null });
    assert_eq!(acme.graphql("max", &stage)["data"]["stage_patch_for_draft_truss"], done);
    assert_eq!(acme.graphql("max", &sync)["data"]["sync_draft_truss"], done);
    assert_eq!(acme.chain_status(&draft.chain, &draft.id), "UPDATING");
    acme.run_all();
    assert_eq!(acme.chain_status(&draft.chain, &draft.id), "ACTIVE");
    assert_eq!(state()["running_patch_point"]["content_hashes"], hashes);
    let theirs = acme.graphql("ian", &sync);
    assert_eq!(theirs["errors"][0]["extensions"]["code"], "NOT_FOUND", "{theirs}");
    // What was patched is what a promotion copies.
    let promoted = acme.promote(&draft.chain, "production", &draft.id);
    acme.run_all();
    assert_eq!(acme.chain_status(&draft.chain, &text(&promoted["id"])), "ACTIVE");
    // A published chainlet is not patched.
    acme.push_again(&draft.chain, "is_draft: true");
    let told = acme.graphql("max", &sync);
    assert!(told["errors"].is_array() || told["data"]["sync_draft_truss"]["succeeded"] == false, "{told}");
}
