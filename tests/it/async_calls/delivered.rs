//! From the model to the webhook.

use guildhall::seal::keyed_hash;
use serde_json::{Value, json};

use super::receiver::{Receiver, plain};
use super::{Site, input};
use crate::calls::model::{Model, reply};

fn with_webhook(url: &str) -> Value {
    json!({ "model_input": { "n": 1 }, "webhook_endpoint": url })
}

#[test]
fn a_webhook_gets_the_answer_signed() {
    let site = Site::new();
    let secret = json!({ "name": "webhook_signing_secret", "value": "whsec_of_research" });
    assert_eq!(site.post("max", "/v1/teams/research/secrets", &secret).status, 200);
    let (model, receiver) = (Model::says("{\"greeting\": \"hello\"}"), Receiver::with_status(204));
    site.runs(&model);
    let id = site.queue("max", &with_webhook(&receiver.url("/hook?a=b")));
    site.until_is(&id, "SUCCEEDED", "SUCCEEDED");
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(got[0].header("x-baseten-request-id"), Some(id.as_str()));
    let hash: String =
        keyed_hash(b"whsec_of_research", &got[0].body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(got[0].header("x-baseten-signature"), Some(format!("v1={hash}").as_str()));
    let body = got[0].json();
    assert_eq!(
        (&body["request_id"], &body["model_id"], &body["deployment_id"], &body["type"], &body["data"], &body["errors"]),
        (
            &json!(id),
            &json!("researchmodel"),
            &json!("researchfirst"),
            &json!("async_request_completed"),
            &json!({ "greeting": "hello" }),
            &json!([])
        )
    );
    assert!(body["time"].is_string());
}

#[test]
fn a_webhook_learns_of_a_failure_and_without_a_secret_nothing_is_signed() {
    let site = Site::new();
    let model = Model::new(|_, connection| reply(connection, 400, "", "{\"error\": \"no\"}"));
    let receiver = Receiver::with_status(200);
    site.runs(&model);
    let id = site.queue("max", &with_webhook(&receiver.url("/")));
    site.until_is(&id, "FAILED", "SUCCEEDED");
    let got = receiver.got();
    assert_eq!(got[0].header("x-baseten-signature"), None);
    let body = got[0].json();
    assert_eq!((&body["data"], &body["errors"][0]["code"]), (&Value::Null, &json!("MODEL_INVALID_INPUT")));
}

#[test]
fn a_webhook_that_fails_is_called_again_but_the_model_is_not() {
    let site = Site::new();
    let model = Model::says("1");
    let receiver = Receiver::new(|number, _| plain(if number == 0 { 500 } else { 200 }, "text/plain", ""));
    site.runs(&model);
    let id = site.queue("max", &with_webhook(&receiver.url("/")));
    site.until_is(&id, "SUCCEEDED", "SUCCEEDED");
    assert_eq!((receiver.got().len(), model.seen().len()), (2, 1));
}

#[test]
fn redirects_are_not_followed() {
    let site = Site::new();
    let (model, elsewhere) = (Model::says("1"), Receiver::with_status(200));
    let to = elsewhere.url("/");
    let receiver = Receiver::new(move |number, _| match number {
        0 => format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .into_bytes(),
        _ => plain(200, "text/plain", ""),
    });
    site.runs(&model);
    let id = site.queue("max", &with_webhook(&receiver.url("/")));
    site.until_is(&id, "SUCCEEDED", "SUCCEEDED");
    assert_eq!((receiver.got().len(), elsewhere.got().len()), (2, 0));
}

#[test]
fn a_webhook_is_called_a_bounded_number_of_times() {
    let site = Site::new();
    let (model, receiver) = (Model::says("1"), Receiver::with_status(500));
    site.runs(&model);
    let id = site.queue("max", &with_webhook(&receiver.url("/")));
    site.until_is(&id, "SUCCEEDED", "PENDING");
    // Four attempts are behind it.
    let begun = std::time::Instant::now();
    while receiver.got().is_empty() {
        assert!(begun.elapsed() < super::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    let sql = site.test_server.sql();
    sql.execute("UPDATE async_request SET webhook_attempts = 4, webhook_at = 0 WHERE id = ?", [&id]).unwrap();
    site.queue("max", &input(2)); // a commit, which the worker notices
    site.until_is(&id, "WEBHOOK_FAILED", "FAILED");
}
