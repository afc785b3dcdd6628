//! How the writes of the operator's commands are carried out.
//!
//! A command that prints something that is shown only once, such as a key, sends two requests. The first is a dry run:
//! it does everything, answers and is rolled back. The command prints this answer. The second request has the same seed
//! and the same time. If its answer is not the same, it is rolled back too. Therefore nothing is created that cannot be
//! printed, and the writer never waits for a terminal.

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
    /// Carry out the write and roll it back.
    DryRun,
    /// Carry out the write, and roll it back if the answer does not have this hash.
    Expecting(AnswerHash),
    /// Carry out the write, whatever the answer is.
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
    /// The mode that an operator's request names. Requests over the network name no mode and are direct.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the parameters are not those that guildhall's own commands send.
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
    ///
    /// # Errors
    ///
    /// The refusals of `work`, and [`Error::Conflict`] if the answer is not the expected one. The caller must then roll
    /// back.
    pub(super) fn run(self, tx: &Tx, work: impl FnOnce() -> Result<Reply, Error>) -> Result<Reply, Error> {
        match self {
            Mode::Direct => work(),
            Mode::DryRun => match tx.attempt(|| Err::<Infallible, _>(Box::new(work())))? {
                Err(answered) => *answered,
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

/// The time and the seed that an operator's request names: a dry run and the request after it share them. Without them,
/// `now`.
///
/// # Errors
///
/// [`Error::Invalid`] if the parameters are not those that guildhall's own commands send.
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

/// The parameters of the query that name this time, this seed and this mode.
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
