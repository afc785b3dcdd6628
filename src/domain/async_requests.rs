//! Calls that are queued and answered later.

use serde::{Deserialize, Serialize};

use crate::domain::Time;
use crate::domain::named::named;
use crate::domain::remote_url::RemoteUrl;
use crate::error::Error;

/// The size limit of the body of a request.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// The size limit of an answer of a model that is delivered to a webhook.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// How many requests of one deployment may wait.
pub const QUEUED_PER_DEPLOYMENT_MAX: u64 = 1000;
/// How long a finished request is kept.
pub const KEPT_SECONDS: i64 = 60 * 60;

const SECONDS_IN_QUEUE: i64 = 600;
const SECONDS_IN_QUEUE_MIN: i64 = 10;
const SECONDS_IN_QUEUE_MAX: i64 = 72 * 60 * 60;
const PRIORITY_MAX: i64 = 2;
const ATTEMPTS_MAX: i64 = 10;
const INITIAL_DELAY_MILLIS_MAX: i64 = 10_000;
const DELAY_MILLIS_MAX: i64 = 60_000;

named! {
    /// The status of a request.
    Status {
        Queued: QUEUED,
        InProgress: IN_PROGRESS,
        Succeeded: SUCCEEDED,
        Failed: FAILED,
        Expired: EXPIRED,
        Canceled: CANCELED,
        WebhookFailed: WEBHOOK_FAILED,
    }
}

named! {
    /// The status of the delivery to a webhook.
    WebhookStatus {
        Pending: PENDING,
        Succeeded: SUCCEEDED,
        Failed: FAILED,
        Canceled: CANCELED,
        NotProvided: NO_WEBHOOK_PROVIDED,
    }
}

named! {
    /// Why a request failed.
    FailureCode {
        PredictError: MODEL_PREDICT_ERROR,
        PredictTimeout: MODEL_PREDICT_TIMEOUT,
        NotReady: MODEL_NOT_READY,
        DoesNotExist: MODEL_DOES_NOT_EXIST,
        Unavailable: MODEL_UNAVAILABLE,
        InvalidInput: MODEL_INVALID_INPUT,
        NotSupported: ASYNC_REQUEST_NOT_SUPPORTED,
        Internal: INTERNAL_SERVER_ERROR,
    }
}

/// Why a request failed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    pub message: String,
}

/// A request as its sender sees it.
#[derive(Debug)]
pub struct AsyncRequest {
    pub id: String,
    pub model_id: String,
    /// The deployment that was called. For a Chain, it is the deployment of the Chain.
    pub deployment_id: String,
    pub chain_id: Option<String>,
    pub status: Status,
    pub webhook_status: WebhookStatus,
    pub failure: Option<Failure>,
    pub created_at: Time,
    pub status_at: Time,
}

/// What a sender asks for besides the input of the model.
#[derive(Debug)]
pub struct Terms {
    pub priority: i64,
    pub seconds_in_queue_max: i64,
    /// How a failed call is tried again. `None`: it is tried once.
    pub retries: Option<Retries>,
    pub webhook: Option<RemoteUrl>,
}

/// How a failed call is tried again: the pause doubles after each attempt.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Retries {
    pub attempts_max: u32,
    pub initial_delay_millis: u64,
    pub delay_millis_max: u64,
}

/// How many requests of a deployment wait, and how many are in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueLength {
    pub queued: i64,
    pub in_progress: i64,
}

impl Terms {
    /// Checks what a sender asks for and fills in the defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names the field that is out of bounds.
    pub fn new(
        priority: Option<i64>,
        seconds_in_queue_max: Option<i64>,
        retries: Option<Retries>,
        webhook: Option<RemoteUrl>,
    ) -> Result<Terms, Error> {
        let seconds = seconds_in_queue_max.unwrap_or(SECONDS_IN_QUEUE);
        within("max_time_in_queue_seconds", seconds, SECONDS_IN_QUEUE_MIN, SECONDS_IN_QUEUE_MAX)?;
        let priority = priority.unwrap_or(0);
        within("priority", priority, 0, PRIORITY_MAX)?;
        Ok(Terms { priority, seconds_in_queue_max: seconds, retries, webhook })
    }
}

impl Retries {
    /// Checks how a sender asks a failed call to be tried again and fills in the defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] that names the field that is out of bounds.
    pub fn new(
        attempts_max: Option<i64>,
        initial_delay_millis: Option<i64>,
        delay_millis_max: Option<i64>,
    ) -> Result<Retries, Error> {
        let attempts = attempts_max.unwrap_or(3);
        let (initial, delay) = (initial_delay_millis.unwrap_or(1000), delay_millis_max.unwrap_or(5000));
        within("inference_retry_config.max_attempts", attempts, 1, ATTEMPTS_MAX)?;
        within("inference_retry_config.initial_delay_ms", initial, 0, INITIAL_DELAY_MILLIS_MAX)?;
        within("inference_retry_config.max_delay_ms", delay, 0, DELAY_MILLIS_MAX)?;
        let unsigned = |number: i64| u64::try_from(number).expect("the bounds begin at zero");
        Ok(Retries {
            attempts_max: u32::try_from(attempts).expect("the bounds are small"),
            initial_delay_millis: unsigned(initial),
            delay_millis_max: unsigned(delay),
        })
    }

    /// The pause after this attempt, the first being 1. `None`: it was the last.
    pub fn pause_millis(&self, attempt: u32) -> Option<u64> {
        let doubled = || self.initial_delay_millis.saturating_mul(1 << (attempt - 1).min(32));
        (attempt < self.attempts_max).then(|| doubled().min(self.delay_millis_max))
    }
}

fn within(field: &str, value: i64, min: i64, max: i64) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::field(field, &format!("must be a number from {min} to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_maximum() {
        let retries = Retries::new(Some(5), Some(1000), Some(3000)).unwrap();
        let pauses: Vec<_> = (1..=5).map(|attempt| retries.pause_millis(attempt)).collect();
        assert_eq!(pauses, [Some(1000), Some(2000), Some(3000), Some(3000), None]);
        assert_eq!(Retries::new(Some(1), None, None).unwrap().pause_millis(1), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (priority, seconds, name) in
            [(Some(3), None, "priority"), (Some(-1), None, "priority"), (None, Some(9), "max_time_in_queue_seconds")]
        {
            let refused = Terms::new(priority, seconds, None, None).unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
        assert!(Retries::new(Some(11), None, None).is_err() && Retries::new(Some(0), None, None).is_err());
    }
}
