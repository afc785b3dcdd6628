//! Every route: its path, who may use it, how it runs and which handler answers it.
//!
//! A request is answered by the first row that matches it. These tables list everything that can be reached over HTTP:
//! nothing is served without a row in one of them.

use std::sync::LazyLock;

use crate::api::access::{OrgRule, Source, TeamRule, TeamsRule};
use crate::api::context::{Access, RequestContext};
use crate::api::graphql::endpoint;
use crate::api::openapi;
use crate::api::refusal::Api;
use crate::api::reply::Reply;
use crate::api::rest::{
    api_keys, audit_logs, billing, chains, deployments, environment_groups, environments, fixtures, health,
    installation, instance_types, invitations, logs, members, model_apis, models, organizations, patches, permissions,
    pushes, quotas, secrets, sessions, teams, training_capacity, training_jobs, training_projects, uploads, users,
};
use crate::api::route::{Route, Run, Table, delete, get, not_served, patch, post};
use crate::api::shapes::{Shapes, answers, query};
use crate::db::Tx;
use crate::db::resources::Kind;
use crate::domain::deployments::DEVELOPMENT;
use crate::domain::serving::PRODUCTION;
use crate::error::Error;
use crate::policy::{self, OrgAct, TeamAct};
use crate::wire;

mod inference;
mod unserved;

/// A table of routes.
pub struct NamedTable {
    pub name: &'static str,
    pub rows: &'static [Route],
}

/// Every table, in the order in which a request looks for its row.
pub const TABLES: &[NamedTable] = &[
    NamedTable { name: "network", rows: ROUTES },
    NamedTable { name: "operator's socket", rows: OPERATOR },
    NamedTable { name: "not served", rows: unserved::ROUTES },
    NamedTable { name: "inference", rows: inference::ROUTES },
    NamedTable { name: "sign-in by a device code", rows: unserved::SIGN_IN },
];

/// The rows of all tables.
pub fn all() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().flat_map(|table| table.rows)
}

/// All rows, prepared for matching requests.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::of(all().copied()));
    &TABLE
}

// Where the team of a request comes from.
const PATH: Source = Source::Path;
const OWN: Source = Source::Own;
const DEFAULT: Source = Source::Default;
const MODEL: Source = Source::Owner(Kind::Model, "model_id");
const CHAIN: Source = Source::Owner(Kind::Chain, "chain_id");
const PROJECT: Source = Source::Owner(Kind::TrainingProject, "training_project_id");

// What must hold in the team.
const VIEW: TeamRule = TeamRule::May(TeamAct::View);
const DEPLOY: TeamRule = TeamRule::May(TeamAct::Deploy);
const RESTRICT: TeamRule = TeamRule::May(TeamAct::CreateRestrictedEnvironments);
const MANAGE_MEMBERS: TeamRule = TeamRule::May(TeamAct::ManageMembers);
const MANAGE_MEMBERS_OR_SELF: TeamRule = TeamRule::MayOrSelf(TeamAct::ManageMembers);
const VIEW_OR_CREATE_KEYS: TeamRule = TeamRule::MayEither(TeamAct::View, TeamAct::CreateApiKeys);

// What must hold in each team of a list.
const IN_VIEW: TeamsRule = TeamsRule::May(TeamAct::View);
const TO_DEPLOY: TeamsRule = TeamsRule::May(TeamAct::Deploy);
const IN_VIEW_OR_FOR_KEYS: TeamsRule = TeamsRule::MayEither(TeamAct::View, TeamAct::CreateApiKeys);

// What must hold in the organization.
const MEMBER: OrgRule = OrgRule::Member;
const MANAGE_BILLING: OrgRule = OrgRule::May(OrgAct::ManageBilling);
const MANAGE_TEAMS: OrgRule = OrgRule::May(OrgAct::ManageTeams);
const VIEW_ALL_TEAMS: OrgRule = OrgRule::May(OrgAct::ViewAllTeams);
const MANAGE_PEOPLE: OrgRule = OrgRule::May(OrgAct::ManageMembers);
const MANAGE_PEOPLE_OR_SELF: OrgRule = OrgRule::MayOrSelf(OrgAct::ManageMembers);
const MANAGE_PEOPLE_OR_SELF_HIDDEN: OrgRule = OrgRule::MayOrSelfHidden(OrgAct::ManageMembers);

// The names of deployments for which Baseten's specification lists separate paths.
const BY_NAME: &[&str] = &[DEVELOPMENT, PRODUCTION];
const BY_NAME_DEVELOPMENT: &[&str] = &[DEVELOPMENT];

/// What is served over the network.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    // organizations
    get("/v1/organizations/me", Access::Caller(organizations::show), answers::<wire::organizations::Organization>()),
    patch("/v1/organizations/me", Access::Org(MANAGE_TEAMS, organizations::update),
         answers::<wire::organizations::Organization>().takes::<wire::organizations::UpdateOrganization>()).ours(),

    // teams
    get("/v1/teams", Access::Teams(IN_VIEW_OR_FOR_KEYS, teams::list),
         answers::<wire::teams::Teams>().query(&[query::NAME])),
    get("/v1/teams/{team_id}", Access::Team(PATH, VIEW_OR_CREATE_KEYS, teams::show), answers::<wire::teams::Team>()),
    post("/v1/teams", Access::Org(MANAGE_TEAMS, teams::create),
         answers::<wire::teams::Team>().takes::<wire::teams::CreateTeam>()).ours(),
    patch("/v1/teams/{team_id}", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::update),
         answers::<wire::teams::Team>().takes::<wire::teams::UpdateTeam>()).ours(),
    delete("/v1/teams/{team_id}", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::delete),
         answers::<wire::Tombstone>().query(&[query::FORCE])).ours(),

    // secrets
    get("/v1/secrets", Access::Teams(IN_VIEW, secrets::list_all), answers::<wire::List<wire::secrets::Secret>>()).searching(),
    post("/v1/secrets", Access::Team(OWN, DEPLOY, secrets::upsert),
         answers::<wire::secrets::Secret>().takes::<wire::secrets::UpsertSecret>()),
    delete("/v1/secrets/{secret_name}", Access::Team(OWN, DEPLOY, secrets::delete),
         answers::<wire::secrets::SecretTombstone>()),
    get("/v1/teams/{team_id}/secrets", Access::Team(PATH, VIEW, secrets::list),
         answers::<wire::List<wire::secrets::Secret>>()),
    post("/v1/teams/{team_id}/secrets", Access::Team(PATH, DEPLOY, secrets::upsert),
         answers::<wire::secrets::Secret>().takes::<wire::secrets::UpsertSecret>()),
    delete("/v1/teams/{team_id}/secrets/{secret_name}", Access::Team(PATH, DEPLOY, secrets::delete),
         answers::<wire::secrets::SecretTombstone>()),

    // members
    get("/v1/teams/{team_id}/members", Access::Team(PATH, VIEW, members::list),
         answers::<wire::Items<wire::members::Member>>().query(query::MEMBERS)).ours(),
    post("/v1/teams/{team_id}/members", Access::Team(PATH, MANAGE_MEMBERS, members::add),
         answers::<wire::members::Member>().takes::<wire::members::AddMember>()).ours(),
    patch("/v1/teams/{team_id}/members/{user_id}", Access::Team(PATH, MANAGE_MEMBERS, members::update),
         answers::<wire::members::UpdatedMember>().takes::<wire::members::UpdateMember>().query(&[query::REVOKE_CREATED_API_KEYS])).ours(),
    delete("/v1/teams/{team_id}/members/{user_id}", Access::Team(PATH, MANAGE_MEMBERS_OR_SELF, members::remove),
         answers::<wire::members::MemberTombstone>().query(&[query::REVOKE_CREATED_API_KEYS])).ours(),

    // quotas
    get("/v1/teams/{team_id}/quotas", Access::Team(PATH, VIEW, quotas::list), answers::<wire::quotas::Quotas>()).ours(),

    // users
    get("/v1/users", Access::Org(MEMBER, users::list), answers::<wire::Items<wire::users::User>>().query(query::USERS)),
    get("/v1/users/me", Access::Caller(users::show_me), answers::<wire::users::User>()),
    get("/v1/users/{user_id}", Access::Org(MEMBER, users::show), answers::<wire::users::User>()),
    patch("/v1/users/me", Access::Org(MEMBER, users::update_me),
         answers::<wire::users::User>().takes::<wire::users::UpdateMe>()).ours(),
    patch("/v1/users/{user_id}", Access::Org(MANAGE_PEOPLE, users::update),
         answers::<wire::users::UpdatedUser>().takes::<wire::users::UpdateUser>().query(&[query::REVOKE_CREATED_API_KEYS])).ours(),
    delete("/v1/users/{user_id}", Access::Org(MANAGE_PEOPLE_OR_SELF, users::remove),
         answers::<wire::users::UserTombstone>().query(&[query::REVOKE_CREATED_API_KEYS])).ours(),
    post("/v1/users/{user_id}/reset", Access::Org(MANAGE_PEOPLE, users::make_reset),
         answers::<wire::users::PasswordReset>()).ours(),
    post("/v1/users/reset", Access::Anyone(users::reset),
         answers::<wire::users::PasswordSet>().takes::<wire::users::SetPassword>()).runs(Run::Password(users::find_reset_work)).ours(),
    get("/v1/users/{user_id}/teams", Access::Org(MANAGE_PEOPLE_OR_SELF_HIDDEN, users::teams),
         answers::<wire::Items<wire::users::UserTeam>>().query(query::PAGE)).ours(),

    // sessions of the console
    get("/v1/users/me/sessions", Access::Org(MEMBER, sessions::list),
         answers::<wire::Items<wire::sessions::Session>>().query(query::PAGE)).ours(),
    delete("/v1/users/me/sessions/{session_id}", Access::Org(MEMBER, sessions::revoke),
         answers::<wire::Tombstone>()).ours(),

    // invitations
    get("/v1/invitations", Access::Org(MANAGE_PEOPLE, invitations::list),
         answers::<wire::Items<wire::invitations::Invitation>>().query(query::INVITATIONS)).ours(),
    post("/v1/invitations", Access::Org(MANAGE_PEOPLE, invitations::create),
         answers::<wire::invitations::Invitation>().takes::<wire::invitations::CreateInvitation>()).ours(),
    post("/v1/invitations/{invitation_id}/resend", Access::Org(MANAGE_PEOPLE, invitations::resend),
         answers::<wire::invitations::Invitation>()).ours(),
    delete("/v1/invitations/{invitation_id}", Access::Org(MANAGE_PEOPLE, invitations::revoke),
         answers::<wire::Tombstone>()).ours(),
    post("/v1/invitations/accept",
         Access::Anyone(invitations::accept),
         answers::<wire::invitations::AcceptedInvitation>().takes::<wire::invitations::AcceptInvitation>()).runs(Run::Password(invitations::find_acceptance_work)).ours(),

    // API keys
    get("/v1/api_keys", Access::Caller(api_keys::list),
         answers::<wire::List<wire::api_keys::ApiKey>>().query(query::API_KEYS)).searching(),
    post("/v1/api_keys", Access::KeyMaker(api_keys::create),
         answers::<wire::api_keys::NewApiKey>().takes::<wire::api_keys::CreateApiKey>()),
    delete("/v1/api_keys/{api_key_prefix}", Access::Caller(api_keys::revoke),
         answers::<wire::api_keys::ApiKeyTombstone>()),
    post("/v1/api_keys/{api_key_prefix}/rotate", Access::KeyMaker(api_keys::rotate),
         answers::<wire::api_keys::RotatedApiKey>().takes::<wire::api_keys::RotateApiKey>()).ours(),
    get("/v1/teams/{team_id}/api_keys", Access::Team(PATH, VIEW_OR_CREATE_KEYS, api_keys::list_of_team),
         answers::<wire::List<wire::api_keys::ApiKey>>().query(query::API_KEYS)).searching().ours(),
    post("/v1/teams/{team_id}/api_keys", Access::KeyMaker(api_keys::create_in_team),
         answers::<wire::api_keys::NewApiKey>().takes::<wire::api_keys::CreateApiKey>()),

    // restricted environments
    get("/v1/environment_groups", Access::Team(OWN, VIEW, environment_groups::list),
         answers::<wire::Items<wire::environment_groups::EnvironmentGroup>>()),
    get("/v1/environment_groups/{env_name}", Access::Team(OWN, VIEW, environment_groups::show),
         answers::<wire::environment_groups::EnvironmentGroup>()),
    post("/v1/environment_groups", Access::Team(OWN, RESTRICT, environment_groups::create),
         answers::<wire::environment_groups::EnvironmentGroup>().takes::<wire::environment_groups::CreateEnvironmentGroup>()).ours(),
    patch("/v1/environment_groups/{env_name}", Access::Team(OWN, RESTRICT, environment_groups::update),
         answers::<wire::environment_groups::EnvironmentGroup>().takes::<wire::environment_groups::UpdateEnvironmentGroup>()),
    get("/v1/teams/{team_id}/environment_groups", Access::Team(PATH, VIEW, environment_groups::list),
         answers::<wire::Items<wire::environment_groups::EnvironmentGroup>>()),
    get("/v1/teams/{team_id}/environment_groups/{env_name}", Access::Team(PATH, VIEW, environment_groups::show),
         answers::<wire::environment_groups::EnvironmentGroup>()),
    post("/v1/teams/{team_id}/environment_groups", Access::Team(PATH, RESTRICT, environment_groups::create),
         answers::<wire::environment_groups::EnvironmentGroup>().takes::<wire::environment_groups::CreateEnvironmentGroup>()).ours(),
    patch("/v1/teams/{team_id}/environment_groups/{env_name}",
         Access::Team(PATH, RESTRICT, environment_groups::update),
         answers::<wire::environment_groups::EnvironmentGroup>().takes::<wire::environment_groups::UpdateEnvironmentGroup>()),
    delete("/v1/teams/{team_id}/environment_groups/{env_name}",
         Access::Team(PATH, RESTRICT, environment_groups::delete),
         answers::<wire::environment_groups::EnvironmentGroupTombstone>()).ours(),

    // models
    get("/v1/models", Access::Teams(IN_VIEW, models::list_all),
         answers::<wire::models::Models>().query(&[query::NAME])).searching(),
    get("/v1/teams/{team_id}/models", Access::Team(PATH, VIEW, models::list),
         answers::<wire::models::Models>().query(&[query::NAME])).searching(),
    get("/v1/models/{model_id}", Access::Team(MODEL, VIEW, models::show), answers::<wire::models::Model>()),
    patch("/v1/models/{model_id}", Access::Team(MODEL, DEPLOY, models::update),
         answers::<wire::models::Model>().takes::<wire::models::UpdateModel>()),
    delete("/v1/models/{model_id}", Access::Team(MODEL, DEPLOY, models::delete), answers::<wire::Tombstone>()),
    post("/v1/models", Access::Team(OWN, DEPLOY, pushes::create_model),
         answers::<wire::deployments::CreatedModelDeployment>().takes::<wire::deployments::CreateModel>()),
    post("/v1/teams/{team_id}/models", Access::Team(PATH, DEPLOY, pushes::create_model),
         answers::<wire::deployments::CreatedModelDeployment>().takes::<wire::deployments::CreateModel>()),
    post("/v1/prepare_model_upload", Access::DeployAnywhere(pushes::prepare),
         answers::<wire::deployments::PreparedUpload>().takes::<wire::deployments::PrepareUpload>()).searching(),

    // deployments; `{deployment_id}` is an id, `development` or `production`
    get("/v1/models/{model_id}/deployments", Access::Team(MODEL, VIEW, deployments::list),
         answers::<wire::deployments::Deployments>().query(&[query::NAME])).searching(),
    post("/v1/models/{model_id}/deployments", Access::Deploy(MODEL, pushes::create_deployment),
         answers::<wire::deployments::CreatedModelDeployment>().takes::<wire::deployments::CreateDeployment>()),
    get("/v1/models/{model_id}/deployments/{deployment_id}",
         Access::Team(MODEL, VIEW, deployments::show),
         answers::<wire::deployments::Deployment>()).also_for(BY_NAME),
    patch("/v1/models/{model_id}/deployments/{deployment_id}", Access::Deploy(MODEL, deployments::update),
         answers::<wire::deployments::Deployment>().takes::<wire::deployments::UpdateDeployment>()),
    delete("/v1/models/{model_id}/deployments/{deployment_id}", Access::Deploy(MODEL, deployments::delete),
         answers::<wire::deployments::Tombstone>()),
    patch("/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings",
         Access::Deploy(MODEL, deployments::update_autoscaling),
         answers::<wire::environments::SettingsUpdated>().takes::<wire::settings::UpdateAutoscaling>()).also_for(BY_NAME),
    patch("/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings",
         Access::Deploy(MODEL, deployments::update_backpressure),
         answers::<wire::settings::BackpressureSettings>().takes::<wire::settings::UpdateBackpressure>()),
    post("/v1/models/{model_id}/deployments/{deployment_id}/promote",
         Access::Deploy(MODEL, deployments::promote),
         answers::<wire::deployments::Deployment>().takes::<wire::environments::PromoteToProduction>()).also_for(BY_NAME_DEVELOPMENT),
    post("/v1/models/{model_id}/deployments/{deployment_id}/activate",
         Access::Deploy(MODEL, deployments::activate),
         answers::<wire::deployments::Switched>()).also_for(BY_NAME),
    post("/v1/models/{model_id}/deployments/{deployment_id}/deactivate",
         Access::Deploy(MODEL, deployments::deactivate),
         answers::<wire::deployments::Switched>()).also_for(BY_NAME),
    post("/v1/models/{model_id}/deployments/{deployment_id}/retry",
         Access::Deploy(MODEL, deployments::retry),
         answers::<wire::deployments::Retried>()).also_for(BY_NAME),
    get("/v1/models/{model_id}/deployments/{deployment_id}/config", Access::Team(MODEL, VIEW, deployments::config),
         answers::<wire::deployments::Config>().query(query::CONFIG)),
    get("/v1/models/{model_id}/deployments/{deployment_id}/download", Access::Team(MODEL, VIEW, deployments::download),
         answers::<wire::deployments::Download>()),
    get("/v1/models/{model_id}/deployments/{deployment_id}/logs",
         Access::Team(MODEL, VIEW, logs::of_deployment),
         answers::<wire::deployments::Logs>().query(query::LOGS)).searching(),
    post("/v1/models/{model_id}/deployments/{deployment_id}/logs",
         Access::Team(MODEL, VIEW, logs::of_deployment_by_body),
         answers::<wire::deployments::Logs>().takes::<wire::deployments::LogsAsked>()).searching(),
    get("/v1/models/{model_id}/deployments/{deployment_id}/metrics",
         Access::Metrics(MODEL, logs::metrics_of_deployment),
         answers::<wire::deployments::Metrics>().query(query::METRICS)),
    post("/v1/models/{model_id}/deployments/{deployment_id}/patches", Access::Deploy(MODEL, patches::stage),
         answers::<wire::deployments::CreatedPatch>().takes::<wire::deployments::CreatePatch>()),
    get("/v1/models/{model_id}/deployments/{deployment_id}/patches/state",
         Access::Team(MODEL, VIEW, patches::state),
         answers::<wire::deployments::PatchesState>()).searching(),
    post("/v1/models/{model_id}/deployments/{deployment_id}/patches/sync", Access::Deploy(MODEL, patches::sync),
         answers::<wire::deployments::PatchesSynced>()),
    get("/downloads/{token}", Access::Anyone(deployments::downloaded), Shapes::UNDESCRIBED).ours(),

    // environments
    get("/v1/models/{model_id}/environments", Access::Team(MODEL, VIEW, environments::list),
         answers::<wire::environments::Environments>()).searching(),
    post("/v1/models/{model_id}/environments", Access::Deploy(MODEL, environments::create),
         answers::<wire::environments::Environment>().takes::<wire::environments::CreateEnvironment>()),
    get("/v1/models/{model_id}/environments/{env_name}", Access::Team(MODEL, VIEW, environments::show),
         answers::<wire::environments::Environment>()),
    patch("/v1/models/{model_id}/environments/{env_name}", Access::Deploy(MODEL, environments::update),
         answers::<wire::environments::EnvironmentUpdated>().takes::<wire::environments::UpdateSettings>()),
    delete("/v1/models/{model_id}/environments/{env_name}", Access::Deploy(MODEL, environments::delete),
         answers::<wire::environments::EnvironmentTombstone>()),
    post("/v1/models/{model_id}/environments/{env_name}/promote", Access::Deploy(MODEL, environments::promote),
         answers::<wire::deployments::Deployment>().takes::<wire::environments::PromoteToEnvironment>()),
    post("/v1/models/{model_id}/environments/{env_name}/activate", Access::Deploy(MODEL, environments::activate),
         answers::<wire::deployments::Switched>()),
    post("/v1/models/{model_id}/environments/{env_name}/deactivate", Access::Deploy(MODEL, environments::deactivate),
         answers::<wire::deployments::Switched>()),
    post("/v1/models/{model_id}/environments/{env_name}/cancel_promotion",
         Access::Deploy(MODEL, environments::cancel_promotion),
         answers::<wire::environments::PromotionCanceled>()),
    post("/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion",
         Access::Deploy(MODEL, environments::force_cancel_promotion),
         answers::<wire::environments::Success>()),
    post("/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion",
         Access::Deploy(MODEL, environments::force_roll_forward_promotion),
         answers::<wire::environments::Success>()),
    get("/v1/models/{model_id}/environments/{env_name}/logs",
         Access::Team(MODEL, VIEW, logs::of_environment),
         answers::<wire::deployments::Logs>().query(query::LOGS)).searching(),
    get("/v1/models/{model_id}/environments/{env_name}/metrics", Access::Metrics(MODEL, logs::metrics_of_environment),
         answers::<wire::deployments::Metrics>().query(query::METRICS)),

    // Chains
    get("/v1/chains", Access::Teams(IN_VIEW, chains::list_all), answers::<wire::chains::Chains>()).searching(),
    get("/v1/chains/{chain_id}", Access::Team(CHAIN, VIEW, chains::show), answers::<wire::chains::Chain>()),
    delete("/v1/chains/{chain_id}", Access::Team(CHAIN, DEPLOY, chains::delete), answers::<wire::Tombstone>()),
    get("/v1/chains/{chain_id}/deployments", Access::Team(CHAIN, VIEW, chains::deployments::list),
         answers::<wire::chains::deployments::ChainDeployments>()).searching(),
    get("/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
         Access::Team(CHAIN, VIEW, chains::deployments::show),
         answers::<wire::chains::deployments::ChainDeployment>()),
    delete("/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
         Access::Deploy(CHAIN, chains::deployments::delete),
         answers::<wire::chains::deployments::Tombstone>()),
    post("/v1/chains/{chain_id}/deployments/{chain_deployment_id}/deactivate",
         Access::Deploy(CHAIN, chains::deployments::deactivate),
         answers::<wire::deployments::Switched>()),
    get("/v1/chains/{chain_id}/deployments/{chain_deployment_id}/chainlets/{chainlet_id}/logs",
         Access::Team(CHAIN, VIEW, chains::deployments::chainlet_logs),
         answers::<wire::deployments::Logs>().query(query::LOGS)).searching(),
    get("/v1/chains/{chain_id}/environments", Access::Team(CHAIN, VIEW, chains::environments::list),
         answers::<wire::chains::environments::Environments>()).searching(),
    post("/v1/chains/{chain_id}/environments", Access::Deploy(CHAIN, chains::environments::create),
         answers::<wire::chains::environments::ChainEnvironment>().takes::<wire::chains::environments::CreateChainEnvironment>()),
    get("/v1/chains/{chain_id}/environments/{env_name}", Access::Team(CHAIN, VIEW, chains::environments::show),
         answers::<wire::chains::environments::ChainEnvironment>()),
    patch("/v1/chains/{chain_id}/environments/{env_name}", Access::Deploy(CHAIN, chains::environments::update),
         answers::<wire::chains::environments::Updated>().takes::<wire::chains::environments::UpdateChainEnvironment>()),
    post("/v1/chains/{chain_id}/environments/{env_name}/promote", Access::Deploy(CHAIN, chains::environments::promote),
         answers::<wire::chains::deployments::ChainDeployment>().takes::<wire::chains::environments::PromoteChain>()),
    patch("/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/autoscaling_settings",
         Access::Deploy(CHAIN, chains::environments::update_autoscaling),
         answers::<wire::environments::SettingsUpdated>().takes::<wire::chains::environments::UpdateChainletAutoscaling>()),
    post("/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/instance_types/update",
         Access::Deploy(CHAIN, chains::environments::update_instance_types),
         answers::<wire::chains::environments::InstanceTypesUpdated>().takes::<wire::chains::environments::UpdateChainletInstanceTypes>()),

    // training projects
    get("/v1/training_projects", Access::Teams(IN_VIEW, training_projects::list_all),
         answers::<wire::training_projects::TrainingProjects>()).searching(),
    post("/v1/training_projects", Access::Team(OWN, DEPLOY, training_projects::upsert),
         answers::<wire::training_projects::OneTrainingProject>().takes::<wire::training_projects::UpsertTrainingProject>()),
    post("/v1/teams/{team_id}/training_projects", Access::Team(PATH, DEPLOY, training_projects::upsert),
         answers::<wire::training_projects::OneTrainingProject>().takes::<wire::training_projects::UpsertTrainingProject>()),
    get("/v1/training_projects/{training_project_id}", Access::Team(PROJECT, VIEW, training_projects::show),
         answers::<wire::training_projects::OneTrainingProject>()),
    delete("/v1/training_projects/{training_project_id}", Access::Team(PROJECT, DEPLOY, training_projects::delete),
         answers::<wire::Tombstone>()),

    // training jobs
    post("/v1/training_jobs/search", Access::Teams(IN_VIEW, training_jobs::search),
         answers::<wire::training_jobs::TrainingJobs>().takes::<wire::training_jobs::Search>()).searching(),
    get("/v1/training_projects/{training_project_id}/jobs", Access::Team(PROJECT, VIEW, training_jobs::list),
         answers::<wire::training_projects::JobsOfProject>()).searching(),
    post("/v1/training_projects/{training_project_id}/jobs", Access::Team(PROJECT, DEPLOY, training_jobs::create),
         answers::<wire::training_jobs::OneTrainingJob>().takes::<wire::training_jobs::pushed::CreateTrainingJob>()),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, VIEW, training_jobs::show),
         answers::<wire::training_projects::JobInProject>()),
    patch("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, DEPLOY, training_jobs::update),
         answers::<wire::training_jobs::OneTrainingJob>().takes::<wire::training_jobs::UpdateTrainingJob>()),
    delete("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, DEPLOY, training_jobs::delete),
         answers::<wire::training_jobs::TrainingJobTombstone>()),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/stop",
         Access::Team(PROJECT, DEPLOY, training_jobs::stop),
         answers::<wire::training_jobs::OneTrainingJob>()),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/recreate",
         Access::Team(PROJECT, DEPLOY, training_jobs::recreate),
         answers::<wire::training_jobs::OneTrainingJob>()),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
         Access::Team(PROJECT, VIEW, training_jobs::logs),
         answers::<wire::deployments::Logs>().query(query::LOGS)).searching(),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
         Access::Team(PROJECT, VIEW, training_jobs::logs_by_body),
         answers::<wire::deployments::Logs>().takes::<wire::deployments::LogsAsked>()).searching(),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
         Access::Metrics(PROJECT, training_jobs::metrics),
         answers::<wire::training_jobs::Metrics>().query(query::JOB_METRICS)),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
         Access::Metrics(PROJECT, training_jobs::metrics_by_body),
         answers::<wire::training_jobs::Metrics>().takes::<wire::training_jobs::MetricsOf>()).searching(),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoints",
         Access::Team(PROJECT, VIEW, training_jobs::checkpoints),
         answers::<wire::training_jobs::Checkpoints>()),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoint_files",
         Access::Team(PROJECT, VIEW, training_jobs::checkpoint_files),
         answers::<wire::training_jobs::CheckpointFiles>().query(query::CHECKPOINT_FILES)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/download",
         Access::Team(PROJECT, VIEW, training_jobs::download),
         answers::<wire::training_jobs::Download>()),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/auth_codes",
         Access::Team(PROJECT, VIEW, training_jobs::auth_codes),
         answers::<wire::training_jobs::AuthCodes>()),
    get("/v1/training_projects/{training_project_id}/cache/summary",
         Access::Team(PROJECT, VIEW, training_jobs::cache_summary),
         answers::<wire::training_jobs::CacheSummary>()),
    get("/v1/training/jobs/{training_job_id}/queue_context", Access::Org(VIEW_ALL_TEAMS, training_jobs::queue_context),
         answers::<wire::training_jobs::queue::QueueContext>()),
    get("/v1/training/capacity", Access::Teams(IN_VIEW, training_capacity::list_all),
         answers::<wire::training_capacity::Capacities>()),
    patch("/v1/training/capacity", Access::Org(MANAGE_TEAMS, training_capacity::update),
         answers::<wire::training_capacity::OneTeamCapacity>().takes::<wire::training_capacity::UpdateTeamCapacity>()),

    // uploads
    get("/v1/blobs/credentials/model", Access::DeployAnywhere(uploads::for_model),
         answers::<wire::uploads::BlobCredentials>()),
    get("/v1/blobs/credentials/train", Access::Teams(TO_DEPLOY, uploads::for_training),
         answers::<wire::uploads::BlobCredentials>()),

    // Model APIs; the two rows that are not served come before the last row, which would match them as names
    get("/v1/model_apis", Access::Team(DEFAULT, TeamRule::ModelApis, model_apis::list),
         answers::<wire::Items<wire::model_apis::ModelApi>>().query(query::MODEL_APIS)),
    not_served("GET", "/v1/model_apis/snapshots"),
    not_served("GET", "/v1/model_apis/usage"),
    get("/v1/model_apis/{model_api_name}", Access::Team(DEFAULT, TeamRule::ModelApis, model_apis::show),
         answers::<wire::model_apis::ModelApi>()),

    // billing, instance types
    get("/v1/billing/usage_summary", Access::Org(MANAGE_BILLING, billing::usage_summary),
         answers::<wire::billing::UsageSummary>().query(query::USAGE)).searching(),
    get("/v1/instance_types", Access::Teams(IN_VIEW, instance_types::list),
         answers::<wire::instance_types::InstanceTypes>()),
    get("/v1/instance_type_prices", Access::Teams(IN_VIEW, instance_types::prices),
         answers::<wire::instance_types::InstanceTypePrices>()),

    // audit log: it shows what people did, so it is for callers who manage people
    get("/v1/audit_logs", Access::Org(MANAGE_PEOPLE, audit_logs::list),
         answers::<wire::Items<wire::audit_logs::Entry>>().query(query::AUDIT_LOG)).searching(),
    get("/v1/models/{model_id}/audit_logs",
         Access::OrgAbout(MODEL, OrgAct::ManageMembers, audit_logs::list_of_model),
         answers::<wire::Items<wire::audit_logs::Entry>>().query(query::AUDIT_LOG)).searching(),
    get("/v1/chains/{chain_id}/audit_logs",
         Access::OrgAbout(CHAIN, OrgAct::ManageMembers, audit_logs::list_of_chain),
         answers::<wire::Items<wire::audit_logs::Entry>>().query(query::AUDIT_LOG)).searching(),

    // permissions
    get("/v1/permissions", Access::Caller(permissions::show), answers::<wire::permissions::Permissions>()).ours(),
    get("/v1/permissions/explain", Access::Caller(permissions::explain),
         answers::<wire::permissions::Explanation>().query(query::EXPLANATION)).ours(),

    // GraphQL, as truss uses it
    post("/graphql/", Access::Caller(endpoint::answer), Shapes::UNDESCRIBED).runs(Run::Document).of_api(Api::GraphQl),
    post("/graphql", Access::Caller(endpoint::answer), Shapes::UNDESCRIBED).runs(Run::Document).of_api(Api::GraphQl),

    // the server itself
    get("/healthz", Access::Anyone(health::live), answers::<wire::health::Health>()).ours(),
    get("/readyz", Access::Anyone(health::ready), answers::<wire::health::Health>()).runs(Run::ReadByWriter).ours(),
    get("/openapi.json", Access::Anyone(describe), Shapes::UNDESCRIBED).ours(),
];

/// What is served only over the operator's socket. The socket serves all other routes too.
#[rustfmt::skip]
const OPERATOR: &[Route] = &[
    post("/v1/operator/installation", Access::Operator(installation::begin),
         answers::<wire::organizations::FoundedOrganization>().takes::<wire::organizations::FoundOrganization>()).ours(),
    post("/v1/operator/organizations", Access::Operator(organizations::create_with_admin),
         answers::<wire::organizations::FoundedOrganization>().takes::<wire::organizations::FoundOrganization>()).ours(),
    post("/v1/operator/fixtures", Access::Operator(fixtures::load), Shapes::UNDESCRIBED).ours(),
    post("/v1/operator/users/api_keys", Access::Operator(users::issue_key),
         answers::<wire::users::IssuedApiKey>().takes::<wire::users::IssueApiKey>()).ours(),
    post("/v1/operator/users/password_resets", Access::Operator(users::make_reset_by_operator),
         answers::<wire::users::PasswordReset>().takes::<wire::users::IssuePasswordReset>()).ours(),
];

/// Describes the routes of the network.
fn describe(_: &Tx, _: Option<&policy::Caller>, _: &RequestContext) -> Result<Reply, Error> {
    static DOCUMENT: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&openapi::document(ROUTES)).expect("shapes of ours always serialize"));
    Ok(Reply::bytes("application/json", DOCUMENT.clone()))
}
