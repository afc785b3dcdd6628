//! Pushes over HTTP: new models, new deployments of a model, and the preparation of uploads for them.

use serde_json::Value;

use crate::api::{Reply, RequestContext, S3Hosts};
use crate::db::deployments::naming::Naming;
use crate::db::environments::promotion::Instance;
use crate::db::pushes::{self, Existing, MissingEnvironment, New, Package, Published, Slot};
use crate::db::resources::{self, Kind};
use crate::db::uploads;
use crate::db::{Tx, models};
use crate::domain::deployments::Deployment;
use crate::domain::environments::Change;
use crate::domain::instance_types::InstanceType;
use crate::domain::models::{Downloads, Model};
use crate::domain::promotion::Previous;
use crate::domain::serving::{DeploymentName, Settings, check_deploy_timeout};
use crate::domain::uploads::{BUCKET, Purpose, REGION};
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{Deployer, Deployers, InTeam};
use crate::wire;
use crate::wire::deployments::{
    CreateDeployment, CreateModel, CreatedModelDeployment, Payload, PrepareUpload, PreparedUpload,
};
use crate::wire::settings::refuse_unserved;
use crate::wire::uploads::AwsCredentials;

/// The most bytes of `config.yaml` as it was written.
pub const RAW_CONFIG_BYTES_MAX: usize = 100 << 10;

/// Clients that send archives to S3's own host name, whatever endpoint they are given. Unless such requests arrive
/// here, these clients get no credentials and push the configuration alone.
const SEND_TO_S3: &[&str] = &["go-http-client", "baseten-go", "baseten-cli", "terraform"];

/// Creates a model with its first deployment. If the team has the model under another spelling of its name, it creates
/// a deployment of that model.
pub fn create_model(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: CreateModel = ctx.json()?;
    let source = asked.source;
    let payload = payload(source.kind.as_deref(), source.deployment)?;
    let spelled = source.name.as_deref().ok_or_else(|| Error::field("source.name", "must be given"))?;
    let name = ResourceName::parse("source.name", spelled)?;
    let downloads = if source.disable_archive_download == Some(true) { Downloads::Refused } else { Downloads::Allowed };
    let new = new(&payload, source.s3_key.as_deref())?;
    let deployer = team.caller().to_deploy(team.team())?;
    let existing = Existing::UsedUnlessSpelled(spelled);
    let (model, deployment) = pushes::create_by_name(tx, &deployer, &name, existing, downloads, &new)?;
    created(tx, &deployer, &model.id, &deployment)
}

/// Creates a deployment of an existing model. The deployment belongs to the team of the model, whatever the request
/// says.
pub fn create_deployment(tx: &Tx, deployer: &Deployer, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = models::find_own(tx, deployer, ctx.param("model_id"))?;
    let CreateDeployment { source } = ctx.json()?;
    let payload = payload(source.kind.as_deref(), source.deployment)?;
    let new = new(&payload, source.s3_key.as_deref())?;
    let deployment = pushes::create(tx, &pushes::check(tx, deployer, &new)?, &model)?;
    created(tx, deployer, &model.id, &deployment)
}

fn created(tx: &Tx, deployer: &Deployer, model_id: &str, deployment: &Deployment) -> Result<Reply, Error> {
    let model = models::find(tx, deployer, model_id)?;
    Ok(Reply::ok(&CreatedModelDeployment {
        model: wire::models::Model::from(&model),
        deployment: wire::deployments::Deployment::from(deployment),
    }))
}

/// Grants credentials to upload an archive for a push. The announced push is checked first: if it would be refused,
/// there are no credentials.
pub fn prepare(tx: &Tx, deployers: &Deployers, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: PrepareUpload = ctx.json()?;
    let (deployer, model) = prepared(tx, deployers, &asked)?;
    pushes::foresee(tx, deployer, model.as_ref(), &new(&asked.deployment, None)?)?;
    let agent = ctx.request.user_agent.as_deref().unwrap_or_default().to_lowercase();
    let goes_to_s3 = SEND_TO_S3.iter().any(|name| agent.contains(name));
    let sends_elsewhere = goes_to_s3 && ctx.request.s3_hosts == S3Hosts::Elsewhere;
    if asked.dry_run == Some(true) || sends_elsewhere {
        return Ok(Reply::ok(&PreparedUpload::default()));
    }
    let credentials = uploads::grant(tx, deployers, Purpose::Model);
    Ok(Reply::ok(&PreparedUpload {
        creds: Some(AwsCredentials {
            aws_access_key_id: &credentials.access_key_id,
            aws_secret_access_key: &credentials.secret_access_key,
            aws_session_token: &credentials.session_token,
            endpoint_url: &ctx.request.base_url.to_string(),
            region_name: REGION,
        }),
        s3_bucket: Some(BUCKET),
        s3_key: Some(&credentials.s3_key),
        s3_region: Some(REGION),
    }))
}

/// Finds the team of an announced push, and the model, if the team has it already.
fn prepared<'d, 'a>(
    tx: &Tx,
    deployers: &'d Deployers<'a>,
    asked: &PrepareUpload,
) -> Result<(&'d Deployer<'a>, Option<Model>), Error> {
    match (&asked.name, &asked.model_id, &asked.team_id) {
        (None, Some(model_id), None) => {
            let deployer = resources::owner(tx, deployers.iter(), Kind::Model, model_id)?;
            Ok((deployer, Some(models::find(tx, deployer, model_id)?)))
        }
        (Some(name), None, team_id) => {
            let name = ResourceName::parse("name", name)?;
            // Without a team, the push belongs to the same team as POST /v1/models without one.
            let deployer = match team_id {
                Some(team_id) => deployers.target(Some(team_id))?,
                None => deployers.own()?,
            };
            Ok((deployer, models::named(tx, deployer, &name)?))
        }
        (_, Some(_), Some(_)) => Err(Error::field("team_id", "can be given only with `name`: a model has its team")),
        (Some(_), Some(_), None) | (None, None, _) => {
            Err(Error::field("name", "or `model_id` must be given, and not both"))
        }
    }
}

/// The payload of a source. Only one kind of source is served.
fn payload(kind: Option<&str>, deployment: Option<Payload>) -> Result<Payload, Error> {
    match kind {
        None | Some("model_archive") => {}
        Some(_) => {
            let why = "must be model_archive: there is no library here, push an archive";
            return Err(Error::field("source.kind", why));
        }
    }
    deployment.ok_or_else(|| Error::field("source.deployment", "must be given"))
}

/// The new deployment that a payload describes, checked as far as possible without the database.
fn new<'p>(payload: &'p Payload, s3_key: Option<&'p str>) -> Result<New<'p>, Error> {
    refuse_unserved("region", payload.region.as_ref())?;
    refuse_unserved("autoscaling_schedule_settings", payload.autoscaling_schedule_settings.as_ref())?;
    refuse_unserved("promotion_settings_override", payload.promotion_settings_override.as_ref())?;
    let package = Package {
        config: &payload.config,
        raw_config: raw_config(payload.raw_config.as_deref())?,
        labels: object("labels", payload.labels.as_ref())?,
        user_env: object("user_env", payload.user_env.as_ref())?,
        s3_key,
        timeout_minutes: payload.deploy_timeout_minutes.map(check_deploy_timeout).transpose()?,
        instance_type: instance_type(payload)?,
    };
    Ok(New { package, settings: settings(payload)?, slot: slot(payload)? })
}

/// Checks the length of `config.yaml` as it was written.
///
/// # Errors
///
/// [`Error::Invalid`] for more than 100 KiB.
pub fn raw_config(text: Option<&str>) -> Result<Option<&str>, Error> {
    match text {
        Some(text) if text.len() > RAW_CONFIG_BYTES_MAX => {
            Err(Error::field("raw_config", &format!("must be at most {RAW_CONFIG_BYTES_MAX} bytes")))
        }
        text => Ok(text),
    }
}

fn object<'p>(field: &str, value: Option<&'p Value>) -> Result<Option<&'p Value>, Error> {
    match value {
        Some(value) if !value.is_object() => Err(Error::field(field, "must be an object")),
        value => Ok(value),
    }
}

/// The instance type that the request names. It takes precedence over those of the configuration and of the
/// environment.
fn instance_type(payload: &Payload) -> Result<Option<&'static InstanceType>, Error> {
    let Some(id) = &payload.instance_type_id else { return Ok(None) };
    if payload.preserve_env_instance_type == Some(true) {
        return Err(Error::field("instance_type_id", "cannot be combined with `preserve_env_instance_type`"));
    }
    let found = InstanceType::find(id);
    found.map(Some).ok_or_else(|| Error::field("instance_type_id", "must be one of GET /v1/instance_types"))
}

fn settings(payload: &Payload) -> Result<Change, Error> {
    let autoscaling = payload.autoscaling_settings.as_ref();
    let autoscaling = autoscaling.map(|update| update.onto(&Settings::default().autoscaling)).transpose()?;
    let backpressure = payload.request_backpressure_settings.as_ref().and_then(|update| update.policy);
    Ok(Change { autoscaling, backpressure, promotion: None })
}

fn slot(payload: &Payload) -> Result<Slot, Error> {
    let name = payload.deployment_name.as_deref();
    let environment = payload.environment_name.as_deref();
    if payload.is_development == Some(true) {
        let given = [
            ("deployment_name", name.is_some()),
            ("environment_name", environment.is_some()),
            ("preserve_env_instance_type", payload.preserve_env_instance_type == Some(false)),
        ];
        if let Some((field, _)) = given.iter().find(|(_, given)| *given) {
            let why = "cannot be combined with `is_development`: the development deployment has its name and serves no environment";
            return Err(Error::field(field, why));
        }
        return Ok(Slot::Development);
    }
    let keep = payload.preserve_env_instance_type != Some(false) && payload.instance_type_id.is_none();
    let name = name.map(|name| DeploymentName::parse("deployment_name", name)).transpose()?;
    Ok(Slot::Published(Published {
        naming: name.map_or(Naming::Numbered, Naming::Exactly),
        environment: environment.map(|name| EnvironmentName::parse("environment_name", name)).transpose()?,
        missing: if payload.create_environment_if_missing == Some(false) {
            MissingEnvironment::Refuse
        } else {
            MissingEnvironment::Create
        },
        previous: Previous::AsSet,
        instance: if keep { Instance::OfEnvironment } else { Instance::OfDeployment },
    }))
}
