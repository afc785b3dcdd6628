//! People over HTTP.

use crate::db::{Tx, organizations, users};
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::model::{Email, Page, PersonName};
use crate::policy::{Caller, InOrg, Who};
use crate::wire;
use crate::wire::Items;
use crate::wire::users::{User, UserTeam, UserTombstone};

pub fn list(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let paging = ask.paging("users")?;
    let page = match ask.query("email") {
        None => users::list(tx, org, &paging)?,
        Some(email) => Page { items: with_address(tx, org, email)?, next: None },
    };
    let organization = organizations::own(tx, org)?;
    let items = page.items.iter().map(|member| User::of(member, &organization.name)).collect();
    Ok(Reply::ok(&Items::of("users", items, page.next.as_deref())))
}

/// What is no address matches nobody.
fn with_address(tx: &Tx, org: &InOrg, email: &str) -> Result<Vec<users::OrgMember>, Error> {
    match Email::parse(email) {
        Ok(email) => Ok(users::with_address(tx, org, &email)?.into_iter().collect()),
        Err(_) => Ok(Vec::new()),
    }
}

/// A key that is no person's goes by itself.
pub fn show_me(tx: &Tx, caller: &Caller, _: &Ask) -> Result<Reply, Error> {
    let org = caller.own_org();
    match &caller.who {
        Who::Person(person) => reply(tx, &org, &users::find(tx, &org, person.user_id.as_str())?),
        Who::TeamKey(_) | Who::KeyManager { .. } => {
            let (name, organization) = (users::service_name(tx, caller)?, organizations::own(tx, &org)?);
            Ok(Reply::ok(&User::service(caller.prefix(), &name, &organization.name)))
        }
    }
}

pub fn show(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    reply(tx, org, &users::find(tx, org, ask.param("user_id"))?)
}

pub fn update_me(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    let asked: wire::users::UpdateMe = ask.json()?;
    let member = match asked.name.as_deref().map(PersonName::parse).transpose()? {
        Some(name) => users::rename(tx, org, person, &name)?,
        None => users::find(tx, org, person.user_id.as_str())?,
    };
    reply(tx, org, &member)
}

pub fn update(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let member = users::find(tx, org, ask.param("user_id"))?;
    let asked: wire::users::UpdateUser = ask.json()?;
    let member = match asked.role {
        Some(role) => users::update_role(tx, org, &member, role.in_organization())?,
        None => member,
    };
    reply(tx, org, &member)
}

pub fn remove(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let member = users::find(tx, org, ask.param("user_id"))?;
    let removed = users::remove(tx, org, &member)?;
    Ok(Reply::ok(&UserTombstone::new(member.user.id.as_str(), &removed)))
}

pub fn teams(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let member = users::find(tx, org, ask.param("user_id"))?;
    let page = users::teams(tx, org, &member, &ask.paging("teams")?)?;
    let items = page.items.iter().map(UserTeam::from).collect();
    Ok(Reply::ok(&Items::of("teams", items, page.next.as_deref())))
}

fn reply(tx: &Tx, org: &InOrg, member: &users::OrgMember) -> Result<Reply, Error> {
    Ok(Reply::ok(&User::of(member, &organizations::own(tx, org)?.name)))
}
