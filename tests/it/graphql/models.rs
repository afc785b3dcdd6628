//! Models and pushes, as truss requests them.

use serde_json::json;

use super::{ask, given, refused_field};
use crate::seed::WORLD;

/// What each caller gets of every root field that is about models: what is of their teams, and nothing of others.
#[test]
fn models_and_pushes_are_of_the_callers_teams_alone() {
    let config = "e30="; // {}
    for (who, research) in [
        ("ada", 200),
        ("lone", 404),
        ("tess", 200),
        ("max", 200),
        ("ian", 404),
        ("dora", 404),
        ("fay", 404),
        ("manage-all", 200),
        ("inference-manage-all", 404),
        ("invoke", 403),
        ("metrics", 403),
        ("key-manager", 403),
    ] {
        let server = WORLD.server();
        let code = |document: &str| {
            let answer = ask(&server, who, document);
            match answer["errors"][0]["extensions"]["code"].as_str() {
                None => 200,
                Some("NOT_FOUND") => 404,
                Some("FORBIDDEN") => 403,
                Some(other) => panic!("{who}: {other} {answer}"),
            }
        };
        // Reading: what one may not view is not there.
        let seen = if research == 200 { 200 } else { 404 };
        assert_eq!(code("{model(id:\"researchmodel\"){id}}"), seen, "{who}");
        assert_eq!(code("{model_version(id:\"researchidle\"){id}}"), seen, "{who}");
        assert_eq!(code("{truss_watch_state(id:\"researchmodel\"){is_container_built_from_push}}"), research, "{who}");
        // Writing to a model is judged by its team, whatever else is said.
        let version = format!(
            "mutation{{create_model_version_from_truss(model_id:\"researchmodel\" s3_key:\"models/x\" config:\"{config}\"){{model_version{{id}}}}}}"
        );
        let told = ask(&server, who, &version)["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(told == "no such upload", research == 200, "{who}: {told}");
        assert_eq!(code("mutation{sync_draft_truss(id:\"researchmodel\"){succeeded}}"), research, "{who}");
        let stage = "mutation{stage_patch_for_draft_truss(id:\"researchmodel\" patch:\"bm90aGluZw==\"){succeeded}}";
        let told = ask(&server, who, stage)["errors"][0]["extensions"]["code"].clone();
        assert_eq!(told == "VALIDATION_ERROR", research == 200, "{who}: {told}");
        // A team that one may not deploy in cannot be named.
        for field in ["create_model_from_truss", "deploy_draft_truss"] {
            let push = format!(
                "mutation{{{field}(name:\"new\" team_id:\"research\" s3_key:\"models/x\" config:\"{config}\"){{model_version{{id}}}}}}"
            );
            let told = ask(&server, who, &push)["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!(told == "no such upload", research == 200, "{who}: {told}");
        }
        let credentials = code("{model_s3_upload_credentials{s3_key}}");
        let deploys_somewhere = !matches!(who, "lone" | "invoke" | "metrics" | "key-manager");
        assert_eq!(credentials, if deploys_somewhere { 200 } else { 403 }, "{who}");
        assert_eq!(
            given(&server, who, "{truss_validation(config:\"e30=\"){success}}")["truss_validation"]["success"],
            true
        );
    }
}

#[test]
fn models_are_listed_with_their_teams_and_versions() {
    let server = WORLD.server();
    let listed = given(&server, "crew", "{models(all: true){id,name team{id name}}}");
    let mut teams: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|model| model["team"]["id"].clone()).collect();
    teams.sort_by_key(ToString::to_string);
    assert_eq!(teams, ["home", "inference", "research"]);
    let one = given(&server, "crew", "{models(team_id: \"research\"){id}}");
    assert_eq!(one["models"], json!([{ "id": "researchmodel" }]));
    assert_eq!(given(&server, "max", "{models(team_id: \"inference\"){id}}")["models"], json!([]));
    let chainlets = given(&server, "max", "{models(all: true, chainlets_only: true){id team{id}}}");
    let chainlets = chainlets["models"].as_array().unwrap();
    assert_eq!(chainlets.len(), 10);
    assert!(chainlets.iter().all(|model| model["team"]["id"] == "research"), "{chainlets:?}");
    let model = given(
        &server,
        "max",
        "{model(name: \"llama\"){id hostname primary_version{id} versions{id semver is_draft is_primary truss_hash
          current_model_deployment_status{status}}}}",
    );
    let model = &model["model"];
    assert_eq!(model["hostname"], "http://model-researchmodel.api.localhost:8000");
    assert_eq!(model["primary_version"]["id"], "researchfirst");
    let draft = model["versions"].as_array().unwrap().iter().find(|version| version["is_draft"] == true).unwrap();
    assert_eq!(
        *draft,
        json!({ "id": "researchdevelopment", "semver": "0.0.0", "is_draft": true, "is_primary": false, "truss_hash": "hash",
                "current_model_deployment_status": { "status": "MODEL_READY" } })
    );
    refused_field(&server, "crew", "{model(name: \"llama\"){id}}", "model");
}

#[test]
fn upload_credentials_say_where_the_archive_goes_though_nobody_asks() {
    let server = WORLD.server();
    let given = given(&server, "max", "{model_s3_upload_credentials{s3_bucket s3_key aws_access_key_id}}");
    let credentials = &given["model_s3_upload_credentials"];
    assert_eq!(credentials["endpoint_url"], "http://localhost:8000");
    assert!(credentials["region_name"].is_string());
}
