//! How a command asks what only the operator may: through the socket of a running server, otherwise by taking the data
//! directory itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::{Failure, moment, not_taken, open};
use crate::db::directory::{Directory, Refusal};
use crate::http::operator::{self, Answered};
use crate::http::{App, Front};

/// How long another process may hold the directory without answering: a server that starts or stops, another command.
const HELD_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Posts this to whoever serves the directory, or does it here. Answers the body of the reply.
pub fn ask(path: &Path, route: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let deadline = Instant::now() + HELD_MAX;
    loop {
        let refusal = match Directory::take(path) {
            Ok(directory) => return ask_here(path, directory, route, body),
            Err(refusal) => refusal,
        };
        if !matches!(refusal, Refusal::Held(_)) {
            return Err(not_taken(path, refusal));
        }
        match operator::ask_there(&Directory::operator_socket(path), route, body) {
            Ok(answered) => return done(answered),
            Err(operator::Failure::NobodyThere(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(operator::Failure::NobodyThere(cause)) => {
                let Failure { exit, message } = not_taken(path, refusal);
                return Err(Failure { exit, message: format!("{message}, which does not answer: {cause}") });
            }
            Err(operator::Failure::BrokenOff(cause)) => {
                return Err(Failure::new(format!("the server broke off, and may have done it or not: {cause}")));
            }
        }
    }
}

/// Does it here, in a directory that this process has taken.
pub fn ask_here(path: &Path, directory: Directory, route: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    ask_app(&open(path, directory, Front::default())?, route, body)
}

pub fn ask_app(app: &Arc<App>, route: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let answered = operator::ask_here(app, moment(), route, body);
    done(answered.map_err(|cause| Failure::new(format!("cannot begin: {cause}")))?)
}

fn done(answered: Answered) -> Result<Vec<u8>, Failure> {
    if answered.status == 200 { Ok(answered.body) } else { Err(Failure::refused(&answered)) }
}
