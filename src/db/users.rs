//! People, and what they are in an organization. A person is one address, and may be in several organizations.

use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::db::Tx;
use crate::error::Error;
use crate::model::{Email, OrgId, PersonName, User, UserId};
use crate::policy::OrgRole;

/// Whoever has this address, in whatever organization.
pub(super) fn of_email(tx: &Tx, email: &Email) -> Result<Option<User>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT id, email, name FROM user WHERE email = :email")?;
    Ok(query.query_row(named_params! { ":email": email.as_str() }, from_row).optional()?)
}

/// A new person, in no organization yet.
pub(super) fn insert(tx: &Tx, email: &Email, name: &PersonName) -> Result<User, Error> {
    let user = User { id: UserId(tx.id()), email: email.as_str().to_owned(), name: name.as_str().to_owned() };
    tx.sql
        .prepare_cached(
            "INSERT INTO user (id, email, name, created_at)
             VALUES (:id, :email, :name, :now)",
        )?
        .execute(named_params! { ":id": user.id, ":email": user.email, ":name": user.name, ":now": tx.now })?;
    Ok(user)
}

/// Makes a person a member of an organization.
pub(super) fn join(tx: &Tx, org_id: &OrgId, user_id: &UserId, role: OrgRole) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO org_member (org_id, user_id, role, created_at)
             VALUES (:org_id, :user_id, :role, :now)",
        )?
        .execute(named_params! { ":org_id": org_id, ":user_id": user_id, ":role": role.as_str(), ":now": tx.now })?;
    Ok(())
}

pub(super) fn from_row(row: &Row) -> rusqlite::Result<User> {
    Ok(User { id: row.get("id")?, email: row.get("email")?, name: row.get("name")? })
}
