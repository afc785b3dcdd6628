//! Model APIs: do the operator's upstreams answer the default team alone, in OpenAI's shapes, and is their use counted?

mod configured;

use std::time::{Duration, Instant};

use guildhall::api::Listener;
use serde_json::{Value, json};

use crate::async_calls::Site;
use crate::async_calls::receiver::{Receiver, plain};
use crate::seed::WORLD;

const PATIENCE: Duration = Duration::from_secs(30);
const CHAT: &str = "/inference/v1/chat/completions";
const RULE: &str = "Model APIs are only available in the default team";

/// Adds an upstream as the operator does.
#[track_caller]
pub fn add(site: &Site, slug: &str, url: &str, credential: Option<&str>) {
    let body = json!({ "slug": slug, "url": url, "credential": credential });
    let answered = site.test_server.send_as_operator("POST", "/v1/operator/model_apis", body);
    assert_eq!(answered.status, 200, "{}", answered.body);
}

fn ask(slug: &str) -> Value {
    json!({ "model": slug, "messages": [{ "role": "user", "content": "hello" }] })
}

fn answers(body: &'static str) -> Receiver {
    Receiver::new(move |_, _| plain(200, "application/json", body))
}

#[test]
fn a_chat_is_completed_by_the_upstream() {
    let site = Site::new();
    let upstream = answers("{\"id\": \"1\", \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 3}}");
    add(&site, "ours", &upstream.url("/v1"), Some("upstream-key"));
    for who in ["dora", "home-spare", "home-manage-all", "ada"] {
        let answered = site.post(who, CHAT, &ask("ours"));
        assert_eq!(answered.status, 200, "{who}: {answered:?}");
        assert!(answered.body.contains("\"id\": \"1\""), "{answered:?}");
    }
    let at_host = site.send("dora", "POST", "/v1/chat/completions", "inference.localhost", &ask("ours").to_string());
    assert_eq!(at_host.status, 200, "{at_host:?}");
    let got = upstream.got();
    assert_eq!(got.len(), 5);
    assert_eq!(got[0].line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(got[0].header("authorization"), Some("Bearer upstream-key"));
    assert!(got.iter().all(|got| got.json() == ask("ours")));
    for (path, target) in [("completions", "/inference/v1/completions"), ("embeddings", "/inference/v1/embeddings")] {
        assert_eq!(site.post("dora", target, &ask("ours")).status, 200);
        assert_eq!(upstream.got().last().unwrap().line, format!("POST /v1/{path} HTTP/1.1"));
    }
}

#[test]
fn callers_of_other_teams_are_told_the_rule() {
    let site = Site::new();
    let upstream = answers("{}");
    add(&site, "ours", &upstream.url("/v1"), None);
    for who in ["max", "ian", "lone", "manage-all", "invoke"] {
        for (method, target) in [("POST", CHAT), ("GET", "/inference/v1/models")] {
            let refused = site.send(who, method, target, "localhost", &ask("ours").to_string());
            assert_eq!(refused.status, 403, "{who}: {refused:?}");
            let body: Value = serde_json::from_str(&refused.body).unwrap();
            assert_eq!((&body["error"]["message"], &body["error"]["type"]), (&json!(RULE), &json!("permission_error")));
        }
    }
    let refused = site.post("key-manager", CHAT, &ask("ours"));
    assert!(refused.status == 403 && refused.body.contains("Call models"), "{refused:?}");
    assert!(upstream.got().is_empty());
}

#[test]
fn a_stream_passes_through_and_its_usage_is_counted() {
    let site = Site::new();
    let upstream = Receiver::new(|_, _| {
        let events = "data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_vec();
        for event in events.split_inclusive("\n\n") {
            answer.extend(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
        }
        answer.extend(b"0\r\n\r\n");
        answer
    });
    add(&site, "gpt-oss-120b", &upstream.url("/v1"), None);
    let answered = site.post("dora", CHAT, &ask("gpt-oss-120b"));
    assert!(answered.head.contains("text/event-stream"), "{answered:?}");
    assert_eq!(answered.body.matches("data: ").count(), 3, "{answered:?}");
    let (input, output) = used(&site, "gpt-oss-120b");
    assert_eq!((input, output), (5, 2));
    let listed = site.get("dora", "/v1/model_apis/gpt-oss-120b");
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    assert!(listed["org_details"]["last_used_at"].is_string(), "{listed}");
}

/// Waits until use is billed, and gives the tokens.
fn used(site: &Site, slug: &str) -> (i64, i64) {
    let begun = Instant::now();
    loop {
        let sql = site.test_server.sql();
        let query = "SELECT input_tokens, output_tokens FROM usage WHERE kind = 'MODEL_API' AND resource_id = ?";
        if let Ok(tokens) = sql.query_row(query, [slug], |row| Ok((row.get(0)?, row.get(1)?))) {
            return tokens;
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn failures_have_openais_shape() {
    let site = Site::new();
    let upstream = Receiver::with_status(503);
    add(&site, "ours", &upstream.url("/v1"), None);
    add(&site, "gone", "http://127.0.0.1:9/v1", None);
    let unknown = site.post("dora", CHAT, &ask("nosuch"));
    assert_eq!(unknown.status, 404, "{unknown:?}");
    let body: Value = serde_json::from_str(&unknown.body).unwrap();
    assert_eq!((&body["error"]["type"], &body["error"]["param"]), (&json!("invalid_request_error"), &Value::Null));
    assert_eq!(site.post("dora", CHAT, &json!({})).status, 400);
    let gone = site.post("dora", CHAT, &ask("gone"));
    assert!(gone.status == 502 && gone.body.contains("server_error"), "{gone:?}");
    // What the upstream itself says is passed on.
    let passed = site.post("dora", CHAT, &ask("ours"));
    assert_eq!((passed.status, passed.body.as_str()), (503, "{}"));
}

#[test]
fn models_that_can_be_called_are_listed() {
    let site = Site::new();
    add(&site, "meta-llama/Llama-3", "http://127.0.0.1:9/v1", Some("upstream-key"));
    let listed = site.get("home-spare", "/inference/v1/models");
    let listed: Value = serde_json::from_str(&listed.body).unwrap();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&json!("list"), &json!("meta-llama/Llama-3")));
    assert_eq!(listed["data"].as_array().unwrap().len(), 2, "with the world's own");
    let catalog = site.get("dora", "/v1/model_apis?added_only=true");
    let catalog: Value = serde_json::from_str(&catalog.body).unwrap();
    assert_eq!(catalog["items"][0]["name"], "meta-llama/Llama-3", "{catalog}");
    let request = |from| {
        let key = Some(WORLD.keys.text("ada"));
        let request = site.test_server.request(key, "GET", "/v1/operator/model_apis", Vec::new());
        guildhall::api::Request { from, ..request }
    };
    let as_operator = site.test_server.answer(request(Listener::Operator));
    let text = String::from_utf8(as_operator.body).unwrap();
    assert!(text.contains("\"has_credential\":true") && !text.contains("upstream-key"), "{text}");
    assert_eq!(site.test_server.answer(request(Listener::Network)).status, 404);
}

#[test]
fn a_credential_is_in_no_row_as_text() {
    let site = Site::new();
    add(&site, "ours", "http://127.0.0.1:9/v1", Some("upstream-key-in-clear"));
    let sealed: Vec<u8> = site
        .test_server
        .sql()
        .query_row("SELECT sealed FROM model_api_upstream WHERE slug = 'ours'", [], |row| row.get(0))
        .unwrap();
    assert!(!sealed.windows(12).any(|part| part == b"upstream-key"), "it is sealed");
    let events = site.get("ada", "/v1/audit_logs");
    assert!(events.body.contains("MODEL_API_ADDED") && !events.body.contains("in-clear"), "{events:?}");
    let removed = site.test_server.send_as_operator("DELETE", "/v1/operator/model_apis/ours", json!(null));
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert!(site.get("ada", "/v1/audit_logs").body.contains("MODEL_API_REMOVED"));
    assert_eq!(site.post("dora", CHAT, &ask("ours")).status, 404);
}
