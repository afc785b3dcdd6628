//! What has expired stays expired: a clock that is set back revives no key, invitation or link.
//!
//! Expiry is judged by the clock of each request. Whatever a request finds expired is marked so in its row, before the
//! request is answered; the server also looks for it every half minute. A clock that jumped forward by mistake ends only
//! what it finds, not what is made later.

use rusqlite::named_params;

use crate::db::Tx;
use crate::error::Error;

/// Whether anything has expired that is not marked yet.
pub fn are_due(tx: &Tx) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM api_key WHERE expires_at <= :now AND revoked_at IS NULL)
             OR EXISTS (SELECT 1 FROM invitation
                        WHERE expires_at <= :now
                          AND accepted_at IS NULL AND revoked_at IS NULL AND ended_at IS NULL)
             OR EXISTS (SELECT 1 FROM password_reset
                        WHERE expires_at <= :now AND used_at IS NULL AND ended_at IS NULL)",
    )?;
    Ok(query.query_row(named_params! { ":now": tx.now }, |row| row.get(0))?)
}

/// Sees to it that what a list or a look-up leaves out as expired is marked.
pub(super) fn look(tx: &Tx) -> Result<(), Error> {
    if are_due(tx)? {
        tx.found_ended();
    }
    Ok(())
}

/// Marks what has expired. A key's grants end with it.
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
    ] {
        tx.sql.prepare_cached(sql)?.execute(named_params! { ":now": tx.now })?;
    }
    Ok(())
}
