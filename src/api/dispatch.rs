//! The steps that every request goes through.
//!
//! The steps are: find the route, open a transaction, authenticate the caller, obtain the proof, run the handler,
//! commit, and render the reply. A request that fails in one of them has written nothing.

use std::sync::Arc;

use crate::api::app::App;
use crate::api::authentication::authenticate;
use crate::api::body::{BODY_BYTES_MAX, Body, read_before_transaction};
use crate::api::context::{Prepared, RequestContext};
use crate::api::graphql::document::EXPANSION_MAX;
use crate::api::graphql::endpoint;
use crate::api::operator;
use crate::api::passwords::{self, Outcome};
use crate::api::refusal::{Api, within_graphql};
use crate::api::reply::Reply;
use crate::api::request::Request;
use crate::api::rest::health;
use crate::api::route::{FindWork, Row, Run};
use crate::db::api_keys::LastUsed;
use crate::db::{self, Db, Now, Tx};
use crate::domain::Client;
use crate::error::Error;
use crate::policy::Caller;

/// Checks a request by its head alone, before its body is read, and returns how many bytes the body may have.
///
/// # Errors
///
/// The refusals of [`answer`] that do not depend on the body: the route, the key, and what the key may do.
pub async fn admit(app: &App, request: &Request) -> Result<usize, Error> {
    let row = find(app, request);
    let bytes_max = row.as_ref().map_or(BODY_BYTES_MAX, |row| row.route.body_bytes_max());
    let now = Now { time: request.at, seed: request.seed };
    let admitted = app.db.read(now, |tx| {
        let caller = authenticate(tx, request)?.map(|(caller, _)| caller);
        let Row { route, path } = row?;
        let ctx = RequestContext { request, path, shapes: &route.shapes, prepared: &Prepared::default() };
        route.access.check(tx, caller.as_ref(), &ctx)?;
        match (route.run, &caller) {
            (Run::NotServed, _) => Err(ctx.not_served()),
            (Run::Document, Some(caller)) => Ok(EXPANSION_MAX * endpoint::document_bytes_max(tx, caller)?),
            _ => Ok(bytes_max),
        }
    });
    app.mark_ended(now, &request.log).await;
    admitted
}

/// Carries out a request.
pub async fn answer(app: &Arc<App>, request: Request) -> Reply {
    let now = Now { time: request.at, seed: request.seed };
    let log = Arc::clone(&request.log);
    let reply = match find(app, &request) {
        Ok(row) => carry_out(app, now, row, request).await,
        Err(error) => {
            let refused = app.db.read(now, |tx| authenticate(tx, &request).and(Err(error)));
            refused.unwrap_or_else(|error| log.refuse(&error))
        }
    };
    app.mark_ended(now, &log).await;
    reply
}

fn find(app: &App, request: &Request) -> Result<&'static Row, Error> {
    let row = app.routes.find(request);
    match &row {
        Ok(Row { route, .. }) => {
            request.log.note_api(route.api);
            request.log.note_template(route.template);
        }
        // At the host of a model or a Chain, a path without a route also belongs to inference.
        Err(_) => request.log.note_api(if request.is_for_model { Api::Inference } else { Api::Management }),
    }
    row
}

async fn carry_out(app: &Arc<App>, now: Now, row: &'static Row, request: Request) -> Reply {
    let log = Arc::clone(&request.log);
    let answered = match row.route.run {
        Run::Read | Run::NotServed => read(app, now, row, &request, &Prepared::default()),
        Run::Search => search(app, now, row, request).await,
        Run::Write => write(app, now, row, request).await,
        Run::Password(find_work) => write_password(app, now, row, request, find_work).await,
        Run::ReadByWriter => read_by_writer(app, now, row, request).await,
        Run::Document => {
            return carry_out_document(app, now, row, request).await.unwrap_or_else(|error| {
                log.note_failure(&error);
                within_graphql(&error, log.id())
            });
        }
    };
    answered.unwrap_or_else(|error| log.refuse(&error))
}

fn read(app: &App, now: Now, row: &Row, request: &Request, prepared: &Prepared) -> Result<Reply, Error> {
    let (reply, used) = app.db.read(now, |tx| read_in(tx, row, request, prepared))?;
    note_use(&app.db, now, used);
    Ok(reply)
}

/// Reads on the pool, because the read may be large. A request without a key does not reach the pool: it is refused on
/// this thread.
async fn search(app: &Arc<App>, now: Now, row: &'static Row, request: Request) -> Result<Reply, Error> {
    let caller = app.db.read(now, |tx| authenticate(tx, &request))?;
    let Some((caller, _)) = caller else { return read(app, now, row, &request, &Prepared::default()) };
    let (bytes, on_pool) = (request.body.len(), Arc::clone(app));
    let search = move || read(&on_pool, now, row, &request, &Prepared::default());
    app.pool.run(caller.org_id.as_str(), bytes, search).await
}

/// Runs a handler that writes. A large body is read before the write transaction, because the writer must never wait
/// for it.
async fn write(app: &App, now: Now, row: &'static Row, request: Request) -> Result<Reply, Error> {
    let attempt = |tx: &Tx, body: Body| {
        let caller = authenticate(tx, &request)?.map(|(caller, _)| caller);
        let owner = caller.as_ref().map(|caller| caller.org_id.as_str().to_owned()).unwrap_or_default();
        let prepared = Prepared { body, ..Prepared::default() };
        let ctx = RequestContext { request: &request, path: &row.path, shapes: &row.route.shapes, prepared: &prepared };
        let tried = row.route.access.answer(tx, caller.as_ref(), &ctx).map(drop);
        Ok((owner, tried, prepared.body))
    };
    let body = read_before_transaction(&app.db, &app.pool, now, &request.body, attempt).await?;
    write_prepared(app, now, row, request, Prepared { body, ..Prepared::default() }).await
}

/// Runs a handler that writes and needs work on a password. This work is done before the write transaction, because the
/// writer must never wait for it.
async fn write_password(
    app: &App,
    now: Now,
    row: &'static Row,
    request: Request,
    find_work: FindWork,
) -> Result<Reply, Error> {
    let work = app.db.read(now, |tx| {
        let caller = authenticate(tx, &request)?.map(|(caller, _)| caller);
        let ctx = RequestContext {
            request: &request,
            path: &row.path,
            shapes: &row.route.shapes,
            prepared: &Prepared::default(),
        };
        find_work(tx, caller.as_ref(), &ctx)
    })?;
    let mut prepared = Prepared::default();
    if let Some(work) = work {
        (prepared.password, _) = passwords::work(&app.guesses, work, now).await?;
        if matches!(prepared.password, Outcome::Wrong) {
            request.log.note_wrong_password();
        }
    }
    write_prepared(app, now, row, request, prepared).await
}

async fn write_prepared(
    app: &App,
    now: Now,
    row: &'static Row,
    request: Request,
    prepared: Prepared,
) -> Result<Reply, Error> {
    let (now, mode) = (operator::now(&request, now)?, operator::Mode::of(&request)?);
    let work = move |tx: &Tx| mode.run(tx, || write_in(tx, row, &request, &prepared));
    app.db.write(now, work).await
}

/// Reads in a transaction of the writer, so that a reply shows that the writer works.
async fn read_by_writer(app: &App, now: Now, row: &'static Row, request: Request) -> Result<Reply, Error> {
    let done = app.db.write(now, move |tx| read_in(tx, row, &request, &Prepared::default())).await;
    let (reply, used) = done.map_err(health::unready)?;
    note_use(&app.db, now, used);
    Ok(reply)
}

/// Reads a GraphQL document on the pool, and answers it there if it is a query. A request without a key is refused
/// before it reaches the pool.
async fn carry_out_document(app: &Arc<App>, now: Now, row: &'static Row, request: Request) -> Result<Reply, Error> {
    let (owner, bytes_max) = app.db.read(now, |tx| {
        let (caller, _) = authenticate(tx, &request)?.ok_or(Error::Unauthenticated)?;
        Ok((caller.org_id.clone(), endpoint::document_bytes_max(tx, &caller)?))
    })?;
    let (bytes, on_pool) = (request.body.len(), Arc::clone(app));
    let next = app.pool.run(owner.as_str(), bytes, move || {
        let document = endpoint::read_document(&on_pool.db, now, &request, bytes_max)?;
        let writes = document.writes();
        let prepared = Prepared { body: Body::of_read(document), ..Prepared::default() };
        if writes {
            return Ok(Next::Write(Box::new(request), prepared));
        }
        read(&on_pool, now, row, &request, &prepared).map(Next::Answered)
    });
    match next.await? {
        Next::Answered(reply) => Ok(reply),
        Next::Write(request, prepared) => app.db.write(now, move |tx| write_in(tx, row, &request, &prepared)).await,
    }
}

/// The step that follows the work on the pool.
enum Next {
    Answered(Reply),
    Write(Box<Request>, Prepared),
}

/// The prefix of a key whose use must still be recorded.
type Used = Option<String>;

fn read_in(tx: &Tx, row: &Row, request: &Request, prepared: &Prepared) -> Result<(Reply, Used), Error> {
    let known = authenticate(tx, request)?;
    let ctx = RequestContext { request, path: &row.path, shapes: &row.route.shapes, prepared };
    let reply = row.route.access.answer(tx, known.as_ref().map(|(caller, _)| caller), &ctx)?;
    Ok((reply, used(known.as_ref())))
}

fn write_in(tx: &Tx, row: &Row, request: &Request, prepared: &Prepared) -> Result<Reply, Error> {
    let known = authenticate(tx, request)?;
    let caller = known.as_ref().map(|(caller, _)| caller);
    let ctx = RequestContext { request, path: &row.path, shapes: &row.route.shapes, prepared };
    if let Some(caller) = caller {
        tx.charge_to(caller);
    }
    if row.route.deletes() {
        tx.frees_space()?;
    }
    if let Some(client) = request.user_agent.as_deref().and_then(Client::parse) {
        tx.sent_by(client);
    }
    let answer = || row.route.access.answer(tx, caller, &ctx);
    let reply = if caller.is_some() { tx.unless_unchanged(answer)? } else { answer()? };
    if let Some(prefix) = used(known.as_ref()) {
        db::api_keys::note_use(tx, &prefix)?;
    }
    Ok(reply)
}

fn used(known: Option<&(Caller, LastUsed)>) -> Used {
    known.filter(|(_, used)| *used == LastUsed::Stale).map(|(caller, _)| caller.prefix().to_owned())
}

fn note_use(db: &Db, now: Now, used: Used) {
    if let Some(prefix) = used {
        db.write_later(now, move |tx| db::api_keys::note_use(tx, &prefix));
    }
}
