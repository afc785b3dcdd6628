//! Personal API keys that are created for a person whose request carries no key: by an invitation, a password reset or
//! the operator.

use serde_json::{Value, json};

use crate::db::api_keys::{self, NewKey, Owner};
use crate::db::audit::{self, Actor, Event};
use crate::db::{Tx, endings, organizations, users};
use crate::domain::{Category, Email, KeyName, OrgId, TeamName, User};
use crate::error::Error;
use crate::policy::Operator;
use crate::policy::keys::Lifetime;
use crate::token::PlainKey;

/// Creates a personal key that does not expire for a person of an organization who has lost their key.
///
/// # Errors
///
/// [`Error::NotFound`] where no organization has the name or no person of it has the address; [`Error::Conflict`] for a
/// key name that another working key of the person has.
pub fn issue(
    tx: &Tx,
    operator: &Operator,
    organization: &TeamName,
    email: &Email,
    name: Option<&KeyName>,
) -> Result<(OrgId, User, PlainKey), Error> {
    let organization = organizations::of_name(tx, organization)?.ok_or(Error::NotFound("organization"))?;
    let user = users::of_email(tx, email)?.ok_or(Error::NotFound("person with this address in the organization"))?;
    users::of_organization(tx, &organization.id, user.id.as_str())
        .map_err(|_| Error::NotFound("person with this address in the organization"))?;
    let key = insert(tx, &organization.id, &user, name, Lifetime::by_operator(operator))?;
    record_issued(tx, operator, &organization.id, &user, key_data(key.prefix()))?;
    Ok((organization.id, user, key))
}

/// Creates a personal key for a person who proves their identity by other means than a key, or to whom the operator
/// gives one.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another working key of the person has.
pub(super) fn create_first(
    tx: &Tx,
    actor: Actor<'_>,
    org_id: &OrgId,
    user: &User,
    name: &KeyName,
    lifetime: Lifetime,
) -> Result<PlainKey, Error> {
    let key = insert(tx, org_id, user, Some(name), lifetime)?;
    audit::record(tx, actor, org_id, None, Event::new("API_KEY_CREATED", key_data(key.prefix())))?;
    Ok(key)
}

/// Creates a personal key without an entry in the audit log.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another working key of the person has.
pub(super) fn insert(
    tx: &Tx,
    org_id: &OrgId,
    user: &User,
    name: Option<&KeyName>,
    lifetime: Lifetime,
) -> Result<PlainKey, Error> {
    endings::mark(tx)?; // the name of an expired key can be used again
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

/// Records in the audit log that the operator gave a person a credential; `credential` describes it.
pub(super) fn record_issued(
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

pub(super) fn key_data(prefix: &str) -> serde_json::Value {
    json!({ "api_key_id": prefix, "api_key_type": Category::Personal.as_str(), "prefix": prefix })
}
