//! Chains over GraphQL: what truss lists, polls and pushes.

use std::any::Any;

use serde_json::{Map, Value};

use crate::api::graphql::context::FieldContext;
use crate::api::graphql::models::of_team;
use crate::api::graphql::pushes::{naming, object, read_config};
use crate::db::Tx;
use crate::db::chains::pushes::{self, New, NewChainlet, Slot};
use crate::db::chains::{self, deployments};
use crate::db::pushes::Package;
use crate::db::resources::{Kind, owner};
use crate::domain::models::Downloads;
use crate::domain::{EnvironmentName, ResourceName, chains as domain};
use crate::error::Error;
use crate::policy::{Deployers, InTeam};
use crate::wire::graphql::arguments::{DeployChain, PushedChainlet, WhichById, WhichChains};
use crate::wire::graphql::selection::Selected;
use crate::wire::graphql::shape::Given;
use crate::wire::graphql::{self as wire, ChainDeployment, DeployedChain};

/// The most chainlets of a Chain, including its entrypoint.
const CHAINLETS_MAX: usize = 200;

/// Lists the Chains of one team, or of all teams.
pub fn list(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichChains = ctx.arguments()?;
    let wanted = ctx.wants("deployments"); // each with all of its chainlets
    let mut found = Vec::new();
    for team in of_team(teams, asked.team_id.as_deref()) {
        let chains = chains::list(tx, std::slice::from_ref(team), None)?;
        ctx.count(chains.len())?;
        for chain in chains {
            let deployments = if wanted { deployments::list(tx, team, &chain.id)? } else { Vec::new() };
            ctx.count(rows(&deployments))?;
            found.push((team.team(), chain, deployments));
        }
    }
    let base_url = &ctx.request.base_url;
    let shapes: Vec<_> =
        found.iter().map(|(team, chain, deployments)| wire::Chain::new(chain, team, deployments, base_url)).collect();
    ctx.give(&shapes)
}

fn rows(deployments: &[domain::ChainDeployment]) -> usize {
    deployments.iter().map(|deployment| 1 + deployment.chainlets.len()).sum()
}

pub fn show(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichById = ctx.arguments()?;
    let team = owner(tx, teams, Kind::Chain, &asked.id)?;
    let chain = chains::find(tx, team, &asked.id)?;
    let deployments = deployments::list(tx, team, &chain.id)?;
    ctx.count(rows(&deployments))?;
    ctx.give(&wire::Chain::new(&chain, team.team(), &deployments, &ctx.request.base_url))
}

pub fn show_deployment(tx: &Tx, teams: &[InTeam], ctx: &FieldContext) -> Result<Given, Error> {
    let asked: WhichById = ctx.arguments()?;
    let missing = || Error::NotFound("Chain deployment");
    let chain_id = deployments::chain_of(tx, &asked.id)?.ok_or_else(missing)?;
    let team = owner(tx, teams, Kind::Chain, &chain_id).map_err(|_| missing())?;
    let chain = chains::find(tx, team, &chain_id)?;
    let deployment = deployments::find(tx, team, &chain_id, &asked.id)?;
    ctx.give(&ChainDeployment::new(&chain, &deployment, &ctx.request.base_url))
}

/// Pushes all chainlets at once, to an existing Chain or to a new one. An existing Chain stays in its team, whatever
/// the request says.
pub fn deploy(tx: &Tx, deployers: &Deployers, ctx: &FieldContext) -> Result<Given, Error> {
    let ReadPush { asked, pushed } = ctx.prepared()?;
    let new = pushed.deployment(&asked)?;
    let (chain, deployment) = match (&asked.chain_id, &asked.chain_name) {
        (Some(id), None) => {
            let deployer = owner(tx, deployers.iter(), Kind::Chain, id)?;
            let chain = chains::find(tx, deployer, id)?;
            let deployment = pushes::create(tx, &pushes::check(tx, deployer, &new)?, &chain)?;
            (chain, deployment)
        }
        (None, Some(name)) => {
            let deployer = deployers.target(asked.team_id.as_deref())?;
            pushes::create_by_name(tx, deployer, &ResourceName::parse("chain_name", name)?, &new)?
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Error::field("chain_id", "or `chain_name` must be given, and not both"));
        }
    };
    let chain_deployment = ChainDeployment::new(&chain, &deployment, &ctx.request.base_url);
    ctx.give(&DeployedChain { chain_deployment })
}

struct ReadPush {
    asked: DeployChain,
    pushed: Pushed,
}

/// Reads the arguments of a push of a Chain. Call it on the pool.
///
/// # Errors
///
/// [`Error::Invalid`] for an argument that is malformed, or for too many chainlets.
pub fn read(selected: &Selected) -> Result<Box<dyn Any + Send>, Error> {
    let asked: DeployChain = selected.read()?;
    let chainlets = chainlets(&asked).count();
    if chainlets > CHAINLETS_MAX {
        return Err(Error::field("dependencies", &format!("must be at most {} chainlets", CHAINLETS_MAX - 1)));
    }
    let pushed = Pushed::read(&asked)?;
    Ok(Box::new(ReadPush { asked, pushed }))
}

/// The parts of a push that must be parsed before a deployment can be created.
struct Pushed {
    /// The configuration of the entrypoint, then those of the dependencies.
    configs: Vec<Map<String, Value>>,
    user_env: Option<Value>,
}

impl Pushed {
    fn read(asked: &DeployChain) -> Result<Pushed, Error> {
        let configs = chainlets(asked).map(|it| read_config("encoded_config_str", &it.oracle.encoded_config_str));
        Ok(Pushed {
            configs: configs.collect::<Result<_, _>>()?,
            user_env: asked.truss_user_env.as_deref().map(|text| object("truss_user_env", text)).transpose()?,
        })
    }

    fn deployment<'p>(&'p self, asked: &'p DeployChain) -> Result<New<'p>, Error> {
        let chainlets = chainlets(asked).zip(&self.configs).map(|(chainlet, config)| {
            Ok(NewChainlet {
                name: ResourceName::parse("name", &chainlet.name)?,
                model_name: ResourceName::parse("model_name", &chainlet.oracle.model_name)?,
                package: Package {
                    config,
                    raw_config: None,
                    labels: None,
                    user_env: self.user_env.as_ref(),
                    s3_key: Some(&chainlet.oracle.s3_key),
                    timeout_minutes: None,
                    instance_type: None,
                },
            })
        });
        Ok(New {
            chainlets: chainlets.collect::<Result<_, Error>>()?,
            s3_key: asked.original_source_artifact_s3_key.as_deref(),
            user_env: self.user_env.as_ref(),
            downloads: if asked.allow_truss_download == Some(false) { Downloads::Refused } else { Downloads::Allowed },
            slot: slot(asked)?,
        })
    }
}

fn chainlets(asked: &DeployChain) -> impl Iterator<Item = &PushedChainlet> {
    std::iter::once(&asked.entrypoint).chain(asked.dependencies.iter().flatten())
}

fn slot(asked: &DeployChain) -> Result<Slot, Error> {
    let environment = asked.environment.as_deref();
    if asked.is_draft == Some(true) {
        if environment.is_some() {
            return Err(Error::field(
                "environment",
                "cannot be combined with `is_draft`: the development deployment serves none",
            ));
        }
        return Ok(Slot::Development);
    }
    Ok(Slot::Published {
        naming: naming("deployment_name", asked.deployment_name.as_deref())?,
        environment: environment.map(|name| EnvironmentName::parse("environment", name)).transpose()?,
    })
}
