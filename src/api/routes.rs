//! Every route: what it is called, who may use it, how it runs, who answers it.
//!
//! A request takes the first row that matches. Whoever reads these tables knows everything that HTTP reaches, and nothing
//! is served without a row in one of them.

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
    pushes, quotas, secrets, teams, training_capacity, training_jobs, training_projects, uploads, users,
};
use crate::api::route::{Route, Run, Table, delete, get, not_served, patch, post};
use crate::db::Tx;
use crate::db::resources::Kind;
use crate::domain::deployments::DEVELOPMENT;
use crate::domain::environments::PRODUCTION;
use crate::error::Error;
use crate::policy::{self, OrgAct, TeamAct};

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

/// All rows, ready for the search.
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

// What must hold in it.
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

// The paths with a deployment's name that Baseten's specification lists.
const BY_NAME: &[&str] = &[DEVELOPMENT, PRODUCTION];
const BY_NAME_DEVELOPMENT: &[&str] = &[DEVELOPMENT];

/// What is served over the network.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    // organizations
    get("/v1/organizations/me", Access::Caller(organizations::show)),
    patch("/v1/organizations/me", Access::Org(MANAGE_TEAMS, organizations::update)).ours(),

    // teams
    get("/v1/teams", Access::Teams(IN_VIEW_OR_FOR_KEYS, teams::list)),
    get("/v1/teams/{team_id}", Access::Team(PATH, VIEW_OR_CREATE_KEYS, teams::show)),
    post("/v1/teams", Access::Org(MANAGE_TEAMS, teams::create)).ours(),
    patch("/v1/teams/{team_id}", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::update)).ours(),
    delete("/v1/teams/{team_id}", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::delete)).ours(),

    // secrets
    get("/v1/secrets", Access::Teams(IN_VIEW, secrets::list_all)),
    post("/v1/secrets", Access::Team(OWN, DEPLOY, secrets::upsert)),
    delete("/v1/secrets/{secret_name}", Access::Team(OWN, DEPLOY, secrets::delete)),
    get("/v1/teams/{team_id}/secrets", Access::Team(PATH, VIEW, secrets::list)),
    post("/v1/teams/{team_id}/secrets", Access::Team(PATH, DEPLOY, secrets::upsert)),
    delete("/v1/teams/{team_id}/secrets/{secret_name}", Access::Team(PATH, DEPLOY, secrets::delete)),

    // members
    get("/v1/teams/{team_id}/members", Access::Team(PATH, VIEW, members::list)).ours(),
    post("/v1/teams/{team_id}/members", Access::Team(PATH, MANAGE_MEMBERS, members::add)).ours(),
    patch("/v1/teams/{team_id}/members/{user_id}", Access::Team(PATH, MANAGE_MEMBERS, members::update)).ours(),
    delete("/v1/teams/{team_id}/members/{user_id}", Access::Team(PATH, MANAGE_MEMBERS_OR_SELF, members::remove)).ours(),

    // quotas
    get("/v1/teams/{team_id}/quotas", Access::Team(PATH, VIEW, quotas::list)).ours(),

    // users
    get("/v1/users", Access::Org(MEMBER, users::list)),
    get("/v1/users/me", Access::Caller(users::show_me)),
    get("/v1/users/{user_id}", Access::Org(MEMBER, users::show)),
    patch("/v1/users/me", Access::Org(MEMBER, users::update_me)).ours(),
    patch("/v1/users/{user_id}", Access::Org(MANAGE_PEOPLE, users::update)).ours(),
    delete("/v1/users/{user_id}", Access::Org(MANAGE_PEOPLE_OR_SELF, users::remove)).ours(),
    post("/v1/users/{user_id}/reset", Access::Org(MANAGE_PEOPLE, users::make_reset)).ours(),
    post("/v1/users/reset", Access::Anyone(users::reset)).runs(Run::Password(users::find_reset_work)).ours(),
    get("/v1/users/{user_id}/teams", Access::Org(MANAGE_PEOPLE_OR_SELF_HIDDEN, users::teams)).ours(),

    // invitations
    get("/v1/invitations", Access::Org(MANAGE_PEOPLE, invitations::list)).ours(),
    post("/v1/invitations", Access::Org(MANAGE_PEOPLE, invitations::create)).ours(),
    post("/v1/invitations/{invitation_id}/resend", Access::Org(MANAGE_PEOPLE, invitations::resend)).ours(),
    delete("/v1/invitations/{invitation_id}", Access::Org(MANAGE_PEOPLE, invitations::revoke)).ours(),
    post("/v1/invitations/accept",
         Access::Anyone(invitations::accept)).runs(Run::Password(invitations::find_acceptance_work)).ours(),

    // API keys
    get("/v1/api_keys", Access::Caller(api_keys::list)),
    post("/v1/api_keys", Access::KeyMaker(api_keys::create)),
    delete("/v1/api_keys/{api_key_prefix}", Access::Caller(api_keys::revoke)),
    post("/v1/api_keys/{api_key_prefix}/rotate", Access::KeyMaker(api_keys::rotate)).ours(),
    get("/v1/teams/{team_id}/api_keys", Access::Team(PATH, VIEW_OR_CREATE_KEYS, api_keys::list_of_team)).ours(),
    post("/v1/teams/{team_id}/api_keys", Access::KeyMaker(api_keys::create_in_team)),

    // restricted environments
    get("/v1/environment_groups", Access::Team(OWN, VIEW, environment_groups::list)),
    get("/v1/environment_groups/{env_name}", Access::Team(OWN, VIEW, environment_groups::show)),
    post("/v1/environment_groups", Access::Team(OWN, RESTRICT, environment_groups::create)).ours(),
    patch("/v1/environment_groups/{env_name}", Access::Team(OWN, RESTRICT, environment_groups::update)),
    get("/v1/teams/{team_id}/environment_groups", Access::Team(PATH, VIEW, environment_groups::list)),
    get("/v1/teams/{team_id}/environment_groups/{env_name}", Access::Team(PATH, VIEW, environment_groups::show)),
    post("/v1/teams/{team_id}/environment_groups", Access::Team(PATH, RESTRICT, environment_groups::create)).ours(),
    patch("/v1/teams/{team_id}/environment_groups/{env_name}",
         Access::Team(PATH, RESTRICT, environment_groups::update)),
    delete("/v1/teams/{team_id}/environment_groups/{env_name}",
         Access::Team(PATH, RESTRICT, environment_groups::delete)).ours(),

    // models
    get("/v1/models", Access::Teams(IN_VIEW, models::list_all)),
    get("/v1/teams/{team_id}/models", Access::Team(PATH, VIEW, models::list)),
    get("/v1/models/{model_id}", Access::Team(MODEL, VIEW, models::show)),
    patch("/v1/models/{model_id}", Access::Team(MODEL, DEPLOY, models::update)),
    delete("/v1/models/{model_id}", Access::Team(MODEL, DEPLOY, models::delete)),
    post("/v1/models", Access::Team(OWN, DEPLOY, pushes::create_model)),
    post("/v1/teams/{team_id}/models", Access::Team(PATH, DEPLOY, pushes::create_model)),
    post("/v1/prepare_model_upload", Access::DeployAnywhere(pushes::prepare)).searching(),

    // deployments; `{deployment_id}` is an id, `development` or `production`
    get("/v1/models/{model_id}/deployments", Access::Team(MODEL, VIEW, deployments::list)),
    post("/v1/models/{model_id}/deployments", Access::Deploy(MODEL, pushes::create_deployment)),
    get("/v1/models/{model_id}/deployments/{deployment_id}",
         Access::Team(MODEL, VIEW, deployments::show)).also_for(BY_NAME),
    patch("/v1/models/{model_id}/deployments/{deployment_id}", Access::Deploy(MODEL, deployments::update)),
    delete("/v1/models/{model_id}/deployments/{deployment_id}", Access::Deploy(MODEL, deployments::delete)),
    patch("/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings",
         Access::Deploy(MODEL, deployments::update_autoscaling)).also_for(BY_NAME),
    patch("/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings",
         Access::Deploy(MODEL, deployments::update_backpressure)),
    post("/v1/models/{model_id}/deployments/{deployment_id}/promote",
         Access::Deploy(MODEL, deployments::promote)).also_for(BY_NAME_DEVELOPMENT),
    post("/v1/models/{model_id}/deployments/{deployment_id}/activate",
         Access::Deploy(MODEL, deployments::activate)).also_for(BY_NAME),
    post("/v1/models/{model_id}/deployments/{deployment_id}/deactivate",
         Access::Deploy(MODEL, deployments::deactivate)).also_for(BY_NAME),
    post("/v1/models/{model_id}/deployments/{deployment_id}/retry",
         Access::Deploy(MODEL, deployments::retry)).also_for(BY_NAME),
    get("/v1/models/{model_id}/deployments/{deployment_id}/config", Access::Team(MODEL, VIEW, deployments::config)),
    get("/v1/models/{model_id}/deployments/{deployment_id}/download", Access::Team(MODEL, VIEW, deployments::download)),
    get("/v1/models/{model_id}/deployments/{deployment_id}/logs",
         Access::Team(MODEL, VIEW, logs::of_deployment)).searching(),
    post("/v1/models/{model_id}/deployments/{deployment_id}/logs",
         Access::Team(MODEL, VIEW, logs::of_deployment_by_body)).searching(),
    get("/v1/models/{model_id}/deployments/{deployment_id}/metrics",
         Access::Metrics(MODEL, logs::metrics_of_deployment)),
    post("/v1/models/{model_id}/deployments/{deployment_id}/patches", Access::Deploy(MODEL, patches::stage)),
    get("/v1/models/{model_id}/deployments/{deployment_id}/patches/state",
         Access::Team(MODEL, VIEW, patches::state)).searching(),
    post("/v1/models/{model_id}/deployments/{deployment_id}/patches/sync", Access::Deploy(MODEL, patches::sync)),
    get("/downloads/{token}", Access::Anyone(deployments::downloaded)).ours(),

    // environments
    get("/v1/models/{model_id}/environments", Access::Team(MODEL, VIEW, environments::list)),
    post("/v1/models/{model_id}/environments", Access::Deploy(MODEL, environments::create)),
    get("/v1/models/{model_id}/environments/{env_name}", Access::Team(MODEL, VIEW, environments::show)),
    patch("/v1/models/{model_id}/environments/{env_name}", Access::Deploy(MODEL, environments::update)),
    delete("/v1/models/{model_id}/environments/{env_name}", Access::Deploy(MODEL, environments::delete)),
    post("/v1/models/{model_id}/environments/{env_name}/promote", Access::Deploy(MODEL, environments::promote)),
    post("/v1/models/{model_id}/environments/{env_name}/activate", Access::Deploy(MODEL, environments::activate)),
    post("/v1/models/{model_id}/environments/{env_name}/deactivate", Access::Deploy(MODEL, environments::deactivate)),
    post("/v1/models/{model_id}/environments/{env_name}/cancel_promotion",
         Access::Deploy(MODEL, environments::cancel_promotion)),
    post("/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion",
         Access::Deploy(MODEL, environments::force_cancel_promotion)),
    post("/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion",
         Access::Deploy(MODEL, environments::force_roll_forward_promotion)),
    get("/v1/models/{model_id}/environments/{env_name}/logs",
         Access::Team(MODEL, VIEW, logs::of_environment)).searching(),
    get("/v1/models/{model_id}/environments/{env_name}/metrics", Access::Metrics(MODEL, logs::metrics_of_environment)),

    // Chains
    get("/v1/chains", Access::Teams(IN_VIEW, chains::list_all)),
    get("/v1/chains/{chain_id}", Access::Team(CHAIN, VIEW, chains::show)),
    delete("/v1/chains/{chain_id}", Access::Team(CHAIN, DEPLOY, chains::delete)),
    get("/v1/chains/{chain_id}/deployments", Access::Team(CHAIN, VIEW, chains::deployments::list)),
    get("/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
         Access::Team(CHAIN, VIEW, chains::deployments::show)),
    delete("/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
         Access::Deploy(CHAIN, chains::deployments::delete)),
    post("/v1/chains/{chain_id}/deployments/{chain_deployment_id}/deactivate",
         Access::Deploy(CHAIN, chains::deployments::deactivate)),
    get("/v1/chains/{chain_id}/deployments/{chain_deployment_id}/chainlets/{chainlet_id}/logs",
         Access::Team(CHAIN, VIEW, chains::deployments::chainlet_logs)).searching(),
    get("/v1/chains/{chain_id}/environments", Access::Team(CHAIN, VIEW, chains::environments::list)),
    post("/v1/chains/{chain_id}/environments", Access::Deploy(CHAIN, chains::environments::create)),
    get("/v1/chains/{chain_id}/environments/{env_name}", Access::Team(CHAIN, VIEW, chains::environments::show)),
    patch("/v1/chains/{chain_id}/environments/{env_name}", Access::Deploy(CHAIN, chains::environments::update)),
    post("/v1/chains/{chain_id}/environments/{env_name}/promote", Access::Deploy(CHAIN, chains::environments::promote)),
    patch("/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/autoscaling_settings",
         Access::Deploy(CHAIN, chains::environments::update_autoscaling)),
    post("/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/instance_types/update",
         Access::Deploy(CHAIN, chains::environments::update_instance_types)),

    // training projects
    get("/v1/training_projects", Access::Teams(IN_VIEW, training_projects::list_all)),
    post("/v1/training_projects", Access::Team(OWN, DEPLOY, training_projects::upsert)),
    post("/v1/teams/{team_id}/training_projects", Access::Team(PATH, DEPLOY, training_projects::upsert)),
    get("/v1/training_projects/{training_project_id}", Access::Team(PROJECT, VIEW, training_projects::show)),
    delete("/v1/training_projects/{training_project_id}", Access::Team(PROJECT, DEPLOY, training_projects::delete)),

    // training jobs
    post("/v1/training_jobs/search", Access::Teams(IN_VIEW, training_jobs::search)).searching(),
    get("/v1/training_projects/{training_project_id}/jobs", Access::Team(PROJECT, VIEW, training_jobs::list)),
    post("/v1/training_projects/{training_project_id}/jobs", Access::Team(PROJECT, DEPLOY, training_jobs::create)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, VIEW, training_jobs::show)),
    patch("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, DEPLOY, training_jobs::update)),
    delete("/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
         Access::Team(PROJECT, DEPLOY, training_jobs::delete)),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/stop",
         Access::Team(PROJECT, DEPLOY, training_jobs::stop)),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/recreate",
         Access::Team(PROJECT, DEPLOY, training_jobs::recreate)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
         Access::Team(PROJECT, VIEW, training_jobs::logs)).searching(),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
         Access::Team(PROJECT, VIEW, training_jobs::logs_by_body)).searching(),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
         Access::Metrics(PROJECT, training_jobs::metrics)),
    post("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
         Access::Metrics(PROJECT, training_jobs::metrics_by_body)).searching(),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoints",
         Access::Team(PROJECT, VIEW, training_jobs::checkpoints)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoint_files",
         Access::Team(PROJECT, VIEW, training_jobs::checkpoint_files)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/download",
         Access::Team(PROJECT, VIEW, training_jobs::download)),
    get("/v1/training_projects/{training_project_id}/jobs/{training_job_id}/auth_codes",
         Access::Team(PROJECT, VIEW, training_jobs::auth_codes)),
    get("/v1/training_projects/{training_project_id}/cache/summary",
         Access::Team(PROJECT, VIEW, training_jobs::cache_summary)),
    get("/v1/training/jobs/{training_job_id}/queue_context", Access::Org(VIEW_ALL_TEAMS, training_jobs::queue_context)),
    get("/v1/training/capacity", Access::Teams(IN_VIEW, training_capacity::list_all)),
    patch("/v1/training/capacity", Access::Org(MANAGE_TEAMS, training_capacity::update)),

    // uploads
    get("/v1/blobs/credentials/model", Access::DeployAnywhere(uploads::for_model)),
    get("/v1/blobs/credentials/train", Access::Teams(TO_DEPLOY, uploads::for_training)),

    // Model APIs; the two rows that are not served come before the last, which would take them for names
    get("/v1/model_apis", Access::Team(DEFAULT, TeamRule::ModelApis, model_apis::list)),
    not_served("GET", "/v1/model_apis/snapshots"),
    not_served("GET", "/v1/model_apis/usage"),
    get("/v1/model_apis/{model_api_name}", Access::Team(DEFAULT, TeamRule::ModelApis, model_apis::show)),

    // billing, instance types
    get("/v1/billing/usage_summary", Access::Org(MANAGE_BILLING, billing::usage_summary)).searching(),
    get("/v1/instance_types", Access::Teams(IN_VIEW, instance_types::list)),
    get("/v1/instance_type_prices", Access::Teams(IN_VIEW, instance_types::prices)),

    // audit log: it tells what people did, so it is for who manages them
    get("/v1/audit_logs", Access::Org(MANAGE_PEOPLE, audit_logs::list)).searching(),
    get("/v1/models/{model_id}/audit_logs",
         Access::OrgAbout(MODEL, OrgAct::ManageMembers, audit_logs::list_of_model)).searching(),
    get("/v1/chains/{chain_id}/audit_logs",
         Access::OrgAbout(CHAIN, OrgAct::ManageMembers, audit_logs::list_of_chain)).searching(),

    // permissions
    get("/v1/permissions", Access::Caller(permissions::show)).ours(),
    get("/v1/permissions/explain", Access::Caller(permissions::explain)).ours(),

    // GraphQL, as truss speaks it
    post("/graphql/", Access::Caller(endpoint::answer)).runs(Run::Document).of_api(Api::GraphQl),
    post("/graphql", Access::Caller(endpoint::answer)).runs(Run::Document).of_api(Api::GraphQl),

    // the server itself
    get("/healthz", Access::Anyone(health::live)).ours(),
    get("/readyz", Access::Anyone(health::ready)).runs(Run::ReadByWriter).ours(),
    get("/openapi.json", Access::Anyone(describe)).ours(),
];

/// What is served over the operator's socket, besides everything else.
#[rustfmt::skip]
const OPERATOR: &[Route] = &[
    post("/v1/operator/installation", Access::Operator(installation::begin)).ours(),
    post("/v1/operator/organizations", Access::Operator(organizations::create_with_admin)).ours(),
    post("/v1/operator/fixtures", Access::Operator(fixtures::load)).ours(),
    post("/v1/operator/users/api_keys", Access::Operator(users::issue_key)).ours(),
    post("/v1/operator/users/password_resets", Access::Operator(users::make_reset_by_operator)).ours(),
];

/// Describes the routes of the network.
fn describe(_: &Tx, _: Option<&policy::Caller>, _: &RequestContext) -> Result<Reply, Error> {
    static DOCUMENT: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&openapi::document(ROUTES)).expect("shapes of ours always serialize"));
    Ok(Reply::bytes("application/json", DOCUMENT.clone()))
}
