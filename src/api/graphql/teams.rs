//! Teams over GraphQL.

use crate::api::graphql::FieldContext;
use crate::db::{Tx, teams};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::graphql::Team;
use crate::wire::graphql::shape::Given;

/// Those in which the caller may deploy: truss asks in order to choose one. They may be none.
pub fn list(tx: &Tx, caller: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    let teams = teams::of_organization(tx, caller)?;
    let seen = teams.iter().filter(|team| caller.to_deploy(team).is_ok());
    ctx.give(&seen.map(Team::from).collect::<Vec<_>>())
}
