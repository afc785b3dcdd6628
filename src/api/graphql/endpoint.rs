//! GraphQL over HTTP. A document that is refused is told so inside GraphQL, with the status 200: truss shows a sentence
//! from there and hides one that comes with another status.

use std::sync::Arc;

use crate::api::dispatch::{act, caller, read};
use crate::api::graphql::document::{DOCUMENT_BYTES_MAX, Document, SMALL_DOCUMENT_BYTES_MAX};
use crate::api::graphql::{self, ROOT_FIELDS};
use crate::api::request::Ahead;
use crate::api::request_log::RequestLog;
use crate::api::routes::Split;
use crate::api::{App, Reply, Request};
use crate::db::{self, Now, Tx};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire;

/// A document is read, and a query answered, on the pool. Nobody without a key gets there.
pub async fn speak(app: &Arc<App>, now: Now, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let (owner, bytes_max) = app.db.read(now, |tx| {
        let (caller, _) = caller(tx, &request)?.ok_or(Error::Unauthenticated)?;
        Ok((caller.org_id.clone(), document_bytes_max(tx, &caller)?))
    })?;
    let (bytes, on_pool) = (request.body.len(), Arc::clone(app));
    let next = app.pool.run(owner.as_str(), bytes, move || {
        let document = read_document(&on_pool, now, &request, bytes_max)?;
        let writes = document.writes();
        let ahead = Ahead { document: Some(document), ..Ahead::default() };
        if writes {
            return Ok(Next::Write(Box::new(request), ahead));
        }
        read(&on_pool, now, Ok(row), &request, &ahead).map(Next::Answered)
    });
    match next.await? {
        Next::Answered(reply) => Ok(reply),
        Next::Write(request, ahead) => {
            app.db.write(now, move |tx| act(tx, Ok(row), &request, &ahead).map(|(reply, _)| reply)).await
        }
    }
}

/// What comes after the pool.
enum Next {
    Answered(Reply),
    Write(Box<Request>, Ahead),
}

pub fn answer(tx: &Tx, caller: &Caller, document: &Document, request: &Request) -> Result<Reply, Error> {
    match document {
        Document::Operation(operation) => Ok(reply(graphql::execute(tx, caller, operation, request, ROOT_FIELDS)?)),
        Document::Refused(error) => Ok(error_reply(error, request.log.id())),
        Document::Unreadable(error) => Ok(Reply::refusal(error, request.log.id())),
    }
}

/// How long a document of this caller may be: long ones push, so they are for whoever may deploy somewhere.
pub fn document_bytes_max(tx: &Tx, caller: &Caller) -> Result<usize, Error> {
    let teams = db::teams::of_organization(tx, caller)?;
    let deploys = caller.to_deploy_in_any(&teams).is_ok();
    Ok(if deploys { DOCUMENT_BYTES_MAX } else { SMALL_DOCUMENT_BYTES_MAX })
}

/// Reads a document, and of its arguments what is more work than that. It is work for the pool.
fn read_document(app: &App, now: Now, request: &Request, bytes_max: usize) -> Result<Document, Error> {
    let document = Document::read(&request.body, bytes_max);
    if let Document::Operation(operation) = &document {
        let to_prepare = app.db.read(now, |tx| {
            let (caller, _) = caller(tx, request)?.ok_or(Error::Unauthenticated)?;
            Ok(graphql::to_prepare(tx, &caller, operation, request, ROOT_FIELDS))
        })?;
        to_prepare.into_iter().for_each(|(selected, prepare)| selected.prepared.set(prepare(selected)));
    }
    Ok(document)
}

pub fn refused(error: &Error, log: &RequestLog) -> Reply {
    log.note_failure(error);
    error_reply(error, log.id())
}

pub(in crate::api) fn error_reply(error: &Error, request_id: &str) -> Reply {
    let failure = wire::graphql::Failure::of_document(error);
    reply(wire::graphql::answer(None, &[failure.of_request(error, request_id)]))
}

fn reply(body: Vec<u8>) -> Reply {
    Reply::bytes("application/json", body)
}
