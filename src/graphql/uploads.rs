//! Credentials for uploads over GraphQL.

use crate::db::Tx;
use crate::db::uploads::{self, Purpose};
use crate::error::Error;
use crate::graphql::Ask;
use crate::graphql::shape::Given;
use crate::http::uploads::endpoint_url;
use crate::policy::InTeam;
use crate::uploads::{BUCKET, REGION};
use crate::wire::graphql::UploadCredentials;

pub fn for_model(tx: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Given, Error> {
    let credentials = uploads::grant(tx, teams, Purpose::Model)?;
    let given = ask.give(&UploadCredentials {
        s3_bucket: BUCKET,
        s3_key: &credentials.s3_key,
        aws_access_key_id: &credentials.access_key_id,
        aws_secret_access_key: &credentials.secret_access_key,
        aws_session_token: &credentials.session_token,
    })?;
    Ok(given.with(&[("endpoint_url", &endpoint_url(ask.request)), ("region_name", REGION)]))
}
