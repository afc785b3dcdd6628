//! People, and what they are in an organization. A person is one address, and may be in several organizations.

use rusqlite::{OptionalExtension as _, Row, named_params};
use serde_json::{Value, json};

use crate::db::api_keys::{self, NewKey, Owner};
use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, endings, invitations, members, organizations, password_resets, teams};
use crate::domain::api_keys::CreatedKeys;
use crate::domain::members::Via;
use crate::domain::users::{OrgMember, Removed, RoleUpdated, TeamOfUser};
use crate::domain::{Email, KeyName, OrgId, Organization, Page, Paging, PersonName, TeamName, User, UserId};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{Caller, Category, InOrg, Operator, OrgRole, Person, TeamRole};
use crate::token::PlainKey;

/// The people of the organization, by id: who joins or leaves between two pages shifts nobody else.
pub fn list(tx: &Tx, org: &InOrg, paging: &Paging) -> Result<Page<OrgMember>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, org_member.role
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.user_id > :after
         ORDER BY org_member.user_id
         LIMIT :rows_max",
    )?;
    let rows = query.query_map(
        named_params! { ":org_id": org.org_id(), ":after": paging.after, ":rows_max": paging.rows_max() },
        member_from_row,
    )?;
    Ok(paging.page(rows.collect::<Result<_, _>>()?, |member| member.user.id.as_str()))
}

/// The person of the organization who has this address.
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

/// The person of this id, if they are of the organization.
pub fn find(tx: &Tx, org: &InOrg, user_id: &str) -> Result<OrgMember, Error> {
    of_organization(tx, org.org_id(), user_id)
}

pub(super) fn of_organization(tx: &Tx, org_id: &OrgId, user_id: &str) -> Result<OrgMember, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT user.id, user.email, user.name, org_member.role
         FROM org_member JOIN user ON user.id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.user_id = :user_id",
    )?;
    let found = query.query_row(named_params! { ":org_id": org_id, ":user_id": user_id }, member_from_row);
    found.optional()?.ok_or(Error::NotFound("user"))
}

/// What a key that is no person's goes by: its name, or its prefix where it has none.
pub fn service_name(tx: &Tx, caller: &Caller) -> Result<String, Error> {
    let mut query = tx.sql.prepare_cached("SELECT coalesce(name, prefix) FROM api_key WHERE prefix = :prefix")?;
    Ok(query.query_row(named_params! { ":prefix": caller.prefix() }, |row| row.get(0))?)
}

/// The teams a person is in, by name; those that an organization admin is implicitly in too.
pub fn teams(tx: &Tx, org: &InOrg, member: &OrgMember, paging: &Paging) -> Result<Page<TeamOfUser>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT team.id, team.name, team.name_key, team_member.role
         FROM team
         LEFT JOIN team_member ON team_member.org_id = team.org_id
                              AND team_member.user_id = :user_id
                              AND team_member.team_id = team.id
         WHERE team.org_id = :org_id AND team.name_key > :after AND (:is_admin OR team_member.role IS NOT NULL)
         ORDER BY team.name_key
         LIMIT :rows_max",
    )?;
    let rows = query.query_map(
        named_params! {
            ":org_id": org.org_id(),
            ":user_id": member.user.id,
            ":is_admin": member.role == OrgRole::Admin,
            ":after": paging.after,
            ":rows_max": paging.rows_max(),
        },
        |row| {
            let explicit: Option<TeamRole> = row.get("role")?;
            let (role, via) = explicit.map_or((TeamRole::Admin, Via::Organization), |role| (role, Via::Team));
            Ok(TeamOfUser {
                team_id: row.get("id")?,
                team_name: row.get("name")?,
                team_name_key: row.get("name_key")?,
                role,
                via,
            })
        },
    )?;
    Ok(paging.page(rows.collect::<Result<_, _>>()?, |team| &team.team_name_key))
}

/// Gives a new organization its founder: an admin, with a first key to begin with. An address that is known is the same
/// person, who keeps the name they have.
pub fn found(
    tx: &Tx,
    operator: &Operator,
    organization: &Organization,
    email: &Email,
    name: &PersonName,
) -> Result<(User, PlainKey), Error> {
    let user = match of_email(tx, email)? {
        Some(user) => user,
        None => insert(tx, email, name)?,
    };
    join(tx, &organization.id, &user.id, OrgRole::Admin)?;
    note_joined(tx, Actor::Operator(operator), &organization.id, &user)?;
    let key_name = KeyName::parse("name", "first-key")?;
    let lifetime = Lifetime::by_operator(operator);
    let key = first_key(tx, Actor::Operator(operator), &organization.id, &user, &key_name, lifetime)?;
    Ok((user, key))
}

/// Changes the caller's own name, in every organization they are in.
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

/// Makes a member of the organization an admin.
pub fn promote(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<RoleUpdated, Error> {
    let member = set_role(tx, org, member, OrgRole::Admin)?;
    Ok(RoleUpdated { member, remaining: None })
}

/// Makes an admin a member of the organization. The last admin stays one, and so does the last who has a key that lasts.
///
/// Their open invitations are revoked, and so are the keys that they made if that is asked for. While teams are off
/// everyone who is no admin is in the default team, so they are put into it.
pub fn demote(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<RoleUpdated, Error> {
    tx.frees_space()?;
    keep_an_admin(tx, org, member)?;
    let user_id = &member.user.id;
    let demoted = keeping_a_way_in(tx, org.org_id(), || set_role(tx, org, member, OrgRole::Member))?;
    invitations::revoke_of_inviter(tx, org, user_id)?;
    password_resets::end_of_maker(tx, org, user_id)?;
    if !organizations::own(tx, org)?.teams_enabled {
        let team = teams::default(tx, org.org_id())?;
        members::ensure(tx, Actor::Caller(org.caller()), &team, &member.user)?;
    }
    let made = api_keys::made_by(tx, org.org_id(), user_id, None)?;
    let remaining = api_keys::settle(tx, org.caller(), made, created_keys)?;
    Ok(RoleUpdated { member: demoted, remaining: Some(remaining) })
}

fn set_role(tx: &Tx, org: &InOrg, member: &OrgMember, role: OrgRole) -> Result<OrgMember, Error> {
    tx.sql
        .prepare_cached("UPDATE org_member SET role = :role WHERE org_id = :org_id AND user_id = :user_id")?
        .execute(named_params! { ":role": role.as_str(), ":org_id": org.org_id(), ":user_id": member.user.id })?;
    let event = Event::new(
        "USER_ROLE_UPDATED",
        json!({
            "user_id": member.user.id.as_str(),
            "user_email": member.user.email,
            "new_role_name": role.as_str(),
        }),
    );
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)?;
    Ok(OrgMember { user: member.user.clone(), role })
}

/// Takes a person out of the organization: their memberships, grants, open invitations and personal keys of it end, and
/// the keys that they made if that is asked for. The last admin stays, and so does the last who has a key that lasts.
pub fn remove(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<Removed, Error> {
    keep_an_admin(tx, org, member)?;
    keeping_a_way_in(tx, org.org_id(), || take_out(tx, org, member, created_keys))
}

fn take_out(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<Removed, Error> {
    let user_id = &member.user.id;
    note_memberships(tx, org, member)?;
    invitations::revoke_of_inviter(tx, org, user_id)?;
    password_resets::end_of_maker(tx, org, user_id)?;
    password_resets::end_of_person(tx, org, user_id)?;
    let mut revoked_prefixes = revoke_keys(tx, org, user_id)?;
    tx.sql
        .prepare_cached("DELETE FROM org_member WHERE org_id = :org_id AND user_id = :user_id")?
        .execute(named_params! { ":org_id": org.org_id(), ":user_id": user_id })?;
    let event = Event::new("USER_REMOVED", json!({ "removed_user_email": member.user.email }));
    audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)?;
    let made = api_keys::made_by(tx, org.org_id(), user_id, None)?;
    if created_keys == CreatedKeys::Revoke {
        revoked_prefixes.extend(made.iter().map(|key| key.prefix.clone()));
    }
    let remaining = api_keys::settle(tx, org.caller(), made, created_keys)?;
    Ok(Removed { revoked_prefixes, remaining })
}

/// By which keys the admins of an organization get in, from the worst to the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WaysIn {
    None,
    /// Each of them ends.
    Ending,
    Lasting,
}

/// Does `work` if the admins of the organization get in by it as they did before: the last key of the last admin stays,
/// and so does the last that does not end while others do.
pub(super) fn keeping_a_way_in<T>(
    tx: &Tx,
    org_id: &OrgId,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let before = ways_in(tx, org_id)?;
    let done = work()?;
    match ways_in(tx, org_id)? {
        after if after >= before => Ok(done),
        WaysIn::Ending => Err(Error::conflict(
            "no admin of the organization would be left with an API key that does not end: make one first, with a \
             personal key of an admin that does not end",
        )),
        WaysIn::None | WaysIn::Lasting => Err(Error::conflict(
            "no admin of the organization would be left with an API key that works: make another personal key of an \
             admin first",
        )),
    }
}

fn ways_in(tx: &Tx, org_id: &OrgId) -> Result<WaysIn, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT count(*) AS working, count(*) FILTER (WHERE api_key.expires_at IS NULL) AS lasting
         FROM org_member
         JOIN api_key ON api_key.org_id = org_member.org_id AND api_key.user_id = org_member.user_id
         WHERE org_member.org_id = :org_id AND org_member.role = 'ADMIN'
           AND api_key.revoked_at IS NULL AND (api_key.expires_at IS NULL OR api_key.expires_at > :now)",
    )?;
    let (working, lasting): (i64, i64) = query
        .query_row(named_params! { ":org_id": org_id, ":now": tx.now }, |row| {
            Ok((row.get("working")?, row.get("lasting")?))
        })?;
    Ok(match (working, lasting) {
        (0, _) => WaysIn::None,
        (_, 0) => WaysIn::Ending,
        (_, _) => WaysIn::Lasting,
    })
}

/// The schema holds this too; here it is said in words that help.
fn keep_an_admin(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<(), Error> {
    let another: bool = tx
        .sql
        .prepare_cached(
            "SELECT EXISTS (
                 SELECT 1 FROM org_member WHERE org_id = :org_id AND role = 'ADMIN' AND user_id <> :user_id
             )",
        )?
        .query_row(named_params! { ":org_id": org.org_id(), ":user_id": member.user.id }, |row| row.get(0))?;
    if member.role == OrgRole::Admin && !another {
        return Err(Error::conflict(format!(
            "{} is the last admin of the organization, which keeps one: make someone else an admin first",
            member.user.email
        )));
    }
    Ok(())
}

fn note_memberships(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT team.id, team.org_id, team.name, team.icon, team.is_default, team.created_at
         FROM team_member JOIN team ON team.id = team_member.team_id
         WHERE team_member.org_id = :org_id AND team_member.user_id = :user_id
         ORDER BY team.name_key",
    )?;
    let params = named_params! { ":org_id": org.org_id(), ":user_id": member.user.id };
    let teams = query.query_map(params, teams::from_row)?.collect::<Result<Vec<_>, _>>()?;
    teams.iter().try_for_each(|team| members::note_removed(tx, Actor::Caller(org.caller()), team, &member.user))
}

fn revoke_keys(tx: &Tx, org: &InOrg, user_id: &UserId) -> Result<Vec<String>, Error> {
    let mut query = tx.sql.prepare_cached(
        "SELECT prefix
         FROM api_key
         WHERE user_id = :user_id AND org_id = :org_id AND revoked_at IS NULL
         ORDER BY created_at, prefix",
    )?;
    let params = named_params! { ":user_id": user_id, ":org_id": org.org_id() };
    let prefixes = query.query_map(params, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    tx.sql
        .prepare_cached(
            "UPDATE api_key
             SET revoked_at = :now
             WHERE user_id = :user_id AND org_id = :org_id AND revoked_at IS NULL",
        )?
        .execute(named_params! { ":now": tx.now, ":user_id": user_id, ":org_id": org.org_id() })?;
    for prefix in &prefixes {
        let event = Event::new("API_KEY_DELETED", key_data(prefix));
        audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)?;
    }
    Ok(prefixes)
}

/// A personal key for somebody who shows who they are by other means than a key, or whom the operator gives one.
///
/// A name that another living key of theirs has is a conflict.
pub(super) fn first_key(
    tx: &Tx,
    actor: Actor<'_>,
    org_id: &OrgId,
    user: &User,
    name: &KeyName,
    lifetime: Lifetime,
) -> Result<PlainKey, Error> {
    let key = insert_key(tx, org_id, user, Some(name), lifetime)?;
    audit::record(tx, actor, org_id, None, Event::new("API_KEY_CREATED", key_data(key.prefix())))?;
    Ok(key)
}

/// A personal key, without an entry in the audit log.
pub(super) fn insert_key(
    tx: &Tx,
    org_id: &OrgId,
    user: &User,
    name: Option<&KeyName>,
    lifetime: Lifetime,
) -> Result<PlainKey, Error> {
    endings::mark(tx)?; // a name is free once its key has expired
    let new = NewKey {
        category: Category::Personal,
        owner: Owner::Person(org_id, &user.id),
        name,
        model_ids: None,
        environments: None,
        lifetime,
        created_by: Some(user.id.as_str()),
    };
    match (api_keys::insert(tx, &new), name) {
        (Err(cause), Some(name)) if Error::is_unique_violation(&cause) => Err(api_keys::name_taken(name)),
        (inserted, _) => Ok(inserted?),
    }
}

/// Gives a person of an organization a personal key that does not end: for somebody who has lost theirs.
pub fn issue_key(
    tx: &Tx,
    operator: &Operator,
    organization: &TeamName,
    email: &Email,
    name: Option<&KeyName>,
) -> Result<(OrgId, User, PlainKey), Error> {
    let organization = organizations::of_name(tx, organization)?.ok_or(Error::NotFound("organization"))?;
    let user = of_email(tx, email)?.ok_or(Error::NotFound("person with this address in the organization"))?;
    of_organization(tx, &organization.id, user.id.as_str())
        .map_err(|_| Error::NotFound("person with this address in the organization"))?;
    let key = insert_key(tx, &organization.id, &user, name, Lifetime::by_operator(operator))?;
    note_issued(tx, operator, &organization.id, &user, key_data(key.prefix()))?;
    Ok((organization.id, user, key))
}

/// Notes that the operator gave somebody a credential; `credential` says which.
pub(super) fn note_issued(
    tx: &Tx,
    operator: &Operator,
    org_id: &OrgId,
    user: &User,
    credential: Value,
) -> Result<(), Error> {
    let mut data = json!({ "user_id": user.id.as_str(), "user_email": user.email });
    let fields = data.as_object_mut().expect("it was just made as one");
    fields.extend(credential.as_object().cloned().unwrap_or_default());
    let event = Event::new("CREDENTIAL_ISSUED_BY_OPERATOR", data);
    audit::record(tx, Actor::Operator(operator), org_id, None, event)
}

fn key_data(prefix: &str) -> serde_json::Value {
    json!({ "api_key_id": prefix, "api_key_type": Category::Personal.as_str(), "prefix": prefix })
}

pub(super) fn note_joined(tx: &Tx, actor: Actor<'_>, org_id: &OrgId, user: &User) -> Result<(), Error> {
    let data = json!({ "user_id": user.id.as_str(), "new_user_email": user.email });
    audit::record(tx, actor, org_id, None, Event::new("USER_JOINED_ORGANIZATION", data))
}

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

/// Gives somebody who begins anew the name that they give.
pub(super) fn rename_anew(tx: &Tx, user: &User, name: &PersonName) -> Result<User, Error> {
    tx.sql
        .prepare_cached("UPDATE user SET name = :name WHERE id = :id")?
        .execute(named_params! { ":name": name.as_str(), ":id": user.id })?;
    Ok(User { name: name.as_str().to_owned(), ..user.clone() })
}

/// Keeps the hash of a person's password, a PHC string that the caller had computed: hashing is too slow for a
/// transaction.
pub(super) fn set_password_hash(tx: &Tx, user_id: &UserId, hash: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached("UPDATE user SET password_hash = :hash WHERE id = :id")?
        .execute(named_params! { ":hash": hash, ":id": user_id })?;
    Ok(())
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

fn member_from_row(row: &Row) -> rusqlite::Result<OrgMember> {
    Ok(OrgMember { user: from_row(row)?, role: row.get("role")? })
}
