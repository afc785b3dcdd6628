//! Health over HTTP: whether the process runs, and whether it can do its work.

use crate::api::{Reply, RequestContext};
use crate::db::{self, Tx};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::health::Health;

const OK: Health = Health { status: "ok" };

/// Reports that the process runs and answers.
pub fn live(_: &Tx, _: Option<&Caller>, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&OK))
}

/// Reports that the server can do its work. The writer runs this check: the database accepts writes, its schema is the
/// one of this binary, and the master key fits it.
///
/// # Errors
///
/// [`Error::Unavailable`] if the schema or the master key does not fit, and otherwise the error that each write would
/// meet now. [`unready`] turns that into [`Error::Unavailable`] too.
pub fn ready(tx: &Tx, _: Option<&Caller>, _: &RequestContext) -> Result<Reply, Error> {
    db::readiness::check(tx)?;
    Ok(Reply::ok(&OK))
}

/// Turns an internal error, or a full disk, into [`Error::Unavailable`]: requests should go elsewhere. The cause of an
/// internal error goes only to the log.
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
