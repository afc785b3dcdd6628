//! The catalogue of instance types over GraphQL.

use crate::db::Tx;
use crate::error::Error;
use crate::graphql::Ask;
use crate::graphql::shape::Given;
use crate::model::instance_types::INSTANCE_TYPES;
use crate::policy::Caller;
use crate::wire::graphql::InstanceType;

pub fn list(_: &Tx, _: &Caller, ask: &Ask) -> Result<Given, Error> {
    ask.give(&INSTANCE_TYPES.iter().map(InstanceType::from).collect::<Vec<_>>())
}
