//! Pages for requests that are refused. They say what to do next.

use askama::Template;

use crate::api::{Reply, Request};
use crate::console::frame::{Frame, Nav};
use crate::console::rendering::{html, sentence};
use crate::console::session::Session;
use crate::console::{assets, view};
use crate::db::Tx;
use crate::error::Error;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    problem: Problem,
}

#[derive(Template)]
#[template(path = "error_alone.html")]
struct ErrorAlone {
    style: String,
    mark: String,
    problem: Problem,
}

struct Problem {
    status: u16,
    title: &'static str,
    sentence: String,
    request_id: Option<String>,
}

impl Problem {
    fn of(error: &Error, request: &Request) -> Problem {
        let (status, _) = error.status();
        let (title, sentence) = match error {
            Error::NotFound(_) => (
                "There is nothing here for you",
                "The page does not exist, or it belongs to a team that you are not in.".to_owned(),
            ),
            Error::Forbidden(_) => ("You may look, not do this", sentence(error)),
            Error::MethodNotAllowed(_) => {
                ("This address takes no form", "Go back and try again from the page.".to_owned())
            }
            Error::Internal(_) | Error::Defect(_) | Error::Unread => {
                ("Something failed here", "Nothing was changed. Try again; the server's log has the cause.".to_owned())
            }
            Error::Unavailable(_)
            | Error::Call(_)
            | Error::Busy { .. }
            | Error::RateLimited { .. }
            | Error::GrowthLimited { .. } => ("Not just now", sentence(error)),
            Error::StorageFull => ("The disk is full", sentence(error)),
            Error::Invalid(_)
            | Error::Unauthenticated
            | Error::RequestTimeout
            | Error::Conflict(_)
            | Error::TooLarge { .. }
            | Error::QuotaExceeded(_)
            | Error::NotImplemented(_) => ("This cannot be done", sentence(error)),
        };
        let request_id = (status >= 500).then(|| request.log.id().to_owned());
        Problem { status, title, sentence, request_id }
    }
}

/// The page of a refusal, inside the frame if somebody is signed in.
///
/// # Errors
///
/// Those of [`Frame::of_session`].
pub fn page(tx: &Tx, session: Option<&Session>, error: &Error, request: &Request) -> Result<Reply, Error> {
    let problem = Problem::of(error, request);
    let status = problem.status;
    let mut reply = match session {
        Some(session) => {
            let frame = Frame::of_session(tx, session, Nav::Nowhere, None)?;
            html(&ErrorPage { frame, problem })?
        }
        None => html(&ErrorAlone { style: assets::style(), mark: assets::mark(), problem })?,
    };
    reply.status = status;
    if let Some(seconds) = error.retry_after_seconds() {
        reply.headers.push(("retry-after", seconds.to_string()));
    }
    if let Error::MethodNotAllowed(allowed) = error {
        reply.headers.push(("allow", allowed.clone()));
    }
    Ok(reply)
}
