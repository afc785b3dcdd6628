//! The session of a browser: who its cookie belongs to.

use crate::api::Request;
use crate::db::{self, Tx};
use crate::error::Error;
use crate::policy::Caller;
use crate::token::PlainKey;

/// A person who is signed in.
pub struct Session {
    pub caller: Caller,
    /// The token that every form of this session carries.
    pub csrf: String,
}

const COOKIE: &str = "guildhall_session";

/// The session whose cookie was sent, if it still works.
///
/// # Errors
///
/// Those of the database.
pub fn find(tx: &Tx, request: &Request) -> Result<Option<Session>, Error> {
    let Some(text) = cookie(request) else { return Ok(None) };
    let Some(key) = PlainKey::parse(text) else { return Ok(None) };
    match db::api_keys::caller(tx, &key) {
        Ok((caller, _)) => {
            request.log.note_caller(&caller);
            let csrf = blake3::hash(text.as_bytes()).to_hex()[..32].to_owned();
            Ok(Some(Session { caller, csrf }))
        }
        Err(Error::Unauthenticated) => Ok(None),
        Err(error) => Err(error),
    }
}

fn cookie(request: &Request) -> Option<&str> {
    let pairs = request.browser.cookie.as_deref()?.split(';');
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}
