//! Secrets of a team, without their values.

use crate::domain::Time;

/// A secret without its value. It borrows from its row, so that lists are sent without a copy.
#[derive(Debug)]
pub struct Secret<'r> {
    pub id: &'r str,
    pub name: &'r str,
    pub created_at: Time,
}

/// How many secrets were discarded with a lost master key, and of how many teams and organizations.
#[derive(Debug)]
pub struct Discarded {
    pub secrets: i64,
    pub teams: i64,
    pub organizations: i64,
}
