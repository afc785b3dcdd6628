//! Authentication: finds out who sent a request.

use crate::api::request::Request;
use crate::db::api_keys::LastUsed;
use crate::db::{self, Tx};
use crate::error::Error;
use crate::policy::Caller;
use crate::runner::chain_keys::ChainKeys;
use crate::token::PlainKey;

/// Returns the caller whose key was sent, if a key was sent, and whether this use of the key must still be recorded.
///
/// # Errors
///
/// [`Error::Unauthenticated`] for a key that does not work, even on a route that needs no key.
pub fn authenticate(tx: &Tx, request: &Request) -> Result<Option<(Caller, LastUsed)>, Error> {
    let Some(header) = &request.authorization else { return Ok(None) };
    let key = read_key(header);
    let known = key.as_ref().ok_or(Error::Unauthenticated).and_then(|key| db::api_keys::caller(tx, key));
    match &known {
        Ok((caller, _)) => request.log.note_caller(caller),
        Err(Error::Unauthenticated) => request.log.note_failed_sign_in(key.as_ref()),
        Err(_) => {}
    }
    known.map(Some)
}

/// The caller of a request for inference. Besides all other keys, those of running Chains work there.
///
/// # Errors
///
/// Those of [`authenticate`].
pub fn authenticate_call(
    tx: &Tx,
    chain_keys: &ChainKeys,
    request: &Request,
) -> Result<Option<(Caller, LastUsed)>, Error> {
    let key = request.authorization.as_deref().and_then(read_key);
    match key.and_then(|key| chain_keys.caller(&key)) {
        Some(caller) => {
            request.log.note_caller(&caller);
            Ok(Some((caller, LastUsed::Recent)))
        }
        None => authenticate(tx, request),
    }
}

fn read_key(authorization: &str) -> Option<PlainKey> {
    let (scheme, key) = authorization.split_once(' ')?;
    let is_known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("api-key");
    PlainKey::parse(key.trim()).filter(|_| is_known)
}
