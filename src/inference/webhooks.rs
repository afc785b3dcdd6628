//! Delivers the answers of queued calls to the webhooks of their senders.
//!
//! Each attempt is recorded before it is made. Redirects are not followed, and little of an answer is read: its status
//! alone counts.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Request, header};

use super::{Calls, Sent, collect};
use crate::db::async_requests::work::{self, Delivery};
use crate::db::{Db, Now};
use crate::domain::remote_url::{PlainHttp, RemoteUrl};
use crate::error::Error;
use crate::seal::keyed_hash;
use crate::wire::async_requests::webhook_body;

/// How long a webhook may take to answer. It is less than the time after which a lost attempt is repeated.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Calls the webhook of a request once, if it is due, and records what came of it.
///
/// # Errors
///
/// [`Error`] of the database. An attempt that was recorded counts all the same.
pub async fn deliver(calls: &Calls, db: &Db, now: fn() -> Now, id: &str) -> Result<(), Error> {
    let request_id = id.to_owned();
    let Some(delivery) = db.write(now(), move |tx| work::begin_delivery(tx, &request_id)).await? else {
        return Ok(());
    };
    let body = webhook_body(&delivery.request, delivery.output.as_deref(), now().time);
    let why = match send(calls, &delivery, body).await {
        Ok(status) if (200..300).contains(&status) => None,
        Ok(status) => Some(format!("it answered with status {status}")),
        Err(cause) => Some(cause.to_string()),
    };
    let request_id = id.to_owned();
    match why {
        None => db.write(now(), move |tx| work::delivered(tx, &request_id)).await,
        Some(why) => {
            tracing::info!(request_id, why, "a webhook did not take an answer");
            db.write(now(), move |tx| work::not_delivered(tx, &request_id)).await
        }
    }
}

/// Sends the body, and returns the status of the answer.
async fn send(calls: &Calls, delivery: &Delivery, body: Vec<u8>) -> Result<u16, Error> {
    let url = RemoteUrl::parse("webhook_endpoint", &delivery.url, PlainHttp::OnLoopback)?;
    let deadline = Instant::now() + ANSWER_MAX;
    let response = calls.fetch(&url, PlainHttp::OnLoopback, request(delivery, body), deadline).await?;
    let status = response.status().as_u16();
    let _ = collect(response.into_body(), ANSWER_BYTES_MAX).await; // only its status counts
    Ok(status)
}

fn request(delivery: &Delivery, body: Vec<u8>) -> Request<Sent> {
    let mut request = Request::post("/")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("guildhall/", env!("CARGO_PKG_VERSION")))
        .header("x-baseten-request-id", &delivery.request.id);
    if let Some(secret) = &delivery.signing_secret {
        let hash = keyed_hash(secret.expose().as_bytes(), &body);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        request = request.header("x-baseten-signature", format!("v1={hash}"));
    }
    request.body(Sent::whole(Bytes::from(body))).expect("headers of ours")
}
