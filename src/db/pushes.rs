//! Pushes to models: how a deployment is made, as the development deployment or published.

use rusqlite::named_params;
use serde_json::{Map, Value, json};

use crate::db::deployments::naming::{self, Naming, Owner};
use crate::db::deployments::{check_secrets, find, record, write_json};
use crate::db::environment_groups::{self, Touched};
use crate::db::environments::promotion::{self, Instance};
use crate::db::{Tx, environments, logs, models, uploads};
use crate::domain::deployments::{DEVELOPMENT, Deployment, Which};
use crate::domain::environments::{Change, PRODUCTION};
use crate::domain::instance_types::InstanceType;
use crate::domain::models::{Downloads, Model};
use crate::domain::promotion::{Previous, takes_first_push};
use crate::domain::serving::{Cleanup, Level, Settings};
use crate::domain::uploads::Purpose;
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{Deployer, InEnvironment, Reader};

/// A push to a model: what is pushed, and what it becomes.
#[derive(Debug)]
pub struct New<'a> {
    pub package: Package<'a>,
    pub settings: Change,
    pub slot: Slot,
}

/// What is pushed. The configuration is the one that the client parsed.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    pub config: &'a Map<String, Value>,
    pub raw_config: Option<&'a str>,
    pub labels: Option<&'a Value>,
    pub user_env: Option<&'a Value>,
    /// The key of the upload; `None`: committed from the configuration alone.
    pub s3_key: Option<&'a str>,
    pub timeout_minutes: Option<i64>,
    /// In place of what the configuration asks for.
    pub instance_type: Option<&'static InstanceType>,
}

/// What the deployment becomes.
#[derive(Debug)]
pub enum Slot {
    Development,
    Published(Published),
}

#[derive(Debug)]
pub struct Published {
    pub naming: Naming,
    /// The environment that it is for. `None`: `production`, if nothing serves that yet.
    pub environment: Option<EnvironmentName>,
    pub missing: MissingEnvironment,
    pub previous: Previous,
    pub instance: Instance,
}

/// What becomes of a push into an environment that the model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingEnvironment {
    Create,
    Refuse,
}

/// A push that the caller may make, with the proofs for what it touches. [`check`] makes it.
#[derive(Debug)]
pub struct Push<'a, 'p> {
    deployer: Deployer<'a>,
    touched: Touched<'a>,
    new: &'p New<'p>,
    instance_type: &'static InstanceType,
}

/// What becomes of a push by name where the team has a model of that name.
#[derive(Clone, Copy, Debug)]
pub enum Existing<'s> {
    /// It is pushed to.
    Used,
    /// It is pushed to if its name is spelled otherwise. Spelled so, the client could have found it and is told so.
    UsedUnlessSpelled(&'s str),
}

/// Checks what can be checked before anything is written.
///
/// # Errors
///
/// [`Error::Forbidden`] where the environment that the push names is closed to the caller, or where it names none and the
/// caller's key is narrowed to some; [`Error::Invalid`] for secrets that the team does not have, and for an instance type
/// that does not exist.
pub fn check<'a, 'p>(tx: &Tx, deployer: &Deployer<'a>, new: &'p New<'p>) -> Result<Push<'a, 'p>, Error> {
    let environment = match &new.slot {
        Slot::Development => None,
        Slot::Published(published) => published.environment.as_ref().map(EnvironmentName::as_str),
    };
    let touched = environment_groups::open_all(tx, deployer, environment.into_iter())?;
    let instance_type = new.package.check(tx, deployer, &[])?;
    Ok(Push { deployer: *deployer, touched, new, instance_type })
}

/// Checks a push to this model, or to one that is to be made, without making anything.
///
/// # Errors
///
/// What [`create`] or [`create_by_name`] would refuse.
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

/// Makes a deployment of the model of this name, which is made if the team has none. The runner takes it from there, after
/// the commit.
///
/// # Errors
///
/// Those of [`check`]; [`Error::Forbidden`] for a new model and a caller who may deploy into some environments alone;
/// [`Error::Conflict`] as `existing` says.
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

/// Makes a deployment of the model. The runner takes it from there, after the commit.
///
/// # Errors
///
/// [`Error::Conflict`] for a chainlet's model, for a name that is taken, and while another deployment is being promoted to the
/// environment; [`Error::NotFound`] for an environment that the model does not have, where it is not to be made.
pub fn create(tx: &Tx, push: &Push, model: &Model) -> Result<Deployment, Error> {
    model.refuse_chainlet()?;
    match &push.new.slot {
        Slot::Development => develop(tx, push, model),
        Slot::Published(published) => publish(tx, push, model, published),
    }
}

/// A push to the development deployment replaces it; its id stays.
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
/// A push that names none goes into `production` while nothing serves that. Where `production` is closed to the caller it
/// goes into none.
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

/// The deployment of a chainlet, of a model that was made for it. Its Chain's deployment has the environment and the
/// entry in the audit log.
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

/// Whether something is still changed by each push to it.
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

/// Takes the archive, and writes the row.
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
    /// Whether it can be deployed in the team, and as which instance type. `provided` names secrets that whoever runs it
    /// brings along.
    pub(in crate::db) fn check(
        &self,
        tx: &Tx,
        team: &dyn Reader,
        provided: &[&str],
    ) -> Result<&'static InstanceType, Error> {
        check_secrets(tx, team, self.config, provided)?;
        self.instance_type()
    }

    pub(in crate::db) fn instance_type(&self) -> Result<&'static InstanceType, Error> {
        self.instance_type.map_or_else(|| InstanceType::of_config(self.config), Ok)
    }
}
