//! How people who sign in show who they are: by their password, and by a code where they have a second factor.

use rusqlite::{OptionalExtension as _, named_params};
use sha2::{Digest as _, Sha256};

use crate::db::{Tx, second_factor, users};
use crate::domain::second_factor::Code;
use crate::domain::{Email, User, UserId};
use crate::error::Error;
use crate::token;

/// How long a person may take to give their code after their password.
const TICKET_SECONDS: i64 = 5 * 60;
const TICKET_CHARS_MAX: usize = 1000;

/// The hash of the password of the person with this address. `None` if nobody has the address, or the person has no
/// password.
pub fn password_hash(tx: &Tx, email: &Email) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT password_hash FROM user WHERE email = :email")?;
    Ok(query.query_row(named_params! { ":email": email.as_str() }, |row| row.get(0)).optional()?.flatten())
}

/// Proof that a person has just shown who they are. Only this module makes it.
#[derive(Debug)]
pub struct Shown {
    user_id: UserId,
}

impl Shown {
    pub(super) fn user_id(&self) -> &UserId {
        &self.user_id
    }
}

/// How far a password has shown who somebody is.
#[derive(Debug)]
pub enum ByPassword {
    Shown(Shown),
    /// They need a code as well, which they give together with this ticket within 5 minutes.
    CodeNeeded(Ticket),
}

/// What a person who has given their password and not yet their code sends with the code. It is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// Reads a ticket as a form sends it. Whether it works is found out when it is used.
    pub fn of(text: &str) -> Ticket {
        Ticket(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The person with this address, if `verified` is the hash of their password: the stored hash against which a password
/// was verified. `None` if the password has changed since.
pub fn shown_by_password(tx: &Tx, email: &Email, verified: &str) -> Result<Option<ByPassword>, Error> {
    if password_hash(tx, email)?.as_deref() != Some(verified) {
        return Ok(None);
    }
    let Some(User { id: user_id, .. }) = users::of_email(tx, email)? else { return Ok(None) };
    if !second_factor::is_on(tx, &user_id)? {
        return Ok(Some(ByPassword::Shown(Shown { user_id })));
    }
    let ends_at = tx.now.plus_seconds(TICKET_SECONDS).0;
    let text = format!("{user_id}\n{ends_at}\n{}", fingerprint(verified));
    let sealed = tx.sealer.seal_ticket(&mut tx.rng(), &text);
    Ok(Some(ByPassword::CodeNeeded(Ticket(sealed.iter().map(|byte| format!("{byte:02x}")).collect()))))
}

/// The person to whom a ticket was given. `None` for a ticket that does not work: it is older than 5 minutes, or the
/// password was changed since.
pub fn person_of_ticket(tx: &Tx, ticket: &Ticket) -> Result<Option<UserId>, Error> {
    let text = Some(&ticket.0).filter(|text| text.len() <= TICKET_CHARS_MAX);
    let sealed = text.and_then(|text| token::bytes_of_hex(text));
    let Some(text) = sealed.and_then(|sealed| tx.sealer.open_ticket(&sealed)) else { return Ok(None) };
    let [user_id, ends_at, password] = text.split('\n').collect::<Vec<_>>()[..] else { return Ok(None) };
    let is_fresh = ends_at.parse().is_ok_and(|ends_at: i64| tx.now.0 < ends_at);
    let user_id = UserId(user_id.to_owned());
    let stored = users::password_hash(tx, &user_id)?;
    let is_same = stored.is_some_and(|stored| fingerprint(&stored) == password);
    Ok(Some(user_id).filter(|_| is_fresh && is_same))
}

/// The person to whom a ticket was given, if the code is right. The code is used up.
pub fn shown_by_code(tx: &Tx, ticket: &Ticket, code: &Code) -> Result<Option<Shown>, Error> {
    let Some(user_id) = person_of_ticket(tx, ticket)? else { return Ok(None) };
    let is_right = second_factor::use_code(tx, &user_id, code)?;
    Ok(is_right.then_some(Shown { user_id }))
}

fn fingerprint(password_hash: &str) -> String {
    Sha256::digest(password_hash.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
