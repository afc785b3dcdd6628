//! Signing in and out.

use askama::Template;

use crate::api::sign_in::{Answer, Attempt, confirm, sign_in};
use crate::api::{App, Reply, Request};
use crate::console::context::{PageContext, to};
use crate::console::form::Form;
use crate::console::rendering::{html, sentence};
use crate::console::{assets, session, view};
use crate::db::sessions::{self, Ticket};
use crate::db::{Now, Tx};
use crate::domain::second_factor::Code;
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

/// The second step of signing in: the code of a person who has given their password.
#[derive(Template)]
#[template(path = "code.html")]
struct CodeForm {
    files: Files,
    host: String,
    ticket: String,
    next: String,
    problem: Option<String>,
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
        "joined" => Some("You accepted the invitation. Sign in with your password and a code."),
        "password" => Some("Your new password is set. Sign in with it."),
        _ => None,
    };
    page(ctx.request, "", ctx.query("next"), None, done)
}

/// Signs a person in: by their password, or by the code that follows it. Hashing happens before anything is written, so this is not a handler of a transaction.
///
/// # Errors
///
/// Those of [`sign_in`] and [`confirm`]. A wrong password or code is no error: the page is shown again.
pub async fn submit(app: &App, now: Now, request: &Request, form: &Form) -> Result<Reply, Error> {
    if let Some(ticket) = form.given("ticket") {
        return submit_code(app, now, request, form, &Ticket::of(ticket)).await;
    }
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
        Ok(Answer::CodeNeeded(ticket)) => code_page(request, &ticket, next, None),
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

async fn submit_code(app: &App, now: Now, request: &Request, form: &Form, ticket: &Ticket) -> Result<Reply, Error> {
    let next = form.text("next");
    let again = |problem: String, status: u16| {
        code_page(request, ticket, next, Some(problem)).map(|reply| Reply { status, ..reply })
    };
    let code = match Code::parse(form.text("code")) {
        Ok(code) => code,
        Err(error) => return again(sentence(&error), 401),
    };
    match confirm(app, ticket.clone(), code, session::place(request), now).await {
        Ok(Answer::SignedIn(new)) => {
            let mut reply = to(here_alone(next));
            session::give(&mut reply, request, &new);
            Ok(reply)
        }
        Ok(Answer::Wrong | Answer::CodeNeeded(_)) => again(
            "The code is wrong or used up, or more than 5 minutes have passed since the password.".to_owned(),
            401,
        ),
        Err(error @ (Error::RateLimited { .. } | Error::Forbidden(_))) => again(sentence(&error), error.status().0),
        Err(error) => Err(error),
    }
}

fn code_page(request: &Request, ticket: &Ticket, next: &str, problem: Option<String>) -> Result<Reply, Error> {
    html(&CodeForm {
        files: Files::here(),
        host: request.base_url.authority().to_owned(),
        ticket: ticket.as_str().to_owned(),
        next: here_alone(next).to_owned(),
        problem,
    })
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
