//! Organizations over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, organization_roles, organizations};
use crate::domain::{Email, PERSON_NAME_CHARS_MAX, PersonName, TeamName};
use crate::error::Error;
use crate::policy::{Caller, InOrg, Operator};
use crate::wire;

pub fn show(tx: &Tx, caller: &Caller, _: &RequestContext) -> Result<Reply, Error> {
    let organization = organizations::own(tx, &caller.own_org())?;
    Ok(Reply::ok(&wire::organizations::Organization::from(&organization)))
}

pub fn update(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::organizations::UpdateOrganization = ctx.json()?;
    let name = asked.name.as_deref().map(TeamName::parse).transpose()?;
    let change = organizations::Change { name, teams_enabled: asked.teams_enabled };
    let organization = organizations::update(tx, org, &change)?;
    Ok(Reply::ok(&wire::organizations::Organization::from(&organization)))
}

/// Creates an organization, with its first admin and the first key of this person.
///
/// # Errors
///
/// [`Error::Invalid`] for a malformed body, and the refusals of [`organizations::create`] and
/// [`organization_roles::add_first_admin`].
pub fn create_with_admin(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::organizations::FoundOrganization = ctx.json()?;
    let name = TeamName::parse(&asked.name)?;
    let email = Email::parse(&asked.email)?;
    let user_name = PersonName::parse(&asked.user_name).map_err(|_| bad_user_name())?;
    let (organization, _) = organizations::create(tx, operator, &name, asked.teams_enabled.unwrap_or(false))?;
    let (user, key) = organization_roles::add_first_admin(tx, operator, &organization, &email, &user_name)?;
    Ok(Reply::ok(&wire::organizations::FoundedOrganization {
        org_id: organization.id.as_str(),
        user_id: user.id.as_str(),
        api_key: key.reveal(),
    }))
}

fn bad_user_name() -> Error {
    let why = format!("must be 1 to {PERSON_NAME_CHARS_MAX} characters without control characters");
    Error::field("user_name", &why)
}
