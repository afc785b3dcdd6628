//! Roles in an organization: how they are given and taken away, and what ends when a person leaves.

use rusqlite::named_params;
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::{
    Tx, api_keys, invitations, members, organizations, password_resets, personal_keys, teams, users, ways_in,
};
use crate::domain::api_keys::CreatedKeys;
use crate::domain::users::{OrgMember, Removed, RoleUpdated};
use crate::domain::{Email, KeyName, OrgRole, Organization, PersonName, User, UserId};
use crate::error::Error;
use crate::policy::keys::Lifetime;
use crate::policy::{InOrg, Operator};
use crate::token::PlainKey;

/// Adds the first admin of a new organization and creates their first key. A person whose address exists already keeps
/// their name.
pub fn add_first_admin(
    tx: &Tx,
    operator: &Operator,
    organization: &Organization,
    email: &Email,
    name: &PersonName,
) -> Result<(User, PlainKey), Error> {
    let user = add_founder(tx, operator, organization, email, name)?;
    let key_name = KeyName::parse("name", "first-key")?;
    let lifetime = Lifetime::by_operator(operator);
    let key = personal_keys::create_first(tx, Actor::Operator(operator), &organization.id, &user, &key_name, lifetime)?;
    Ok((user, key))
}

/// Adds the first admin of a new organization, who signs in with a password, given as a PHC string.
pub(super) fn add_first_admin_with_password(
    tx: &Tx,
    operator: &Operator,
    organization: &Organization,
    email: &Email,
    name: &PersonName,
    password_hash: &str,
) -> Result<User, Error> {
    let user = add_founder(tx, operator, organization, email, name)?;
    users::set_password_hash(tx, &user.id, password_hash)?;
    Ok(user)
}

fn add_founder(
    tx: &Tx,
    operator: &Operator,
    organization: &Organization,
    email: &Email,
    name: &PersonName,
) -> Result<User, Error> {
    let user = match users::of_email(tx, email)? {
        Some(user) => user,
        None => users::insert(tx, email, name)?,
    };
    users::join(tx, &organization.id, &user.id, OrgRole::Admin)?;
    users::record_joined(tx, Actor::Operator(operator), &organization.id, &user)?;
    Ok(user)
}

/// Makes an ordinary member of the organization an admin.
pub fn promote(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<RoleUpdated, Error> {
    let member = set_role(tx, org, member, OrgRole::Admin)?;
    Ok(RoleUpdated { member, remaining: None })
}

/// Makes an organization admin an ordinary member.
///
/// Their open invitations are revoked and their password reset links end. On request, the keys that they created are
/// revoked. While teams are off every ordinary member is in the default team, so the person is added to it.
///
/// # Errors
///
/// [`Error::Conflict`] for the last admin of the organization, and where no other admin would have an API key that
/// works, or none that does not expire although an admin had one before.
pub fn demote(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<RoleUpdated, Error> {
    tx.frees_space()?;
    keep_an_admin(tx, org, member)?;
    let user_id = &member.user.id;
    let demoted = ways_in::keeping_a_way_in(tx, org.org_id(), || set_role(tx, org, member, OrgRole::Member))?;
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

/// Removes a person from the organization: their memberships, grants, open invitations and personal keys in it end. On
/// request, the keys that they created are revoked.
///
/// # Errors
///
/// [`Error::Conflict`] for the last admin of the organization, and where no other admin would have an API key that
/// works, or none that does not expire although an admin had one before.
pub fn remove(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<Removed, Error> {
    keep_an_admin(tx, org, member)?;
    ways_in::keeping_a_way_in(tx, org.org_id(), || take_out(tx, org, member, created_keys))
}

fn take_out(tx: &Tx, org: &InOrg, member: &OrgMember, created_keys: CreatedKeys) -> Result<Removed, Error> {
    let user_id = &member.user.id;
    record_memberships(tx, org, member)?;
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

/// Refuses to take away the last admin. The schema enforces the same rule; this check gives a helpful message.
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

fn record_memberships(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<(), Error> {
    let mut query = tx.sql.prepare_cached(concat!(
        "SELECT ",
        teams::team_columns!(),
        " FROM team_member JOIN team ON team.id = team_member.team_id
             WHERE team_member.org_id = :org_id AND team_member.user_id = :user_id
             ORDER BY team.name_key"
    ))?;
    let params = named_params! { ":org_id": org.org_id(), ":user_id": member.user.id };
    let teams = query.query_map(params, teams::from_row)?.collect::<Result<Vec<_>, _>>()?;
    teams.iter().try_for_each(|team| members::record_removed(tx, Actor::Caller(org.caller()), team, &member.user))
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
        let event = Event::new("API_KEY_DELETED", personal_keys::key_data(prefix));
        audit::record(tx, Actor::Caller(org.caller()), org.org_id(), None, event)?;
    }
    Ok(prefixes)
}
