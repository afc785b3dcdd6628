//! What clients push, over HTTP: new models, new deployments of a model, and what is prepared for them.

use serde_json::Value;

use crate::api::rest::models::to_change;
use crate::api::{Reply, RequestContext, S3Hosts};
use crate::db::deployments::creation::{self, MissingEnvironment, New, Package, Published, Slot};
use crate::db::deployments::naming::Naming;
use crate::db::environments::Change;
use crate::db::environments::promotion::{Instance, Previous};
use crate::db::models::{self, Downloads, Model};
use crate::db::resources::{self, Kind};
use crate::db::uploads::{self, Purpose};
use crate::db::{Tx, deployments};
use crate::domain::instance_types::InstanceType;
use crate::domain::serving::{DeploymentName, Settings, check_deploy_timeout};
use crate::domain::{EnvironmentName, ResourceName};
use crate::error::Error;
use crate::policy::{InTeam, Who};
use crate::s3::{BUCKET, REGION};
use crate::wire;
use crate::wire::deployments::{
    CreateDeployment, CreateModel, CreatedModelDeployment, Payload, PrepareUpload, PreparedUpload,
};
use crate::wire::environments::refuse_unserved;
use crate::wire::uploads::AwsCredentials;

/// Of `config.yaml` as it was written.
pub const RAW_CONFIG_BYTES_MAX: usize = 100 << 10;

/// Clients that send archives to S3's own host, whatever endpoint they are told. Unless that comes here they get no
/// credentials, and commit from the configuration alone.
const SEND_TO_S3: &[&str] = &["go-http-client", "baseten-go", "baseten-cli", "terraform"];

/// A model with its first deployment. Where the team has the model under another spelling of its name, a deployment of
/// that; spelled so, the client could have found it, and is told so.
pub fn create_model(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let asked: CreateModel = ctx.json()?;
    let source = asked.source;
    let payload = payload(source.kind.as_deref(), source.deployment)?;
    let spelled = source.name.as_deref().ok_or_else(|| Error::field("source.name", "must be given"))?;
    let name = ResourceName::parse("source.name", spelled)?;
    let downloads = if source.disable_archive_download == Some(true) { Downloads::Refused } else { Downloads::Allowed };
    let new = new(&payload, source.s3_key.as_deref())?;
    let model = match models::named(tx, team, &name)? {
        Some(model) if model.name != spelled => model,
        Some(_) | None => {
            let instance_type = creation::check(tx, team, &new)?;
            models::create(tx, team, &name, instance_type.id, downloads)?
        }
    };
    created(tx, team, &model, &new)
}

/// A deployment of a model that is there. Its team is the model's, whatever the request says.
pub fn create_deployment(tx: &Tx, team: &InTeam, ctx: &RequestContext) -> Result<Reply, Error> {
    let model = to_change(tx, team, ctx)?;
    let CreateDeployment { source } = ctx.json()?;
    let payload = payload(source.kind.as_deref(), source.deployment)?;
    let new = new(&payload, source.s3_key.as_deref())?;
    created(tx, team, &model, &new)
}

fn created(tx: &Tx, team: &InTeam, model: &Model, new: &New) -> Result<Reply, Error> {
    let deployment = deployments::create(tx, team, model, new)?;
    let model = models::find(tx, team, &model.id)?;
    Ok(Reply::ok(&CreatedModelDeployment {
        model: wire::models::Model::from(&model),
        deployment: wire::deployments::Deployment::from(&deployment),
    }))
}

/// Credentials for an archive that is about to be pushed, once what is said of it holds.
pub fn prepare(tx: &Tx, teams: &[InTeam], ctx: &RequestContext) -> Result<Reply, Error> {
    if teams.is_empty() {
        return Err(nowhere());
    }
    let asked: PrepareUpload = ctx.json()?;
    let team = prepared_team(tx, teams, &asked)?;
    let model = prepared_model(tx, team, &asked)?;
    if model.is_none() {
        models::may_create(team)?;
    }
    creation::foresee(tx, team, model.as_ref(), &new(&asked.deployment, None)?)?;
    let agent = ctx.request.user_agent.as_deref().unwrap_or_default().to_lowercase();
    let goes_to_s3 = SEND_TO_S3.iter().any(|name| agent.contains(name));
    let sends_elsewhere = goes_to_s3 && ctx.request.s3_hosts == S3Hosts::Elsewhere;
    if asked.dry_run == Some(true) || sends_elsewhere {
        return Ok(Reply::ok(&PreparedUpload::default()));
    }
    let credentials = uploads::grant(tx, std::slice::from_ref(team), Purpose::Model)?;
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

/// The model that is pushed to; none, if it is still to be made.
fn prepared_model(tx: &Tx, team: &InTeam, asked: &PrepareUpload) -> Result<Option<Model>, Error> {
    match (&asked.model_id, &asked.name) {
        (Some(id), _) => models::find(tx, team, id).map(Some),
        (None, Some(name)) => models::named(tx, team, &ResourceName::parse("name", name)?),
        (None, None) => Ok(None),
    }
}

/// The team of the model that is pushed to, or the one that a new model is for.
fn prepared_team<'p, 'c>(tx: &Tx, teams: &'p [InTeam<'c>], asked: &PrepareUpload) -> Result<&'p InTeam<'c>, Error> {
    let of = |id: &str| teams.iter().find(|team| team.team().id.as_str() == id);
    match (&asked.name, &asked.model_id, &asked.team_id) {
        (None, Some(model_id), None) => {
            let team = resources::team_of(tx, Kind::Model, model_id)?;
            let team = team.and_then(|team| of(team.id.as_str())).ok_or(Error::NotFound("model"))?;
            models::refuse_chainlet(&models::find(tx, team, model_id)?)?;
            Ok(team)
        }
        (Some(name), None, team_id) => {
            ResourceName::parse("name", name)?;
            match team_id {
                Some(team_id) => of(team_id).ok_or(Error::NotFound("team")),
                None => teams.iter().find(|team| team.team().is_default).or_else(|| own(teams)).ok_or_else(nowhere),
            }
        }
        (_, Some(_), Some(_)) => Err(Error::field("team_id", "goes only with `name`: a model has its team")),
        (Some(_), Some(_), None) | (None, None, _) => {
            Err(Error::field("name", "or `model_id` must be given, and not both"))
        }
    }
}

/// A team key's own team: what names no team is about that.
fn own<'p, 'c>(teams: &'p [InTeam<'c>]) -> Option<&'p InTeam<'c>> {
    match teams {
        [team] if matches!(team.caller().who, Who::TeamKey(_)) => Some(team),
        _ => None,
    }
}

/// What whoever may deploy in no team is told, or does not say in which.
pub fn nowhere() -> Error {
    Error::Forbidden(
        "you may not deploy in the default team: name a team in which you may, or ask a team admin to add you to one"
            .to_owned(),
    )
}

/// What a source holds, of the one kind of source that is served.
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

/// What a payload asks for, checked as far as that goes without looking anything up.
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

/// One that is asked for by name comes before both the configuration's and the environment's.
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
