//! Callers whose requests carry no key themselves: they redeem what a key or a session received before.

use crate::db::{Tx, api_keys, sessions};
use crate::error::Error;
use crate::policy::Caller;

/// The caller of the key with this prefix, or of the session with this id, with the roles of the current transaction.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a key that does not work any more, and for a session that has ended.
pub(super) fn again(tx: &Tx, prefix: &str) -> Result<Caller, Error> {
    if sessions::is_id(prefix) { sessions::caller_again(tx, prefix) } else { api_keys::caller_again(tx, prefix) }
}
