//! Every root field: its arguments, who may use it and which resolver answers it.

use std::any::Any;

use crate::api::access::{Source, TeamRule, TeamsRule};
use crate::api::graphql::context::Access;
use crate::api::graphql::document::Kind;
use crate::api::graphql::{
    chains, checkpoints, instance_types, models, organizations, pushes, teams, uploads, users, watch,
};
use crate::api::route::Run;
use crate::db::resources;
use crate::error::Error;
use crate::policy::TeamAct;
use crate::wire::graphql::selection::Selected;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct RootField {
    pub kind: Kind,
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub access: Access,
    /// Reads the arguments on the pool, if reading them is slow. The resolver takes the result with
    /// `FieldContext::prepared`.
    pub prepare: Option<Prepare>,
}

pub type Prepare = fn(&Selected) -> Result<Box<dyn Any + Send>, Error>;

// Where the team of a field comes from.
const ID: Source = Source::Owner(resources::Kind::Model, "id");
const MODEL_ID: Source = Source::Owner(resources::Kind::Model, "model_id");

// What must hold in the team, and in each team of a list. A caller for whom it holds in no team gets an empty list.
const VIEW: TeamRule = TeamRule::May(TeamAct::View);
const IN_VIEW: TeamsRule = TeamsRule::MayInAny(TeamAct::View);
const TO_DEPLOY: TeamsRule = TeamsRule::MayInAny(TeamAct::Deploy);

#[rustfmt::skip]
pub const ROOT_FIELDS: &[RootField] = &[
    query("organization", &[], Access::Caller(organizations::show)),
    query("user",         &[], Access::Caller(users::show)),
    query("teams",        &[], Access::Caller(teams::list)),

    query("models",        &["all", "team_id", "chainlets_only"], Access::Teams(IN_VIEW, models::list)),
    query("model",         &["id", "name"], Access::Teams(IN_VIEW, models::show)),
    query("model_version", &["id"],         Access::Teams(IN_VIEW, models::show_version)),

    query("truss_validation", &["truss_user_env", "config"], Access::Caller(pushes::validate)).preparing(pushes::read_validation),
    query("model_s3_upload_credentials", &[], Access::DeployAnywhere(uploads::for_model)),
    mutation("create_model_from_truss", &[
        "name", "s3_key", "config", "semver_bump", "truss_user_env", "allow_truss_download", "version_name",
        "environment_name", "deploy_timeout_minutes", "team_id", "user_deploy_metadata", "raw_config",
    ], Access::DeployAnywhere(pushes::create_model)).preparing(pushes::read),
    mutation("create_model_version_from_truss", &[
        "model_id", "s3_key", "config", "semver_bump", "truss_user_env", "scale_down_old_production",
        "preserve_env_instance_type", "name", "environment_name", "deploy_timeout_minutes", "user_deploy_metadata",
        "raw_config",
    ], Access::Deploy(MODEL_ID, pushes::create_version)).preparing(pushes::read),
    mutation("deploy_draft_truss", &[
        "name", "s3_key", "config", "truss_user_env", "allow_truss_download", "deploy_timeout_minutes", "team_id",
        "user_deploy_metadata", "raw_config",
    ], Access::DeployAnywhere(pushes::deploy_draft)).preparing(pushes::read),

    query("truss_watch_state", &["id"], Access::Team(ID, VIEW, watch::state)),
    mutation("stage_patch_for_draft_truss", &["id", "truss_user_env", "patch"], Access::Deploy(ID, watch::stage))
        .preparing(watch::read),
    mutation("sync_draft_truss",            &["id", "truss_user_env"],          Access::Deploy(ID, watch::sync)),

    query("chains",           &["all", "team_id"], Access::Teams(IN_VIEW, chains::list)),
    query("chain",            &["id"],             Access::Teams(IN_VIEW, chains::show)),
    query("chain_deployment", &["id"],             Access::Teams(IN_VIEW, chains::show_deployment)),
    query("chain_s3_upload_credentials", &[],      Access::DeployAnywhere(uploads::for_chain)),
    mutation("deploy_chain_atomic", &[
        "chain_id", "chain_name", "environment", "original_source_artifact_s3_key", "team_id", "is_draft",
        "allow_truss_download", "deployment_name", "entrypoint", "dependencies", "truss_user_env",
    ], Access::DeployAnywhere(chains::deploy)).preparing(chains::read),

    query("listed_instances", &[], Access::Caller(instance_types::list)),
    mutation("create_model_version_from_inference_template", &["request"],
             Access::Teams(TO_DEPLOY, checkpoints::deploy)),
];

const fn query(name: &'static str, arguments: &'static [&'static str], access: Access) -> RootField {
    RootField { kind: Kind::Query, name, arguments, access, prepare: None }
}

const fn mutation(name: &'static str, arguments: &'static [&'static str], access: Access) -> RootField {
    RootField { kind: Kind::Mutation, name, arguments, access, prepare: None }
}

impl RootField {
    /// A query is answered on the pool, and a mutation by the writer.
    pub fn run(&self) -> Run {
        match self.kind {
            Kind::Query => Run::Search,
            Kind::Mutation => Run::Write,
        }
    }

    const fn preparing(self, prepare: Prepare) -> RootField {
        RootField { prepare: Some(prepare), ..self }
    }
}
