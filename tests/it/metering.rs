//! Is every call counted once: in metrics, in the export for collectors, and in the bill?

use std::time::{Duration, Instant};

use guildhall::db::{metering, teams};
use guildhall::domain::Team;
use guildhall::domain::calls::{CallMade, Mode};
use guildhall::domain::metering::Batch;
use serde_json::{Value, json};

use crate::async_calls::Site;
use crate::calls::model::{Model, reply};
use crate::seed::WORLD;
use crate::test_server::{BEGIN, TestServer};
use crate::vocabulary::by;

const METRICS: &str = "/v1/models/researchmodel/deployments/researchfirst/metrics";
const NOVEMBER: &str = "/v1/billing/usage_summary?start_date=2026-11-01T00:00:00Z&end_date=2026-12-01T00:00:00Z";
const PATIENCE: Duration = Duration::from_secs(30);

fn call(server: &TestServer, team: &str, caller: &str, status: u16, milliseconds: u64) -> CallMade {
    let Team { id, org_id, .. } = server.app.db.read(server.now(), |tx| teams::find(tx, team)).unwrap();
    CallMade {
        org_id,
        team_id: id,
        model_id: format!("{team}model"),
        deployment_id: format!("{team}first"),
        environment: Some("production".to_owned()),
        caller: caller.to_owned(),
        status,
        milliseconds,
        bytes: 100,
        mode: Mode::Sync,
        input_tokens: None,
        output_tokens: None,
    }
}

fn store(server: &TestServer, calls: &[CallMade]) {
    let mut batch = Batch::default();
    calls.iter().for_each(|call| batch.add(call));
    server.app.db.write_blocking(server.now(), move |tx| metering::add(tx, &batch)).unwrap();
}

fn one(server: &TestServer, query: &str) -> i64 {
    server.sql().query_row(query, [], |row| row.get(0)).unwrap()
}

#[test]
fn calls_are_summed_by_minute_key_and_status() {
    let server = WORLD.server();
    store(
        &server,
        &[
            call(&server, "research", "one", 200, 10),
            call(&server, "research", "one", 500, 30),
            call(&server, "research", "two", 200, 20),
        ],
    );
    store(&server, &[call(&server, "research", "one", 404, 40)]);
    server.now.set(BEGIN.plus_seconds(60));
    store(&server, &[call(&server, "research", "one", 200, 50)]);
    let rows: Vec<(String, i64, i64, i64, i64)> = server
        .sql()
        .prepare("SELECT caller, requests, errors, milliseconds, bytes FROM call_minute ORDER BY minute, caller")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let row = |caller: &str, requests, errors, millis, bytes| (caller.to_owned(), requests, errors, millis, bytes);
    assert_eq!(rows, [row("one", 3, 2, 80, 300), row("two", 1, 0, 20, 100), row("one", 1, 0, 50, 100)]);
    assert_eq!(one(&server, "SELECT sum(requests) FROM deployment_total WHERE status = 200"), 3);
}

#[test]
fn metrics_show_requests_and_latencies() {
    let server = WORLD.server();
    store(
        &server,
        &[
            call(&server, "research", "one", 200, 10),
            call(&server, "research", "one", 503, 1000),
            call(&server, "research", "one", 404, 10),
        ],
    );
    let shown = by(&server, "metrics").get(METRICS);
    let names: Vec<_> = shown["metric_descriptors"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(
        names,
        ["baseten_replicas_active", "baseten_inference_requests_total", "baseten_end_to_end_response_time_seconds"]
    );
    let values = &shown["metric_values"][0]["values"];
    assert_eq!(values[1], json!([1, 1, 1]), "by status");
    let (median, average) = (values[2][0].as_f64().unwrap(), values[2][4].as_f64().unwrap());
    assert!(median > 0.007 && median < 0.013 && (average - 0.34).abs() < 0.001, "{values}");
    let environment = by(&server, "metrics").get(
        "/v1/models/researchmodel/environments/production/metrics?mode=SUMMARY&metrics=baseten_inference_requests_total",
    );
    assert_eq!(environment["metric_values"][0]["values"], json!([[1, 1, 1]]));
    let other = by(&server, "metrics").get("/v1/models/researchmodel/environments/preview/metrics?mode=SUMMARY");
    assert_eq!(other["metric_values"][0]["values"][1], json!([0, 0, 0]));
    by(&server, "metrics").refused(400, "GET", &format!("{METRICS}?metrics=baseten_nothing"), None);
}

#[test]
fn a_series_has_each_call_in_one_step() {
    let server = WORLD.server();
    for minute in 0..30 {
        server.now.set(BEGIN.plus_seconds(60 * minute));
        store(&server, &[call(&server, "research", "one", 200, 10)]);
    }
    let series = by(&server, "max").get(&format!("{METRICS}?mode=SERIES&metrics=baseten_inference_requests_total"));
    let steps = series["metric_values"].as_array().unwrap();
    let sum: i64 = steps.iter().map(|step| step["values"][0][0].as_i64().unwrap()).sum();
    assert_eq!((sum, steps.len()), (30, 60));
}

#[test]
fn calls_and_replica_minutes_are_billed_once() {
    let server = WORLD.server();
    store(&server, &[call(&server, "research", "one", 200, 10), call(&server, "research", "two", 200, 10)]);
    let counts = vec![("researchfirst".to_owned(), 2)];
    for seconds in [0, 10, 61] {
        server.now.set(BEGIN.plus_seconds(seconds));
        let counts = counts.clone();
        server.app.db.write_blocking(server.now(), move |tx| metering::charge_minute(tx, &counts)).unwrap();
    }
    let summary = by(&server, "ada").get(NOVEMBER);
    let items = summary["dedicated_usage"]["breakdown"].as_array().unwrap();
    let item = items.iter().find(|item| item["billable_resource"]["id"] == "researchfirst").unwrap();
    assert_eq!((&item["inference_requests"], &item["minutes"]), (&json!(2), &json!(4)), "two minutes of two replicas");
}

#[test]
fn collectors_read_what_their_key_may_read() {
    let server = WORLD.server();
    store(&server, &[call(&server, "research", "one", 200, 10), call(&server, "inference", "one", 200, 10)]);
    let export = |key: &str| {
        let reply = server.reply(Some(WORLD.keys.text(key)), "GET", "/metrics", Vec::new());
        assert_eq!(reply.status, 200);
        String::from_utf8(reply.body).unwrap()
    };
    let of_research = export("metrics");
    let counted = "baseten_inference_requests_total{model_id=\"researchmodel\"";
    assert!(of_research.contains(counted) && !of_research.contains("inferencemodel"), "{of_research}");
    assert!(of_research.contains("status_code=\"200\",is_async=\"false\"} 1"), "{of_research}");
    assert!(of_research.contains("le=\"+Inf\"} 1"), "{of_research}");
    assert!(export("ada").contains("inferencemodel") && export("to-model").contains(counted));
    assert!(!export("ian").contains(counted));
    for key in ["invoke", "key-manager"] {
        assert_eq!(server.reply(Some(WORLD.keys.text(key)), "GET", "/metrics", Vec::new()).status, 403, "{key}");
    }
    assert_eq!(server.reply(None, "GET", "/metrics", Vec::new()).status, 401);
}

#[test]
fn counts_go_with_their_deployment_and_the_bill_stays() {
    let server = WORLD.server();
    store(&server, &[call(&server, "research", "one", 200, 10)]);
    server.app.db.write_blocking(server.now(), |tx| metering::note_replicas(tx, "researchfirst", 1)).unwrap();
    let last = call(&server, "research", "one", 200, 10);
    by(&server, "ada").delete("/v1/teams/research?force=true");
    for table in ["call_minute", "deployment_minute", "deployment_total", "replica_count"] {
        assert_eq!(one(&server, &format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    // What is stored afterwards is of a deployment that is gone.
    store(&server, &[last]);
    let summary = by(&server, "ada").get(NOVEMBER);
    let items = summary["dedicated_usage"]["breakdown"].as_array().unwrap();
    let item = items.iter().find(|item| item["billable_resource"]["id"] == "researchfirst").unwrap();
    assert_eq!(item["inference_requests"], 1);
}

#[test]
fn old_counts_are_deleted() {
    let server = WORLD.server();
    store(&server, &[call(&server, "research", "one", 200, 10)]);
    for (seconds, replicas) in [(0, 1), (1, 2), (2, 3)] {
        server.now.set(BEGIN.plus_seconds(seconds));
        let write = move |tx: &guildhall::db::Tx| metering::note_replicas(tx, "researchfirst", replicas);
        server.app.db.write_blocking(server.now(), write).unwrap();
    }
    for (days, callers, minutes) in [(0, 1, 1), (2, 0, 1), (8, 0, 0)] {
        server.now.set(BEGIN.plus_seconds(days * 24 * 60 * 60 + 10));
        assert!(!server.app.db.write_blocking(server.now(), metering::forget_old).unwrap());
        assert_eq!(one(&server, "SELECT count(*) FROM call_minute"), callers, "after {days} days");
        assert_eq!(one(&server, "SELECT count(*) FROM deployment_minute"), minutes, "after {days} days");
    }
    assert_eq!(one(&server, "SELECT count(*) FROM replica_count"), 1, "the number that still holds");
    assert_eq!(one(&server, "SELECT sum(requests) FROM deployment_total"), 1, "totals only grow");
}

#[test]
fn calls_through_the_listener_are_counted_within_seconds() {
    let site = Site::new();
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let model = Model::new(move |_, connection| {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        reply(connection, if first { 500 } else { 200 }, "", "{}")
    });
    site.runs(&model);
    for _ in 0..3 {
        site.post("invoke", "/models/researchmodel/production/predict", &json!({}));
    }
    let begun = Instant::now();
    let counted = loop {
        let text = site.get("metrics", "/metrics");
        assert_eq!(text.status, 200);
        let of_first = |line: &&str| line.contains("deployment_id=\"researchfirst\"");
        let lines: Vec<String> = text.body.lines().filter(of_first).map(str::to_owned).collect();
        let has = |wanted: &str| {
            lines.iter().any(|line| line.starts_with("baseten_inference_requests_total") && line.ends_with(wanted))
        };
        if has("status_code=\"200\",is_async=\"false\"} 2") && has("status_code=\"500\",is_async=\"false\"} 1") {
            break lines;
        }
        assert!(begun.elapsed() < PATIENCE, "{lines:#?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(counted.iter().any(|line| line.contains("environment=\"production\"")), "{counted:#?}");
    let prefix = WORLD.keys.prefix("invoke");
    let of_key: i64 = site
        .test_server
        .sql()
        .query_row("SELECT sum(requests) FROM call_minute WHERE caller = ?", [prefix], |row| row.get(0))
        .unwrap();
    assert_eq!(of_key, 3);
    let replicas = || -> Option<i64> {
        let sql = site.test_server.sql();
        sql.query_row("SELECT replicas FROM replica_count WHERE deployment_id = 'researchfirst'", [], |row| row.get(0))
            .ok()
    };
    while replicas() != Some(1) {
        assert!(begun.elapsed() < PATIENCE, "the replica is not counted");
        std::thread::sleep(Duration::from_millis(100));
    }
    let _: Value = serde_json::from_str(&site.get("max", METRICS).body).unwrap();
}
