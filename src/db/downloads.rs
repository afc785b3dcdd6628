//! Links to archives, which need no key: each names one archive of a deployment or a training job, for ten minutes. What a link grants stands
//! sealed in it, so making one writes nothing.

use zeroize::Zeroizing;

use crate::db::deployments::Deployment;
use crate::db::models::Model;
use crate::db::training_jobs::{self, Job};
use crate::db::{Tx, uploads};
use crate::error::Error;
use crate::model::{Archive, Time};
use crate::policy::InTeam;
use crate::token;

pub const LINK_SECONDS: i64 = 10 * 60;

/// What links are sealed for, so that nothing else that is sealed can be taken for one.
const PURPOSE: &str = "download";

/// A link to the archive of a deployment, its last part.
pub fn grant(tx: &Tx, model: &Model, deployment: &Deployment) -> Result<Zeroizing<String>, Error> {
    if !model.is_downloadable {
        return Err(Error::Forbidden(format!(
            "model \"{}\" was made with downloads of its archives switched off",
            model.name
        )));
    }
    let s3_key = deployment.s3_key.as_ref().ok_or(Error::NotFound("archive: this deployment was made without one"))?;
    Ok(link(tx, s3_key))
}

/// Links to the archives that a training job was pushed with, in their order.
pub fn grant_for_job(tx: &Tx, team: &InTeam, job: &Job) -> Result<Vec<Zeroizing<String>>, Error> {
    Ok(training_jobs::artifacts(tx, team, job)?.iter().map(|s3_key| link(tx, s3_key)).collect())
}

/// The archive that a link leads to. One that was not made here or has expired leads nowhere.
pub fn redeem(tx: &Tx, link: &str) -> Result<Archive, Error> {
    let missing = || Error::NotFound("download: ask for a new link");
    let sealed = token::bytes_of_hex(link).ok_or_else(missing)?;
    let grant = tx.sealer.open_grant(PURPOSE, &sealed).ok_or_else(missing)?;
    let (s3_key, expires_at) = grant.split_once('\n').ok_or_else(missing)?;
    let is_over = expires_at.parse().map_or(true, |expires_at| Time(expires_at) <= tx.now);
    if is_over {
        return Err(missing());
    }
    uploads::find(tx, s3_key)?.ok_or_else(missing)
}

fn link(tx: &Tx, s3_key: &str) -> Zeroizing<String> {
    let grant = format!("{s3_key}\n{}", tx.now.plus_seconds(LINK_SECONDS).0);
    let sealed = tx.sealer.seal_grant(&mut tx.dice(), PURPOSE, &grant);
    Zeroizing::new(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
}
