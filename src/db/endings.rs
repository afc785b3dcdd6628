//! Marks what has expired, so that a clock that is set back does not make a key, an invitation, a link or a session valid
//! again.
//!
//! Each request compares expiry times with its own clock. If it finds a row expired, the row is marked before the
//! response is sent. The server also looks for expired rows every 30 seconds. If the clock jumps forward by mistake,
//! only the rows that exist then are marked, not rows that are created later.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;

/// Whether a row has expired that is not marked yet.
pub fn are_due(tx: &Tx) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM api_key WHERE expires_at <= :now AND revoked_at IS NULL)
             OR EXISTS (SELECT 1 FROM invitation
                        WHERE expires_at <= :now
                          AND accepted_at IS NULL AND revoked_at IS NULL AND ended_at IS NULL)
             OR EXISTS (SELECT 1 FROM password_reset
                        WHERE expires_at <= :now AND used_at IS NULL AND ended_at IS NULL)
             OR EXISTS (SELECT 1 FROM session WHERE expires_at <= :now)",
    )?;
    Ok(query.query_row(named_params! { ":now": tx.now }, |row| row.get(0))?)
}

/// Called by queries that leave out expired rows: if an expired row is not marked yet, requests that it is marked
/// before the response is sent.
pub(super) fn look(tx: &Tx) -> Result<(), Error> {
    if are_due(tx)? {
        tx.found_ended();
    }
    Ok(())
}

/// Marks the rows that have expired, and deletes the grants of expired keys and the sessions that have expired.
pub fn mark(tx: &Tx) -> Result<(), Error> {
    for sql in [
        "DELETE FROM environment_group_key
         WHERE prefix IN (SELECT prefix FROM api_key WHERE expires_at <= :now AND revoked_at IS NULL)",
        "UPDATE api_key SET revoked_at = expires_at
         WHERE expires_at <= :now AND revoked_at IS NULL",
        "UPDATE invitation SET ended_at = expires_at
         WHERE expires_at <= :now AND accepted_at IS NULL AND revoked_at IS NULL AND ended_at IS NULL",
        "UPDATE password_reset SET ended_at = expires_at
         WHERE expires_at <= :now AND used_at IS NULL AND ended_at IS NULL",
        "DELETE FROM session WHERE expires_at <= :now",
    ] {
        tx.sql.prepare_cached(sql)?.execute(named_params! { ":now": tx.now })?;
    }
    Ok(())
}
