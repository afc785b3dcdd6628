//! Quotas of a team over HTTP.

use crate::db::Tx;
use crate::db::quotas;
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::policy::InTeam;
use crate::wire::quotas::Quotas;

pub fn list(tx: &Tx, team: &InTeam, _: &Ask) -> Result<Reply, Error> {
    Ok(Reply::ok(&Quotas::from(quotas::list(tx, team)?)))
}
