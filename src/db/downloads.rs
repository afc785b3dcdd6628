//! Download links to archives, which need no API key.
//!
//! A link is for one archive of a deployment or of a training job, is valid for ten minutes, and contains the prefix of
//! the key of the caller who requested it. Its content is sealed in the link itself, so creating one writes nothing to
//! the database. A link works only if that key could get the archive at the time of the download: the key must work,
//! and its caller must see the deployment or the job.

use zeroize::Zeroizing;

use crate::db::{Tx, callers, deployments, models, teams, training_jobs, uploads};
use crate::domain::deployments::{Deployment, Which};
use crate::domain::models::Model;
use crate::domain::training_jobs::Job;
use crate::domain::{Archive, Time};
use crate::error::Error;
use crate::policy::{InTeam, TeamAct};
use crate::token;

pub const LINK_SECONDS: i64 = 10 * 60;

/// The purpose that links are sealed with, so that no other sealed text is accepted as a link.
const PURPOSE: &str = "download";

/// Creates a link to the archive of a deployment. Returns the last part of its path.
///
/// # Errors
///
/// [`Error::Forbidden`] if downloads are switched off for the model. [`Error::NotFound`] if the deployment has no
/// archive.
pub fn grant(tx: &Tx, team: &InTeam, model: &Model, deployment: &Deployment) -> Result<Zeroizing<String>, Error> {
    may_be_downloaded(model)?;
    let s3_key = deployment.s3_key.as_ref().ok_or(Error::NotFound("archive: this deployment was made without one"))?;
    Ok(link(tx, team, Source::Deployment { model_id: &model.id, id: &deployment.id }, s3_key))
}

/// Creates links to the archives that a training job was pushed with, in the order of the push. Returns the last part
/// of the path of each.
pub fn grant_for_job(tx: &Tx, team: &InTeam, job: &Job) -> Result<Vec<Zeroizing<String>>, Error> {
    let s3_keys = training_jobs::artifacts(tx, team, &job.id)?;
    Ok(s3_keys.iter().map(|s3_key| link(tx, team, Source::Job { id: &job.id }, s3_key)).collect())
}

/// The archive that a link is for.
///
/// # Errors
///
/// [`Error::NotFound`] if the link was not created by this server or has expired, or if the caller who requested it
/// could no longer get the archive.
pub fn redeem(tx: &Tx, link: &str) -> Result<Archive, Error> {
    let missing = || Error::NotFound("download: ask for a new link");
    let sealed = token::bytes_of_hex(link).ok_or_else(missing)?;
    let text = tx.sealer.open_grant(PURPOSE, &sealed).ok_or_else(missing)?;
    let grant = Grant::parse(&text).filter(|grant| grant.expires_at > tx.now).ok_or_else(missing)?;
    match granted_archive(tx, &grant) {
        Ok(archive) => archive.ok_or_else(missing),
        Err(cause @ (Error::Internal(_) | Error::StorageFull)) => Err(cause),
        Err(_) => Err(missing()),
    }
}

/// The archive, if the caller who requested the link may still get it.
fn granted_archive(tx: &Tx, grant: &Grant<'_>) -> Result<Option<Archive>, Error> {
    let caller = callers::again(tx, grant.api_key_prefix)?;
    let team = teams::find(tx, grant.team_id)?;
    let team = caller.in_team(&team, TeamAct::View)?;
    let is_there = match grant.source {
        Source::Deployment { model_id, id } => {
            may_be_downloaded(&models::find(tx, &team, model_id)?)?;
            let deployment = deployments::find(tx, &team, model_id, Which::Id(id))?;
            deployment.s3_key.as_deref() == Some(grant.s3_key)
        }
        Source::Job { id } => training_jobs::artifacts(tx, &team, id)?.iter().any(|s3_key| s3_key == grant.s3_key),
    };
    if is_there { uploads::find(tx, grant.s3_key) } else { Ok(None) }
}

fn may_be_downloaded(model: &Model) -> Result<(), Error> {
    if model.is_downloadable {
        return Ok(());
    }
    Err(Error::Forbidden(format!("model \"{}\" was made with downloads of its archives switched off", model.name)))
}

/// The content of a link.
struct Grant<'a> {
    s3_key: &'a str,
    expires_at: Time,
    api_key_prefix: &'a str,
    team_id: &'a str,
    source: Source<'a>,
}

/// The deployment or training job that an archive belongs to.
#[derive(Clone, Copy)]
enum Source<'a> {
    Deployment { model_id: &'a str, id: &'a str },
    Job { id: &'a str },
}

/// One line for each field. No field can contain a line break.
impl Grant<'_> {
    fn to_text(&self) -> String {
        let source = match self.source {
            Source::Deployment { model_id, id } => format!("{model_id}\n{id}"),
            Source::Job { id } => format!("\n{id}"),
        };
        let expires_at = self.expires_at.0.to_string();
        [self.s3_key, &expires_at, self.api_key_prefix, self.team_id, &source].join("\n")
    }

    fn parse(text: &str) -> Option<Grant<'_>> {
        let [s3_key, expires_at, api_key_prefix, team_id, model_id, id] = text.split('\n').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let source = if model_id.is_empty() { Source::Job { id } } else { Source::Deployment { model_id, id } };
        Some(Grant { s3_key, expires_at: Time(expires_at.parse().ok()?), api_key_prefix, team_id, source })
    }
}

fn link(tx: &Tx, team: &InTeam, source: Source<'_>, s3_key: &str) -> Zeroizing<String> {
    let grant = Grant {
        s3_key,
        expires_at: tx.now.plus_seconds(LINK_SECONDS),
        api_key_prefix: team.caller().prefix(),
        team_id: team.team().id.as_str(),
        source,
    };
    let sealed = tx.sealer.seal_grant(&mut tx.rng(), PURPOSE, &grant.to_text());
    Zeroizing::new(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
}
