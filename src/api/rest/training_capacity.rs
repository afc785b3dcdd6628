//! How many GPUs training may hold, over HTTP.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, teams, training_capacity, training_jobs};
use crate::domain::training::{CEILING_GPUS_MAX, GpuType, within};
use crate::error::Error;
use crate::policy::{InOrg, InTeam, OrgAct};
use crate::wire::training_capacity::{Capacities, OneTeamCapacity, TeamCapacity, UpdateTeamCapacity};

pub fn list_all(tx: &Tx, teams: &[InTeam], _: &RequestContext) -> Result<Reply, Error> {
    let capacities = training_capacity::list(tx, teams)?;
    let team_gpu_capacities = capacities.iter().map(TeamCapacity::from).collect();
    Ok(Reply::ok(&Capacities { gpu_capacities: [], team_gpu_capacities }))
}

pub fn update(tx: &Tx, org: &InOrg, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: UpdateTeamCapacity = ctx.json()?;
    let gpu_type = GpuType::parse_any_case("gpu_type", &asked.gpu_type)?;
    let max_gpus = within("max_gpus", asked.max_gpus, 0..=CEILING_GPUS_MAX)?;
    let team = teams::find(tx, &asked.team_id)?;
    let org = org.caller().in_org_about(&team, OrgAct::ManageTeams)?;
    let capacity = training_jobs::queue::set_capacity(tx, &org, &team, gpu_type, max_gpus)?;
    Ok(Reply::ok(&OneTeamCapacity { team_gpu_capacity: TeamCapacity::from(&capacity) }))
}
