//! How the operator's commands ask: over the socket of a running server, or here, where none runs.
//!
//! Both go the one way of every request and differ in nothing but the listener.
//!
//! A command that prints what is shown only once asks twice. The first request is a rehearsal: it does everything, answers
//! and is rolled back. The command prints that answer. The second one, with the same seed and the same time, comes to the
//! same answer, or is rolled back too. So what cannot be printed is never made, and the writer waits for no terminal.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;

use crate::api::{self, App, Listener, Reply, Request, S3Hosts};
use crate::db::{Now, Tx};
use crate::domain::{BaseUrl, Time};
use crate::error::Error;
use crate::token::bytes_of_hex;

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody listens: nothing was sent.
    NobodyThere(std::io::Error),
    /// It broke off: what was asked may have been done.
    BrokenOff(String),
}

/// Which of the two requests this is.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Do it all and roll it back.
    Rehearse,
    /// Do it, if it comes to this answer.
    Perform(AnswerHash),
    /// Do it, whatever it answers.
    Do,
}

/// Of the body of a rehearsal's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHash([u8; 32]);

impl AnswerHash {
    pub fn of(body: &[u8]) -> AnswerHash {
        AnswerHash(*blake3::hash(body).as_bytes())
    }
}

impl Step {
    /// As the operator's request says it.
    pub(super) fn of(request: &Request) -> Result<Step, Error> {
        if request.from != Listener::Operator {
            return Ok(Step::Do);
        }
        match (word(request, "rehearse"), word(request, "as_rehearsed")) {
            (None, None) => Ok(Step::Do),
            (Some("true"), None) => Ok(Step::Rehearse),
            (None, Some(hash)) => Ok(Step::Perform(AnswerHash(bytes_of(hash)?))),
            _ => Err(malformed()),
        }
    }

    /// Runs `work` as this step does.
    pub(super) fn take(self, tx: &Tx, work: impl FnOnce() -> Result<Reply, Error>) -> Result<Reply, Error> {
        match self {
            Step::Do => work(),
            Step::Rehearse => match tx.attempt(|| Err::<Infallible, _>(work()))? {
                Err(rehearsed) => rehearsed,
            },
            Step::Perform(expected) => {
                let reply = work()?;
                if AnswerHash::of(&reply.body) == expected {
                    return Ok(reply);
                }
                Err(Error::conflict("something else has changed what this comes to: nothing was made; try again"))
            }
        }
    }
}

/// The now that the operator's request names, which both of its steps share.
pub(super) fn now(request: &Request) -> Result<Now, Error> {
    let drawn = Now { time: request.at, seed: request.seed };
    if request.from != Listener::Operator {
        return Ok(drawn);
    }
    match (word(request, "at"), word(request, "seed")) {
        (None, None) => Ok(drawn),
        (Some(at), Some(seed)) => Ok(Now { time: Time(at.parse().map_err(|_| malformed())?), seed: bytes_of(seed)? }),
        _ => Err(malformed()),
    }
}

fn word<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.query.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
}

fn bytes_of(hex: &str) -> Result<[u8; 32], Error> {
    bytes_of_hex(hex).and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)
}

fn malformed() -> Error {
    Error::Invalid("the query is not one that guildhall's own commands send".to_owned())
}

/// The query that says this.
fn query(now: Now, step: Step) -> Vec<(String, String)> {
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut query = vec![("at".to_owned(), now.time.0.to_string()), ("seed".to_owned(), hex(&now.seed))];
    match step {
        Step::Do => {}
        Step::Rehearse => query.push(("rehearse".to_owned(), "true".to_owned())),
        Step::Perform(AnswerHash(hash)) => query.push(("as_rehearsed".to_owned(), hex(&hash))),
    }
    query
}

/// Asks an app of this process, and has it done.
pub fn ask_here(app: &Arc<App>, now: Now, path: &str, body: &[u8]) -> std::io::Result<Answered> {
    step_here(app, now, Step::Do, path, body)
}

/// Asks an app of this process for one of the two steps.
pub fn step_here(app: &Arc<App>, now: Now, step: Step, path: &str, body: &[u8]) -> std::io::Result<Answered> {
    let request = Request {
        method: "POST".to_owned(),
        // Nobody listens here yet: links lead to where a server listens by default.
        base_url: app
            .reverse_proxy
            .public
            .clone()
            .unwrap_or_else(|| BaseUrl::of_host("localhost:8000").expect("it is a host")),
        s3_hosts: S3Hosts::default(),
        is_for_model: false,
        path: path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
        query: query(now, step),
        authorization: None,
        user_agent: None,
        content_type: Some("application/json".to_owned()),
        body: Bytes::copy_from_slice(body),
        from: Listener::Operator,
        at: now.time,
        seed: now.seed,
        log: Arc::default(),
    };
    let Reply { status, body, .. } = runtime()?.block_on(api::answer(app, request));
    Ok(Answered { status, body })
}

/// Asks the server that listens on this socket for one of the two steps.
pub fn step_there(socket: &Path, now: Now, step: Step, path: &str, body: &[u8]) -> Result<Answered, Failure> {
    let query = query(now, step).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let runtime = runtime().map_err(Failure::NobodyThere)?;
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::connect(socket).await.map_err(Failure::NobodyThere)?;
        send(socket, &format!("{path}?{query}"), body).await.map_err(|cause| Failure::BrokenOff(cause.to_string()))
    })
}

async fn send(socket: tokio::net::UnixStream, target: &str, body: &[u8]) -> Result<Answered, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = hyper::Request::post(target)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .expect("a path and headers of ours");
    tokio::spawn(connection); // what goes wrong with it, the exchange is told
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    Ok(Answered { status, body: response.into_body().collect().await?.to_bytes().to_vec() })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
