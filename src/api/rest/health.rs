//! Whether the server is there, and whether it can do its work.

use crate::api::{Reply, RequestContext};
use crate::db::{self, Tx};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::health::Health;

const OK: Health = Health { status: "ok" };

/// The process lives and answers.
pub fn live(_: &Tx, _: Option<&Caller>, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&OK))
}

/// The writer has come to this: the database takes what is written, and has the schema and the key that it should have.
pub fn ready(tx: &Tx, _: Option<&Caller>, _: &RequestContext) -> Result<Reply, Error> {
    db::readiness::check(tx)?;
    Ok(Reply::ok(&OK))
}

/// A failure of ours means here that requests should go elsewhere. Its cause is for the log.
pub fn unready(error: Error) -> Error {
    match error {
        Error::Internal(cause) | Error::Defect(cause) => {
            tracing::error!(cause, "not ready");
            Error::Unavailable("the database cannot be read or written: the server's log has the cause")
        }
        Error::StorageFull => Error::Unavailable("the disk is full: free space"),
        other => other,
    }
}
