//! Upload credentials on the wire. Every field beside the key and the bucket is an argument of the S3 client that gets it,
//! so `endpoint_url` and `region_name` (ours) bring it here without any set-up.

use schemars::JsonSchema;
use serde::Serialize;

#[derive(JsonSchema, Serialize)]
pub struct BlobCredentials<'a> {
    pub s3_bucket: &'a str,
    pub s3_key: &'a str,
    pub creds: AwsCredentials<'a>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "AWSCredentials")]
pub struct AwsCredentials<'a> {
    pub aws_access_key_id: &'a str,
    pub aws_secret_access_key: &'a str,
    pub aws_session_token: &'a str,
    pub endpoint_url: &'a str,
    pub region_name: &'a str,
}
