//! Results of reading archives. A result belongs to the content: an archive is read once, however many deployments use
//! it.
//!
//! The start of a reading is recorded before the reading begins. If a reading was started and never ended, it crashed
//! the process, or the process ended for another reason meanwhile. The archive is read once more. If that reading does
//! not end either, nothing is built from the archive.

use rusqlite::{OptionalExtension as _, named_params};

use crate::db::Tx;
use crate::domain::deployments::Content;
use crate::domain::{Archive, Time};
use crate::error::Error;

/// How often an archive is read if each reading ends with the process.
pub const ATTEMPTS_MAX: i64 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// This number of attempts were started and have not ended.
    Open {
        attempts: i64,
    },
    /// The hash of the archive's content, as truss computes it.
    Done {
        truss_hash: String,
    },
    Failed {
        why: String,
    },
}

/// The result of reading the archive by this version of the rules.
pub fn find(tx: &Tx, archive: &Archive, rules: i64) -> Result<Reading, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT attempts, failure, truss_hash
         FROM archive_reading
         WHERE hash = :hash AND rules = :rules",
    )?;
    let found = query.query_row(named_params! { ":hash": archive.hash, ":rules": rules }, |row| {
        Ok(match (row.get("truss_hash")?, row.get("failure")?) {
            (Some(truss_hash), _) => Reading::Done { truss_hash },
            (None, Some(why)) => Reading::Failed { why },
            (None, None) => Reading::Open { attempts: row.get("attempts")? },
        })
    });
    Ok(found.optional()?.unwrap_or(Reading::Open { attempts: 0 }))
}

/// Whether a deployment waits for this archive to be read.
pub fn is_wanted(tx: &Tx, hash: &[u8; 32]) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT EXISTS (
             SELECT 1
             FROM upload JOIN deployment ON deployment.s3_key = upload.s3_key
             WHERE upload.hash = :hash AND deployment.status = 'BUILDING'
         )",
    )?;
    Ok(query.query_row(named_params! { ":hash": hash }, |row| row.get(0))?)
}

/// Records that a reading begins.
pub fn begin(tx: &Tx, archive: &Archive, rules: i64) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO archive_reading (hash, rules, attempts, updated_at, org_id, team_id)
             VALUES (:hash, :rules, 1, :now,
                     (SELECT org_id FROM upload WHERE upload.hash = :hash ORDER BY uploaded_at, s3_key LIMIT 1),
                     (SELECT coalesce(team_upload.team_id, upload.team_id)
                      FROM upload LEFT JOIN team_upload ON team_upload.s3_key = upload.s3_key
                      WHERE upload.hash = :hash
                      ORDER BY upload.uploaded_at, upload.s3_key
                      LIMIT 1))
             ON CONFLICT (hash) DO UPDATE
             SET attempts = CASE WHEN rules = :rules THEN attempts + 1 ELSE 1 END, rules = :rules, failure = NULL,
                 truss_hash = NULL, truss_signature = NULL, updated_at = :now",
        )?
        .execute(named_params! { ":hash": archive.hash, ":rules": rules, ":now": tx.now })?;
    Ok(())
}

/// Records that a reading ended without a result, because the server stops or because of an internal error. The attempt
/// does not count.
pub fn give_back(tx: &Tx, archive: &Archive) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE archive_reading SET attempts = max(0, attempts - 1) WHERE hash = :hash")?
        .execute(named_params! { ":hash": archive.hash })?;
    Ok(())
}

/// Records the result of a reading, or why nothing can be built from the archive.
pub fn end(tx: &Tx, hash: &[u8; 32], found: Result<&Content, &str>) -> Result<(), Error> {
    let content = found.ok();
    tx.sql
        .prepare_cached(
            "UPDATE archive_reading
             SET attempts = 0, failure = :failure, truss_hash = :truss_hash, truss_signature = :truss_signature,
                 updated_at = :now
             WHERE hash = :hash",
        )?
        .execute(named_params! {
            ":failure": found.err(),
            ":truss_hash": content.map(|content| &content.hash),
            ":truss_signature": content.map(|content| &content.signature),
            ":now": tx.now,
            ":hash": hash,
        })?;
    Ok(())
}

/// Deletes results that have not changed since `long_ago` and whose archives no upload refers to.
pub fn forget_unnamed(tx: &Tx, long_ago: Time) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "DELETE FROM archive_reading
             WHERE updated_at <= :long_ago AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.hash = archive_reading.hash)",
        )?
        .execute(named_params! { ":long_ago": long_ago })?;
    Ok(())
}
