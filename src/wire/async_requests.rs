//! Queued calls on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::Time;
use crate::domain::async_requests::{AsyncRequest, Failure, QueueLength, Retries, Terms};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::error::Error;
use crate::wire;
use crate::wire::schemas::Object;

/// A call that is queued. Baseten's `AsyncPredictRequest`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AsyncPredictRequest {
    /// What the model gets.
    #[schemars(with = "Object")]
    model_input: Box<RawValue>,
    webhook_endpoint: Option<String>,
    priority: Option<i64>,
    max_time_in_queue_seconds: Option<i64>,
    inference_retry_config: Option<InferenceRetryConfig>,
}

/// How a failed call is tried again. Baseten's `InferenceRetryConfig`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InferenceRetryConfig {
    max_attempts: Option<i64>,
    initial_delay_ms: Option<i64>,
    max_delay_ms: Option<i64>,
}

/// A queued call, read: what the sender asks for, and the JSON for the model.
pub struct Queued {
    pub terms: Terms,
    pub input: String,
}

impl Queued {
    /// Reads the body of a call to a model.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names the field that cannot be read or is out of bounds.
    pub fn of_model(body: &[u8]) -> Result<Queued, Error> {
        Queued::of(wire::parse(body)?)
    }

    /// Reads the body of a call to a Chain. The whole body is the input, unless it has the fields of a call to a model.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the body is not JSON, or a field is out of bounds.
    pub fn of_chain(body: &[u8]) -> Result<Queued, Error> {
        if let Ok(request) = wire::parse::<AsyncPredictRequest>(body) {
            return Queued::of(request);
        }
        let input: Box<RawValue> = wire::parse(body)?;
        Ok(Queued { terms: Terms::new(None, None, None, None)?, input: input.get().to_owned() })
    }

    fn of(request: AsyncPredictRequest) -> Result<Queued, Error> {
        let webhook = request.webhook_endpoint.as_deref();
        let webhook =
            webhook.map(|url| RemoteUrl::parse("webhook_endpoint", url, PlainHttp::OnLoopback)).transpose()?;
        let retries = request
            .inference_retry_config
            .map(|retries| Retries::new(retries.max_attempts, retries.initial_delay_ms, retries.max_delay_ms));
        let terms = Terms::new(request.priority, request.max_time_in_queue_seconds, retries.transpose()?, webhook)?;
        Ok(Queued { terms, input: request.model_input.get().to_owned() })
    }
}

/// The id of a call that was queued. Baseten's `AsyncPredictOutput`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AsyncPredictOutput")]
pub struct QueuedRequest {
    pub request_id: String,
}

/// What became of a queued call. Baseten's `AsyncRequestStatusResponse`.
#[derive(JsonSchema, Serialize)]
pub struct AsyncRequestStatus<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<&'a str>,
    deployment_id: &'a str,
    status: &'static str,
    webhook_status: &'static str,
    created_at: Time,
    status_at: Time,
    errors: Vec<AsyncRequestError<'a>>,
}

/// Why a queued call failed. Baseten's `AsyncRequestError`.
#[derive(JsonSchema, Serialize)]
struct AsyncRequestError<'a> {
    code: &'static str,
    message: &'a str,
}

/// What became of the attempt to cancel a queued call. Baseten's `CancelAsyncRequestOutput`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "CancelAsyncRequestOutput")]
pub struct Cancellation<'a> {
    pub request_id: &'a str,
    pub canceled: bool,
    pub message: &'a str,
}

/// How many calls wait for a deployment. Baseten's `GetAsyncQueueStatusOutput`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AsyncQueueStatusOutput")]
pub struct QueueStatus<'a> {
    model_id: &'a str,
    deployment_id: &'a str,
    num_queued_requests: i64,
    num_in_progress_requests: i64,
}

/// What a webhook gets when a queued call has ended.
#[derive(Serialize)]
struct Completed<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<&'a str>,
    deployment_id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    time: Time,
    data: Data<'a>,
    errors: Vec<AsyncRequestError<'a>>,
}

/// The answer of a model: JSON as it is, other text as a string.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(String),
    None,
}

/// The body that a webhook gets. `time` is when it is sent, so that a receiver can refuse what is old.
pub fn webhook_body(request: &AsyncRequest, output: Option<&[u8]>, time: Time) -> Vec<u8> {
    let data = match output {
        None => Data::None,
        Some(bytes) => match serde_json::from_slice(bytes) {
            Ok(json) => Data::Json(json),
            Err(_) => Data::Text(String::from_utf8_lossy(bytes).into_owned()),
        },
    };
    let body = Completed {
        request_id: &request.id,
        model_id: model_id(request),
        chain_id: request.chain_id.as_deref(),
        deployment_id: &request.deployment_id,
        kind: "async_request_completed",
        time,
        data,
        errors: errors(request),
    };
    serde_json::to_vec(&body).expect("shapes of ours always serialize")
}

impl<'a> From<&'a AsyncRequest> for AsyncRequestStatus<'a> {
    fn from(request: &'a AsyncRequest) -> AsyncRequestStatus<'a> {
        AsyncRequestStatus {
            request_id: &request.id,
            model_id: model_id(request),
            chain_id: request.chain_id.as_deref(),
            deployment_id: &request.deployment_id,
            status: request.status.as_str(),
            webhook_status: request.webhook_status.as_str(),
            created_at: request.created_at,
            status_at: request.status_at,
            errors: errors(request),
        }
    }
}

impl<'a> QueueStatus<'a> {
    pub fn new(model_id: &'a str, deployment_id: &'a str, length: QueueLength) -> QueueStatus<'a> {
        QueueStatus {
            model_id,
            deployment_id,
            num_queued_requests: length.queued,
            num_in_progress_requests: length.in_progress,
        }
    }
}

/// The model of a request to a model. A request to a Chain names the Chain instead.
fn model_id(request: &AsyncRequest) -> Option<&str> {
    request.chain_id.is_none().then_some(&request.model_id)
}

fn errors(request: &AsyncRequest) -> Vec<AsyncRequestError<'_>> {
    let failures = request.failure.iter();
    failures.map(|Failure { code, message }| AsyncRequestError { code: code.as_str(), message }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_passed_on_as_it_was_written() {
        let body = br#"{"model_input": {"n": 12345678901234567890123, "x": 0.10}, "priority": 1}"#;
        let queued = Queued::of_model(body).unwrap();
        assert_eq!(queued.input, r#"{"n": 12345678901234567890123, "x": 0.10}"#);
        assert_eq!((queued.terms.priority, queued.terms.seconds_in_queue_max), (1, 600));
    }

    #[test]
    fn the_whole_body_is_the_input_of_a_chain_unless_it_names_one() {
        assert_eq!(Queued::of_chain(br#"{"text": "a"}"#).unwrap().input, r#"{"text": "a"}"#);
        let named = br#"{"model_input": {"text": "a"}, "webhook_endpoint": "https://hooks.example.com"}"#;
        let queued = Queued::of_chain(named).unwrap();
        assert!(queued.input == r#"{"text": "a"}"# && queued.terms.webhook.is_some());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (body, name) in [
            (r#"{}"#, "model_input"),
            (r#"{"model_input": {}, "webhok": 1}"#, "webhok"),
            (r#"{"model_input": {}, "priority": 3}"#, "priority"),
            (r#"{"model_input": {}, "webhook_endpoint": "http://example.com"}"#, "webhook_endpoint"),
            (r#"{"model_input": {}, "inference_retry_config": {"max_attempts": 11}}"#, "max_attempts"),
        ] {
            let refused = Queued::of_model(body.as_bytes()).err().expect(body).to_string();
            assert!(refused.contains(name), "{body}: {refused}");
        }
    }
}
