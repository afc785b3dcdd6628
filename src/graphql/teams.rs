//! Teams over GraphQL.

use crate::db::Tx;
use crate::error::Error;
use crate::graphql::Ask;
use crate::graphql::shape::Given;
use crate::policy::InTeam;
use crate::wire::graphql::Team;

pub fn list(_: &Tx, teams: &[InTeam], ask: &Ask) -> Result<Given, Error> {
    ask.give(&teams.iter().map(|team| Team::from(team.team())).collect::<Vec<_>>())
}
