//! Credentials for uploads over HTTP. The upload itself uses the S3 protocol: see [`crate::s3`].

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::uploads;
use crate::domain::uploads::{BUCKET, Credentials, Purpose, REGION};
use crate::error::Error;
use crate::policy::{Deployers, InTeam};
use crate::wire;

pub fn for_model(tx: &Tx, deployers: &Deployers, ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(shown(&uploads::grant(tx, deployers, Purpose::Model), ctx))
}

pub fn for_training(tx: &Tx, teams: &[InTeam], ctx: &RequestContext) -> Result<Reply, Error> {
    Ok(shown(&uploads::grant_for_training(tx, teams)?, ctx))
}

fn shown(credentials: &Credentials, ctx: &RequestContext) -> Reply {
    Reply::ok(&wire::uploads::BlobCredentials {
        s3_bucket: BUCKET,
        s3_key: &credentials.s3_key,
        creds: wire::uploads::AwsCredentials {
            aws_access_key_id: &credentials.access_key_id,
            aws_secret_access_key: &credentials.secret_access_key,
            aws_session_token: &credentials.session_token,
            endpoint_url: &ctx.request.base_url.to_string(),
            region_name: REGION,
        },
    })
}
