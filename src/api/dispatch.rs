//! The one path that every request takes.
//!
//! Find the route, open a transaction, authenticate the caller, obtain the proof, run the handler, commit, render. A
//! request that fails on the way has written nothing.

use std::sync::Arc;

use crate::api::body::{self, Body};
use crate::api::graphql::document::EXPANSION_MAX;
use crate::api::graphql::endpoint;
use crate::api::passwords::{self, Outcome};
use crate::api::request::{Ahead, Came};
use crate::api::rest::health;
use crate::api::routes::{self, Answer, Effect, Split};
use crate::api::{App, BODY_BYTES_MAX, Reply, Request, RequestContext, operator};
use crate::db::api_keys::LastUsed;
use crate::db::{self, Db, Now, Tx};
use crate::domain::Client;
use crate::error::Error;
use crate::policy::Caller;
use crate::token::PlainKey;

/// Refuses from its head alone what need not be read, and says how many bytes of a body may come.
///
/// # Errors
///
/// Whatever [`answer`] would refuse for any body: the route, the key, and what the key may do.
pub async fn admit(app: &App, request: &Request) -> Result<usize, Error> {
    let row = routes::find(request);
    request.log.note_route(row.as_ref().ok().map(|row| row.route), request);
    let bytes_max = row.as_ref().map_or(BODY_BYTES_MAX, |row| row.route.body_bytes_max());
    let now = Now { time: request.at, seed: request.seed };
    let admitted = app.db.read(now, |tx| {
        let caller = caller(tx, request)?.map(|(caller, _)| caller);
        let ctx = RequestContext { request, row: row?, ahead: &Ahead::default(), came: Came::Head };
        ctx.answer(tx, caller.as_ref())?;
        match (&ctx.row.route.answer, &caller) {
            (Answer::GraphQl, Some(caller)) => Ok(EXPANSION_MAX * endpoint::document_bytes_max(tx, caller)?),
            _ => Ok(bytes_max),
        }
    });
    app.mark_ended(now, &request.log).await;
    admitted
}

pub async fn answer(app: &Arc<App>, request: Request) -> Reply {
    let now = Now { time: request.at, seed: request.seed };
    let log = Arc::clone(&request.log);
    let reply = carry_out(app, now, request).await;
    app.mark_ended(now, &log).await;
    reply
}

async fn carry_out(app: &Arc<App>, now: Now, request: Request) -> Reply {
    let log = Arc::clone(&request.log);
    let row = routes::find(&request);
    log.note_route(row.as_ref().ok().map(|row| row.route), &request);
    let row = match row {
        Ok(row) => row,
        Err(error) => {
            let answered = read(app, now, Err(error), &request, &Ahead::default());
            return answered.unwrap_or_else(|error| log.refuse(&error));
        }
    };
    if matches!(row.route.answer, Answer::GraphQl) {
        let answered = endpoint::speak(app, now, row, request).await;
        return answered.unwrap_or_else(|error| endpoint::refused(&error, &log));
    }
    let answered = match row.route.effect {
        Effect::Reads if matches!(row.route.answer, Answer::Ready(_)) => ready(app, now, row, request).await,
        Effect::Reads => read(app, now, Ok(row), &request, &Ahead::default()),
        Effect::Searches => search(app, now, row, request).await,
        Effect::Writes => write(app, now, row, request).await,
    };
    answered.unwrap_or_else(|error| log.refuse(&error))
}

/// A key that was used and should be seen to have been.
type Used = Option<String>;

pub(super) fn read(
    app: &App,
    now: Now,
    row: Result<&'static Split, Error>,
    request: &Request,
    ahead: &Ahead,
) -> Result<Reply, Error> {
    let (reply, used) = app.db.read(now, |tx| act(tx, row, request, ahead))?;
    note_use(&app.db, now, used);
    Ok(reply)
}

/// Read on the pool: what is looked through may be large. Whoever has no key is refused here.
async fn search(app: &Arc<App>, now: Now, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let caller = app.db.read(now, |tx| caller(tx, &request))?;
    let Some((caller, _)) = caller else { return read(app, now, Ok(row), &request, &Ahead::default()) };
    let (bytes, searched) = (request.body.len(), Arc::clone(app));
    let search = move || read(&searched, now, Ok(row), &request, &Ahead::default());
    app.pool.run(caller.org_id.as_str(), bytes, search).await
}

/// Large bodies and passwords are worked on before the writer is asked: it must never wait for them.
async fn write(app: &App, now: Now, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let mut ahead = Ahead::default();
    if let Answer::Password { look, .. } = row.route.answer {
        let work = app.db.read(now, |tx| {
            let caller = caller(tx, &request)?;
            let ctx = RequestContext { request: &request, row, ahead: &ahead, came: Came::All };
            look(tx, caller.as_ref().map(|(caller, _)| caller), &ctx)
        })?;
        if let Some(work) = work {
            ahead.outcome = passwords::work(&app.failed_attempts, work, now).await?;
            if matches!(ahead.outcome, Outcome::Wrong) {
                request.log.note_wrong_password();
            }
        }
    } else {
        ahead.body = read_ahead(app, now, row, &request).await?;
    }
    let (now, step) = (operator::now(&request)?, operator::Step::of(&request)?);
    let work = move |tx: &Tx| step.take(tx, || act(tx, Ok(row), &request, &ahead).map(|(reply, _)| reply));
    app.db.write(now, work).await
}

async fn read_ahead(app: &App, now: Now, row: &'static Split, request: &Request) -> Result<Body, Error> {
    let attempt = |tx: &Tx, body: Body| {
        let caller = caller(tx, request)?;
        let owner = caller.as_ref().map(|(caller, _)| caller.org_id.as_str().to_owned()).unwrap_or_default();
        let ahead = Ahead { body, ..Ahead::default() };
        let tried = RequestContext { request, row, ahead: &ahead, came: Came::All }
            .answer(tx, caller.as_ref().map(|(caller, _)| caller));
        Ok((owner, tried.map(drop), ahead.body))
    };
    body::read_ahead(app, now, &request.body, attempt).await
}

/// Answered by the writer, so that an answer shows that it lives.
async fn ready(app: &App, now: Now, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let done = app.db.write(now, move |tx| act(tx, Ok(row), &request, &Ahead::default())).await;
    let (reply, used) = done.map_err(health::unready)?;
    note_use(&app.db, now, used);
    Ok(reply)
}

/// A key that does not work is refused wherever it is sent, so the caller comes before the route.
pub(super) fn act(
    tx: &Tx,
    row: Result<&'static Split, Error>,
    request: &Request,
    ahead: &Ahead,
) -> Result<(Reply, Used), Error> {
    let caller = caller(tx, request)?;
    let ctx = RequestContext { request, row: row?, ahead, came: Came::All };
    if let Some((caller, _)) = caller.as_ref().filter(|_| ctx.writes()) {
        tx.charge_to(caller);
    }
    if ctx.row.route.deletes() {
        tx.frees_space()?;
    }
    if ctx.writes()
        && let Some(client) = request.user_agent.as_deref().and_then(Client::parse)
    {
        tx.sent_by(client);
    }
    let answer = || ctx.answer(tx, caller.as_ref().map(|(caller, _)| caller));
    let reply = if ctx.writes() && caller.is_some() { tx.unless_unchanged(answer)? } else { answer()? };
    let used = caller.and_then(|(caller, used)| (used == LastUsed::Stale).then(|| caller.prefix().to_owned()));
    if ctx.writes() {
        used.iter().try_for_each(|prefix| db::api_keys::note_use(tx, prefix))?;
    }
    Ok((reply, used))
}

pub(super) fn caller(tx: &Tx, request: &Request) -> Result<Option<(Caller, LastUsed)>, Error> {
    let Some(header) = &request.authorization else { return Ok(None) };
    let key = key(header);
    let known = key.as_ref().ok_or(Error::Unauthenticated).and_then(|key| db::api_keys::caller(tx, key));
    match &known {
        Ok((caller, _)) => request.log.note_caller(caller),
        Err(Error::Unauthenticated) => request.log.note_failed_sign_in(key.as_ref()),
        Err(_) => {}
    }
    known.map(Some)
}

fn key(authorization: &str) -> Option<PlainKey> {
    let (scheme, key) = authorization.split_once(' ')?;
    let is_known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("api-key");
    PlainKey::parse(key.trim()).filter(|_| is_known)
}

fn note_use(db: &Db, now: Now, used: Used) {
    if let Some(prefix) = used {
        db.write_later(now, move |tx| db::api_keys::note_use(tx, &prefix));
    }
}
