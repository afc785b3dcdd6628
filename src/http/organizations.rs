//! Organizations over HTTP.

use crate::db::{Tx, organizations};
use crate::error::Error;
use crate::http::{Ask, Reply};
use crate::model::TeamName;
use crate::policy::{Caller, InOrg};
use crate::wire;

pub fn show(tx: &Tx, caller: &Caller, _: &Ask) -> Result<Reply, Error> {
    let organization = organizations::own(tx, &caller.own_org())?;
    Ok(Reply::ok(&wire::organizations::Organization::from(&organization)))
}

pub fn update(tx: &Tx, org: &InOrg, ask: &Ask) -> Result<Reply, Error> {
    let asked: wire::organizations::UpdateOrganization = ask.json()?;
    let name = asked.name.as_deref().map(TeamName::parse).transpose()?;
    let change = organizations::Change { name, teams_enabled: asked.teams_enabled };
    let organization = organizations::update(tx, org, &change)?;
    Ok(Reply::ok(&wire::organizations::Organization::from(&organization)))
}
