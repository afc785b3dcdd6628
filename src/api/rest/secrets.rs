//! Secrets over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, secrets};
use crate::domain::{SecretName, SecretValue};
use crate::error::Error;
use crate::policy::InTeam;
use crate::wire;

pub fn list(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    list_all(tx, std::slice::from_ref(team), ctx)
}

pub fn list_all(tx: &Tx, teams: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    let mut list = wire::List::<wire::secrets::Secret>::begin();
    for team in teams {
        secrets::list(tx, team, |secret| list.push(&wire::secrets::Secret::new(&secret, &team.team().name)))?;
    }
    Ok(Reply::list(list))
}

pub fn upsert(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: wire::secrets::UpsertSecret = ctx.json()?;
    let (name, value) = (SecretName::parse(&asked.name)?, SecretValue::parse(asked.value)?);
    secrets::upsert(tx, team, &name, &value, |secret| {
        Reply::ok(&wire::secrets::Secret::new(&secret, &team.team().name))
    })
}

pub fn delete(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let missing = |_| Error::NotFound("secret"); // no secret can have such a name
    let name = SecretName::parse(ctx.param("secret_name")).map_err(missing)?;
    let deleted = secrets::delete(tx, team, &name)?;
    Ok(Reply::ok(&wire::secrets::SecretTombstone { name: deleted.as_str() }))
}
