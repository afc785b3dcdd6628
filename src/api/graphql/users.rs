//! People over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::{Tx, users};
use crate::error::Error;
use crate::policy::{Caller, Who};
use crate::wire::graphql::User;
use crate::wire::graphql::shape::Given;

/// Shows the caller.
pub fn show(tx: &Tx, caller: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    match &caller.who {
        Who::Person(person) => {
            let member = users::find(tx, &caller.own_org(), person.user_id.as_str())?;
            ctx.give(&User { id: member.user.id.as_str(), email: &member.user.email, name: &member.user.name })
        }
        Who::TeamKey(_) | Who::KeyManager { .. } => {
            let name = users::service_name(tx, caller)?;
            ctx.give(&User { id: caller.prefix(), email: &name, name: &name })
        }
    }
}
