//! How a deployment is made: pushed, as the development deployment or published.

use rusqlite::named_params;
use serde_json::{Map, Value, json};

use crate::db::deployments::naming::{self, Naming, Owner};
use crate::db::deployments::{Deployment, Which, find, record, write_json};
use crate::db::environments::promotion::{self, Instance, Previous};
use crate::db::environments::{self, Change};
use crate::db::models::Model;
use crate::db::{Tx, logs, secrets, uploads};
use crate::domain::instance_types::{InstanceType, Resources};
use crate::domain::serving::{Cleanup, Level, Phase, Settings};
use crate::domain::uploads::Purpose;
use crate::domain::{EnvironmentName, NAMED_MAX, SecretName};
use crate::error::{Error, quoted};
use crate::policy::InTeam;

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

/// What must be refused before anything is written, also where nothing is to be written at all.
pub fn check(tx: &Tx, team: &InTeam, new: &New) -> Result<&'static InstanceType, Error> {
    let instance_type = new.package.check(tx, team, &[])?;
    let environment = match &new.slot {
        Slot::Development => None,
        Slot::Published(published) => published.environment.as_ref().map(EnvironmentName::as_str),
    };
    environments::may_change(tx, team, environment)?;
    Ok(instance_type)
}

/// What would be refused of a push to this model, or to one that is to be made, without making anything.
pub fn foresee(tx: &Tx, team: &InTeam, model: Option<&Model>, new: &New) -> Result<(), Error> {
    check(tx, team, new)?;
    let Slot::Published(published) = &new.slot else { return Ok(()) };
    if let Some(model) = model {
        naming::check(tx, &model.id, &published.naming)?;
    }
    let environment = published.environment.as_ref().map(EnvironmentName::as_str);
    match (environment.filter(|_| published.missing == MissingEnvironment::Refuse), model) {
        (Some(environment), Some(model)) => environments::find(tx, team, model, environment).map(drop),
        (Some(environment), None) if environment != environments::PRODUCTION => Err(Error::NotFound("environment")),
        (Some(_) | None, _) => Ok(()),
    }
}

/// Makes a deployment of the model. The runner takes it from there, after the commit.
pub fn create(tx: &Tx, team: &InTeam, model: &Model, new: &New) -> Result<Deployment, Error> {
    let instance_type = check(tx, team, new)?;
    match &new.slot {
        Slot::Development => develop(tx, team, model, new, instance_type.id),
        Slot::Published(published) => publish(tx, team, model, new, published, instance_type.id),
    }
}

/// A push to the development deployment replaces it; its id stays.
fn develop(tx: &Tx, team: &InTeam, model: &Model, new: &New, instance_type: &str) -> Result<Deployment, Error> {
    tx.sql
        .prepare_cached(
            "DELETE FROM deployment_patch WHERE deployment_id = (
             SELECT id FROM deployment WHERE model_id = :model_id AND number = 0
         )",
        )?
        .execute(named_params! { ":model_id": model.id })?;
    let name = super::DEVELOPMENT.to_owned();
    insert(tx, team, model, &new.package, &Numbered { number: 0, name, instance_type, settings: &new.settings })?;
    let made = find(tx, team, &model.id, Which::Development)?;
    deployed(tx, team, model, &made, None)?;
    Ok(made)
}

fn publish(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    new: &New,
    published: &Published,
    instance_type: &str,
) -> Result<Deployment, Error> {
    let destination = destination(tx, team, model, published)?;
    let mut instance_type = instance_type.to_owned();
    if let Some(environment) = &destination {
        let before = environments::find(tx, team, model, environment)?;
        let environment = environments::update(tx, team, model, &before, &new.settings)?;
        if published.instance == Instance::OfEnvironment && environment.current.is_some() {
            instance_type = environment.instance_type;
        }
    }
    let (number, name) = Owner::Model(&model.id).name(tx, &published.naming)?;
    let numbered = Numbered { number, name, instance_type: &instance_type, settings: &new.settings };
    let id = insert(tx, team, model, &new.package, &numbered)?;
    let mut made = find(tx, team, &model.id, Which::Id(&id))?;
    if let Some(name) = &destination {
        let environment = environments::find(tx, team, model, name)?;
        let cleanup = match published.previous {
            Previous::AsSet => environment.promotion.promotion_cleanup_strategy,
            Previous::Keep => Cleanup::Keep,
        };
        promotion::enter(tx, &made, &environment, cleanup)?;
        made = find(tx, team, &model.id, Which::Id(&id))?;
    }
    deployed(tx, team, model, &made, destination.as_deref())?;
    Ok(made)
}

/// The environment that a published deployment goes into. The first of a model goes into `production`, unless that is
/// closed to the caller: then it goes into none, and its log says so. While what is there has failed, the next is the first.
fn destination(tx: &Tx, team: &InTeam, model: &Model, asked: &Published) -> Result<Option<String>, Error> {
    if let Some(name) = &asked.environment {
        match asked.missing {
            MissingEnvironment::Create => environments::ensure(tx, team, model, name)?,
            MissingEnvironment::Refuse => drop(environments::find(tx, team, model, name.as_str())?),
        }
        return Ok(Some(name.as_str().to_owned()));
    }
    let production = environments::find(tx, team, model, environments::PRODUCTION)?;
    let has_failed = |current: &Deployment| current.status.phase() == Phase::Failed;
    let vacant = production.current.as_ref().is_none_or(has_failed) && production.candidate.is_none();
    let open = environments::may_change(tx, team, Some(environments::PRODUCTION)).is_ok();
    Ok((vacant && open).then(|| environments::PRODUCTION.to_owned()))
}

/// The deployment of a chainlet, of a model that was made for it. Its Chain's deployment has the environment and the
/// entry in the audit log.
pub(in crate::db) fn create_for_chain(
    tx: &Tx,
    team: &InTeam,
    model: &Model,
    package: &Package,
    stage: Stage,
) -> Result<String, Error> {
    let (number, name) = match stage {
        Stage::Development => (0, super::DEVELOPMENT.to_owned()),
        Stage::Published => Owner::Model(&model.id).name(tx, &Naming::Numbered)?,
    };
    let settings = &Change::default();
    insert(tx, team, model, package, &Numbered { number, name, instance_type: &model.instance_type, settings })
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
fn insert(tx: &Tx, team: &InTeam, model: &Model, new: &Package, numbered: &Numbered) -> Result<String, Error> {
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

fn deployed(tx: &Tx, team: &InTeam, model: &Model, made: &Deployment, environment: Option<&str>) -> Result<(), Error> {
    let more = json!({
        "scale_previous_to_zero": made.cleanup == Some(Cleanup::ScaleToZero),
        "trusted": true,
        "publish": !made.is_development(),
        "environment_name": environment,
    });
    record(tx, team, "MODEL_DEPLOYED", model, made, more)
}

impl Package<'_> {
    /// Whether it can be deployed in the team, and as which instance type. `provided` names secrets that whoever runs it
    /// brings along.
    pub(in crate::db) fn check(
        &self,
        tx: &Tx,
        team: &InTeam,
        provided: &[&str],
    ) -> Result<&'static InstanceType, Error> {
        check_secrets(tx, team, self.config, provided)?;
        self.instance_type()
    }

    pub(in crate::db) fn instance_type(&self) -> Result<&'static InstanceType, Error> {
        self.instance_type.map_or_else(|| instance_type(self.config), Ok)
    }
}

/// A deployment can name secrets of its own team alone.
pub(super) fn check_secrets(
    tx: &Tx,
    team: &InTeam,
    config: &Map<String, Value>,
    provided: &[&str],
) -> Result<(), Error> {
    let named = config.get("secrets").and_then(Value::as_object);
    Error::check_count("config.secrets", named.map_or(0, Map::len), NAMED_MAX)?;
    for name in named.into_iter().flat_map(Map::keys).filter(|name| !provided.contains(&name.as_str())) {
        let is_there = match SecretName::parse(name) {
            Ok(name) => secrets::exists(tx, team, &name)?,
            Err(_) => false,
        };
        if !is_there {
            let why = format!(
                "names `{}`, and team \"{}\" has no secret of that name: set it first, or leave it out",
                quoted(name),
                team.team().name
            );
            return Err(Error::field("config.secrets", &why));
        }
    }
    Ok(())
}

/// The instance type that a configuration names, or the smallest that holds what it asks for.
pub fn instance_type(config: &Map<String, Value>) -> Result<&'static InstanceType, Error> {
    let resources = config.get("resources");
    let text = |name: &str| resources.and_then(|resources| resources.get(name)).and_then(Value::as_str);
    if let Some(id) = text("instance_type") {
        return InstanceType::find(id)
            .ok_or_else(|| Error::field("config.resources.instance_type", "must be one of GET /v1/instance_types"));
    }
    let gpus = text("accelerator").map(|asked| match asked.split_once(':') {
        Some((kind, count)) => (kind.to_owned(), count.parse().unwrap_or(0)),
        None => (asked.to_owned(), 1),
    });
    let unreadable = |name: &str| Error::field(&format!("config.resources.{name}"), "cannot be read");
    let millicpus = text("cpu").map(|cpu| millicpus(cpu).ok_or_else(|| unreadable("cpu"))).transpose()?;
    let memory_mib = text("memory").map(|memory| mebibytes(memory).ok_or_else(|| unreadable("memory"))).transpose()?;
    InstanceType::for_resources(&Resources {
        millicpus: millicpus.unwrap_or_default(),
        memory_mib: memory_mib.unwrap_or_default(),
        gpus,
    })
}

/// `1`, `0.5` or `500m`.
fn millicpus(text: &str) -> Option<u32> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<f64>().ok()?,
        None => text.parse::<f64>().ok()? * 1000.0,
    };
    whole(millis)
}

/// `2Gi`, `512Mi`, `1.5G`, or bytes.
fn mebibytes(text: &str) -> Option<u32> {
    const UNITS: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
    ];
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1.0));
    whole((number.parse::<f64>().ok()? * bytes / 1_048_576.0).ceil())
}

fn whole(number: f64) -> Option<u32> {
    (number.is_finite() && (0.0..=1e9).contains(&number)).then_some(number.ceil() as u32)
}
