//! People, and their roles in organizations. A person has exactly one address, and may be in several organizations.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::json;

use crate::db::Tx;
use crate::db::audit::{self, Actor, Event};
use crate::db::positions::columns;
use crate::domain::users::OrgMember;
use crate::domain::{Email, OrgId, Page, Paging, PersonName, User, UserId};
use crate::error::Error;
use crate::policy::{Caller, InOrg, OrgRole, Person};

mod teams_of_user;

pub use teams_of_user::teams;

/// Lists the people of the organization in the order of their ids, so that a person who joins or leaves between two
/// pages shifts no other entry.
pub fn list(tx: &Tx, org: &InOrg, paging: &Paging) -> Result<Page<OrgMember>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, org_member.role
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.user_id > :after
         ORDER BY org_member.user_id
         LIMIT :rows_max",
    )?;
    let (at, user_at) = (OrgMemberColumns::of(&query)?, UserColumns::of(&query)?);
    let rows = query.query_map(
        named_params! { ":org_id": org.org_id(), ":after": paging.after, ":rows_max": paging.rows_max() },
        |row| member_from_row_at(row, at, user_at),
    )?;
    Ok(paging.page(rows.collect::<Result<_, _>>()?, |member| member.user.id.as_str()))
}

/// The person of the organization with this address.
pub fn with_address(tx: &Tx, org: &InOrg, email: &Email) -> Result<Option<OrgMember>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, org_member.role
         FROM user JOIN org_member ON org_member.user_id = user.id
         WHERE user.email = :email AND org_member.org_id = :org_id",
    )?;
    Ok(query
        .query_row(named_params! { ":email": email.as_str(), ":org_id": org.org_id() }, member_from_row)
        .optional()?)
}

/// The person of the organization with this id.
///
/// # Errors
///
/// [`Error::NotFound`] for a person who is not in the organization.
pub fn find(tx: &Tx, org: &InOrg, user_id: &str) -> Result<OrgMember, Error> {
    of_organization(tx, org.org_id(), user_id)
}

/// The person with this id in an organization.
///
/// # Errors
///
/// [`Error::NotFound`] for a person who is not in the organization.
pub(super) fn of_organization(tx: &Tx, org_id: &OrgId, user_id: &str) -> Result<OrgMember, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, org_member.role
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.user_id = :user_id",
    )?;
    let found = query.query_row(named_params! { ":org_id": org_id, ":user_id": user_id }, member_from_row);
    found.optional()?.ok_or(Error::NotFound("user"))
}

/// The display name of a key that belongs to no person: its name, or its prefix if it has no name.
pub fn service_name(tx: &Tx, caller: &Caller) -> Result<String, Error> {
    let mut query = tx.sql.prepare_cached("SELECT coalesce(name, prefix) FROM api_key WHERE prefix = :prefix")?;
    Ok(query.query_row(named_params! { ":prefix": caller.prefix() }, |row| row.get(0))?)
}

/// Changes the caller's own name, which applies in all their organizations.
pub fn rename(tx: &Tx, org: &InOrg, person: &Person, name: &PersonName) -> Result<OrgMember, Error> {
    let before = find(tx, org, person.user_id.as_str())?;
    tx.sql
        .prepare_cached("UPDATE user SET name = :name WHERE id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":id": person.user_id })?;
    let event = Event::new(
        "USER_UPDATED",
        json!({
            "user_id": before.user.id.as_str(),
            "user_email": before.user.email,
            "name": name.as_str(),
            "previous_name": before.user.name,
        }),
    );
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)?;
    find(tx, org, person.user_id.as_str())
}

/// Records in the audit log that a person joined an organization.
pub(super) fn record_joined(tx: &Tx, actor: Actor<'_>, org_id: &OrgId, user: &User) -> Result<(), Error> {
    let data = json!({ "user_id": user.id.as_str(), "new_user_email": user.email });
    audit::record(tx, actor, org_id, None, Event::new("USER_JOINED_ORGANIZATION", data))
}

/// The person with this address, in any organization or none.
pub(super) fn of_email(tx: &Tx, email: &Email) -> Result<Option<User>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT id, email, name FROM user WHERE email = :email")?;
    Ok(query.query_row(named_params! { ":email": email.as_str() }, from_row).optional()?)
}

/// Inserts a new person, who is in no organization yet.
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

/// Sets the name of a person who starts again by an invitation.
pub(super) fn rename_anew(tx: &Tx, user: &User, name: &PersonName) -> Result<User, Error> {
    tx.sql
        .prepare_cached("UPDATE user SET name = :name WHERE id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":id": user.id })?;
    Ok(User { name: name.as_str().to_owned(), ..user.clone() })
}

/// The hash of a person's password. `None` if they have none.
pub(super) fn password_hash(tx: &Tx, user_id: &UserId) -> Result<Option<String>, Error> {
    let mut query = tx.sql.prepare_cached("SELECT password_hash FROM user WHERE id = :id")?;
    Ok(query.query_row(named_params! { ":id": user_id }, |row| row.get(0)).optional()?.flatten())
}

/// Stores the hash of a person's password, given as a PHC string. The calling code computes the hash beforehand,
/// because hashing is too slow for a transaction.
pub(super) fn set_password_hash(tx: &Tx, user_id: &UserId, hash: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE user SET password_hash = :hash WHERE id = :id")?
        .execute(named_params! { ":hash": hash, ":id": user_id })?;
    Ok(())
}

/// Makes a person a member of an organization, without an entry in the audit log.
pub(super) fn join(tx: &Tx, org_id: &OrgId, user_id: &UserId, role: OrgRole) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO org_member (org_id, user_id, role, created_at)
             VALUES (:org_id, :user_id, :role, :now)",
        )?
        .execute(named_params! { ":org_id": org_id, ":user_id": user_id, ":role": role.as_str(), ":now": tx.now })?;
    Ok(())
}

columns! { UserColumns: id email name }
columns! { OrgMemberColumns: role }

/// Reads one row. A list looks its columns up once and calls [`from_row_at`] instead.
pub(super) fn from_row(row: &Row) -> rusqlite::Result<User> {
    from_row_at(row, UserColumns::of(row.as_ref())?)
}

pub(super) fn from_row_at(row: &Row, at: UserColumns) -> rusqlite::Result<User> {
    Ok(User { id: row.get(at.id)?, email: row.get(at.email)?, name: row.get(at.name)? })
}

fn member_from_row(row: &Row) -> rusqlite::Result<OrgMember> {
    let statement = row.as_ref();
    member_from_row_at(row, OrgMemberColumns::of(statement)?, UserColumns::of(statement)?)
}

fn member_from_row_at(row: &Row, at: OrgMemberColumns, user_at: UserColumns) -> rusqlite::Result<OrgMember> {
    Ok(OrgMember { user: from_row_at(row, user_at)?, role: row.get(at.role)? })
}
