//! The start of an installation, over the operator's socket.

use crate::api::rest::organizations;
use crate::api::{Reply, RequestContext};
use crate::db::{self, Tx};
use crate::error::Error;
use crate::policy::Operator;

/// Creates the first organization, with its first admin.
///
/// # Errors
///
/// [`Error::Conflict`] if the installation has an organization already, and the refusals of
/// [`organizations::create_with_admin`].
pub fn begin(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    match db::organizations::count(tx)? {
        0 => organizations::create_with_admin(tx, operator, ctx),
        _ => Err(Error::conflict(
            "this installation has an organization already: add another with `guildhall organization create`",
        )),
    }
}
