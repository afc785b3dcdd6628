//! Instance types over HTTP: what a deployment can run on, and what a minute of it costs.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::domain::instance_types::INSTANCE_TYPES;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::instance_types::{InstanceType, InstanceTypePrices, InstanceTypeWithPrice, InstanceTypes};

pub fn list(_: &Tx, _: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&InstanceTypes { instance_types: INSTANCE_TYPES.iter().map(InstanceType::from).collect() }))
}

pub fn prices(_: &Tx, _: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    let priced = INSTANCE_TYPES.iter().map(InstanceTypeWithPrice::from);
    Ok(Reply::ok(&InstanceTypePrices { instance_types: priced.collect() }))
}
