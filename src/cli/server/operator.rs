//! Sends a command's request to the operator's routes: through the socket of a running server, or else in this process, with
//! the data directory locked.
//!
//! Keys and links are shown before they are created: see [`crate::api::operator`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::operator::{AnswerHash, Mode};
use crate::api::{App, ReverseProxy};
use crate::cli::{Exit, Failure, Opened, not_taken, now, open, tell_of_key};
use crate::db::Now;
use crate::db::directory::{Directory, Refusal};
use crate::domain::quotas::Settings;
use crate::server::operator::{self, Answered, Asked};

/// How long to wait for another process that holds the directory without answering, such as a server that starts or stops.
const HELD_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Posts a body to the server of the directory, or runs the request in this process. `show` prints the answer; if printing
/// fails, nothing is created.
pub fn ask(
    path: &Path,
    route: &str,
    body: &[u8],
    show: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    ask_for(path, &Asked { method: "POST", path: route, body }, show)
}

/// Sends a request to the server of the directory, or runs it in this process. `show` prints the answer; if printing fails,
/// nothing is changed.
pub fn ask_for(path: &Path, asked: &Asked, show: impl FnOnce(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let now = now();
    match reach(path, now, asked)? {
        Reached::Here(directory) => ask_in_process(path, *directory, asked, show),
        Reached::There(dry_run) => {
            let socket = Directory::operator_socket(path);
            let perform = |mode| operator::ask_there(&socket, now, mode, asked).map_err(broken_off);
            show_and_perform(&done(dry_run)?, show, perform)
        }
    }
}

/// Posts a body in this process, which has locked the directory. If it fails, files created for it are removed.
pub fn ask_here(
    path: &Path,
    directory: Directory,
    route: &str,
    body: &[u8],
    show: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    ask_in_process(path, directory, &Asked { method: "POST", path: route, body }, show)
}

fn ask_in_process(
    path: &Path,
    directory: Directory,
    asked: &Asked,
    show: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Opened { app, has_new_key } = open(path, directory, ReverseProxy::default(), Settings::default(), None)?;
    let done = ask_app_for(&app, asked, show);
    match &done {
        Ok(()) => tell_of_key(path, has_new_key),
        Err(_) => abandon(app),
    }
    done
}

/// Closes an installation in which nothing was created, and removes it if this process created it.
pub fn abandon(app: Arc<App>) {
    if let Some(app) = Arc::into_inner(app) {
        app.db.abandon();
    }
}

pub fn ask_app(
    app: &Arc<App>,
    route: &str,
    body: &[u8],
    show: impl FnOnce(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    ask_app_for(app, &Asked { method: "POST", path: route, body }, show)
}

fn ask_app_for(app: &Arc<App>, asked: &Asked, show: impl FnOnce(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let now = now();
    let ask = |mode| {
        let answered = operator::ask_here(app, now, mode, asked);
        answered.map_err(|cause| Failure::new(format!("cannot begin: {cause}")))
    };
    show_and_perform(&done(ask(Mode::DryRun)?)?, show, ask)
}

/// Sends the second request, after the answer to the first was shown.
fn show_and_perform(
    dry_run: &[u8],
    show: impl FnOnce(&[u8]) -> Result<(), Failure>,
    perform: impl FnOnce(Mode) -> Result<Answered, Failure>,
) -> Result<(), Failure> {
    show(dry_run)
        .map_err(|Failure { exit, message }| Failure { exit, message: format!("{message}: nothing was made") })?;
    let performed = perform(Mode::Expecting(AnswerHash::of(dry_run)))?;
    done(performed).map(drop).map_err(|Failure { exit, message }| {
        // The disk may have stored it although writing failed.
        let what_is = match exit {
            Exit::Server => "try whether what was printed works",
            Exit::Failed | Exit::NotAllowed | Exit::NotFound | Exit::Refused => {
                "nothing was made, what was printed is void"
            }
        };
        Failure { exit, message: format!("{message}: {what_is}") }
    })
}

enum Reached {
    /// No server has the directory, and this process has locked it.
    Here(Box<Directory>),
    /// A server has the directory, and it has made the dry run.
    There(Answered),
}

fn reach(path: &Path, now: Now, asked: &Asked) -> Result<Reached, Failure> {
    let deadline = Instant::now() + HELD_MAX;
    loop {
        let refusal = match Directory::take(path) {
            Ok(directory) => return Ok(Reached::Here(Box::new(directory))),
            Err(refusal) => refusal,
        };
        if !matches!(refusal, Refusal::Held(_)) {
            return Err(not_taken(path, refusal));
        }
        match operator::ask_there(&Directory::operator_socket(path), now, Mode::DryRun, asked) {
            Ok(dry_run) => return Ok(Reached::There(dry_run)),
            Err(operator::Failure::NobodyThere(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(operator::Failure::NobodyThere(cause)) => {
                let Failure { exit, message } = not_taken(path, refusal);
                return Err(Failure { exit, message: format!("{message}, which does not answer: {cause}") });
            }
            Err(operator::Failure::BrokenOff(cause)) => {
                return Err(Failure::new(format!("the server broke off, and nothing was made: {cause}")));
            }
        }
    }
}

fn broken_off(failure: operator::Failure) -> Failure {
    Failure::new(match failure {
        operator::Failure::NobodyThere(cause) => {
            format!("the server is gone ({cause}): nothing was made, and what was printed is void")
        }
        operator::Failure::BrokenOff(cause) => {
            format!("the server broke off ({cause}): try whether what was printed works")
        }
    })
}

fn done(answered: Answered) -> Result<Vec<u8>, Failure> {
    if answered.status == 200 { Ok(answered.body) } else { Err(Failure::refused(&answered)) }
}
