//! The password of a person who is signed in, and its change.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::sessions::{self, SignedIn};
use crate::db::{Tx, organizations, password_resets, users};
use crate::domain::{Email, UserId};
use crate::error::Error;
use crate::token::SessionToken;

/// The address of a person who is signed in, and the hash of their password, against which the old password of a change
/// is verified. `None` for the hash if they have no password any more.
pub fn of_signed_in(tx: &Tx, signed_in: &SignedIn) -> Result<(Email, Option<String>), Error> {
    let mut query = tx.sql.prepare_cached("SELECT email, password_hash FROM user WHERE id = :id")?;
    let (email, hash): (String, Option<String>) = query
        .query_row(named_params! { ":id": signed_in.session.user_id }, |row| {
            Ok((row.get("email")?, row.get("password_hash")?))
        })?;
    Ok((Email::parse(&email)?, hash))
}

/// Changes the password of a person who is signed in. `verified` is the stored hash against which the old password was
/// verified, `hashed` the hash of the new one. All other sessions of the person and all open links by which they could
/// set a password end. Returns the new token of the session; `None` if the password was changed meanwhile.
pub fn change(tx: &Tx, signed_in: &SignedIn, verified: &str, hashed: &str) -> Result<Option<SessionToken>, Error> {
    let user_id = &signed_in.session.user_id;
    if stored(tx, user_id)?.as_deref() != Some(verified) {
        return Ok(None);
    }
    users::set_password_hash(tx, user_id, hashed)?;
    password_resets::end_all(tx, user_id)?;
    let token = sessions::keep_only(tx, signed_in)?;
    for organization in organizations::of_person(tx, user_id)? {
        let data = json!({ "user_id": user_id.as_str(), "step": "PASSWORD_CHANGED" });
        audit::record(tx, Actor::User(user_id), &organization.id, None, Event::new("PASSWORD_RESET", data))?;
    }
    Ok(Some(token))
}

fn stored(tx: &Tx, user_id: &UserId) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT password_hash FROM user WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": user_id }, |row| row.get(0)).optional()?.flatten())
}
