//! Secrets of a team, without their values.

use crate::domain::Time;

/// A secret without its value. Borrowed from the row it stands in: lists go to the client without a copy.
#[derive(Debug)]
pub struct Secret<'r> {
    pub id: &'r str,
    pub name: &'r str,
    pub created_at: Time,
}

/// What was given up with a lost master key.
#[derive(Debug)]
pub struct Discarded {
    pub secrets: i64,
    pub teams: i64,
    pub organizations: i64,
}
