//! The second factor: codes of an authenticator that are needed to sign in, besides the password.
//!
//! The secret is sealed. It counts only once the authenticator has shown a code. No code is accepted twice. Ten recovery
//! codes, of which the database keeps hashes, each work once in place of a code.

use rusqlite::{OptionalExtension as _, named_params};
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, users};
use crate::domain::UserId;
use crate::domain::second_factor::{AuthenticatorSecret, Code, RECOVERY_CODES};
use crate::error::Error;
use crate::policy::{InOrg, Person};
use crate::token::{self, RecoveryCode};

/// Whether a person needs a code to sign in.
pub fn is_on(tx: &Tx, user_id: &UserId) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM second_factor WHERE user_id = :user_id AND confirmed_at IS NOT NULL)",
    )?;
    Ok(query.query_row(named_params! { ":user_id": user_id }, |row| row.get(0))?)
}

/// How many recovery codes a person has left.
pub fn recovery_codes_left(tx: &Tx, person: &Person) -> Result<u32, Error> {
    let mut query =
        tx.sql.prepare_cached("SELECT count(*) FROM recovery_code WHERE user_id = :user_id AND used_at IS NULL")?;
    Ok(query.query_row(named_params! { ":user_id": person.user_id }, |row| row.get(0))?)
}

/// Makes a new secret for a person's authenticator, in place of one that was not confirmed.
///
/// # Errors
///
/// [`Error::Conflict`] for a person who has a second factor already.
pub fn enrol(tx: &Tx, person: &Person) -> Result<AuthenticatorSecret, Error> {
    if is_on(tx, &person.user_id)? {
        return Err(Error::conflict("codes of an authenticator are needed already: switch them off first"));
    }
    let secret = AuthenticatorSecret::generate(&mut tx.rng());
    let sealed = tx.sealer.seal_authenticator(&mut tx.rng(), person.user_id.as_str(), secret.bytes());
    tx.sql
        .prepare_cached(
            "INSERT INTO second_factor (user_id, sealed, last_step, created_at)
             VALUES (:user_id, :sealed, 0, :now)
             ON CONFLICT (user_id) DO UPDATE SET sealed = :sealed, last_step = 0, created_at = :now",
        )?
        .execute(named_params! { ":user_id": person.user_id, ":sealed": sealed, ":now": tx.now })?;
    Ok(secret)
}

/// The secret that waits for its first code. `None` if none does.
pub fn enrolment(tx: &Tx, person: &Person) -> Result<Option<AuthenticatorSecret>, Error> {
    let found = find(tx, &person.user_id)?;
    Ok(found.filter(|factor| !factor.is_confirmed).map(|factor| factor.secret))
}

/// Confirms a person's authenticator by the first code that it shows. From then on a code is needed to sign in. Returns the
/// recovery codes, which cannot be shown again; `None` for a wrong code.
///
/// # Errors
///
/// [`Error::Conflict`] where no secret waits for its first code.
pub fn confirm(tx: &Tx, org: &InOrg, person: &Person, code: &Code) -> Result<Option<Vec<RecoveryCode>>, Error> {
    let user_id = &person.user_id;
    let waiting = find(tx, user_id)?.filter(|factor| !factor.is_confirmed);
    let factor = waiting.ok_or_else(|| Error::conflict("no authenticator waits to be confirmed: begin again"))?;
    let Some(step) = factor.secret.step_of(code, tx.now, factor.last_step) else { return Ok(None) };
    tx.sql
        .prepare_cached("UPDATE second_factor SET confirmed_at = :now, last_step = :step WHERE user_id = :user_id")?
        .execute(named_params! { ":now": tx.now, ":step": step as i64, ":user_id": user_id })?;
    let mut insert =
        tx.sql.prepare_cached("INSERT INTO recovery_code (user_id, code_hash) VALUES (:user_id, :code_hash)")?;
    let mut codes = Vec::new();
    for _ in 0..RECOVERY_CODES {
        let code = RecoveryCode::generate(&mut tx.rng());
        insert.execute(named_params! { ":user_id": user_id, ":code_hash": code.hash() })?;
        codes.push(code);
    }
    record(tx, org, person, "ON")?;
    Ok(Some(codes))
}

/// Switches the second factor off. `verified` is the stored hash against which the person's password was verified. Returns
/// false if the password was changed meanwhile.
pub fn disable(tx: &Tx, org: &InOrg, person: &Person, verified: &str) -> Result<bool, Error> {
    if users::password_hash(tx, &person.user_id)?.as_deref() != Some(verified) {
        return Ok(false);
    }
    if forget(tx, &person.user_id)? {
        record(tx, org, person, "OFF")?;
    }
    Ok(true)
}

/// Removes a person's second factor, and their recovery codes. Returns whether there was one.
pub(super) fn forget(tx: &Tx, user_id: &UserId) -> Result<bool, Error> {
    let was_on = is_on(tx, user_id)?;
    tx.sql
        .prepare_cached("DELETE FROM second_factor WHERE user_id = :user_id")?
        .execute(named_params! { ":user_id": user_id })?;
    Ok(was_on)
}

/// Uses up a code of a person who signs in: of their authenticator, or a recovery code. Returns whether it is right.
pub(super) fn use_code(tx: &Tx, user_id: &UserId, code: &Code) -> Result<bool, Error> {
    let Some(factor) = find(tx, user_id)?.filter(|factor| factor.is_confirmed) else { return Ok(false) };
    if let Some(step) = factor.secret.step_of(code, tx.now, factor.last_step) {
        tx.sql
            .prepare_cached("UPDATE second_factor SET last_step = :step WHERE user_id = :user_id")?
            .execute(named_params! { ":step": step as i64, ":user_id": user_id })?;
        return Ok(true);
    }
    let used = tx
        .sql
        .prepare_cached(
            "UPDATE recovery_code SET used_at = :now
             WHERE user_id = :user_id AND code_hash = :code_hash AND used_at IS NULL",
        )?
        .execute(named_params! {
            ":now": tx.now, ":user_id": user_id, ":code_hash": token::link_hash(code.expose()),
        })?;
    Ok(used == 1)
}

struct Factor {
    secret: AuthenticatorSecret,
    is_confirmed: bool,
    last_step: u64,
}

fn find(tx: &Tx, user_id: &UserId) -> Result<Option<Factor>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT sealed, confirmed_at IS NOT NULL AS is_confirmed, last_step FROM second_factor WHERE user_id = :user_id",
    )?;
    let found = query.query_row(named_params! { ":user_id": user_id }, |row| {
        Ok((row.get::<_, Vec<u8>>("sealed")?, row.get("is_confirmed")?, row.get::<_, i64>("last_step")?))
    });
    let Some((sealed, is_confirmed, last_step)) = found.optional()? else { return Ok(None) };
    let opened = tx.sealer.open_authenticator(user_id.as_str(), &sealed);
    let secret = opened.and_then(|bytes| AuthenticatorSecret::of(&bytes)).ok_or_else(|| {
        Error::Defect(format!("the authenticator secret of {user_id} was sealed with another master key"))
    })?;
    Ok(Some(Factor { secret, is_confirmed, last_step: last_step as u64 }))
}

fn record(tx: &Tx, org: &InOrg, person: &Person, state: &str) -> Result<(), Error> {
    let data = json!({ "user_id": person.user_id.as_str(), "second_factor": state });
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, Event::new("USER_UPDATED", data))
}
