//! How a deployment of a Chain is made: pushed whole, with all of its chainlets, or not at all.

use rusqlite::named_params;
use serde_json::{Value, json};

use crate::db::Tx;
use crate::db::chains::deployments::{self, ChainDeployment};
use crate::db::chains::environments::{self, ChainEnvironment};
use crate::db::chains::{Chain, promotion};
use crate::db::deployments::creation::{Package, Stage, create_for_chain};
use crate::db::deployments::naming::{Naming, Owner};
use crate::db::deployments::{DEVELOPMENT, write_json};
use crate::db::environments::promotion::Previous;
use crate::db::environments::{PRODUCTION, may_change};
use crate::db::models::{self, Downloads, PROVIDED_TO_CHAINLETS};
use crate::db::uploads;
use crate::domain::serving::Phase;
use crate::domain::uploads::Purpose;
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::{Error, quoted};
use crate::policy::InTeam;

/// Of one deployment.
pub const CHAINLETS_MAX: usize = 100;

/// A push to a Chain.
#[derive(Debug)]
pub struct New<'a> {
    /// The entrypoint first.
    pub chainlets: Vec<NewChainlet<'a>>,
    /// The key of the upload of the source.
    pub s3_key: Option<&'a str>,
    pub user_env: Option<&'a Value>,
    pub downloads: Downloads,
    pub slot: Slot,
}

#[derive(Debug)]
pub struct NewChainlet<'a> {
    pub name: ResourceName,
    /// Of the model that is made for it.
    pub model_name: ResourceName,
    pub package: Package<'a>,
}

/// What the deployment becomes.
#[derive(Debug)]
pub enum Slot {
    Development,
    Published {
        naming: Naming,
        /// The environment that it is for. `None`: `production`, if nothing serves that yet.
        environment: Option<EnvironmentName>,
    },
}

/// What must be refused before anything is written.
pub fn check(tx: &Tx, team: &InTeam, new: &New) -> Result<(), Error> {
    let environment = match &new.slot {
        Slot::Development => None,
        Slot::Published { environment, .. } => environment.as_ref().map(EnvironmentName::as_str),
    };
    may_change(tx, team, environment)?;
    if new.chainlets.len() > CHAINLETS_MAX {
        return Err(Error::field("dependencies", &format!("must be fewer than {CHAINLETS_MAX}")));
    }
    for (place, chainlet) in new.chainlets.iter().enumerate() {
        if new.chainlets[..place].iter().any(|other| other.name == chainlet.name) {
            let why = format!("names the chainlet `{}` twice", quoted(chainlet.name.as_str()));
            return Err(Error::field("dependencies", &why));
        }
        chainlet.package.check(tx, team, PROVIDED_TO_CHAINLETS)?;
    }
    Ok(())
}

/// Makes a deployment of the Chain. The runner takes its chainlets from there, after the commit.
pub fn create(tx: &Tx, team: &InTeam, chain: &Chain, new: &New) -> Result<ChainDeployment, Error> {
    check(tx, team, new)?;
    if let Some(s3_key) = new.s3_key {
        uploads::take(tx, team, Purpose::Chain, s3_key)?;
    }
    let (number, name) = match &new.slot {
        Slot::Development => (0, DEVELOPMENT.to_owned()),
        Slot::Published { naming, .. } => Owner::Chain(&chain.id).name(tx, naming)?,
    };
    let id = insert(tx, team, chain, new, number, &name)?;
    let destination = destination(tx, team, chain, &new.slot)?;
    for (place, chainlet) in new.chainlets.iter().enumerate() {
        let instance_type = match &destination {
            Some(environment) => environment.instance_type_set(chainlet.name.as_str()),
            None => None,
        };
        let instance_type =
            instance_type.map_or_else(|| instance_type_of(&chainlet.package), |id| Ok(id.to_owned()))?;
        let model = models::create_for_chain(tx, team, &chain.id, &chainlet.model_name, &instance_type, new.downloads)?;
        let deployment_id = create_for_chain(tx, team, &model, &chainlet.package, new.slot.stage())?;
        deployments::insert_chainlet(tx, team, &id, place, chainlet.name.as_str(), &model.id, &deployment_id)?;
    }
    let mut made = deployments::find(tx, team, &chain.id, &id)?;
    if let Some(environment) = &destination {
        made = promotion::enter(tx, team, &made, environment, Previous::AsSet)?;
    }
    let more = json!({
        "is_primary": destination.is_some_and(|environment| environment.name == PRODUCTION),
        "publish": !made.is_development(),
    });
    deployments::record(tx, team, "CHAIN_DEPLOYED", chain, &made, more)?;
    Ok(made)
}

impl Slot {
    const fn stage(&self) -> Stage {
        match self {
            Slot::Development => Stage::Development,
            Slot::Published { .. } => Stage::Published,
        }
    }
}

/// The environment that a published deployment goes into. The first of a Chain goes into `production`, unless that is
/// closed to the caller: then it goes into none. While what is there has failed, the next is the first.
fn destination(tx: &Tx, team: &InTeam, chain: &Chain, slot: &Slot) -> Result<Option<ChainEnvironment>, Error> {
    match slot {
        Slot::Development => Ok(None),
        Slot::Published { environment: Some(name), .. } => environments::find(tx, team, chain, name.as_str()).map(Some),
        Slot::Published { environment: None, .. } => {
            let production = environments::find(tx, team, chain, PRODUCTION)?;
            let has_failed = |current: &ChainDeployment| current.status().phase() == Phase::Failed;
            let vacant = production.current.as_ref().is_none_or(has_failed) && production.candidate.is_none();
            let open = may_change(tx, team, Some(PRODUCTION)).is_ok();
            Ok((vacant && open).then_some(production))
        }
    }
}

fn instance_type_of(package: &Package) -> Result<String, Error> {
    package.instance_type().map(|instance_type| instance_type.id.to_owned())
}

/// The row of a deployment. A push to the development deployment replaces it; its id stays, its chainlets go.
fn insert(tx: &Tx, team: &InTeam, chain: &Chain, new: &New, number: i64, name: &str) -> Result<String, Error> {
    let id: String = tx
        .sql
        .prepare_cached(
            "INSERT INTO chain_deployment (id, org_id, team_id, chain_id, name, number, user_env, s3_key, created_by,
                                           created_at)
             VALUES (:id, :org_id, :team_id, :chain_id, :name, :number, :user_env, :s3_key, :created_by, :now)
             ON CONFLICT (chain_id, number) DO UPDATE
             SET user_env = :user_env, s3_key = :s3_key, created_by = :created_by
             WHERE number = 0
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":id": tx.id(),
                ":org_id": team.team().org_id,
                ":team_id": team.team().id,
                ":chain_id": chain.id,
                ":name": name,
                ":number": number,
                ":user_env": new.user_env.map(write_json),
                ":s3_key": new.s3_key,
                ":created_by": team.caller().prefix(),
                ":now": tx.now,
            },
            |row| row.get("id"),
        )?;
    tx.sql
        .prepare_cached("DELETE FROM chainlet WHERE team_id = :team_id AND chain_deployment_id = :id")?
        .execute(named_params! { ":team_id": team.team().id, ":id": id })?;
    Ok(id)
}
