//! The session of a browser: who its cookie belongs to.

use crate::api::{App, Reply, Request};
use crate::db::sessions::{self, Place, SignedIn, Upkeep};
use crate::db::{Now, Tx};
use crate::domain::sessions::{Cookie, NewSession, UserAgent};
use crate::error::Error;
use crate::policy::Caller;
use crate::token::SessionToken;

/// A person who is signed in.
pub struct Session {
    pub signed_in: SignedIn,
    /// The token that every form of this session carries.
    pub csrf: String,
}

impl Session {
    pub fn caller(&self) -> &Caller {
        &self.signed_in.caller
    }
}

/// The session whose cookie was sent, if it still works.
///
/// # Errors
///
/// Those of the database.
pub fn find(tx: &Tx, request: &Request) -> Result<Option<Session>, Error> {
    let Some(token) = token(request) else { return Ok(None) };
    match sessions::authenticate(tx, &token) {
        Ok(signed_in) => {
            request.log.note_caller(&signed_in.caller);
            let csrf = sessions::form_token(tx, &signed_in.session);
            Ok(Some(Session { signed_in, csrf }))
        }
        Err(Error::Unauthenticated) => Ok(None),
        Err(error) => Err(error),
    }
}

fn token(request: &Request) -> Option<SessionToken> {
    Cookie::of(&request.base_url).token(request.browser.cookie.as_deref()?)
}

/// Where a session begins.
pub fn place(request: &Request) -> Place {
    Place { user_agent: UserAgent::of(request.user_agent.as_deref()), address: request.log.peer() }
}

/// Gives the browser the token of a new session.
pub fn give(reply: &mut Reply, request: &Request, new: &NewSession) {
    set_cookie(reply, Cookie::of(&request.base_url).set(&new.token));
}

/// Gives the browser the next token of its session.
pub fn renew(reply: &mut Reply, request: &Request, token: &SessionToken) {
    set_cookie(reply, Cookie::of(&request.base_url).set(token));
}

/// Takes the token from the browser.
pub fn take(reply: &mut Reply, request: &Request) {
    set_cookie(reply, Cookie::of(&request.base_url).clear());
}

fn set_cookie(reply: &mut Reply, cookie: String) {
    reply.headers.push(("set-cookie", cookie));
}

/// Writes what the session needs after a request: the time of its use, or a new token if the person's roles have changed.
pub async fn keep_up(app: &App, now: Now, request: &Request, reply: &mut Reply) {
    let Some(token) = token(request) else { return };
    let Ok(signed_in) = app.db.read(now, |tx| sessions::authenticate(tx, &token)) else { return };
    match signed_in.upkeep {
        Upkeep::Nothing => {}
        Upkeep::NoteUse => {
            let id = signed_in.session.id;
            app.db.write_later(now, move |tx| sessions::note_use(tx, &id));
        }
        Upkeep::Replace => {
            let replaced = app.db.write(now, move |tx| sessions::replace(tx, &token)).await;
            if let Ok(Some(token)) = replaced
                && !reply.headers.iter().any(|(name, _)| *name == "set-cookie")
            {
                renew(reply, request, &token);
            }
        }
    }
}
