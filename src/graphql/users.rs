//! People over GraphQL.

use crate::db::{Tx, users};
use crate::error::Error;
use crate::graphql::Ask;
use crate::graphql::shape::Given;
use crate::policy::{Caller, Who};
use crate::wire::graphql::User;

/// Whoever asks.
pub fn show(tx: &Tx, caller: &Caller, ask: &Ask) -> Result<Given, Error> {
    match &caller.who {
        Who::Person(person) => {
            let member = users::find(tx, &caller.own_org(), person.user_id.as_str())?;
            ask.give(&User { id: member.user.id.as_str(), email: &member.user.email, name: &member.user.name })
        }
        Who::TeamKey(_) | Who::KeyManager { .. } => {
            let name = users::service_name(tx, caller)?;
            ask.give(&User { id: caller.prefix(), email: &name, name: &name })
        }
    }
}
