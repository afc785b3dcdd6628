//! One-time links with which a person sets a password.

use crate::domain::users::OrgMember;
use crate::domain::{Time, User};
use crate::token::{LinkToken, PlainKey};

/// A new link. It can be shown only once.
pub struct NewLink {
    pub user: User,
    pub token: LinkToken,
    pub expires_at: Time,
}

/// The result of a reset.
#[derive(Debug)]
pub struct Done {
    /// The person as a member of the organization, and the name of the organization. `None` if the person is not in
    /// exactly one.
    pub member: Option<(OrgMember, String)>,
    pub user: User,
    pub key: Option<PlainKey>,
}
