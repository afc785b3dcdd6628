//! Organizations over GraphQL.

use crate::api::graphql::FieldContext;
use crate::db::{Tx, organizations};
use crate::error::Error;
use crate::policy::Caller;
use crate::wire::graphql::Organization;
use crate::wire::graphql::shape::Given;

pub fn show(tx: &Tx, caller: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    let organization = organizations::own(tx, &caller.own_org())?;
    ctx.give(&Organization {
        id: organization.id.as_str(),
        workspace_name: &organization.name,
        aws_customer_access_role_arn: None,
        aws_external_id: None,
    })
}
