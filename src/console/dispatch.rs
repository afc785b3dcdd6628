//! The steps that every request for a page goes through.
//!
//! The steps are those of the API: find the page, open a transaction, find the session, obtain the proof, run the
//! handler, commit, and render. Before a form writes, its origin and its token are checked. A form that is refused has
//! written nothing, and its page is shown again with the reason.

use std::sync::Arc;

use crate::api::passwords::{self, Outcome};
use crate::api::path_template;
use crate::api::{App, Listener, OPEN_BODY_BYTES_MAX, Reply, Request};
use crate::console::context::{Given, PageContext, Refused, path_of, to};
use crate::console::form::{FORM_BYTES_MAX, Form};
use crate::console::page::{Deletes, FindWork, Row, Run, Stands};
use crate::console::session::{self, Session};
use crate::console::{assets, errors, pages, rendering, sign_in};
use crate::db::{Now, Tx, sessions};
use crate::error::Error;
use crate::policy::Operator;

/// What a page may load and where it may be shown: from here alone, and in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Whether a request is for the console and not for an API.
pub fn serves(request: &Request) -> bool {
    let first = request.path.first().map(String::as_str).unwrap_or_default();
    request.from == Listener::Network && request.callee.is_none() && pages::FIRST_SEGMENTS.contains(&first)
}

/// How many bytes the body of a request may have. Without a cookie, it is what anyone may send.
pub fn body_bytes_max(request: &Request) -> usize {
    if request.browser.cookie.is_some() { FORM_BYTES_MAX } else { OPEN_BODY_BYTES_MAX }
}

/// Carries out a request.
pub async fn answer(app: &Arc<App>, request: Request) -> Reply {
    let now = Now { time: request.at, seed: request.seed };
    if let [folder, name] = &request.path[..]
        && folder == "assets"
        && request.method == "GET"
    {
        request.log.note_template("/assets/{name}");
        return assets::find(name).unwrap_or_else(|| rendering::plain(404, "There is no such file."));
    }
    let request = Arc::new(request);
    let mut reply = match pages::find(&request.method, &request.path) {
        Ok(row) => {
            request.log.note_template(row.page.template);
            carry_out(app, now, row, &request).await
        }
        Err(error) => failed(app, now, &request, &error),
    };
    session::keep_up(app, now, &request, &mut reply).await;
    app.mark_ended(now, &request.log).await;
    protected(reply)
}

async fn carry_out(app: &Arc<App>, now: Now, row: &'static Row, request: &Arc<Request>) -> Reply {
    let form = match check_origin(request).and_then(|()| form_of(row, request)) {
        Ok(form) => Arc::new(form),
        Err(error) => return failed(app, now, request, &error),
    };
    let done = match row.page.run {
        Run::Read => app.db.read(now, |tx| {
            answer_in(
                tx,
                row,
                request,
                &Given { operator: operator(app, row, request, now).as_ref(), ..Given::of(&form) },
            )
        }),
        Run::Search => search(app, now, row, request).await,
        Run::Write => write(app, now, row, request, &form, Outcome::Nothing).await,
        Run::Password(find_work) => with_password(app, now, row, request, &form, find_work).await,
        Run::SignIn => sign_in::submit(app, now, request, &form).await,
    };
    done.unwrap_or_else(|error| match row.page.stands {
        Some(stands) if comes_back(&error) => shown_again(app, now, row, stands, request, &form, &error),
        Some(_) | None => failed(app, now, request, &error),
    })
}

fn form_of(row: &Row, request: &Request) -> Result<Form, Error> {
    if row.page.method == "GET" {
        return Ok(Form::default());
    }
    Form::parse(request.content_type.as_deref(), &request.body)
}

async fn search(app: &Arc<App>, now: Now, row: &'static Row, request: &Arc<Request>) -> Result<Reply, Error> {
    let session = app.db.read(now, |tx| session::find(tx, request))?.ok_or(Error::Unauthenticated)?;
    let (on_pool, request) = (Arc::clone(app), Arc::clone(request));
    let read = move || on_pool.db.read(now, |tx| answer_in(tx, row, &request, &Given::of(&Form::default())));
    app.pool.run(session.caller().org_id.as_str(), 0, read).await
}

async fn write(
    app: &App,
    now: Now,
    row: &'static Row,
    request: &Arc<Request>,
    form: &Arc<Form>,
    password: Outcome,
) -> Result<Reply, Error> {
    let (request, form, operator) = (Arc::clone(request), Arc::clone(form), operator(app, row, request, now));
    let work = move |tx: &Tx| {
        let given = Given { password: &password, operator: operator.as_ref(), ..Given::of(&form) };
        answer_in(tx, row, &request, &given)
    };
    app.db.write(now, work).await
}

/// Runs a handler that needs work on a password. Hashing is slow, so it is done before the write transaction.
async fn with_password(
    app: &App,
    now: Now,
    row: &'static Row,
    request: &Arc<Request>,
    form: &Arc<Form>,
    find_work: FindWork,
) -> Result<Reply, Error> {
    let work = app.db.read(now, |tx| {
        let session = session::find(tx, request)?;
        let operator = operator(app, row, request, now);
        let given = Given { operator: operator.as_ref(), ..Given::of(form) };
        let ctx = PageContext { request, path: &row.path, session: session.as_ref(), given: &given };
        find_work(tx, session.as_ref().map(Session::caller), &ctx)
    })?;
    let outcome = match work {
        None => Outcome::Nothing,
        Some(work) => passwords::work(&app.guesses, work, now).await?.0,
    };
    if matches!(outcome, Outcome::Wrong) {
        request.log.note_wrong_password();
    }
    write(app, now, row, request, form, outcome).await
}

/// The proof that the link of the first run gives to whoever holds it.
fn operator(app: &App, row: &Row, request: &Request, now: Now) -> Option<Operator> {
    let at = row.path.position("setup_token")?;
    app.first_run.open(&request.path[at], now.time)
}

/// Finds the session, obtains the proof and runs the handler.
fn answer_in(tx: &Tx, row: &Row, request: &Request, given: &Given) -> Result<Reply, Error> {
    let session = session::find(tx, request)?;
    let session = session.as_ref();
    let caller = session.map(Session::caller);
    if row.page.method == "POST" {
        check_token(tx, session, request, given.form)?;
        if let Some(caller) = caller {
            tx.charge_to(caller);
        }
        if row.page.deletes == Deletes::Yes {
            tx.frees_space()?;
        }
    }
    let ctx = PageContext { request, path: &row.path, session, given };
    let answer = || row.page.access.answer(tx, caller, &ctx);
    if row.page.method == "POST" && caller.is_some() { tx.unless_unchanged(answer) } else { answer() }
}

/// Refuses a form that another site sent. Browsers say so in `Sec-Fetch-Site`; older ones at least in `Origin`.
fn check_origin(request: &Request) -> Result<(), Error> {
    let browser = &request.browser;
    if request.method == "GET" {
        return Ok(());
    }
    let from_here = match (browser.fetch_site.as_deref(), browser.origin.as_deref()) {
        (Some("same-origin"), _) => true,
        // A person who presses a button of the browser itself, such as reload.
        (Some("none"), None) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => is_own(request, origin),
        (None, None) => false,
    };
    if from_here {
        return Ok(());
    }
    Err(Error::Forbidden(
        "the form was not sent by a page of this site: open the page here and send it again".to_owned(),
    ))
}

fn is_own(request: &Request, origin: &str) -> bool {
    origin == request.base_url.to_string()
}

/// Refuses a form that does not carry the token of its session. A form that needs no session carries none.
fn check_token(tx: &Tx, session: Option<&Session>, request: &Request, form: &Form) -> Result<(), Error> {
    let Some(session) = session else { return Ok(()) };
    let header = request.browser.csrf.as_deref();
    let sent = form.given("csrf").or(header).unwrap_or_default();
    if sessions::is_form_token(tx, &session.signed_in.session, sent) {
        return Ok(());
    }
    Err(Error::Forbidden(
        "the form belongs to another session, perhaps because you signed in again: open the page and send it again"
            .to_owned(),
    ))
}

/// Whether a refused form is shown again, so that what was typed can be corrected.
fn comes_back(error: &Error) -> bool {
    match error {
        Error::Invalid(_)
        | Error::Conflict(_)
        | Error::RateLimited { .. }
        | Error::Busy { .. }
        | Error::QuotaExceeded(_)
        | Error::GrowthLimited { .. }
        | Error::StorageFull => true,
        Error::Unauthenticated
        | Error::Forbidden(_)
        | Error::NotFound(_)
        | Error::MethodNotAllowed(_)
        | Error::RequestTimeout
        | Error::TooLarge { .. }
        | Error::NotImplemented(_)
        | Error::Unavailable(_)
        | Error::Call(_)
        | Error::Unread
        | Error::Internal(_)
        | Error::Defect(_) => false,
    }
}

/// Shows the page of a refused form, with what was typed and the reason. A page that cannot be shown any more is refused
/// for its own reason.
fn shown_again(app: &App, now: Now, row: &Row, stands: Stands, request: &Request, form: &Form, error: &Error) -> Reply {
    request.log.note_failure(error);
    let about = path_template::parameters(row.page.template)
        .filter(|name| !path_template::parameters(stands.page).any(|of_page| of_page == *name))
        .last()
        .and_then(|name| Some(request.path[row.path.position(name)?].clone()));
    let refused = Refused {
        dialog: stands.dialog,
        about: about.unwrap_or_default(),
        message: rendering::sentence(error),
        status: error.status().0,
    };
    let page = pages::of_template(stands.page);
    let path = stands.page.trim_start_matches('/').split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let at = name.and_then(|name| row.path.position(name));
        at.map_or_else(|| segment.to_owned(), |at| request.path[at].clone())
    });
    let asked = Request {
        method: "GET".to_owned(),
        base_url: request.base_url.clone(),
        s3_hosts: request.s3_hosts,
        callee: None,
        path: path.collect(),
        query: Vec::new(),
        authorization: None,
        user_agent: None,
        content_type: None,
        mailing: request.mailing,
        browser: request.browser.clone(),
        body: Default::default(),
        from: request.from,
        at: request.at,
        seed: request.seed,
        log: Arc::clone(&request.log),
    };
    let operator = operator(app, page, &asked, now);
    let given = Given { refused: Some(&refused), operator: operator.as_ref(), ..Given::of(form) };
    let shown = app.db.read(now, |tx| answer_in(tx, page, &asked, &given));
    match shown {
        Ok(reply) => Reply { status: refused.status, ..reply },
        Err(error) => failed(app, now, &asked, &error),
    }
}

/// The reply to a request that is refused: the way to sign in, or a page that says what to do.
fn failed(app: &App, now: Now, request: &Request, error: &Error) -> Reply {
    request.log.note_failure(error);
    let shown = app.db.read(now, |tx| {
        let session = session::find(tx, request)?;
        match (error, &session) {
            (Error::Unauthenticated, _) => Ok(to_sign_in(request)),
            _ => errors::page(tx, session.as_ref(), error, request),
        }
    });
    shown.unwrap_or_else(|_| rendering::plain(500, "Something failed here. Try again; the server's log has the cause."))
}

/// Leads to the sign-in page, and back afterwards.
fn to_sign_in(request: &Request) -> Reply {
    let back = if request.method == "GET" { path_of(&request.path) } else { String::new() };
    match back.as_str() {
        "" | "/" => to("/sign-in"),
        back => to(&format!("/sign-in?next={back}")),
    }
}

fn protected(mut reply: Reply) -> Reply {
    reply.headers.push(("content-security-policy", POLICY.to_owned()));
    reply.headers.push(("referrer-policy", "no-referrer".to_owned()));
    reply.headers.push(("x-frame-options", "DENY".to_owned()));
    reply.headers.push(("cross-origin-opener-policy", "same-origin".to_owned()));
    reply
}
