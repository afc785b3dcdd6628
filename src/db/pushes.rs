//! Pushes to models: creates a deployment, either the development deployment or a published one.

use rusqlite::named_params;
use serde_json::{Map, Value, json};

use crate::db::deployments::naming::{self, Naming, Owner};
use crate::db::deployments::{check_secrets, find, record, write_json};
use crate::db::environment_groups::{self, Touched};
use crate::db::environments::promotion::{self, Instance};
use crate::db::{Tx, environments, logs, models, uploads};
use crate::domain::deployments::{DEVELOPMENT, Deployment, Which};
use crate::domain::environments::Change;
use crate::domain::instance_types::InstanceType;
use crate::domain::models::{Downloads, Model};
use crate::domain::promotion::{Previous, takes_first_push};
use crate::domain::serving::PRODUCTION;
use crate::domain::serving::{Cleanup, Level, Settings};
use crate::domain::uploads::Purpose;
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{Deployer, InEnvironment, Reader};

/// A push to a model: the pushed package, and what kind of deployment it becomes.
#[derive(Debug)]
pub struct New<'a> {
    pub package: Package<'a>,
    pub settings: Change,
    pub slot: Slot,
}

/// The pushed package. Its configuration is as the client parsed it.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    pub config: &'a Map<String, Value>,
    pub raw_config: Option<&'a str>,
    pub labels: Option<&'a Value>,
    pub user_env: Option<&'a Value>,
    /// The key of the upload; `None` if the deployment is made from the configuration alone.
    pub s3_key: Option<&'a str>,
    pub timeout_minutes: Option<i64>,
    /// Replaces the instance type that the configuration asks for.
    pub instance_type: Option<&'static InstanceType>,
}

/// What kind of deployment the push becomes.
#[derive(Debug)]
pub enum Slot {
    Development,
    Published(Published),
}

#[derive(Debug)]
pub struct Published {
    pub naming: Naming,
    /// The environment to deploy to; `None` means `production` if no deployment serves it yet.
    pub environment: Option<EnvironmentName>,
    pub missing: MissingEnvironment,
    pub previous: Previous,
    pub instance: Instance,
}

/// What to do with a push to an environment that the model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingEnvironment {
    Create,
    Refuse,
}

/// A push that the caller may make, with proof of access to what it changes. Only [`check`] makes one.
#[derive(Debug)]
pub struct Push<'a, 'p> {
    deployer: Deployer<'a>,
    touched: Touched<'a>,
    new: &'p New<'p>,
    instance_type: &'static InstanceType,
}

/// What to do with a push by name if the team has a model of that name.
#[derive(Clone, Copy, Debug)]
pub enum Existing<'s> {
    /// Push to it.
    Used,
    /// Push to it if its name differs from this spelling. If it is spelled like this, the client could have found the
    /// model by name, so the push is refused.
    UsedUnlessSpelled(&'s str),
}

/// Checks a push before anything is written.
///
/// # Errors
///
/// [`Error::Forbidden`] where the environment that the push names is closed to the caller, or where it names none and
/// the caller's key is restricted to some; [`Error::Invalid`] for secrets that the team does not have, and for an
/// instance type that does not exist.
pub fn check<'a, 'p>(tx: &Tx, deployer: &Deployer<'a>, new: &'p New<'p>) -> Result<Push<'a, 'p>, Error> {
    let environment = match &new.slot {
        Slot::Development => None,
        Slot::Published(published) => published.environment.as_ref().map(EnvironmentName::as_str),
    };
    let touched = environment_groups::open_all(tx, deployer, environment.into_iter())?;
    let instance_type = new.package.check(tx, deployer, &[])?;
    Ok(Push { deployer: *deployer, touched, new, instance_type })
}

/// Checks a push to this model, or to a new model if it is `None`, without creating anything.
///
/// # Errors
///
/// All errors that [`create`] or [`create_by_name`] would return for this push.
pub fn foresee(tx: &Tx, deployer: &Deployer, model: Option<&Model>, new: &New) -> Result<(), Error> {
    match model {
        Some(model) => model.refuse_chainlet()?,
        None => drop(deployer.in_team()?),
    }
    check(tx, deployer, new)?;
    let Slot::Published(published) = &new.slot else { return Ok(()) };
    if let Some(model) = model {
        naming::check(tx, &model.id, &published.naming)?;
    }
    let environment = published.environment.as_ref().map(EnvironmentName::as_str);
    match (environment.filter(|_| published.missing == MissingEnvironment::Refuse), model) {
        (Some(environment), Some(model)) => environments::find(tx, deployer, model, environment).map(drop),
        (Some(environment), None) if environment != PRODUCTION => Err(Error::NotFound("environment")),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Creates a deployment of the model with this name, and creates the model if the team has none. After the commit the
/// runner continues with the deployment.
///
/// # Errors
///
/// The errors of [`check`]; [`Error::Forbidden`] for a new model and a caller who may deploy into only some
/// environments; [`Error::Conflict`] as `existing` says.
pub fn create_by_name(
    tx: &Tx,
    deployer: &Deployer,
    name: &ResourceName,
    existing: Existing,
    downloads: Downloads,
    new: &New,
) -> Result<(Model, Deployment), Error> {
    let push = check(tx, deployer, new)?;
    let found = models::named(tx, deployer, name)?.filter(|model| match existing {
        Existing::Used => true,
        Existing::UsedUnlessSpelled(spelled) => model.name != spelled,
    });
    let model = match found {
        Some(model) => model,
        None => models::create(tx, &deployer.in_team()?, name, push.instance_type.id, downloads)?,
    };
    let made = create(tx, &push, &model)?;
    Ok((model, made))
}

/// Creates a deployment of the model. After the commit the runner continues with it.
///
/// # Errors
///
/// [`Error::Conflict`] for a chainlet's model, for a name that is taken, and while another deployment is being promoted
/// to the environment; [`Error::NotFound`] for an environment that the model does not have, if it is not to be created.
pub fn create(tx: &Tx, push: &Push, model: &Model) -> Result<Deployment, Error> {
    model.refuse_chainlet()?;
    match &push.new.slot {
        Slot::Development => develop(tx, push, model),
        Slot::Published(published) => publish(tx, push, model, published),
    }
}

/// Creates the development deployment, or replaces it and keeps its id.
fn develop(tx: &Tx, push: &Push, model: &Model) -> Result<Deployment, Error> {
    tx.sql
        .prepare_cached(
            "DELETE FROM deployment_patch WHERE deployment_id = (
             SELECT id FROM deployment WHERE model_id = :model_id AND number = 0
         )",
        )?
        .execute(named_params! { ":model_id": model.id })?;
    let name = DEVELOPMENT.to_owned();
    let numbered = Numbered { number: 0, name, instance_type: push.instance_type.id, settings: &push.new.settings };
    insert(tx, &push.deployer, model, &push.new.package, &numbered)?;
    let made = find(tx, &push.deployer, &model.id, Which::Development)?;
    record_deployed(tx, push, model, &made, None)?;
    Ok(made)
}

fn publish(tx: &Tx, push: &Push, model: &Model, published: &Published) -> Result<Deployment, Error> {
    let destination = destination(tx, push, model, published)?;
    let mut instance_type = push.instance_type.id.to_owned();
    if let Some(at) = &destination {
        let environment = environments::update(tx, at, model, &push.new.settings)?;
        if published.instance == Instance::OfEnvironment && environment.current.is_some() {
            instance_type = environment.instance_type;
        }
    }
    let (number, name) = Owner::Model(&model.id).name(tx, &published.naming)?;
    let numbered = Numbered { number, name, instance_type: &instance_type, settings: &push.new.settings };
    let id = insert(tx, &push.deployer, model, &push.new.package, &numbered)?;
    let made = match &destination {
        Some(at) => promotion::enter(tx, at, model, &id, published.previous)?,
        None => find(tx, &push.deployer, &model.id, Which::Id(&id))?,
    };
    record_deployed(tx, push, model, &made, destination.as_ref())?;
    Ok(made)
}

/// The environment that a published deployment goes into.
///
/// A push that names no environment goes into `production` while no deployment serves it. If `production` is closed to
/// the caller, the push goes into no environment.
fn destination<'a>(
    tx: &Tx,
    push: &Push<'a, '_>,
    model: &Model,
    published: &Published,
) -> Result<Option<InEnvironment<'a>>, Error> {
    if let Some(at) = push.touched.environments().first() {
        match published.missing {
            MissingEnvironment::Create => environments::ensure(tx, at, model)?,
            MissingEnvironment::Refuse => drop(environments::find_open(tx, at, model)?),
        }
        return Ok(Some(at.clone()));
    }
    let production = environments::find(tx, &push.deployer, model, PRODUCTION)?;
    let status = |deployment: Option<&Deployment>| deployment.map(|deployment| deployment.status);
    if !takes_first_push(status(production.current.as_ref()), status(production.candidate.as_ref())) {
        return Ok(None);
    }
    environment_groups::open_if_allowed(tx, &push.deployer, PRODUCTION)
}

/// Creates the deployment of a chainlet. The environment and the audit entry belong to the deployment of the Chain.
pub(in crate::db) fn create_for_chain(
    tx: &Tx,
    touched: &Touched,
    model: &Model,
    package: &Package,
    stage: Stage,
) -> Result<String, Error> {
    let (number, name) = match stage {
        Stage::Development => (0, DEVELOPMENT.to_owned()),
        Stage::Published => Owner::Model(&model.id).name(tx, &Naming::Numbered)?,
    };
    let settings = &Change::default();
    insert(
        tx,
        touched.reader(),
        model,
        package,
        &Numbered { number, name, instance_type: &model.instance_type, settings },
    )
}

/// Whether a push replaces the previous deployment or creates another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Development,
    Published,
}

struct Numbered<'a> {
    number: i64,
    name: String,
    instance_type: &'a str,
    settings: &'a Change,
}

/// Takes the uploaded archive and writes the row of the deployment.
fn insert(tx: &Tx, team: &dyn Reader, model: &Model, new: &Package, numbered: &Numbered) -> Result<String, Error> {
    if let Some(s3_key) = new.s3_key {
        uploads::take(tx, team, Purpose::Model, s3_key)?;
    }
    let defaults = Settings::default();
    let id: String = tx
        .sql
        .prepare_cached(
            "INSERT INTO deployment (id, org_id, team_id, model_id, name, number, status, config, raw_config, labels,
                                     user_env, instance_type, autoscaling, backpressure, s3_key, timeout_minutes,
                                     created_by, created_at, updated_at)
             VALUES (:id, :org_id, :team_id, :model_id, :name, :number, 'BUILDING', :config, :raw_config, :labels,
                     :user_env, :instance_type, :autoscaling, :backpressure, :s3_key, :timeout_minutes,
                     :created_by, :now, :now)
             ON CONFLICT (model_id, number) DO UPDATE
             SET status = 'BUILDING', config = :config, raw_config = :raw_config, labels = :labels,
                 user_env = :user_env, instance_type = :instance_type, s3_key = :s3_key, truss_hash = NULL,
                 truss_signature = NULL, is_patched = 0, timeout_minutes = :timeout_minutes, created_by = :created_by, updated_at = :now
             WHERE number = 0
             RETURNING id",
        )?
        .query_row(
            named_params! {
                ":id": tx.id(),
                ":org_id": team.team().org_id,
                ":team_id": team.team().id,
                ":model_id": model.id,
                ":name": numbered.name,
                ":number": numbered.number,
                ":config": write_json(new.config),
                ":raw_config": new.raw_config,
                ":labels": new.labels.map(write_json),
                ":user_env": new.user_env.map(write_json),
                ":instance_type": numbered.instance_type,
                ":autoscaling": write_json(numbered.settings.autoscaling.as_ref().unwrap_or(&defaults.autoscaling)),
                ":backpressure": numbered.settings.backpressure.unwrap_or(defaults.backpressure),
                ":s3_key": new.s3_key,
                ":timeout_minutes": new.timeout_minutes,
                ":created_by": team.caller().prefix(),
                ":now": tx.now,
            },
            |row| row.get("id"),
        )?;
    logs::append(tx, &id, Level::Info, &format!("pushed as \"{}\" of model \"{}\"", numbered.name, model.name))?;
    Ok(id)
}

fn record_deployed(
    tx: &Tx,
    push: &Push,
    model: &Model,
    made: &Deployment,
    environment: Option<&InEnvironment>,
) -> Result<(), Error> {
    let more = json!({
        "scale_previous_to_zero": made.cleanup == Some(Cleanup::ScaleToZero),
        "trusted": true,
        "publish": !made.is_development(),
        "environment_name": environment.map(|at| at.name().as_str()),
    });
    record(tx, &push.deployer, "MODEL_DEPLOYED", model, made, more)
}

impl Package<'_> {
    /// Checks that the package can be deployed in the team, and returns its instance type. `provided` names secrets
    /// that the server provides.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for secrets that the team does not have, and for an instance type that does not exist.
    pub(in crate::db) fn check(
        &self,
        tx: &Tx,
        team: &dyn Reader,
        provided: &[&str],
    ) -> Result<&'static InstanceType, Error> {
        check_secrets(tx, team, self.config, provided)?;
        self.instance_type()
    }

    /// The instance type of the push.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an instance type that does not exist.
    pub(in crate::db) fn instance_type(&self) -> Result<&'static InstanceType, Error> {
        self.instance_type.map_or_else(|| InstanceType::of_config(self.config), Ok)
    }
}
