//! Signing in and out.

use askama::Template;

use crate::api::sign_in::{Answer, Attempt, sign_in};
use crate::api::{App, Reply, Request};
use crate::console::context::{PageContext, to};
use crate::console::form::Form;
use crate::console::rendering::{html, sentence};
use crate::console::{assets, session, view};
use crate::db::sessions;
use crate::db::{Now, Tx};
use crate::domain::{Email, Password};
use crate::error::Error;
use crate::policy::Caller;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    files: Files,
    host: String,
    email: String,
    next: String,
    problem: Option<String>,
    done: Option<&'static str>,
}

/// The files of a page without a frame.
pub struct Files {
    pub style: String,
    pub script: String,
    pub mark: String,
}

impl Files {
    pub fn here() -> Files {
        Files { style: assets::style(), script: assets::script(), mark: assets::mark() }
    }
}

pub fn show(_: &Tx, caller: Option<&Caller>, ctx: &PageContext) -> Result<Reply, Error> {
    if caller.is_some() {
        return Ok(to("/"));
    }
    let done = match ctx.query("done") {
        "signed-out" => Some("You are signed out."),
        "password" => Some("Your new password is set. Sign in with it."),
        _ => None,
    };
    page(ctx.request, "", ctx.query("next"), None, done)
}

/// Signs a person in. Hashing happens before anything is written, so this is not a handler of a transaction.
///
/// # Errors
///
/// Those of [`sign_in`]. A wrong password is no error: the page is shown again.
pub async fn submit(app: &App, now: Now, request: &Request, form: &Form) -> Result<Reply, Error> {
    let (typed, next) = (form.text("email"), form.text("next"));
    let wrong = || {
        let sentence = "The e-mail address or the password is wrong.".to_owned();
        page(request, typed, next, Some(sentence), None).map(|reply| Reply { status: 401, ..reply })
    };
    let (Ok(email), Ok(password)) = (Email::parse(typed), Password::parse(form.text("password").to_owned())) else {
        return wrong();
    };
    let place = session::place(request);
    match sign_in(app, Attempt { email, password, place }, now).await {
        Ok(Answer::SignedIn(new)) => {
            let mut reply = to(here_alone(next));
            session::give(&mut reply, request, &new);
            Ok(reply)
        }
        Ok(Answer::Wrong) => {
            request.log.note_wrong_password();
            wrong()
        }
        Err(error @ (Error::RateLimited { .. } | Error::Forbidden(_))) => {
            let status = error.status().0;
            let again = page(request, typed, next, Some(sentence(&error)), None)?;
            Ok(Reply { status, ..again })
        }
        Err(error) => Err(error),
    }
}

/// Ends the session.
pub fn sign_out(tx: &Tx, _: &Caller, ctx: &PageContext) -> Result<Reply, Error> {
    let session = ctx.session.ok_or(Error::Unauthenticated)?;
    sessions::end(tx, &session.signed_in.session)?;
    let mut reply = to("/sign-in?done=signed-out");
    session::take(&mut reply, ctx.request);
    Ok(reply)
}

/// The path to return to. Anything that could lead to another site is ignored.
fn here_alone(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_path { next } else { "/" }
}

fn page(
    request: &Request,
    email: &str,
    next: &str,
    problem: Option<String>,
    done: Option<&'static str>,
) -> Result<Reply, Error> {
    html(&SignIn {
        files: Files::here(),
        host: request.base_url.authority().to_owned(),
        email: email.to_owned(),
        next: here_alone(next).to_owned(),
        problem,
        done,
    })
}

#[cfg(test)]
mod tests {
    use super::here_alone;

    #[test]
    fn the_way_back_stays_here() {
        assert_eq!(here_alone("/t/x/models"), "/t/x/models");
        for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "javascript:x"] {
            assert_eq!(here_alone(elsewhere), "/");
        }
    }
}
