//! The operation of a request, and what its headers ask for besides storing bytes. What is not supported is refused,
//! never ignored.

use std::collections::BTreeMap;

use hyper::Method;
use hyper::http::request::Parts as Head;

use super::refusal::Refusal;
use super::signature::{header, query};
use super::xml::part_number;
use crate::db::uploads::Recorded;

const IF_NONE_MATCH: &str = "if-none-match";

/// Prefixes of headers that change what S3 does. None of them is supported.
const UNSERVED: [&str; 6] = [
    "x-amz-server-side-encryption",
    "x-amz-tagging",
    "x-amz-grant-",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
];
/// Preconditions on an existing object. Objects are never replaced, so there is nothing to compare.
const UNSERVED_PRECONDITIONS: [&str; 3] = ["if-match", "if-modified-since", "if-unmodified-since"];
/// Headers that are accepted with one of these values.
const SERVED_VALUES: [(&str, &[&str]); 2] =
    [("x-amz-acl", &["private", "bucket-owner-full-control"]), ("x-amz-storage-class", &["STANDARD"])];

/// The supported operations.
pub enum Operation {
    Put,
    CreateInParts,
    PutPart { upload_id: String, number: u16 },
    Complete { upload_id: String },
    Abort { upload_id: String },
}

impl Operation {
    pub fn of(head: &Head) -> Result<Operation, Refusal> {
        let mut asked: BTreeMap<String, String> = query(head.uri.query().unwrap_or_default()).collect();
        asked.remove("x-id"); // repeats the operation's name
        if head.headers.contains_key("x-amz-copy-source") {
            return Err(Refusal::access_denied());
        }
        let asked: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match (&head.method, &asked[..]) {
            (&Method::PUT, []) => Ok(Operation::Put),
            (&Method::PUT, [("partNumber", number), ("uploadId", id)]) => {
                Ok(Operation::PutPart { upload_id: (*id).to_owned(), number: part_number(number)? })
            }
            (&Method::POST, [("uploads", _)]) => Ok(Operation::CreateInParts),
            (&Method::POST, [("uploadId", id)]) => Ok(Operation::Complete { upload_id: (*id).to_owned() }),
            (&Method::DELETE, [("uploadId", id)]) => Ok(Operation::Abort { upload_id: (*id).to_owned() }),
            _ => Err(Refusal::access_denied()),
        }
    }
}

/// The precondition of storing an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    Nothing,
    IsAbsent,
}

impl Precondition {
    pub fn of(head: &Head) -> Result<Precondition, Refusal> {
        if let Some(name) = UNSERVED_PRECONDITIONS.iter().find(|name| head.headers.contains_key(**name)) {
            return Err(Refusal::not_implemented(&format!("`{name}`")));
        }
        match header(head, IF_NONE_MATCH)? {
            None => Ok(Precondition::Nothing),
            Some("*") => Ok(Precondition::IsAbsent),
            Some(_) => Err(Refusal::not_implemented("`if-none-match` with anything but `*`")),
        }
    }

    /// Whether an archive may be stored, given the one that exists. Without a precondition it may be sent again.
    pub fn check(self, recorded: Recorded) -> Result<(), Refusal> {
        match (recorded, self) {
            (Recorded::New, _) | (Recorded::SameAgain, Precondition::Nothing) => Ok(()),
            (Recorded::SameAgain | Recorded::OtherIsThere, Precondition::IsAbsent) => {
                Err(Refusal::precondition_failed())
            }
            (Recorded::OtherIsThere, Precondition::Nothing) => Err(Refusal::already_complete()),
        }
    }
}

pub fn refuse_unserved(head: &Head) -> Result<(), Refusal> {
    let mut names = head.headers.keys().map(|name| name.as_str());
    if let Some(name) = names.find(|name| UNSERVED.iter().any(|begin| name.starts_with(begin))) {
        return Err(Refusal::not_implemented(&format!("`{name}`")));
    }
    for (name, served) in SERVED_VALUES {
        if header(head, name)?.is_some_and(|value| !served.contains(&value)) {
            return Err(Refusal::not_implemented(&format!("`{name}` other than {}", served.join(" or "))));
        }
    }
    Ok(())
}
