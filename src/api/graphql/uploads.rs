//! Credentials for uploads over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::Tx;
use crate::db::uploads;
use crate::domain::uploads::{BUCKET, Purpose, REGION};
use crate::error::Error;
use crate::policy::Deployers;
use crate::wire::graphql::UploadCredentials;
use crate::wire::graphql::shape::Given;

pub fn for_model(tx: &Tx, deployers: &Deployers, ctx: &FieldContext) -> Result<Given, Error> {
    credentials(tx, deployers, ctx, Purpose::Model)
}

/// Grants credentials to upload the source of a Chain. truss keeps five fields of this answer and drops `endpoint_url`.
pub fn for_chain(tx: &Tx, deployers: &Deployers, ctx: &FieldContext) -> Result<Given, Error> {
    credentials(tx, deployers, ctx, Purpose::Chain)
}

fn credentials(tx: &Tx, deployers: &Deployers, ctx: &FieldContext, purpose: Purpose) -> Result<Given, Error> {
    let credentials = uploads::grant(tx, deployers, purpose);
    let given = ctx.give(&UploadCredentials {
        s3_bucket: BUCKET,
        s3_key: &credentials.s3_key,
        aws_access_key_id: &credentials.access_key_id,
        aws_secret_access_key: &credentials.secret_access_key,
        aws_session_token: &credentials.session_token,
    })?;
    Ok(given.with(&[("endpoint_url", &ctx.request.base_url.to_string()), ("region_name", REGION)]))
}
