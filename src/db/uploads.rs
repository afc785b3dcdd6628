//! Uploads: who may upload an archive, to whom it belongs, and who may use it.
//!
//! Credentials are bound to one upload key and one caller, and expire after an hour. The grant is sealed into their
//! session token, so a request for credentials writes nothing; whether the caller is still valid is checked at each
//! request. An upload belongs to the organization, but only the caller who received its credentials can use it.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;
use zeroize::Zeroizing;

use crate::db::audit::{self, Actor, Event};
use crate::db::quotas::Used;
use crate::db::quotas::in_progress::{Room, Share};
use crate::db::{Tx, archive_readings, callers, teams};
use crate::domain::uploads::{Credentials, Grant, Purpose};
use crate::domain::{Archive, TeamId, UserId};
use crate::error::{Error, QuotaExceeded};
use crate::policy::{Caller, Deployers, InTeam, Reader, Who, nowhere};
use crate::token;

/// How long credentials are valid.
pub const CREDENTIALS_SECONDS: i64 = 60 * 60;
/// How long an upload that is not used is kept.
pub const UNTAKEN_SECONDS: i64 = 24 * 60 * 60;

/// Issues credentials for one archive that a training job will be made from.
///
/// # Errors
///
/// [`Error::Forbidden`] where the list of teams is empty: the caller may deploy in no team.
pub fn grant_for_training(tx: &Tx, teams: &[InTeam]) -> Result<Credentials, Error> {
    let team = teams.first().ok_or_else(nowhere)?;
    Ok(credentials(tx, team.caller(), Purpose::Training))
}

/// Issues credentials for one archive. The target of the push is checked only at the push.
pub fn grant(tx: &Tx, deployers: &Deployers, purpose: Purpose) -> Credentials {
    credentials(tx, deployers.caller(), purpose)
}

fn credentials(tx: &Tx, caller: &Caller, purpose: Purpose) -> Credentials {
    let grant = Grant {
        s3_key: format!("{}/{}{}", purpose.as_str(), tx.id(), tx.id()),
        org_id: caller.org_id.clone(),
        user_id: person(caller).cloned(),
        api_key_prefix: caller.prefix().to_owned(),
        expires_at: tx.now.plus_seconds(CREDENTIALS_SECONDS),
        team_id: team_of_key(caller).cloned(),
    };
    let access_key_id = token::access_key_id(&mut tx.rng());
    let sealed = tx.sealer.seal_grant(&mut tx.rng(), &access_key_id, &grant.to_text());
    Credentials {
        s3_key: grant.s3_key,
        secret_access_key: tx.sealer.upload_secret(&access_key_id),
        session_token: Zeroizing::new(sealed.iter().map(|byte| format!("{byte:02x}")).collect()),
        access_key_id,
    }
}

/// The secret access key that belongs to an access key id.
pub fn secret(tx: &Tx, access_key_id: &str) -> Zeroizing<String> {
    tx.sealer.upload_secret(access_key_id)
}

/// The grant in a session token; `None` if this installation did not issue it for this access key id. The grant may
/// have expired.
pub fn granted(tx: &Tx, access_key_id: &str, session_token: &str) -> Option<Grant> {
    let text = tx.sealer.open_grant(access_key_id, &token::bytes_of_hex(session_token)?)?;
    Grant::parse(&text)
}

/// The caller who received the credentials.
///
/// # Errors
///
/// [`Error::Unauthenticated`] where their key does not work any more; [`Error::Forbidden`] where they may deploy in no
/// team.
pub fn uploader(tx: &Tx, grant: &Grant) -> Result<Caller, Error> {
    let caller = callers::again(tx, &grant.api_key_prefix)?;
    let teams = teams::of_organization(tx, &caller)?;
    caller.to_deploy_in_any(&teams)?;
    if caller.org_id == grant.org_id { Ok(caller) } else { Err(nowhere()) }
}

/// The usage and limits of archives and disk, without the archive that is stored under this upload key: uploading the
/// same archive again needs no space.
pub fn room(tx: &Tx, grant: &Grant) -> Result<Room, Error> {
    let mut query = tx.sql.prepare_cached("SELECT bytes, taken_at IS NULL FROM upload WHERE s3_key = :s3_key")?;
    let there = query.query_row(named_params! { ":s3_key": grant.s3_key }, |row| Ok((row.get(0)?, row.get(1)?)));
    let (there, is_untaken): (i64, bool) = there.optional()?.unwrap_or_default();
    let there = there as u64;
    let settings = &tx.quotas.settings;
    let organization = Used::by_organization(tx, grant.org_id.as_str())?.unwrap_or_default();
    let of_owner = match &grant.team_id {
        Some(team_id) => Used::by_team(tx, team_id.as_str())?.unwrap_or_default().archive_bytes,
        None => untaken_bytes(tx, grant)?,
    };
    let of_all = organization.archive_bytes.saturating_sub(there);
    let of_owner = if is_untaken { of_owner.saturating_sub(there) } else { of_owner };
    Ok(Room {
        owner: Share { used: of_owner, allowed: settings.archive_bytes },
        organization: Share { used: of_all, allowed: settings.organization_archive_bytes },
        disk: Share { used: organization.database_bytes + of_all, allowed: tx.quotas.organization_disk_bytes() },
    })
}

/// The bytes that a person has uploaded and that nothing uses yet.
fn untaken_bytes(tx: &Tx, grant: &Grant) -> Result<u64, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT ifnull(sum(bytes), 0)
         FROM upload INDEXED BY upload_untaken_of_person
         WHERE org_id = :org_id AND user_id = :user_id AND taken_at IS NULL",
    )?;
    let params = named_params! { ":org_id": grant.org_id, ":user_id": grant.user_id };
    Ok(query.query_row(params, |row| row.get::<_, i64>(0))? as u64)
}

/// The outcome of recording an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New,
    /// The same archive was recorded before.
    SameAgain,
    /// Another archive was recorded under this key. It is not replaced.
    OtherIsThere,
}

/// Whether an archive is recorded under this key.
pub fn is_recorded(tx: &Tx, s3_key: &str) -> Result<bool, Error> {
    Ok(find(tx, s3_key)?.is_some())
}

/// What [`record`] would return for an archive with this hash, quotas and access aside.
pub fn foreseen(tx: &Tx, s3_key: &str, hash: &[u8; 32]) -> Result<Recorded, Error> {
    Ok(match find(tx, s3_key)? {
        None => Recorded::New,
        Some(there) if there.hash == *hash => Recorded::SameAgain,
        Some(_) => Recorded::OtherIsThere,
    })
}

/// Records an archive that is stored on the disk.
///
/// # Errors
///
/// [`Error::Unauthenticated`] or [`Error::Forbidden`] where the caller may not upload any more;
/// [`Error::QuotaExceeded`] where the archive exceeds a quota.
pub fn record(tx: &Tx, grant: &Grant, archive: &Archive) -> Result<Recorded, Error> {
    let caller = uploader(tx, grant)?;
    match foreseen(tx, &grant.s3_key, &archive.hash)? {
        Recorded::New => {}
        there => return Ok(there),
    }
    tx.charge_to(&caller);
    room(tx, grant)?.admit(grant, archive.bytes, 0, 0)?;
    tx.sql
        .prepare_cached(
            "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, team_id, hash, bytes, uploaded_at)
             VALUES (:s3_key, :org_id, :user_id, :api_key_prefix, :team_id, :hash, :bytes, :now)",
        )?
        .execute(named_params! {
            ":s3_key": grant.s3_key,
            ":org_id": grant.org_id,
            ":user_id": grant.user_id,
            ":api_key_prefix": grant.api_key_prefix,
            ":team_id": grant.team_id,
            ":hash": archive.hash,
            ":bytes": archive.bytes as i64,
            ":now": tx.now,
        })?;
    let data = json!({ "s3_key": grant.s3_key, "blake3": archive.hex(), "bytes": archive.bytes });
    audit::record(tx, Actor::Caller(&caller), &grant.org_id, None, Event::new("ARCHIVE_UPLOADED", data))?;
    Ok(Recorded::New)
}

/// Takes an upload into use and returns its archive. An upload can be taken repeatedly; once taken, it is no longer
/// deleted as unused.
///
/// # Errors
///
/// [`Error::NotFound`] for an upload that does not exist, was made for another purpose or by another caller.
pub fn take(tx: &Tx, team: &dyn Reader, purpose: Purpose, s3_key: &str) -> Result<Archive, Error> {
    if !purpose.owns(s3_key) {
        return Err(Error::NotFound("upload"));
    }
    let mut take = tx.sql.prepare_cached(
        "UPDATE upload
         SET taken_at = coalesce(taken_at, :now)
         WHERE s3_key = :s3_key AND org_id = :org_id AND user_id IS :user_id
           AND (user_id IS NOT NULL OR api_key_prefix = :api_key_prefix)
         RETURNING hash, bytes",
    )?;
    let caller = team.caller();
    let taken = take.query_row(
        named_params! {
            ":s3_key": s3_key,
            ":org_id": team.team().org_id,
            ":user_id": person(caller),
            ":api_key_prefix": caller.prefix(),
            ":now": tx.now,
        },
        from_row,
    );
    taken.optional()?.ok_or(Error::NotFound("upload"))
}

/// The archive of an upload, if it exists.
pub(super) fn find(tx: &Tx, s3_key: &str) -> Result<Option<Archive>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT hash, bytes FROM upload WHERE s3_key = :s3_key")?;
    Ok(query.query_row(named_params! { ":s3_key": s3_key }, from_row).optional()?)
}

/// Records a changed version of an archive in use as a new upload of the same caller. Returns the key of the new
/// upload.
pub(super) fn succeed(tx: &Tx, s3_key: &str, archive: &Archive) -> Result<String, Error> {
    let key = format!("{}/{}{}", Purpose::Model.as_str(), tx.id(), tx.id());
    tx.sql
        .prepare_cached(
            "INSERT INTO upload (s3_key, org_id, user_id, api_key_prefix, team_id, hash, bytes, uploaded_at, taken_at)
             SELECT :key, org_id, user_id, api_key_prefix, team_id, :hash, :bytes, :now, :now
             FROM upload
             WHERE s3_key = :s3_key",
        )?
        .execute(named_params! {
            ":key": key, ":hash": archive.hash, ":bytes": archive.bytes as i64, ":now": tx.now, ":s3_key": s3_key,
        })?;
    Ok(key)
}

/// Makes the audit log record that a quota refused this upload before any write.
///
/// # Errors
///
/// Always: [`Error::QuotaExceeded`], which the writer records as the refusal of a write; or the errors of [`uploader`].
pub fn note_refusal(tx: &Tx, grant: &Grant, quota: QuotaExceeded) -> Result<(), Error> {
    tx.charge_to(&uploader(tx, grant)?);
    Err(Error::QuotaExceeded(quota))
}

/// Deletes the rows of uploads that are a day old and were never used.
pub fn forget_untaken(tx: &Tx) -> Result<(), Error> {
    tx.frees_space()?;
    tx.sql
        .prepare_cached(
            "DELETE FROM upload
             WHERE taken_at IS NULL AND uploaded_at <= :long_ago",
        )?
        .execute(named_params! { ":long_ago": tx.now.plus_seconds(-UNTAKEN_SECONDS) })?;
    Ok(())
}

/// Deletes what was read from archives that no upload has referred to for a day.
pub fn forget_readings(tx: &Tx) -> Result<(), Error> {
    archive_readings::forget_unnamed(tx, tx.now.plus_seconds(-UNTAKEN_SECONDS))
}

/// Whether any upload refers to the archive with this hash.
pub fn is_named(tx: &Tx, hash: &[u8; 32]) -> Result<bool, Error> {
    let mut query = tx.sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM upload WHERE hash = :hash)")?;
    Ok(query.query_row(named_params! { ":hash": hash }, |row| row.get(0))?)
}

/// All archives that uploads refer to, each once.
pub fn named(tx: &Tx) -> Result<Vec<Archive>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT DISTINCT hash, bytes FROM upload ORDER BY hash")?;
    let archives = query.query_map([], from_row)?.collect::<Result<_, _>>()?;
    Ok(archives)
}

/// The deployments and jobs that were pushed with an archive, for a message to the operator.
pub fn pushed_with(tx: &Tx, archive: &Archive) -> Result<Vec<Pushed>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT pushed.kind, pushed.id, pushed.parent, organization.name AS organization
         FROM upload
         JOIN (SELECT 'deployment' AS kind, deployment.id, model.name AS parent, deployment.s3_key
               FROM deployment JOIN model ON model.id = deployment.model_id
               UNION ALL
               SELECT 'Chain deployment', chain_deployment.id, chain.name, chain_deployment.s3_key
               FROM chain_deployment JOIN chain ON chain.id = chain_deployment.chain_id
               UNION ALL
               SELECT 'training job', training_job.id, training_project.name, training_job_artifact.s3_key
               FROM training_job_artifact
               JOIN training_job ON training_job.id = training_job_artifact.job_id
               JOIN training_project ON training_project.id = training_job.project_id
              ) AS pushed ON pushed.s3_key = upload.s3_key
         JOIN organization ON organization.id = upload.org_id
         WHERE upload.hash = :hash
         ORDER BY organization.name, pushed.kind, pushed.parent, pushed.id",
    )?;
    let rows = query.query_map(named_params! { ":hash": archive.hash }, |row| {
        Ok(Pushed {
            kind: row.get("kind")?,
            id: row.get("id")?,
            parent: row.get("parent")?,
            organization: row.get("organization")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A deployment or training job that was pushed with an archive, and the model, Chain or project that it belongs to.
#[derive(Debug)]
pub struct Pushed {
    pub kind: String,
    pub id: String,
    pub parent: String,
    pub organization: String,
}

fn from_row(row: &Row) -> rusqlite::Result<Archive> {
    Ok(Archive { hash: row.get("hash")?, bytes: row.get::<_, i64>("bytes")? as u64 })
}

fn person(caller: &Caller) -> Option<&UserId> {
    match &caller.who {
        Who::Person(person) => Some(&person.user_id),
        Who::TeamKey(_) | Who::KeyManager { .. } => None,
    }
}

fn team_of_key(caller: &Caller) -> Option<&TeamId> {
    match &caller.who {
        Who::TeamKey(key) => Some(&key.team_id),
        Who::Person(_) | Who::KeyManager { .. } => None,
    }
}
