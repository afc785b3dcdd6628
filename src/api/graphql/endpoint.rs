//! GraphQL over HTTP. A document is refused inside a GraphQL answer with the status 200: truss shows a message from
//! there, and hides a message that comes with an error status.

use crate::api::authentication::authenticate;
use crate::api::context::RequestContext;
use crate::api::graphql::document::{DOCUMENT_BYTES_MAX, Document, SMALL_DOCUMENT_BYTES_MAX};
use crate::api::graphql::execution::{execute, to_prepare};
use crate::api::graphql::root_fields::ROOT_FIELDS;
use crate::api::refusal::within_graphql;
use crate::api::reply::Reply;
use crate::api::request::Request;
use crate::db::{self, Db, Now, Tx};
use crate::error::Error;
use crate::policy::Caller;

/// Carries out the document that was read before the transaction.
pub fn answer(tx: &Tx, caller: &Caller, ctx: &RequestContext) -> Result<Reply, Error> {
    let request = ctx.request;
    match ctx.read_before()? {
        Document::Operation(operation) => {
            let answer = execute(tx, caller, &operation, request, ROOT_FIELDS)?;
            Ok(Reply::bytes("application/json", answer))
        }
        Document::Refused(error) => Ok(within_graphql(&error, request.log.id())),
        Document::Unreadable(error) => Ok(Reply::refusal(&error, request.log.id())),
    }
}

/// The most bytes that a document of this caller may have. Long documents push, so only callers who may deploy in some
/// team may send them.
pub fn document_bytes_max(tx: &Tx, caller: &Caller) -> Result<usize, Error> {
    let teams = db::teams::of_organization(tx, caller)?;
    let deploys = caller.to_deploy_in_any(&teams).is_ok();
    Ok(if deploys { DOCUMENT_BYTES_MAX } else { SMALL_DOCUMENT_BYTES_MAX })
}

/// Reads a document, and the arguments that are slow to read. Call it on the pool.
///
/// # Errors
///
/// [`Error::Unauthenticated`] if the key is missing or does not work any more.
pub fn read_document(db: &Db, now: Now, request: &Request, bytes_max: usize) -> Result<Document, Error> {
    let document = Document::read(&request.body, bytes_max);
    if let Document::Operation(operation) = &document {
        let slow = db.read(now, |tx| {
            let (caller, _) = authenticate(tx, request)?.ok_or(Error::Unauthenticated)?;
            Ok(to_prepare(tx, &caller, operation, request, ROOT_FIELDS))
        })?;
        slow.into_iter().for_each(|(selected, prepare)| selected.prepared.set(prepare(selected)));
    }
    Ok(document)
}
