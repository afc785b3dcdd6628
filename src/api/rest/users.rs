//! People over HTTP.

use crate::api::passwords::{Outcome, Work};
use crate::api::{Reply, RequestContext};
use crate::db::{Tx, organization_roles, organizations, password_resets, personal_keys, users};
use crate::domain::api_keys::CreatedKeys;
use crate::domain::mail::Delivery;
use crate::domain::password_resets::NewLink;
use crate::domain::users::{OrgMember, RoleUpdated};
use crate::domain::{Email, KeyName, Page, Password, PersonName, TeamName};
use crate::error::Error;
use crate::policy::{Caller, InOrg, Operator, OrgRole, Who};
use crate::wire;
use crate::wire::users::{PasswordReset, UpdatedUser, User, UserTeam, UserTombstone};
use crate::wire::{Items, Role};

pub fn list(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let paging = ctx.paging("users")?;
    let page = match ctx.query("email") {
        None => users::list(tx, org, &paging)?,
        Some(email) => Page { items: with_address(tx, org, email)?, next: None },
    };
    let organization = organizations::own(tx, org)?;
    let items = page.items.iter().map(|member| User::of(member, &organization.name)).collect();
    Ok(Reply::ok(&Items::of("users", items, page.next.as_deref())))
}

/// Finds the people with an address. A text that is not an address matches nobody.
fn with_address(tx: &Tx, org: &InOrg, email: &str) -> Result<Vec<OrgMember>, Error> {
    match Email::parse(email) {
        Ok(email) => Ok(users::with_address(tx, org, &email)?.into_iter().collect()),
        Err(_) => Ok(Vec::new()),
    }
}

/// Shows the caller. A key that belongs to no person is shown under its own name.
pub fn show_me(tx: &Tx, caller: &Caller, _: &RequestContext) -> Result<Reply, Error> {
    let org = caller.own_org();
    match &caller.who {
        Who::Person(person) => reply(tx, &org, &users::find(tx, &org, person.user_id.as_str())?),
        Who::TeamKey(_) | Who::KeyManager { .. } => {
            let (name, organization) = (users::service_name(tx, caller)?, organizations::own(tx, &org)?);
            Ok(Reply::ok(&User::service(caller.prefix(), &name, &organization.name)))
        }
    }
}

pub fn show(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    reply(tx, org, &users::find(tx, org, ctx.param("user_id"))?)
}

pub fn update_me(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    let asked: wire::users::UpdateMe = ctx.json()?;
    let member = match asked.name.as_deref().map(PersonName::parse).transpose()? {
        Some(name) => users::rename(tx, org, person, &name)?,
        None => users::find(tx, org, person.user_id.as_str())?,
    };
    reply(tx, org, &member)
}

pub fn update(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let asked: wire::users::UpdateUser = ctx.json()?;
    let updated = match (asked.role.map(Role::in_organization), created_keys(ctx)?) {
        (Some(OrgRole::Member), created_keys) => organization_roles::demote(tx, org, &member, created_keys)?,
        (Some(OrgRole::Admin) | None, CreatedKeys::Revoke) => return Err(goes_with_a_demotion()),
        (Some(OrgRole::Admin), CreatedKeys::Keep) => organization_roles::promote(tx, org, &member)?,
        (None, CreatedKeys::Keep) => RoleUpdated { member, remaining: None },
    };
    let organization = organizations::own(tx, org)?;
    Ok(Reply::ok(&UpdatedUser::new(&updated, &organization.name)))
}

pub fn remove(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let removed = organization_roles::remove(tx, org, &member, created_keys(ctx)?)?;
    Ok(Reply::ok(&UserTombstone::new(member.user.id.as_str(), &removed)))
}

/// What `?revoke_created_api_keys=` requests for the keys that a person created.
///
/// # Errors
///
/// [`Error::Invalid`] for a value that is neither `true` nor `false`.
pub(super) fn created_keys(ctx: &RequestContext) -> Result<CreatedKeys, Error> {
    Ok(if ctx.flag("revoke_created_api_keys")? { CreatedKeys::Revoke } else { CreatedKeys::Keep })
}

/// The refusal of a request that revokes the keys that a person created, although the person loses no role.
pub(super) fn goes_with_a_demotion() -> Error {
    Error::field("revoke_created_api_keys", "goes with the role MEMBER: otherwise no role is taken")
}

/// Creates a one-time link with which a person sets a new password.
pub fn make_reset(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let link = password_resets::create(tx, org, &member)?;
    let (mail, url) = password_resets::deliver(tx, &link, reset_url(ctx, &link), ctx.request.mailing)?;
    Ok(Reply::ok(&PasswordReset::new(&link, &mail, url)))
}

/// Creates, for the operator, a one-time link with which a person sets a new password.
pub fn make_reset_by_operator(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::users::IssuePasswordReset = ctx.json()?;
    let link = password_resets::create_by_operator(tx, operator, &Email::parse(&asked.email)?)?;
    Ok(Reply::ok(&PasswordReset::new(&link, &Delivery::NotConfigured, Some(reset_url(ctx, &link)))))
}

fn reset_url(ctx: &RequestContext, link: &NewLink) -> String {
    format!("{}/reset/{}", ctx.request.base_url, link.token.reveal())
}

/// Checks that the link works, and returns the work of hashing the new password.
pub fn find_reset_work(tx: &Tx, _: Option<&Caller>, ctx: &RequestContext) -> Result<Option<Work>, Error> {
    let asked = Reset::read(ctx)?;
    password_resets::open(tx, &asked.token)?;
    Ok(Some(Work::Hash(asked.password)))
}

/// Sets a new password. The link is looked up again, because it may have been used since the password was hashed.
pub fn reset(tx: &Tx, _: Option<&Caller>, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked = Reset::read(ctx)?;
    let reset = password_resets::open(tx, &asked.token)?;
    let Outcome::Hashed(hash) = ctx.password() else {
        return Err(Error::Internal("a password was not hashed".to_owned()));
    };
    let done = password_resets::apply(tx, &reset, hash, asked.api_key_name.as_ref())?;
    Ok(Reply::ok(&wire::users::PasswordSet::from(&done)))
}

/// The content of a body, after it has been checked.
struct Reset {
    token: String,
    password: Password,
    api_key_name: Option<KeyName>,
}

impl Reset {
    fn read(ctx: &RequestContext) -> Result<Reset, Error> {
        let asked: wire::users::SetPassword = ctx.json()?;
        Ok(Reset {
            token: asked.token,
            password: Password::parse(asked.password)?,
            api_key_name: asked.api_key_name.map(|name| KeyName::parse("api_key_name", &name)).transpose()?,
        })
    }
}

/// Issues, for the operator, a personal key to a person of an organization.
pub fn issue_key(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::users::IssueApiKey = ctx.json()?;
    let organization = TeamName::parse(&asked.organization)?;
    let email = Email::parse(&asked.email)?;
    let name = asked.name.map(|name| KeyName::parse("name", &name)).transpose()?;
    let (org_id, user, key) = personal_keys::issue(tx, operator, &organization, &email, name.as_ref())?;
    Ok(Reply::ok(&wire::users::IssuedApiKey {
        org_id: org_id.as_str(),
        user_id: user.id.as_str(),
        prefix: key.prefix(),
        api_key: key.reveal(),
    }))
}

pub fn teams(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let member = users::find(tx, org, ctx.param("user_id"))?;
    let page = users::teams(tx, org, &member, &ctx.paging("teams")?)?;
    let items = page.items.iter().map(UserTeam::from).collect();
    Ok(Reply::ok(&Items::of("teams", items, page.next.as_deref())))
}

fn reply(tx: &Tx, org: &InOrg, member: &OrgMember) -> Result<Reply, Error> {
    Ok(Reply::ok(&User::of(member, &organizations::own(tx, org)?.name)))
}
