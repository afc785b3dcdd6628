//! Decision 13: `WORKSPACE_EXPORT_METRICS` reads only the metrics of its own team, and may be narrowed to models.

use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::{By, by, make_key, text, with};

const OF_MODELS: [&str; 4] = [
    "/v1/models/{team}model/deployments/{team}idle/metrics",
    "/v1/models/{team}model/deployments/production/metrics?mode=SERIES",
    "/v1/models/{team}model/environments/production/metrics",
    "/v1/models/{team}model/environments/preview/metrics?mode=SUMMARY",
];
const OF_A_JOB: &str = "/v1/training_projects/{team}project/jobs/{team}job/metrics";

fn of(template: &str, team: &str) -> String {
    template.replace("{team}", team)
}

/// Metrics of everything that the team has.
fn all_of(team: &str) -> impl Iterator<Item = (&'static str, String)> {
    let job = ["GET", "POST"].map(|method| (method, of(OF_A_JOB, team)));
    OF_MODELS.map(|template| ("GET", of(template, team))).into_iter().chain(job)
}

/// A key of research that exports metrics, of these models.
fn narrowed(server: &TestServer, models: &[&str]) -> (String, String) {
    let body = json!({ "type": "WORKSPACE_EXPORT_METRICS", "team_id": "research", "model_ids": models });
    make_key(&by(server, "tess"), body)
}

/// Another model of research, with a deployment. Their ids.
fn another_model(server: &TestServer) -> (String, String) {
    let body = json!({ "source": { "name": "mistral", "deployment": { "config": {} } } });
    let made = by(server, "max").post("/v1/teams/research/models", body);
    (text(&made["model"]["id"]), text(&made["deployment"]["id"]))
}

#[track_caller]
fn refused_as_narrowed(key: &By, method: &str, target: &str, to: &str) {
    let sentence = key.refused(403, method, target, None);
    assert_eq!(sentence, format!("this key is narrowed to {to} and reads the metrics of nothing else"), "{target}");
}

#[test]
fn workspace_export_metrics_reads_metrics_in_its_own_team() {
    let server = WORLD.server();
    for (method, target) in all_of("research") {
        let read = by(&server, "metrics").done(method, &target, None);
        assert_eq!(read, by(&server, "max").done(method, &target, None), "{target}");
    }
    for team in ["inference", "abroad"] {
        for (method, target) in all_of(team) {
            let of_others = by(&server, "metrics").refused(404, method, &target, None);
            let gone =
                by(&server, "metrics").refused(404, method, &of(&target.replace(team, "{team}"), "nosuch"), None);
            assert_eq!(of_others, gone, "{target}");
        }
    }
}

#[test]
fn workspace_export_metrics_does_nothing_else() {
    let server = WORLD.server();
    let jobs = "/v1/training_projects/researchproject/jobs";
    for (method, target) in [
        ("GET", "/v1/teams/research"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/researchmodel"),
        ("GET", "/v1/models/researchmodel/deployments/researchidle"),
        ("GET", "/v1/models/researchmodel/deployments/researchidle/logs"),
        ("GET", "/v1/models/researchmodel/environments/preview"),
        ("GET", "/v1/models/researchmodel/environments/preview/logs"),
        ("GET", jobs),
        ("GET", &format!("{jobs}/researchjob")),
        ("GET", &format!("{jobs}/researchjob/logs")),
        ("POST", &format!("{jobs}/researchjob/stop")),
        ("DELETE", "/v1/models/researchmodel"),
    ] {
        let sentence = by(&server, "metrics").refused(403, method, target, None);
        assert!(sentence.starts_with("a key of category WORKSPACE_EXPORT_METRICS does not include"), "{sentence}");
    }
}

#[test]
fn keys_that_call_or_manage_keys_read_no_metrics() {
    let server = WORLD.server();
    for (key, category) in [("invoke", "WORKSPACE_INVOKE"), ("key-manager", "WORKSPACE_MANAGE_API_KEYS")] {
        for (method, target) in all_of("research") {
            let sentence = by(&server, key).refused(403, method, &target, None);
            let expected = format!("a key of category {category} does not include \"View team resources\"");
            assert_eq!(sentence, expected, "{target}");
        }
    }
    for who in ["max", "manage-all", "ada"] {
        all_of("research").for_each(|(method, target)| drop(by(&server, who).done(method, &target, None)));
    }
}

#[test]
fn a_key_narrowed_to_models_reads_the_metrics_of_those_alone() {
    let server = WORLD.server();
    let (other, deployment) = another_model(&server);
    let (key, prefix) = narrowed(&server, &["researchmodel"]);
    let rotate = format!("/v1/api_keys/{prefix}/rotate");
    let rotated = by(&server, "tess").post(&rotate, json!({ "overlap_seconds": 3600 }));
    for key in [&key, &text(&rotated["api_key"])] {
        let key = with(&server, key);
        OF_MODELS.iter().for_each(|template| drop(key.get(&of(template, "research"))));
        for target in [
            format!("/v1/models/{other}/deployments/{deployment}/metrics"),
            format!("/v1/models/{other}/deployments/nosuch/metrics"),
            format!("/v1/models/{other}/environments/production/metrics"),
        ] {
            refused_as_narrowed(&key, "GET", &target, "the model researchmodel");
        }
        for method in ["GET", "POST"] {
            refused_as_narrowed(&key, method, &of(OF_A_JOB, "research"), "the model researchmodel");
        }
        // What is of another model is not reached by way of its own.
        let foreign = format!("/v1/models/researchmodel/deployments/{deployment}/metrics");
        assert_eq!(key.refused(404, "GET", &foreign, None), "no such deployment");
        for team in ["inference", "abroad", "nosuch"] {
            for (method, target) in all_of(team) {
                let what = if target.contains("project") { "training project" } else { "model" };
                assert_eq!(key.refused(404, method, &target, None), format!("no such {what}"), "{target}");
            }
        }
        assert_eq!(key.status("GET", "/v1/models/researchmodel"), 403);
    }
    let (both, _) = narrowed(&server, &["researchmodel", &other]);
    let both = with(&server, &both);
    both.get(&format!("/v1/models/{other}/environments/production/metrics"));
    both.get(&of(OF_MODELS[0], "research"));
}

#[test]
fn a_key_narrowed_to_models_that_are_all_deleted_reads_nothing() {
    let server = WORLD.server();
    let (other, deployment) = another_model(&server);
    let (key, _) = narrowed(&server, &["researchmodel"]);
    let key = with(&server, &key);
    key.get(&of(OF_MODELS[0], "research"));
    by(&server, "max").delete("/v1/models/researchmodel");
    for template in OF_MODELS {
        assert_eq!(key.refused(404, "GET", &of(template, "research"), None), "no such model");
    }
    let deleted = "models that are all deleted";
    refused_as_narrowed(&key, "GET", &format!("/v1/models/{other}/deployments/{deployment}/metrics"), deleted);
    refused_as_narrowed(&key, "GET", &of(OF_A_JOB, "research"), deleted);
}

/// What a key is told of itself is what its team's admin is told of it.
#[test]
fn what_a_key_is_narrowed_to_is_explained() {
    let server = WORLD.server();
    let (other, _) = another_model(&server);
    let because = |body: Value, act: &str| {
        let (key, prefix) = make_key(&by(&server, "tess"), body);
        let target = format!("/v1/permissions/explain?act={act}&team_id=research");
        let told = with(&server, &key).get(&target);
        assert_eq!(by(&server, "tess").get(&format!("{target}&api_key_prefix={prefix}")), told);
        (told["allowed"].clone(), told["because"].as_array().expect("sentences").clone())
    };
    let key = |category: &str, models: Value| json!({ "type": category, "team_id": "research", "model_ids": models });
    let (call, view) = ("CALL_MODELS", "VIEW_TEAM_RESOURCES");
    let invoke = "a key of \"Research\" with category WORKSPACE_INVOKE";
    let calls = "that includes \"Call models\"";
    let wide = because(key("WORKSPACE_INVOKE", Value::Null), call);
    assert_eq!(wide, (json!(true), vec![json!(invoke), json!(calls)]));
    let narrow = because(key("WORKSPACE_INVOKE", json!(["researchmodel"])), call);
    let alone = "but this key is narrowed to the model researchmodel and calls nothing else";
    assert_eq!(narrow, (json!(true), vec![json!(invoke), json!(calls), json!(alone)]));
    let (_, two) = because(key("WORKSPACE_INVOKE", json!(["researchmodel", other])), call);
    assert!(text(&two[2]).contains("the models ") && text(&two[2]).contains(&other), "{two:?}");
    let (key_of_one, _) = make_key(&by(&server, "tess"), key("WORKSPACE_INVOKE", json!([other])));
    by(&server, "max").delete(&format!("/v1/models/{other}"));
    let told = with(&server, &key_of_one).get(&format!("/v1/permissions/explain?act={call}&team_id=research"));
    assert_eq!(told["because"][2], "but this key is narrowed to models that are all deleted and calls nothing else");
    let (_, elsewhere) = because(key("WORKSPACE_INVOKE", json!(["researchmodel"])), view);
    assert_eq!(elsewhere.len(), 2, "it does not matter there: {elsewhere:?}");

    let metrics = "a key of \"Research\" with category WORKSPACE_EXPORT_METRICS";
    let refused = "a key of category WORKSPACE_EXPORT_METRICS does not include \"View team resources\"";
    for (models, of) in [(Value::Null, "the whole team"), (json!(["researchmodel"]), "the model researchmodel")] {
        let reads = format!("but a key of this category reads metrics, and this one those of {of}");
        let told = because(key("WORKSPACE_EXPORT_METRICS", models), view);
        assert_eq!(told, (json!(false), vec![json!(metrics), json!(refused), json!(reads)]));
    }
}
