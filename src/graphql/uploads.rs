//! Credentials for uploads over GraphQL.

use crate::db::Tx;
use crate::db::uploads::{self, Purpose};
use crate::error::Error;
use crate::graphql::Ask;
use crate::graphql::shape::Given;
use crate::policy::InTeam;
use crate::uploads::{BUCKET, REGION};
use crate::wire::graphql::UploadCredentials;

pub fn for_model(tx: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Given, Error> {
    credentials(tx, teams, ask, Purpose::Model)
}

/// For the source of a Chain. truss keeps five fields of the answer here and drops `endpoint_url`.
pub fn for_chain(tx: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Given, Error> {
    credentials(tx, teams, ask, Purpose::Chain)
}

fn credentials(tx: &Tx, teams: &[InTeam], ask: &Ask, purpose: Purpose) -> Result<Given, Error> {
    let credentials = uploads::grant(tx, teams, purpose)?;
    let given = ask.give(&UploadCredentials {
        s3_bucket: BUCKET,
        s3_key: &credentials.s3_key,
        aws_access_key_id: &credentials.access_key_id,
        aws_secret_access_key: &credentials.secret_access_key,
        aws_session_token: &credentials.session_token,
    })?;
    Ok(given.with(&[("endpoint_url", &ask.request.site.to_string()), ("region_name", REGION)]))
}
