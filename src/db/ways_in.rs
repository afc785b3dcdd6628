//! What gives the admins of an organization access: API keys, and passwords, with which they sign in to the console. The
//! last of these cannot be taken away.

use rusqlite::named_params;

use crate::db::Tx;
use crate::domain::OrgId;
use crate::error::Error;

/// Runs `work` and returns its result if the admins of the organization keep access. The calling code must
/// undo the changes of `work` after an error.
///
/// # Errors
///
/// [`Error::Conflict`] where `work` leaves no admin with a password or a key that works although one had such a thing
/// before, or none with a password or a key that does not expire although one had such a thing before.
pub(super) fn keeping_a_way_in<T>(
    tx: &Tx,
    org_id: &OrgId,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let before = ways_in(tx, org_id)?;
    let done = work()?;
    match ways_in(tx, org_id)? {
        after if after >= before => Ok(done),
        WaysIn::Ending => Err(Error::conflict(
            "no admin of the organization would be left with an API key that does not end: make one first, with a \
             personal key of an admin that does not end",
        )),
        WaysIn::None | WaysIn::Lasting => Err(Error::conflict(
            "no admin of the organization would be left with an API key that works: make another personal key of an \
             admin first",
        )),
    }
}

/// The best thing by which the admins of an organization have access, from the worst to the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WaysIn {
    None,
    /// No admin has a password, and every working key expires.
    Ending,
    /// A password, or a key that does not expire.
    Lasting,
}

fn ways_in(tx: &Tx, org_id: &OrgId) -> Result<WaysIn, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM org_member JOIN user ON user.id = org_member.user_id
                        WHERE org_member.org_id = :org_id AND org_member.role = 'ADMIN'
                          AND user.password_hash IS NOT NULL) AS by_password,
                count(*) AS working, count(*) FILTER (WHERE api_key.expires_at IS NULL) AS lasting
         FROM org_member
         JOIN api_key ON api_key.org_id = org_member.org_id AND api_key.user_id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.role = 'ADMIN'
           AND api_key.revoked_at IS NULL AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)",
    )?;
    let (by_password, working, lasting): (bool, i64, i64) = query
        .query_row(named_params! { ":org_id": org_id, ":now": tx.now }, |row| {
            Ok((row.get("by_password")?, row.get("working")?, row.get("lasting")?))
        })?;
    Ok(match (by_password, working, lasting) {
        (true, _, _) => WaysIn::Lasting,
        (false, 0, _) => WaysIn::None,
        (false, _, 0) => WaysIn::Ending,
        (false, _, _) => WaysIn::Lasting,
    })
}
