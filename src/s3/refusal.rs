//! Errors in S3's form: a code that clients know, and a message for people.

use crate::error::{Error, QuotaExceeded};

#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// The internal error behind it, for the log.
    pub(super) failure: Option<Error>,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), failure: None }
    }

    pub fn access_denied() -> Refusal {
        Refusal::new(403, "AccessDenied", "these credentials are for one upload, under their own key, and nothing else")
    }

    pub fn invalid(why: impl Into<String>) -> Refusal {
        Refusal::new(400, "InvalidRequest", why)
    }

    pub fn not_implemented(what: &str) -> Refusal {
        Refusal::new(501, "NotImplemented", format!("{what} is not served here"))
    }

    pub fn incomplete() -> Refusal {
        Refusal::new(400, "IncompleteBody", "the body breaks off, or is not as long or framed as its head says")
    }

    pub fn too_large(bytes_max: u64) -> Refusal {
        Refusal::new(400, "EntityTooLarge", format!("an archive must be at most {bytes_max} bytes"))
    }

    pub fn precondition_failed() -> Refusal {
        Refusal::new(412, "PreconditionFailed", "there is an archive under this key already")
    }

    pub fn already_complete() -> Refusal {
        let message = "there is another archive under this key already, and none is replaced: ask for new credentials";
        Refusal::new(409, "OperationAborted", message)
    }

    pub fn no_such_upload() -> Refusal {
        Refusal::new(404, "NoSuchUpload", "there is no such multipart upload: it was completed, aborted or is too old")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match &error {
            Error::Unauthenticated | Error::Forbidden(_) | Error::NotFound(_) => "AccessDenied",
            Error::Conflict(_) => "OperationAborted",
            Error::StorageFull => "StorageFull",
            Error::RequestTimeout => "RequestTimeout",
            Error::Invalid(_) | Error::MethodNotAllowed(_) | Error::TooLarge { .. } => "InvalidRequest",
            Error::RateLimited { .. } | Error::GrowthLimited { .. } | Error::Busy { .. } | Error::Unavailable(_) => {
                "SlowDown"
            }
            Error::QuotaExceeded(quota) if is_transient(quota) => "SlowDown",
            Error::QuotaExceeded(_) => "QuotaExceeded",
            Error::NotImplemented(_) => "NotImplemented",
            Error::Internal(_) | Error::Defect(_) | Error::Unread | Error::Call(_) => "InternalError",
        };
        let message = match &error {
            Error::Unauthenticated => "the API key that asked for these credentials works no more".to_owned(),
            other => other.to_string(),
        };
        let status = match &error {
            Error::Unauthenticated => 403,
            // S3's status for requests that may be sent again later.
            Error::QuotaExceeded(quota) if is_transient(quota) => 503,
            other => other.status().0,
        };
        Refusal { status, code, message, failure: Some(error) }
    }
}

/// Whether waiting helps: uploads in progress end soon, other quotas stay used until something is deleted.
fn is_transient(quota: &QuotaExceeded) -> bool {
    quota.name.ends_with("uploads_in_progress") || quota.name.ends_with("files_in_progress")
}

/// Converts an I/O error. The client is told about a full disk and about no other cause.
impl From<std::io::Error> for Refusal {
    fn from(cause: std::io::Error) -> Refusal {
        Refusal::from(match cause.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::StorageFull,
            _ => Error::Internal(format!("an upload failed: {cause}")),
        })
    }
}
