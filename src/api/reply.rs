//! The reply to a request, before it is turned into HTTP.

use serde::Serialize;

use crate::domain::Download;
use crate::domain::calls::Call;
use crate::domain::model_apis::ModelApiCall;
use crate::error::Error;
use crate::wire;
use crate::wire::schemas::Listed;

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The file that is sent instead of `body`, because it may be too large to be held in memory.
    pub archive: Option<Download>,
    /// Made after the transaction. Its answer is sent instead of this reply.
    pub call: Option<Box<Call>>,
    /// Passed to the upstream after the transaction, with the body of the request. Its answer is sent instead of this
    /// reply.
    pub model_api: Option<Box<ModelApiCall>>,
}

impl Reply {
    pub fn ok(body: &impl Serialize) -> Reply {
        Reply::json(200, body)
    }

    pub fn list<T: Listed>(list: wire::List<T>) -> Reply {
        Reply::bytes("application/json", list.end())
    }

    pub fn bytes(content_type: &'static str, body: Vec<u8>) -> Reply {
        Reply { status: 200, content_type, headers: Vec::new(), body, archive: None, call: None, model_api: None }
    }

    pub fn download(download: Download) -> Reply {
        let content_type = match download {
            Download::Archive(_) => "application/x-tar",
            Download::Checkpoint { .. } => "application/octet-stream",
        };
        Reply { archive: Some(download), ..Reply::bytes(content_type, Vec::new()) }
    }

    /// The answer of a model to this call.
    pub fn call(call: Call) -> Reply {
        Reply { call: Some(Box::new(call)), ..Reply::bytes("application/json", Vec::new()) }
    }

    /// The answer of an upstream to this call.
    pub fn model_api(call: ModelApiCall) -> Reply {
        Reply { model_api: Some(Box::new(call)), ..Reply::bytes("application/json", Vec::new()) }
    }

    /// The reply to a request that made something, with the status that says so.
    pub fn created(body: &impl Serialize) -> Reply {
        Reply::json(201, body)
    }

    /// The reply to a request that was taken and is carried out later.
    pub fn accepted(body: &impl Serialize) -> Reply {
        Reply::json(202, body)
    }

    /// The reply to a request that failed. For an internal error it names the id of the request, with which the log has
    /// the cause.
    pub(super) fn refusal(error: &Error, request_id: &str) -> Reply {
        let mut reply = Reply::json(error.status().0, &wire::Refusal::of_request(error, request_id));
        if let Some(seconds) = error.retry_after_seconds() {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        if let Error::MethodNotAllowed(allowed) = error {
            reply.headers.push(("allow", allowed.clone()));
        }
        reply
    }

    fn json(status: u16, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).expect("shapes of ours always serialize");
        Reply {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body,
            archive: None,
            call: None,
            model_api: None,
        }
    }
}
