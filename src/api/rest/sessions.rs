//! The caller's own sessions over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, sessions};
use crate::error::Error;
use crate::policy::InOrg;
use crate::wire::sessions::Session;
use crate::wire::{Items, Tombstone};

pub fn list(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    let page = sessions::list(tx, org, person, &ctx.paging("sessions")?)?;
    let current = org.caller().session_id();
    let items = page.items.iter().map(|session| Session::new(session, current)).collect();
    Ok(Reply::ok(&Items::of("sessions", items, page.next.as_deref())))
}

pub fn revoke(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let (_, person) = org.caller().as_member()?;
    let id = ctx.param("session_id");
    sessions::revoke(tx, org, person, id)?;
    Ok(Reply::ok(&Tombstone::of(id)))
}
