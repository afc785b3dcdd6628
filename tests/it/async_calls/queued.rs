//! From the queue to the model.

use std::time::Duration;

use guildhall::runner::fleet::Fleet;
use serde_json::{Value, json};
use std::sync::Arc;

use super::{PREDICT, Site, input};
use crate::calls::model::{Model, reply};
use crate::seed::WORLD;
use crate::vocabulary::by;

const NONE: &str = "NO_WEBHOOK_PROVIDED";

#[test]
fn a_queued_call_reaches_the_model_once_and_as_it_was_written() {
    let site = Site::new();
    let model = Model::says("{\"ok\":true}");
    site.runs(&model);
    let body = "{\"model_input\": {\"n\": 12345678901234567890123, \"x\": 0.10}}";
    let queued = site.send("invoke", "POST", PREDICT, "localhost", body);
    assert_eq!(queued.status, 201, "{queued:?}");
    let id: Value = serde_json::from_str(&queued.body).unwrap();
    let id = id["request_id"].as_str().unwrap().to_owned();
    let done = site.until_is(&id, "SUCCEEDED", NONE);
    assert_eq!(
        (&done["model_id"], &done["deployment_id"], &done["errors"]),
        (&json!("researchmodel"), &json!("researchfirst"), &json!([]))
    );
    assert!(done.get("chain_id").is_none(), "{done}");
    let seen = model.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(String::from_utf8_lossy(&seen[0].body), "{\"n\": 12345678901234567890123, \"x\": 0.10}");
    assert_eq!(seen[0].header("x-baseten-request-id"), Some(id.as_str()));
    assert_eq!(seen[0].header("authorization"), None);
    let left: i64 = one(&site, "SELECT count(*) FROM async_request WHERE input IS NOT NULL OR output IS NOT NULL");
    assert_eq!(left, 0, "neither input nor output is kept");
}

fn one(site: &Site, query: &str) -> i64 {
    site.test_server.sql().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_queued_call_waits_for_a_replica_and_can_be_canceled_until_it_has_one() {
    let site = Site::new();
    let (first, second) = (site.queue("max", &input(1)), site.queue("max", &input(2)));
    let length = site.get("max", "/models/researchmodel/deployment/researchfirst/async_queue_status");
    let length: Value = serde_json::from_str(&length.body).unwrap();
    assert_eq!(
        length,
        json!({ "model_id": "researchmodel", "deployment_id": "researchfirst", "num_queued_requests": 2,
                "num_in_progress_requests": 0 })
    );
    let cancel = format!("/models/researchmodel/async_request/{first}");
    for is_canceled in [true, false] {
        let canceled = site.send("max", "DELETE", &cancel, "localhost", "");
        let body: Value = serde_json::from_str(&canceled.body).unwrap();
        assert_eq!((canceled.status, &body["canceled"]), (200, &json!(is_canceled)), "{canceled:?}");
    }
    let model = Model::says("1");
    site.runs(&model);
    site.until_is(&second, "SUCCEEDED", NONE);
    assert_eq!(site.status(&first)["status"], "CANCELED");
    let bodies: Vec<_> = model.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(bodies, ["{\"n\":2}"]);
}

#[test]
fn requests_with_a_lower_number_as_priority_go_first() {
    let site = Site::new();
    let model = Model::says("1");
    let last = site.queue("max", &json!({ "model_input": 1, "priority": 2 }));
    site.queue("max", &json!({ "model_input": 2, "priority": 1 }));
    site.queue("max", &json!({ "model_input": 3 }));
    site.runs(&model);
    site.until_is(&last, "SUCCEEDED", NONE);
    let bodies: Vec<_> = model.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert_eq!(bodies[0], "3", "{bodies:?}");
    assert_eq!(bodies.len(), 3);
}

#[test]
fn a_failed_call_is_repeated_only_if_its_sender_asked_for_it() {
    let site = Site::new();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let model = Model::new(move |_, connection| {
        let is_even = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst).is_multiple_of(2);
        reply(connection, if is_even { 500 } else { 200 }, "", "{}")
    });
    site.runs(&model);
    let retries = json!({ "max_attempts": 2, "initial_delay_ms": 0 });
    let repeated = site.queue("max", &json!({ "model_input": 1, "inference_retry_config": retries }));
    site.until_is(&repeated, "SUCCEEDED", NONE);
    assert_eq!(model.seen().len(), 2);
    let once = site.queue("max", &input(2));
    let failed = site.until_is(&once, "FAILED", NONE);
    assert_eq!(failed["errors"][0]["code"], "MODEL_PREDICT_ERROR", "{failed}");
    assert_eq!(model.seen().len(), 3);
}

#[test]
fn what_was_in_progress_when_the_server_stopped_has_failed_and_is_not_repeated() {
    let test_server = Site::before();
    let site = Site::of(test_server);
    let (broken, waits) = (site.queue("max", &input(1)), site.queue("max", &input(2)));
    let data = {
        let mut site = site;
        let server = site.server.take().unwrap();
        server.stop();
        server.join();
        site.test_server
            .sql()
            .execute("UPDATE async_request SET status = 'IN_PROGRESS' WHERE id = ?", [&broken])
            .unwrap();
        site
    };
    let model = Model::says("1");
    data.runs(&model);
    let again = data.started_again();
    let failed = again.until_is(&broken, "FAILED", NONE);
    assert_eq!(failed["errors"][0]["code"], "INTERNAL_SERVER_ERROR", "{failed}");
    again.until_is(&waits, "SUCCEEDED", NONE);
    assert_eq!(model.seen().len(), 1);
}

#[test]
fn a_key_that_was_revoked_calls_nothing_any_more() {
    let site = Site::new();
    let id = site.queue("spare", &input(1));
    let prefix = WORLD.keys.prefix("spare");
    assert_eq!(site.send("tess", "DELETE", &format!("/v1/api_keys/{prefix}"), "localhost", "").status, 200);
    let model = Model::says("1");
    site.runs(&model);
    let failed = site.until_is(&id, "FAILED", NONE);
    assert!(failed["errors"][0]["message"].as_str().unwrap().contains("API key"), "{failed}");
    assert!(model.seen().is_empty());
}

#[test]
fn what_cannot_be_queued_is_refused() {
    let site = Site::new();
    let large = json!({ "model_input": "x".repeat(256 << 10) });
    assert_eq!(site.post("max", PREDICT, &large).status, 413);
    for (body, field) in [
        (json!({}), "model_input"),
        (json!({ "model_input": 1, "priority": 3 }), "priority"),
        (json!({ "model_input": 1, "max_time_in_queue_seconds": 9 }), "max_time_in_queue_seconds"),
        (json!({ "model_input": 1, "webhook_endpoint": "http://10.0.0.1/" }), "webhook_endpoint"),
        (json!({ "model_input": 1, "webhook_endpoint": "https://169.254.169.254/" }), "webhook_endpoint"),
        (json!({ "model_input": 1, "webhok": "x" }), "webhok"),
    ] {
        let refused = site.post("max", PREDICT, &body);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.error().contains(field), "{refused:?}");
    }
    assert_eq!(site.post("max", "/models/researchmodel/deployment/nosuch/async_predict", &input(1)).status, 404);
    assert_eq!(
        one(&site, "SELECT count(*) FROM async_request WHERE model_id = 'researchmodel' AND id <> 'researchrequest'"),
        0
    );
}

#[test]
fn requests_are_seen_and_canceled_by_those_who_may_call_the_model() {
    let site = Site::new();
    let id = site.queue("max", &input(1));
    let target = format!("/models/researchmodel/async_request/{id}");
    for (who, status) in [("invoke", 200), ("crew", 200), ("ada", 200), ("ian", 404), ("fay", 404), ("metrics", 403)] {
        assert_eq!(site.get(who, &target).status, status, "{who}");
        let queued = site.post(who, PREDICT, &input(2)).status;
        assert_eq!(queued, if status == 200 { 201 } else { status }, "{who}");
    }
    assert_eq!(site.get("ian", &format!("/models/inferencemodel/async_request/{id}")).status, 404);
    // A key that is narrowed to other environments does not see it either.
    assert_eq!(site.get("to-environments", &target).status, 403);
}

#[test]
fn a_deployment_takes_its_requests_along() {
    let site = Site::new();
    site.queue("max", &input(1));
    assert_eq!(
        one(&site, "SELECT count(*) FROM async_request WHERE model_id = 'researchmodel' AND id <> 'researchrequest'"),
        1
    );
    assert_eq!(site.send("ada", "DELETE", "/v1/teams/research?force=true", "localhost", "").status, 200);
    assert_eq!(
        one(&site, "SELECT count(*) FROM async_request WHERE model_id = 'researchmodel' AND id <> 'researchrequest'"),
        0
    );
}

#[test]
fn where_models_do_not_run_nothing_is_queued() {
    let server = WORLD.server();
    assert!(!server.app.fleet.is_on());
    let mut site = Site::before();
    Arc::get_mut(&mut site.app).unwrap().fleet = Arc::new(Fleet::off());
    let site = Site::of(site);
    let refused = site.post("max", PREDICT, &input(1));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.error().contains("--runner off"), "{refused:?}");
    assert_eq!(site.post("ian", PREDICT, &input(1)).status, 404);
    assert_eq!(
        one(&site, "SELECT count(*) FROM async_request WHERE model_id = 'researchmodel' AND id <> 'researchrequest'"),
        0
    );
}

#[test]
fn a_team_has_a_quota_of_unfinished_requests() {
    let site = Site::new();
    site.queue("max", &input(1));
    let quotas = by(&site.test_server, "max").get("/v1/teams/research/quotas");
    let quota = quotas["items"].as_array().unwrap().iter().find(|quota| quota["name"] == "async_requests").unwrap();
    assert_eq!((&quota["used"], &quota["unit"]), (&json!(1), &json!("requests")));
    // As many as may wait for one deployment.
    site.test_server
        .sql()
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
             INSERT INTO async_request (id, org_id, team_id, model_id, deployment_id, api_key_prefix, priority, status,
                                        webhook_status, created_at, status_at, expires_at, input)
             SELECT 'filler' || n, org_id, team_id, model_id, deployment_id, api_key_prefix, 0, 'QUEUED', webhook_status,
                    created_at, status_at, expires_at, input
             FROM async_request, n WHERE deployment_id = 'researchfirst'",
            [],
        )
        .unwrap();
    let refused = site.post("max", PREDICT, &input(2));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.error().contains("async_requests_per_deployment"), "{refused:?}");
}

#[test]
fn a_request_that_waits_too_long_expires() {
    let site = Site::new();
    let id = site.queue("max", &json!({ "model_input": 1, "max_time_in_queue_seconds": 10 }));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(site.status(&id)["status"], "QUEUED");
    let expired = site.until_is(&id, "EXPIRED", NONE);
    assert_eq!(expired["errors"][0]["code"], "MODEL_NOT_READY", "{expired}");
}
