//! Credentials for uploads over HTTP. The upload itself is S3's: see [`crate::uploads`].

use crate::db::Tx;
use crate::db::uploads::{self, Purpose};
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::policy::InTeam;
use crate::uploads::{BUCKET, REGION};
use crate::wire;

pub fn for_model(tx: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Reply, Error> {
    credentials(tx, teams, ask, Purpose::Model)
}

pub fn for_training(tx: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Reply, Error> {
    credentials(tx, teams, ask, Purpose::Training)
}

fn credentials(tx: &Tx, teams: &[InTeam], ask: &Ask, purpose: Purpose) -> Result<Reply, Error> {
    let credentials = uploads::grant(tx, teams, purpose)?;
    Ok(Reply::ok(&wire::uploads::BlobCredentials {
        s3_bucket: BUCKET,
        s3_key: &credentials.s3_key,
        creds: wire::uploads::AwsCredentials {
            aws_access_key_id: &credentials.access_key_id,
            aws_secret_access_key: &credentials.secret_access_key,
            aws_session_token: &credentials.session_token,
            endpoint_url: &ask.request.site.to_string(),
            region_name: REGION,
        },
    }))
}
