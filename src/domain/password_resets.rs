//! One-time links by which a person sets a password.

use crate::domain::users::OrgMember;
use crate::domain::{Time, User};
use crate::token::{LinkToken, PlainKey};

/// A new link, which nobody can show again.
pub struct NewLink {
    pub user: User,
    pub token: LinkToken,
    pub expires_at: Time,
}

/// What came of a reset.
#[derive(Debug)]
pub struct Done {
    /// What the person is in the organization that the answer is about, and its name; `None` where there is not exactly one.
    pub member: Option<(OrgMember, String)>,
    pub user: User,
    pub key: Option<PlainKey>,
}
