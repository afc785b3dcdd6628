//! Teams over GraphQL.

use crate::api::graphql::context::FieldContext;
use crate::db::{Tx, teams};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::graphql::Team;
use crate::wire::graphql::shape::Given;

/// Lists the teams in which the caller may deploy. truss requests the list in order to choose a team. The list may be
/// empty.
pub fn list(tx: &Tx, caller: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    let teams = teams::of_organization(tx, caller)?;
    let seen = teams.iter().filter(|team| caller.to_deploy(team).is_ok());
    ctx.give(&seen.map(Team::from).collect::<Vec<_>>())
}
