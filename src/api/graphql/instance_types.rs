//! The catalogue of instance types over GraphQL.

use crate::api::graphql::FieldContext;
use crate::db::Tx;
use crate::domain::instance_types::INSTANCE_TYPES;
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::graphql::InstanceType;
use crate::wire::graphql::shape::Given;

pub fn list(_: &Tx, _: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    ctx.give(&INSTANCE_TYPES.iter().map(InstanceType::from).collect::<Vec<_>>())
}
