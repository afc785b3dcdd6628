//! The life of an archive: read, built, downloaded, and deleted with the last deployment that uses it.

use serde_json::{Value, json};

use super::{CODE, CONFIG, payload, push_body, tar, whole};
use crate::acme::Acme;
use crate::vocabulary::text;

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
        (link.into_inner().unwrap(), "is a link to"),
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
        assert!(acme.events("MODEL_DEPLOYMENT_RETRIED") > 0);
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
    let reply = acme.server.reply(None, "GET", &path, Vec::new());
    assert_eq!(reply.status, 200);
    let archive = reply.archive.unwrap();
    assert_eq!(std::fs::read(archive.into_archive().unwrap().path(acme.server.data())).unwrap(), whole());
    let mut forged = path.clone();
    forged.replace_range(path.len() - 1.., if path.ends_with('0') { "1" } else { "0" });
    assert_eq!(acme.server.send(None, "GET", &forged, None).status, 404);
    acme.wait(601);
    assert_eq!(acme.server.send(None, "GET", &path, None).status, 404);
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
fn a_push_goes_into_production_while_what_is_there_has_failed() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    acme.delete("max", &format!("/v1/models/{model}/deployments/production"));
    let failed = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", b"no tar at all") }));
    acme.run_all();
    let production = || acme.get("max", &format!("/v1/models/{model}/environments/production"));
    assert_eq!(production()["current_deployment"]["id"], failed["id"]);
    let good = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", &whole()) }));
    acme.run_all();
    assert_eq!(production()["current_deployment"]["id"], good["id"]);
    let next = acme.push("max", &model, json!({ "s3_key": acme.uploaded("max", &whole()) }));
    acme.run_all();
    assert_eq!(production()["current_deployment"]["id"], good["id"], "{next}");
}

#[test]
fn an_instance_type_that_is_asked_for_comes_before_the_configuration_s_and_the_environment_s() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let pushed = |more: Value| acme.push("max", &model, more)["instance_type_name"].clone();
    assert_eq!(pushed(json!({ "environment_name": "production" })), "1x2");
    acme.run_all();
    let asked = json!({ "environment_name": "production", "instance_type_id": "4x16" });
    assert_eq!(pushed(asked), "4x16");
    let target = format!("/v1/models/{model}/deployments");
    let refused = |more: Value| acme.refused(400, "max", "POST", &target, push_body(more)).to_string();
    assert!(refused(json!({ "instance_type_id": "nosuch" })).contains("GET /v1/instance_types"));
    let both =
        json!({ "environment_name": "production", "instance_type_id": "4x16", "preserve_env_instance_type": true });
    assert!(refused(both).contains("preserve_env_instance_type"));
}

#[test]
fn what_is_asked_of_a_push_and_not_served_is_told() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    for (field, value) in [
        ("region", json!("nowhere-1")),
        ("autoscaling_schedule_settings", json!({})),
        ("promotion_settings_override", json!({ "rolling_deploy": false })),
    ] {
        let body = push_body(json!({ field: value }));
        let told = acme.refused(400, "max", "POST", &format!("/v1/models/{model}/deployments"), body);
        assert!(told.to_string().contains(field), "{told}");
    }
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
    let uploads =
        || acme.server.sql().query_row("SELECT count(*) FROM upload", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(uploads(), 1);
    acme.delete("max", &format!("/v1/models/{model}/deployments/{}", text(&pushed["id"])));
    assert_eq!(uploads(), 0);
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
    let mut request = acme.server.request(Some(acme.key("max")), "POST", target, body);
    request.user_agent = Some("baseten-cli/0.4".to_owned());
    let reply: Value = serde_json::from_slice(&acme.server.answer(request).body).unwrap();
    assert_eq!(reply["creds"], Value::Null);
}
