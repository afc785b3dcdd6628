//! GraphQL over HTTP. A document that is refused is told so inside GraphQL, with the status 200: truss shows a sentence
//! from there and hides one that comes with another status.

use crate::db::Tx;
use crate::error::Error;
use crate::graphql::document::Document;
use crate::graphql::{self, ROOT_FIELDS};
use crate::http::request_log::RequestLog;
use crate::http::{Reply, Request};
use crate::policy::Caller;
use crate::wire;

pub fn answer(tx: &Tx, caller: &Caller, document: &Document, request: &Request) -> Result<Reply, Error> {
    match document {
        Document::Operation(operation) => Ok(reply(graphql::execute(tx, caller, operation, request, ROOT_FIELDS)?)),
        Document::Refused(error) => Ok(told(error, &request.log)),
        Document::Unreadable(error) => Ok(Reply::refusal(error, request.log.id())),
    }
}

pub fn refused(error: &Error, log: &RequestLog) -> Reply {
    log.note_failure(error);
    told(error, log)
}

fn told(error: &Error, log: &RequestLog) -> Reply {
    let failure = wire::graphql::Failure::of_document(error);
    reply(wire::graphql::answer(None, &[failure.of_request(error, log.id())]))
}

fn reply(body: Vec<u8>) -> Reply {
    Reply::bytes("application/json", body)
}
