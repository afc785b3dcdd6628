//! What truss pushes, over GraphQL.

use std::any::Any;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::api::graphql::context::FieldContext;
use crate::api::rest::pushes::raw_config;
use crate::db::deployments::naming::Naming;
use crate::db::environments::promotion::Instance;
use crate::db::pushes::{self, Existing, MissingEnvironment, New, Package, Published, Slot};
use crate::db::{Tx, models};
use crate::domain::deployments::Deployment;
use crate::domain::environments::Change;
use crate::domain::instance_types::InstanceType;
use crate::domain::models::{Downloads, Model};
use crate::domain::promotion::Previous;
use crate::domain::serving::{DeploymentName, check_deploy_timeout};
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{Caller, Deployer, Deployers};
use crate::wire;
use crate::wire::graphql::arguments::{Push, Validate};
use crate::wire::graphql::selection::Selected;
use crate::wire::graphql::shape::Given;
use crate::wire::graphql::{CreatedVersion, ModelVersion, Validation};

/// A push, after it was read on the pool.
struct ReadPush {
    asked: Push,
    pushed: Pushed,
}

/// The parts of a push that must be parsed before a version can be created.
struct Pushed {
    config: Map<String, Value>,
    raw_config: Option<String>,
    labels: Option<Value>,
    user_env: Option<Value>,
}

/// Reads the arguments of a push of a model. Call it on the pool.
///
/// # Errors
///
/// [`Error::Invalid`] for an argument that is malformed.
pub fn read(selected: &Selected) -> Result<Box<dyn Any + Send>, Error> {
    let asked: Push = selected.read()?;
    let pushed = Pushed::read(&asked)?;
    Ok(Box::new(ReadPush { asked, pushed }))
}

/// The reasons why a configuration cannot be pushed; empty if it can be pushed.
struct Findings(Vec<String>);

/// Reads a configuration and finds out whether it can be pushed. Call it on the pool.
///
/// # Errors
///
/// [`Error::Invalid`] for arguments that cannot be read. A configuration that cannot be pushed is not an error.
pub fn read_validation(selected: &Selected) -> Result<Box<dyn Any + Send>, Error> {
    let asked: Validate = selected.read()?;
    let checked = read_config("config", &asked.config).and_then(|config| InstanceType::of_config(&config).map(drop));
    Ok(Box::new(Findings(checked.err().map(|error| error.to_string()).into_iter().collect())))
}

pub fn validate(_: &Tx, _: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    let Findings(errors) = ctx.prepared()?;
    let details = json!({ "errors": errors, "warnings": [] });
    ctx.give(&Validation { success: errors.is_empty(), details: Some(details.to_string()) })
}

/// Carries out the first published push of a model. A client also sends this for an existing model that it did not
/// find, because it spells the name differently.
pub fn create_model(tx: &Tx, deployers: &Deployers, ctx: &FieldContext) -> Result<Given, Error> {
    let ReadPush { asked, pushed } = ctx.prepared()?;
    let slot = |asked: &Push| published(asked, asked.version_name.as_deref(), Previous::AsSet);
    create_by_name(tx, deployers, &asked, &pushed, slot, ctx)
}

/// Carries out a later published push. The deployment belongs to the team of the model.
pub fn create_version(tx: &Tx, deployer: &Deployer, ctx: &FieldContext) -> Result<Given, Error> {
    let model = models::find(tx, deployer, ctx.id("model_id")?)?;
    model.refuse_chainlet()?;
    let ReadPush { asked, pushed } = ctx.prepared()?;
    let previous = if asked.scale_down_old_production == Some(false) { Previous::Keep } else { Previous::AsSet };
    let new = pushed.deployment(&asked, published(&asked, asked.name.as_deref(), previous)?)?;
    let deployment = pushes::create(tx, &pushes::check(tx, deployer, &new)?, &model)?;
    created(&model, &deployment, ctx)
}

/// Pushes to the development deployment of the model with this name. A missing model is created.
pub fn deploy_draft(tx: &Tx, deployers: &Deployers, ctx: &FieldContext) -> Result<Given, Error> {
    let ReadPush { asked, pushed } = ctx.prepared()?;
    create_by_name(tx, deployers, &asked, &pushed, |_| Ok(Slot::Development), ctx)
}

fn create_by_name(
    tx: &Tx,
    deployers: &Deployers,
    asked: &Push,
    pushed: &Pushed,
    slot: impl Fn(&Push) -> Result<Slot, Error>,
    ctx: &FieldContext,
) -> Result<Given, Error> {
    let (deployer, name) = (deployers.target(asked.team_id.as_deref())?, model_name(asked)?);
    let new = pushed.deployment(asked, slot(asked)?)?;
    let downloads = if asked.allow_truss_download == Some(false) { Downloads::Refused } else { Downloads::Allowed };
    let (model, deployment) = pushes::create_by_name(tx, deployer, &name, Existing::Used, downloads, &new)?;
    created(&model, &deployment, ctx)
}

fn created(model: &Model, deployment: &Deployment, ctx: &FieldContext) -> Result<Given, Error> {
    ctx.give(&CreatedVersion { model_version: ModelVersion::new(model, deployment, &ctx.request.base_url) })
}

fn model_name(asked: &Push) -> Result<ResourceName, Error> {
    let name = asked.name.as_deref().ok_or_else(|| Error::field("name", "must be given"))?;
    ResourceName::parse("name", name)
}

fn published(asked: &Push, name: Option<&str>, previous: Previous) -> Result<Slot, Error> {
    let environment = asked.environment_name.as_deref();
    let keep = asked.preserve_env_instance_type != Some(false);
    Ok(Slot::Published(Published {
        naming: naming("name", name)?,
        environment: environment.map(|name| EnvironmentName::parse("environment_name", name)).transpose()?,
        missing: MissingEnvironment::Create,
        previous,
        instance: if keep { Instance::OfEnvironment } else { Instance::OfDeployment },
    }))
}

/// How a deployment is named. truss pushes the same name repeatedly, so a name that is taken gets a suffix and is not
/// refused.
///
/// # Errors
///
/// [`Error::Invalid`] for a name that no deployment can have.
pub(super) fn naming(argument: &str, name: Option<&str>) -> Result<Naming, Error> {
    let name = name.map(|name| DeploymentName::parse(argument, name)).transpose()?;
    Ok(name.map_or(Naming::Numbered, Naming::Suffixed))
}

impl Pushed {
    fn read(asked: &Push) -> Result<Pushed, Error> {
        let raw = asked.raw_config.as_deref().map(|text| decode("raw_config", text)).transpose()?;
        raw_config(raw.as_deref())?;
        Ok(Pushed {
            config: read_config("config", &asked.config)?,
            raw_config: raw,
            labels: asked
                .user_deploy_metadata
                .as_deref()
                .map(|text| object("user_deploy_metadata", text))
                .transpose()?,
            user_env: asked.truss_user_env.as_deref().map(|text| object("truss_user_env", text)).transpose()?,
        })
    }

    fn deployment<'p>(&'p self, asked: &'p Push, slot: Slot) -> Result<New<'p>, Error> {
        let package = Package {
            config: &self.config,
            raw_config: self.raw_config.as_deref(),
            labels: self.labels.as_ref(),
            user_env: self.user_env.as_ref(),
            s3_key: Some(&asked.s3_key),
            timeout_minutes: asked.deploy_timeout_minutes.map(check_deploy_timeout).transpose()?,
            instance_type: None,
        };
        Ok(New { package, settings: Change::default(), slot })
    }
}

/// Reads a configuration: a JSON object, as UTF-8 in base 64.
///
/// # Errors
///
/// [`Error::Invalid`] with the name of the argument.
pub(super) fn read_config(argument: &str, text: &str) -> Result<Map<String, Value>, Error> {
    match object(argument, &decode(argument, text)?)? {
        Value::Object(config) => Ok(config),
        _ => Err(Error::field(argument, "must be an object")),
    }
}

/// Decodes UTF-8 text from base 64.
///
/// # Errors
///
/// [`Error::Invalid`] with the name of the argument.
pub(super) fn decode(argument: &str, text: &str) -> Result<String, Error> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| Error::field(argument, "must be base 64"))?;
    String::from_utf8(bytes).map_err(|_| Error::field(argument, "must be UTF-8 in base 64"))
}

/// Reads a JSON object from text.
///
/// # Errors
///
/// [`Error::Invalid`] with the name of the argument.
pub(super) fn object(argument: &str, text: &str) -> Result<Value, Error> {
    match wire::python::read(text).map_err(|why| Error::field(argument, &why))? {
        Value::Object(object) => Ok(Value::Object(object)),
        _ => Err(Error::field(argument, "must be a JSON object, as text")),
    }
}
