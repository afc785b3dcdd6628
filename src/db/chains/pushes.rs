//! How a deployment of a Chain is created: a push creates it with all of its chainlets, or it creates nothing.

use rusqlite::named_params;
use serde_json::{Value, json};

use crate::db::chains::{self, deployments, environments, promotion};
use crate::db::deployments::naming::{Naming, Owner};
use crate::db::deployments::write_json;
use crate::db::environment_groups::{self, Touched};
use crate::db::pushes::{Package, Stage, create_for_chain};
use crate::db::uploads;
use crate::db::{Tx, models};
use crate::domain::chains::{Chain, ChainDeployment};
use crate::domain::deployments::DEVELOPMENT;
use crate::domain::models::{Downloads, PROVIDED_TO_CHAINLETS};
use crate::domain::promotion::{Previous, takes_first_push};
use crate::domain::serving::PRODUCTION;
use crate::domain::uploads::Purpose;
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::{Error, quoted};
use crate::policy::{Deployer, InEnvironment, Reader};

/// The maximum for one deployment.
pub const CHAINLETS_MAX: usize = 100;

/// A push to a Chain.
#[derive(Debug)]
pub struct New<'a> {
    /// The first is the entrypoint.
    pub chainlets: Vec<NewChainlet<'a>>,
    /// The key of the upload of the Chain's source code.
    pub s3_key: Option<&'a str>,
    pub user_env: Option<&'a Value>,
    pub downloads: Downloads,
    pub slot: Slot,
}

#[derive(Debug)]
pub struct NewChainlet<'a> {
    pub name: ResourceName,
    /// The name of the model that is created for the chainlet.
    pub model_name: ResourceName,
    pub package: Package<'a>,
}

/// Which deployment the push creates.
#[derive(Debug)]
pub enum Slot {
    Development,
    Published {
        naming: Naming,
        /// The environment that the deployment is promoted to. `None`: `production` if no deployment serves it yet.
        environment: Option<EnvironmentName>,
    },
}

/// A push that the caller may make, with the proofs for the environments that it changes. [`check`] creates it.
#[derive(Debug)]
pub struct Push<'a, 'p> {
    deployer: Deployer<'a>,
    touched: Touched<'a>,
    new: &'p New<'p>,
}

/// Checks everything about a push that can be checked before anything is written.
///
/// # Errors
///
/// [`Error::Forbidden`] if the caller may not change the environment that the push names, or if it names none and the
/// caller's key is narrowed to some environments. [`Error::Invalid`] for too many chainlets, for two chainlets with the
/// same name, and for a configuration with an unknown instance type or with secrets that the team does not have.
pub fn check<'a, 'p>(tx: &Tx, deployer: &Deployer<'a>, new: &'p New<'p>) -> Result<Push<'a, 'p>, Error> {
    let environment = match &new.slot {
        Slot::Development => None,
        Slot::Published { environment, .. } => environment.as_ref().map(EnvironmentName::as_str),
    };
    let touched = environment_groups::open_all(tx, deployer, environment.into_iter())?;
    if new.chainlets.len() > CHAINLETS_MAX {
        return Err(Error::field("dependencies", &format!("must be fewer than {CHAINLETS_MAX}")));
    }
    for (position, chainlet) in new.chainlets.iter().enumerate() {
        if new.chainlets[..position].iter().any(|other| other.name == chainlet.name) {
            let why = format!("names the chainlet `{}` twice", quoted(chainlet.name.as_str()));
            return Err(Error::field("dependencies", &why));
        }
        chainlet.package.check(tx, deployer, PROVIDED_TO_CHAINLETS)?;
    }
    Ok(Push { deployer: *deployer, touched, new })
}

/// Creates a deployment of the Chain with this name. If the team has no such Chain, creates the Chain too.
///
/// # Errors
///
/// Those of [`check`] and [`create`]. [`Error::Forbidden`] if the Chain must be created and the caller may deploy into
/// some environments only.
pub fn create_by_name(
    tx: &Tx,
    deployer: &Deployer,
    name: &ResourceName,
    new: &New,
) -> Result<(Chain, ChainDeployment), Error> {
    let push = check(tx, deployer, new)?;
    let chain = match chains::named(tx, deployer, name)? {
        Some(chain) => chain,
        None => chains::create(tx, &deployer.in_team()?, name)?,
    };
    let made = create(tx, &push, &chain)?;
    Ok((chain, made))
}

/// Creates a deployment of the Chain. The runner starts its chainlets after the commit.
///
/// # Errors
///
/// [`Error::NotFound`] for an upload or an environment that does not exist. [`Error::Conflict`] for a name that is
/// taken, and while another deployment is being promoted to the environment.
pub fn create(tx: &Tx, push: &Push, chain: &Chain) -> Result<ChainDeployment, Error> {
    let Push { deployer, touched, new } = push;
    if let Some(s3_key) = new.s3_key {
        uploads::take(tx, deployer, Purpose::Chain, s3_key)?;
    }
    let (number, name) = match &new.slot {
        Slot::Development => (0, DEVELOPMENT.to_owned()),
        Slot::Published { naming, .. } => Owner::Chain(&chain.id).name(tx, naming)?,
    };
    let id = insert(tx, deployer, chain, new, number, &name)?;
    let destination = destination(tx, push, chain)?;
    let environment = destination.as_ref().map(|at| environments::find_open(tx, at, chain)).transpose()?;
    for (position, chainlet) in new.chainlets.iter().enumerate() {
        let set = environment.as_ref().and_then(|environment| environment.instance_type_set(chainlet.name.as_str()));
        let instance_type = match set {
            Some(id) => id,
            None => chainlet.package.instance_type()?.id,
        };
        let name = &chainlet.model_name;
        let model = models::create_for_chain(tx, deployer, &chain.id, name, instance_type, new.downloads)?;
        let deployment_id = create_for_chain(tx, touched, &model, &chainlet.package, new.slot.stage())?;
        deployments::insert_chainlet(tx, deployer, &id, position, chainlet.name.as_str(), &model.id, &deployment_id)?;
    }
    let made = match &destination {
        Some(at) => promotion::enter(tx, at, chain, &id, Previous::AsSet)?,
        None => deployments::find(tx, deployer, &chain.id, &id)?,
    };
    let more = json!({
        "is_primary": destination.is_some_and(|at| at.name().as_str() == PRODUCTION),
        "publish": !made.is_development(),
    });
    deployments::record(tx, deployer, "CHAIN_DEPLOYED", chain, &made, more)?;
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

/// The environment that a new deployment goes into.
///
/// A published deployment for which the push names no environment goes into `production` if no deployment serves it. If
/// the caller may not change `production`, the deployment goes into no environment.
fn destination<'a>(tx: &Tx, push: &Push<'a, '_>, chain: &Chain) -> Result<Option<InEnvironment<'a>>, Error> {
    match (&push.new.slot, push.touched.environments()) {
        (Slot::Development, _) => Ok(None),
        (Slot::Published { .. }, [at, ..]) => Ok(Some(at.clone())),
        (Slot::Published { .. }, []) => {
            let production = environments::find(tx, &push.deployer, chain, PRODUCTION)?;
            let status = |deployment: Option<&ChainDeployment>| deployment.map(ChainDeployment::status);
            if !takes_first_push(status(production.current.as_ref()), status(production.candidate.as_ref())) {
                return Ok(None);
            }
            environment_groups::open_if_allowed(tx, &push.deployer, PRODUCTION)
        }
    }
}

/// Inserts the row of a deployment. A push to the development deployment replaces that deployment's content and
/// chainlets and keeps its id.
fn insert(tx: &Tx, team: &dyn Reader, chain: &Chain, new: &New, number: i64, name: &str) -> Result<String, Error> {
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
