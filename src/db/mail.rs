//! The outbox: a mail is a row of the transaction that makes what it is about, and is sent after the commit.
//!
//! The text of a mail holds a link that works like a password, so it is sealed under the data key, and deleted once the mail
//! is sent or given up. A mail whose link does not work any more is never sent.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::domain::mail::{ATTEMPTS_MAX, Letter, next_attempt_at};
use crate::domain::{Email, OrgId, Time, UserId};
use crate::error::Error;

/// What the link of a mail is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum About<'a> {
    Invitation(&'a OrgId, &'a str),
    PasswordOf(&'a UserId),
}

/// Writes a mail. It replaces an earlier one about the same thing, whose link works no more.
pub(super) fn queue(tx: &Tx, about: About<'_>, letter: &Letter, expires_at: Time) -> Result<(), Error> {
    let (org_id, invitation_id, user_id) = match about {
        About::Invitation(org_id, id) => (Some(org_id), Some(id), None),
        About::PasswordOf(user_id) => (None, None, Some(user_id.as_str())),
    };
    tx.sql
        .prepare_cached("DELETE FROM mail WHERE invitation_id = :invitation_id OR user_id = :user_id")?
        .execute(named_params! { ":invitation_id": invitation_id, ":user_id": user_id })?;
    let id = tx.id();
    let sealed = tx.sealer.seal_mail(&mut tx.rng(), &id, letter.recipient.as_str(), &letter.text);
    tx.sql
        .prepare_cached(
            "INSERT INTO mail (id, org_id, invitation_id, user_id, recipient, subject, sealed, status, next_attempt_at, created_at,
                               expires_at)
             VALUES (:id, :org_id, :invitation_id, :user_id, :recipient, :subject, :sealed, 'QUEUED', :now, :now, :expires_at)",
        )?
        .execute(named_params! {
            ":id": id,
            ":org_id": org_id,
            ":invitation_id": invitation_id,
            ":user_id": user_id,
            ":recipient": letter.recipient.as_str(),
            ":subject": letter.subject,
            ":sealed": sealed,
            ":now": tx.now,
            ":expires_at": expires_at,
        })?;
    Ok(())
}

/// A mail that is to be sent now.
#[derive(Debug)]
pub struct Due {
    pub id: String,
    pub letter: Letter,
}

/// Whether a mail is to be sent now.
pub fn are_due(tx: &Tx) -> Result<bool, Error> {
    let mut query = tx
        .sql
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM mail WHERE status = 'QUEUED' AND next_attempt_at <= :now)")?;
    Ok(query.query_row(named_params! { ":now": tx.now }, |row| row.get(0))?)
}

/// The next mail that is to be sent now. The attempt is recorded before it is made, so that a mail with which the process
/// ends is not tried forever.
pub fn take_due(tx: &Tx) -> Result<Option<Due>, Error> {
    give_up(tx)?;
    let mut query = tx.sql.prepare_cached(
        "SELECT id, recipient, subject, sealed, attempts
         FROM mail
         WHERE status = 'QUEUED' AND next_attempt_at <= :now
         ORDER BY next_attempt_at, id
         LIMIT 1",
    )?;
    let found = query.query_row(named_params! { ":now": tx.now }, |row| {
        let (id, recipient): (String, String) = (row.get("id")?, row.get("recipient")?);
        let (subject, sealed): (String, Vec<u8>) = (row.get("subject")?, row.get("sealed")?);
        Ok((id, recipient, subject, sealed, row.get::<_, u32>("attempts")? + 1))
    });
    let Some((id, recipient, subject, sealed, attempts)) = found.optional()? else { return Ok(None) };
    tx.sql
        .prepare_cached("UPDATE mail SET attempts = :attempts, next_attempt_at = :next WHERE id = :id")?
        .execute(named_params! { ":attempts": attempts, ":next": next_attempt_at(tx.now, attempts), ":id": id })?;
    match tx.sealer.open_mail(&id, &recipient, &sealed) {
        Some(text) => Ok(Some(Due { id, letter: Letter { recipient: Email::parse(&recipient)?, subject, text } })),
        None => {
            finish(tx, &id, "FAILED", Some("the mail was sealed with another master key"))?;
            Ok(None)
        }
    }
}

/// Gives up the mails whose link works no more, and those that were tried often enough.
fn give_up(tx: &Tx) -> Result<(), Error> {
    let mut update = tx.sql.prepare_cached(
        "UPDATE mail
         SET status = 'FAILED', sealed = NULL
         WHERE status = 'QUEUED' AND next_attempt_at <= :now
           AND (attempts >= :attempts_max OR expires_at <= :now
                OR EXISTS (SELECT 1 FROM invitation
                           WHERE invitation.id = mail.invitation_id
                             AND (invitation.accepted_at IS NOT NULL OR invitation.revoked_at IS NOT NULL
                                  OR invitation.ended_at IS NOT NULL))
                OR (user_id IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM password_reset
                                    WHERE password_reset.user_id = mail.user_id
                                      AND password_reset.used_at IS NULL AND password_reset.ended_at IS NULL)))",
    )?;
    update.execute(named_params! { ":now": tx.now, ":attempts_max": ATTEMPTS_MAX })?;
    Ok(())
}

/// Notes that a mail was sent. Its text is deleted.
pub fn note_sent(tx: &Tx, id: &str) -> Result<(), Error> {
    finish(tx, id, "SENT", None)
}

/// Notes that a mail cannot be sent, with the mail server's words. Its text is deleted.
pub fn note_refused(tx: &Tx, id: &str, problem: &str) -> Result<(), Error> {
    finish(tx, id, "FAILED", Some(problem))
}

/// Notes that an attempt failed, with the mail server's words. Another one follows, unless it was the last.
pub fn note_failed(tx: &Tx, id: &str, problem: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE mail SET problem = :problem WHERE id = :id AND status = 'QUEUED'")?
        .execute(named_params! { ":problem": problem, ":id": id })?;
    let attempts = tx
        .sql
        .prepare_cached("SELECT attempts FROM mail WHERE id = :id AND status = 'QUEUED'")?
        .query_row(named_params! { ":id": id }, |row| row.get::<_, u32>("attempts"))
        .optional()?;
    match attempts {
        Some(attempts) if attempts >= ATTEMPTS_MAX => finish(tx, id, "FAILED", Some(problem)),
        Some(_) | None => Ok(()),
    }
}

fn finish(tx: &Tx, id: &str, status: &str, problem: Option<&str>) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "UPDATE mail SET status = :status, sealed = NULL, problem = :problem WHERE id = :id AND status = 'QUEUED'",
        )?
        .execute(named_params! { ":status": status, ":problem": problem, ":id": id })?;
    Ok(())
}
