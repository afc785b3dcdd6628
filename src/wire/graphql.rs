//! GraphQL on the wire: what is sent and answered, and the types of objects, named as truss asks for them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::graphql::shape::{Given, object};
use crate::model;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub query: String,
    pub variables: Option<Map<String, Value>>,
    #[serde(rename = "operationName")]
    pub operation_name: Option<String>,
}

object! {
    pub struct Organization<'a> {
        pub id: &'a str,
        pub workspace_name: &'a str,
        /// Nothing here is hosted by somebody whom a customer's cloud would have to let in.
        pub aws_customer_access_role_arn: Option<&'a str>,
        pub aws_external_id: Option<&'a str>,
    }

    /// Whoever asks. What is no person's goes by its key's name in place of an address: truss prints it.
    pub struct User<'a> {
        pub id: &'a str,
        pub email: &'a str,
        pub name: &'a str,
    }

    pub struct Team<'a> {
        pub id: &'a str,
        pub name: &'a str,
        pub default: bool,
    }
}

impl<'a> From<&'a model::Team> for Team<'a> {
    fn from(team: &'a model::Team) -> Team<'a> {
        Team { id: team.id.as_str(), name: &team.name, default: team.is_default }
    }
}

/// Why something is not in the answer.
#[derive(Serialize)]
pub struct Failure<'a> {
    message: String,
    /// The root field that failed; nothing where the whole document did.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<[&'a str; 1]>,
    extensions: Extensions,
}

#[derive(Serialize)]
struct Extensions {
    code: &'static str,
}

impl<'a> Failure<'a> {
    pub fn of_field(key: &'a str, error: &Error) -> Failure<'a> {
        Failure { path: Some([key]), ..Failure::of_document(error) }
    }

    pub fn of_document(error: &Error) -> Failure<'a> {
        Failure { message: error.to_string(), path: None, extensions: Extensions { code: error.status().1 } }
    }
}

/// What was given, by the names that the document wants; `None` is a field that failed. Without data nothing was done.
pub type Data<'a> = [(&'a str, Option<Given>)];

/// `{"data":{…},"errors":[…]}`
pub fn answer(data: Option<&Data>, failures: &[Failure]) -> Vec<u8> {
    let mut out = b"{\"data\":".to_vec();
    match data {
        Some(data) => write_data(data, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    if !failures.is_empty() {
        out.extend_from_slice(b",\"errors\":");
        serde_json::to_writer(&mut out, failures).expect("shapes of ours always serialize");
    }
    out.push(b'}');
    out
}

fn write_data(data: &Data, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (key, given)) in data.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key).expect("text always serializes");
        out.push(b':');
        out.extend_from_slice(given.as_ref().map_or(b"null", Given::as_json));
    }
    out.push(b'}');
}
