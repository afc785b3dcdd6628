//! Every refusal and failure, with its status, code and message.

use std::fmt;

/// A refusal or a failure. [`Error::status`] gives status and code, `Display` the message.
#[derive(Debug)]
pub enum Error {
    /// The request is malformed or out of bounds. The message names the field.
    Invalid(String),
    Unauthenticated,
    /// The caller may see the resource and may not do this. The message names the table row that refuses.
    Forbidden(String),
    /// The resource does not exist or the caller may not see it. The message is equal for both.
    NotFound(&'static str),
    /// The path does not take this method. It names the methods that it takes.
    MethodNotAllowed(String),
    RequestTimeout,
    Conflict(Conflict),
    TooLarge {
        bytes_max: usize,
    },
    RateLimited {
        retry_after_seconds: u32,
    },
    /// Too much work of the caller's organization is waiting.
    Busy {
        retry_after_seconds: u32,
    },
    /// A quota of a team or an organization is used up.
    QuotaExceeded(QuotaExceeded),
    /// The caller makes the database grow faster than it may.
    GrowthLimited {
        bytes_per_hour_max: u64,
        retry_after_seconds: u32,
    },
    /// A route of Baseten's interface that is not served. It is named.
    NotImplemented(String),
    Unavailable(&'static str),
    /// A model was called and did not answer.
    Call(CallFailure),
    StorageFull,
    /// The body must be read on the pool first. This never reaches a client.
    Unread,
    /// An internal error that may pass. Its cause goes to the log, never to the client.
    Internal(String),
    /// An internal error that a retry does not mend, because of what is stored or written. A worker marks the row concerned as failed.
    /// Its cause goes to the log, never to the client.
    Defect(String),
}

/// Why a call to a model has no answer of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// No replica can take the call. The text says why and what to do.
    Unavailable(String),
    /// All replicas are busy, and no more calls may wait.
    Full,
    /// Too many calls of the team or its organization are in progress.
    Crowded,
    /// The model did not answer before the deadline of the call.
    TimedOut,
    /// The model ended while it had the call, or what it sent is not HTTP. The text says which.
    Broken(&'static str),
}

/// A conflict with the current state, with counts where they help the client to decide.
#[derive(Debug)]
pub struct Conflict {
    pub message: String,
    pub details: Option<serde_json::Value>,
}

/// A quota that refuses a write, with its used and allowed amounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The team that is charged. `None` if an organization or a person is charged.
    pub team_id: Option<String>,
    pub name: &'static str,
    /// The amount in use, without the refused write.
    pub used: u64,
    pub allowed: u64,
    pub unit: &'static str,
}

/// After how many seconds a call that found every replica busy may be sent again.
const FULL_RETRY_AFTER_SECONDS: u32 = 1;

impl Error {
    /// The HTTP status and the error code (decision 19).
    #[rustfmt::skip]
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Error::Invalid(_)          => (400, "VALIDATION_ERROR"),
            Error::Unauthenticated     => (401, "UNAUTHENTICATED"),
            Error::Forbidden(_)        => (403, "FORBIDDEN"),
            Error::NotFound(_)         => (404, "NOT_FOUND"),
            Error::MethodNotAllowed(_) => (405, "METHOD_NOT_ALLOWED"),
            Error::RequestTimeout      => (408, "REQUEST_TIMEOUT"),
            Error::Conflict(_)         => (409, "CONFLICT"),
            Error::TooLarge { .. }     => (413, "PAYLOAD_TOO_LARGE"),
            Error::RateLimited { .. } | Error::GrowthLimited { .. } | Error::Busy { .. } => (429, "RATE_LIMITED"),
            Error::QuotaExceeded(_)    => (429, "QUOTA_EXCEEDED"),
            Error::Internal(_) | Error::Defect(_) | Error::Unread => (500, "INTERNAL"),
            Error::NotImplemented(_)   => (501, "NOT_IMPLEMENTED"),
            Error::Unavailable(_)      => (503, "UNAVAILABLE"),
            Error::Call(CallFailure::Full | CallFailure::Crowded) => (429, "RATE_LIMITED"),
            Error::Call(CallFailure::Broken(_)) => (502, "BAD_GATEWAY"),
            Error::Call(CallFailure::Unavailable(_)) => (503, "UNAVAILABLE"),
            Error::Call(CallFailure::TimedOut) => (504, "GATEWAY_TIMEOUT"),
            Error::StorageFull         => (507, "STORAGE_FULL"),
        }
    }

    /// After how many seconds a retry makes sense, if waiting alone helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Error::RateLimited { retry_after_seconds }
            | Error::Busy { retry_after_seconds }
            | Error::GrowthLimited { retry_after_seconds, .. } => Some(*retry_after_seconds),
            Error::Call(CallFailure::Full | CallFailure::Crowded) => Some(FULL_RETRY_AFTER_SECONDS),
            _ => None,
        }
    }

    /// Refuses the value of a field. `why` says what would be accepted.
    pub fn field(field: &str, why: &str) -> Error {
        Error::Invalid(format!("`{field}` {why}"))
    }

    /// Refuses a list that is too long.
    pub fn check_count(field: &str, count: usize, count_max: usize) -> Result<(), Error> {
        if count <= count_max {
            return Ok(());
        }
        Err(Error::field(field, &format!("must be at most {count_max}: send fewer")))
    }

    pub fn conflict(message: impl Into<String>) -> Error {
        Error::Conflict(Conflict { message: message.into(), details: None })
    }

    /// Whether a retry would fail again. Other failures are of the system and may pass.
    pub fn would_recur(&self) -> bool {
        !matches!(self, Error::Internal(_) | Error::StorageFull | Error::Unavailable(_) | Error::Busy { .. })
    }

    /// Whether SQLite refused a duplicate name or id.
    pub fn is_unique_violation(cause: &rusqlite::Error) -> bool {
        use rusqlite::ffi;
        matches!(cause, rusqlite::Error::SqliteFailure(code, _)
            if matches!(code.extended_code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY))
    }

    /// Whether a trigger of the schema refused the write. Its message is for the client.
    fn refused_by_trigger(cause: &rusqlite::Error) -> Option<&str> {
        match cause {
            rusqlite::Error::SqliteFailure(code, Some(sentence))
                if code.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER =>
            {
                Some(sentence)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(why) | Error::Forbidden(why) => f.write_str(why),
            Error::Unauthenticated => f.write_str(
                "a valid API key is required: send `Authorization: Bearer <key>` or `Authorization: Api-Key <key>`",
            ),
            Error::NotFound(what) => write!(f, "no such {what}"),
            Error::MethodNotAllowed(allowed) => write!(f, "this path answers {allowed} only"),
            Error::RequestTimeout => f.write_str("the request took too long to arrive: send it again"),
            Error::Conflict(conflict) => f.write_str(&conflict.message),
            Error::TooLarge { bytes_max } => write!(f, "the body must be at most {bytes_max} bytes"),
            Error::RateLimited { retry_after_seconds } => {
                write!(f, "too many tries: wait {retry_after_seconds} seconds")
            }
            Error::Busy { retry_after_seconds } => write!(
                f,
                "too many large requests of your organization wait: send it again in {retry_after_seconds} seconds"
            ),
            Error::QuotaExceeded(QuotaExceeded { name, used, allowed, unit, .. }) => write!(
                f,
                "this would exceed the quota `{name}`: {used} of {allowed} {unit} are used; delete what is not needed, or \
                 ask the operator for a larger quota"
            ),
            Error::GrowthLimited { bytes_per_hour_max, retry_after_seconds } => write!(
                f,
                "you may make the database grow by {bytes_per_hour_max} bytes an hour: wait {retry_after_seconds} seconds"
            ),
            Error::NotImplemented(route) => write!(f, "{route} is not served here"),
            Error::Unavailable(why) => f.write_str(why),
            Error::Call(CallFailure::Unavailable(why)) => f.write_str(why),
            Error::Call(CallFailure::Full) => f.write_str("all replicas are busy: send the call again later"),
            Error::Call(CallFailure::Crowded) => {
                f.write_str("too many calls of your team or organization are in progress: send the call again later")
            }
            Error::Call(CallFailure::TimedOut) => f.write_str("the model did not answer in time"),
            Error::Call(CallFailure::Broken(what)) => write!(f, "the model did not answer: {what}"),
            Error::StorageFull => f.write_str("the disk is full: nothing was written; free space and send it again"),
            Error::Internal(_) | Error::Defect(_) | Error::Unread => {
                f.write_str("internal error: the server's log has the cause")
            }
        }
    }
}

/// Quotes what a client sent for a message: at most 60 characters, control characters escaped. Not for secrets.
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// A quoted text. [`quoted`] creates it.
pub struct Quoted<'t>(&'t str);

const QUOTED_CHARS_MAX: usize = 60;

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: &char| {
            !c.is_control() && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        let mut shown = String::new();
        let mut chars_left = QUOTED_CHARS_MAX;
        for c in self.0.chars() {
            let escaped = if is_plain(&c) { c.to_string() } else { c.escape_unicode().to_string() };
            let chars = escaped.chars().count();
            if chars > chars_left {
                // The last character is replaced by an ellipsis.
                while shown.chars().count() >= QUOTED_CHARS_MAX {
                    shown.pop();
                }
                return write!(f, "{shown}…");
            }
            shown.push_str(&escaped);
            chars_left -= chars;
        }
        f.write_str(&shown)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(cause: rusqlite::Error) -> Error {
        if let Some(sentence) = Error::refused_by_trigger(&cause) {
            return Error::conflict(sentence);
        }
        match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Error::StorageFull,
            _ if is_defect(&cause) => Error::Defect(cause.to_string()),
            _ => Error::Internal(cause.to_string()),
        }
    }
}

/// Whether a statement failed because of what is stored or written, and not because of the system.
fn is_defect(cause: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, ParameterOutOfRange, TooBig, TypeMismatch};
    matches!(cause.sqlite_error_code(), Some(ConstraintViolation | ParameterOutOfRange | TooBig | TypeMismatch))
        || matches!(
            cause,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::NulError(..)
                | rusqlite::Error::ToSqlConversionFailure(..)
        )
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_sixty_characters_are_quoted() {
        assert_eq!(quoted("plain `name` é").to_string(), "plain `name` é");
        assert_eq!(quoted("a\nb\u{1b}[31m").to_string(), "a\\u{a}b\\u{1b}[31m");
        assert_eq!(quoted(&"x".repeat(60)).to_string(), "x".repeat(60));
        assert_eq!(quoted(&"x".repeat(61)).to_string(), format!("{}…", "x".repeat(59)));
        for long in ["\u{0}".repeat(1000), "é\u{202e}".repeat(1000), format!("{}\u{1}", "x".repeat(58))] {
            assert!(quoted(&long).to_string().chars().count() <= QUOTED_CHARS_MAX);
        }
    }
}
