//! How the operator's commands have a write carried out.
//!
//! A command that prints what is shown only once sends two requests. The first is a dry run: it does everything, answers
//! and is rolled back. The command prints that answer. The second one has the same seed and the same time, so it comes to
//! the same answer, or is rolled back too. So nothing is made that cannot be printed, and the writer waits for no terminal.

use std::convert::Infallible;

use crate::api::reply::Reply;
use crate::api::request::{Listener, Request};
use crate::db::{Now, Tx};
use crate::domain::Time;
use crate::error::Error;
use crate::token::bytes_of_hex;

/// How a write is carried out.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Do all of it and roll it back.
    DryRun,
    /// Do it, if it comes to this answer.
    Expecting(AnswerHash),
    /// Do it, whatever it answers.
    Direct,
}

/// The hash of the body of a dry run's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHash([u8; 32]);

impl AnswerHash {
    pub fn of(body: &[u8]) -> AnswerHash {
        AnswerHash(*blake3::hash(body).as_bytes())
    }
}

impl Mode {
    /// The mode that the operator's request names. Requests over the network have none.
    pub(super) fn of(request: &Request) -> Result<Mode, Error> {
        if request.from != Listener::Operator {
            return Ok(Mode::Direct);
        }
        match (parameter(request, "dry_run"), parameter(request, "expected")) {
            (None, None) => Ok(Mode::Direct),
            (Some("true"), None) => Ok(Mode::DryRun),
            (None, Some(hash)) => Ok(Mode::Expecting(AnswerHash(bytes_of(hash)?))),
            _ => Err(malformed()),
        }
    }

    /// Runs `work` in this mode.
    pub(super) fn run(self, tx: &Tx, work: impl FnOnce() -> Result<Reply, Error>) -> Result<Reply, Error> {
        match self {
            Mode::Direct => work(),
            Mode::DryRun => match tx.attempt(|| Err::<Infallible, _>(work()))? {
                Err(answered) => answered,
            },
            Mode::Expecting(expected) => {
                let reply = work()?;
                if AnswerHash::of(&reply.body) == expected {
                    return Ok(reply);
                }
                Err(Error::conflict("something else has changed what this comes to: nothing was made; try again"))
            }
        }
    }
}

/// The time and the seed that the operator's request names, which a dry run and the request after it share; otherwise `now`.
pub(super) fn now(request: &Request, now: Now) -> Result<Now, Error> {
    if request.from != Listener::Operator {
        return Ok(now);
    }
    match (parameter(request, "at"), parameter(request, "seed")) {
        (None, None) => Ok(now),
        (Some(at), Some(seed)) => Ok(Now { time: Time(at.parse().map_err(|_| malformed())?), seed: bytes_of(seed)? }),
        _ => Err(malformed()),
    }
}

/// The query that names this time, this seed and this mode.
pub fn query(now: Now, mode: Mode) -> Vec<(String, String)> {
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut query = vec![("at".to_owned(), now.time.0.to_string()), ("seed".to_owned(), hex(&now.seed))];
    match mode {
        Mode::Direct => {}
        Mode::DryRun => query.push(("dry_run".to_owned(), "true".to_owned())),
        Mode::Expecting(AnswerHash(hash)) => query.push(("expected".to_owned(), hex(&hash))),
    }
    query
}

fn parameter<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.query.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

fn bytes_of(hex: &str) -> Result<[u8; 32], Error> {
    bytes_of_hex(hex).and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)
}

fn malformed() -> Error {
    Error::Invalid("the query is not one that guildhall's own commands send".to_owned())
}
