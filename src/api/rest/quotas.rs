//! Quotas of a team over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::Tx;
use crate::db::quotas;
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire::quotas::Quotas;

pub fn list(tx: &Tx, team: &InTeam, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&Quotas::from(quotas::list(tx, team)?)))
}
