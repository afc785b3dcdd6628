//! The first organization of an installation, made in a browser, with its first admin.

use crate::db::sessions::{self, Place};
use crate::db::{Tx, organization_roles, organizations};
use crate::domain::sessions::NewSession;
use crate::domain::{Email, PersonName, TeamName};
use crate::error::Error;
use crate::policy::Operator;

/// What the first organization and its admin are called.
#[derive(Debug)]
pub struct Founding {
    pub organization: TeamName,
    pub email: Email,
    pub name: PersonName,
    /// A PHC string.
    pub password_hash: String,
}

/// Whether the installation has no organization yet.
pub fn is_open(tx: &Tx) -> Result<bool, Error> {
    Ok(organizations::count(tx)? == 0)
}

/// Makes the first organization and its first admin, and signs the admin in. Teams are off until an admin switches them
/// on. Of two that try at once, one succeeds.
///
/// # Errors
///
/// [`Error::NotFound`] where the installation has an organization already: then the link does not work any more.
pub fn found(tx: &Tx, operator: &Operator, founding: &Founding, place: &Place) -> Result<NewSession, Error> {
    if !is_open(tx)? {
        return Err(Error::NotFound("setup link"));
    }
    let Founding { organization, email, name, password_hash } = founding;
    let (organization, _) = organizations::create(tx, operator, organization, false)?;
    let user =
        organization_roles::add_first_admin_with_password(tx, operator, &organization, email, name, password_hash)?;
    sessions::begin_as_founder(tx, &organization, &user, place)
}
