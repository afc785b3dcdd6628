//! Upload credentials on the wire. Every field except the key and the bucket is an argument of the S3 client that
//! receives them. Therefore `endpoint_url` and `region_name`, which are Guildhall's own, direct the client to this
//! server without any configuration.

use schemars::JsonSchema;
use serde::Serialize;

/// Where to upload a file, and the credentials for it. Baseten's `GetBlobCredentialsResponseV1`.
#[derive(JsonSchema, Serialize)]
pub struct BlobCredentials<'a> {
    pub s3_bucket: &'a str,
    pub s3_key: &'a str,
    pub creds: AwsCredentials<'a>,
}

/// Credentials for an upload. Every field is an argument of the S3 client that receives them, so `endpoint_url` and
/// `region_name` direct it to this server. Baseten's `AWSCredentialsV1`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AWSCredentials")]
pub struct AwsCredentials<'a> {
    pub aws_access_key_id: &'a str,
    pub aws_secret_access_key: &'a str,
    pub aws_session_token: &'a str,
    #[schemars(extend("x-guildhall" = true))]
    pub endpoint_url: &'a str,
    #[schemars(extend("x-guildhall" = true))]
    pub region_name: &'a str,
}
