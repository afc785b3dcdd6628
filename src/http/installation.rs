//! The installation over the operator's socket: how it begins.

use crate::db::{self, Tx};
use crate::error::Error;
use crate::http::{Ask, Reply, organizations};
use crate::policy::Operator;

/// The first organization, with its first admin. Where there is one already, nothing is done.
pub fn begin(tx: &Tx, operator: &Operator, ask: &Ask) -> Result<Reply, Error> {
    match db::organizations::count(tx)? {
        0 => organizations::found(tx, operator, ask),
        _ => Err(Error::conflict(
            "this installation has an organization already: add another with `guildhall organization create`",
        )),
    }
}
