//! What a handler answers.

use serde::Serialize;

use crate::error::Error;
use crate::model::Archive;
use crate::wire;

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Sent in place of a body: it may be too large to be held.
    pub archive: Option<Archive>,
}

impl Reply {
    pub fn ok(body: &impl Serialize) -> Reply {
        Reply::json(200, body)
    }

    pub fn list(list: wire::List) -> Reply {
        Reply::bytes("application/json", list.end())
    }

    pub fn bytes(content_type: &'static str, body: Vec<u8>) -> Reply {
        Reply { status: 200, content_type, headers: Vec::new(), body, archive: None }
    }

    pub fn archive(archive: Archive) -> Reply {
        Reply { archive: Some(archive), ..Reply::bytes("application/x-tar", Vec::new()) }
    }

    pub(super) fn refusal(error: &Error) -> Reply {
        Reply::json(error.status().0, &wire::Refusal::new(error))
    }

    fn json(status: u16, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).expect("shapes of ours always serialize");
        Reply { status, content_type: "application/json", headers: Vec::new(), body, archive: None }
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Reply {
        note_failure(&error);
        let mut reply = Reply::refusal(&error);
        if let Some(seconds) = error.retry_after_seconds() {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        if let Error::MethodNotAllowed(allowed) = error {
            reply.headers.push(("allow", allowed));
        }
        reply
    }
}

/// The cause of a failure of ours is for the log alone.
pub(super) fn note_failure(error: &Error) {
    if let Error::Internal(cause) = error {
        eprintln!("internal error: {cause}");
    }
}
