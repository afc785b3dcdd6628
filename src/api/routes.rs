//! Every route, what it needs, and who answers it.

use std::sync::LazyLock;

use Answer::*;

use crate::api::elsewhere::UNSERVED_ELSEWHERE;
use crate::api::passwords::{Outcome, Work};
use crate::api::rest::{
    api_keys, audit_logs, billing, chains, deployments, environment_groups, environments, fixtures, health,
    installation, instance_types, invitations, logs, members, model_apis, models, organizations, patches, permissions,
    pushes, quotas, secrets, teams, training_capacity, training_jobs, training_projects, uploads, users,
};
use crate::api::unserved::UNSERVED;
use crate::api::{
    BODY_BYTES_MAX, FIXTURES_BYTES_MAX, Listener, OPEN_BODY_BYTES_MAX, Reply, Request, RequestContext, openapi,
};
use crate::db::Tx;
use crate::db::resources::Kind;
use crate::domain::Team;
use crate::error::Error;
use crate::policy::{self, Deployer, Deployers, InOrg, InTeam, MetricsReader, OrgAct, TeamAct};

/// One row of the table.
pub struct Route {
    pub method: &'static str,
    /// The path, with `{name}` where a segment is free.
    pub template: &'static str,
    pub answer: Answer,
    /// Whose it is: Baseten's public interface has it, or it is ours.
    pub origin: Origin,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Baseten,
    Ours,
}

/// Whether a route only looks. Some that Baseten asks by POST do: what they want to see does not fit a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Reads,
    /// Reads what may be much, so it is done on the pool.
    Searches,
    Writes,
}

impl Effect {
    const fn of(method: &str) -> Effect {
        if matches!(method.as_bytes(), b"GET") { Effect::Reads } else { Effect::Writes }
    }
}

/// What must hold before the handler runs. The handler's type takes the proof, so that a route cannot name a need and
/// skip it.
#[derive(Clone, Copy)]
pub enum Answer {
    /// Anyone, with a key or without.
    Open(fn(&Tx, Option<&policy::Caller>, &RequestContext) -> Result<Reply, Error>),
    /// Anyone; the writer answers, which shows that it lives.
    Ready(fn(&Tx, Option<&policy::Caller>, &RequestContext) -> Result<Reply, Error>),
    /// Anyone, where a password may have to be hashed or verified. That is slow: `look` says in a read transaction what
    /// there is to do, it is done outside of any, and `act` gets what came of it and looks again.
    Password { look: Look, act: fn(&Tx, Option<&policy::Caller>, &RequestContext, &Outcome) -> Result<Reply, Error> },
    /// Anyone with a key; the handler shows what is the caller's own.
    Caller(fn(&Tx, &policy::Caller, &RequestContext) -> Result<Reply, Error>),
    /// Anyone whose key may make keys of some kind: no team's key.
    KeyMaker(fn(&Tx, &policy::keys::KeyMaker, &RequestContext) -> Result<Reply, Error>),
    /// Any person of the organization; keys that are no person's are not.
    Member(fn(&Tx, &InOrg, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this to the organization.
    Org(OrgAct, fn(&Tx, &InOrg, &RequestContext) -> Result<Reply, Error>),
    /// The same, or the person `{user_id}`.
    OrgOrSelf(OrgAct, fn(&Tx, &InOrg, &RequestContext) -> Result<Reply, Error>),
    /// The same, about what is not there for other people.
    OrgOrSelfAlone(OrgAct, fn(&Tx, &InOrg, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this in `{team_id}`.
    Team(TeamAct, fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this to the organization, about `{team_id}` of it.
    OrgTeam(OrgAct, fn(&Tx, &InOrg, &Team, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do one or the other in `{team_id}`.
    TeamByEither(TeamAct, TeamAct, fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this in `{team_id}`, or the person `{user_id}`.
    TeamOrSelf(TeamAct, fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// A route without a team in its path: about a team key's own team, otherwise about the default team.
    OwnTeam(TeamAct, fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// A list that joins all teams in which the caller may do this.
    AllTeams(TeamAct, fn(&Tx, &[InTeam], &RequestContext) -> Result<Reply, Error>),
    /// The same where either act is enough.
    AllTeamsByEither(TeamAct, TeamAct, fn(&Tx, &[InTeam], &RequestContext) -> Result<Reply, Error>),
    /// Whoever may deploy in a team, if only into some environments. The verb asks about the one that it touches.
    AllTeamsToDeploy(fn(&Tx, &Deployers, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may view the default team: Model APIs are of no other.
    ModelApis(fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this in the team that owns `{model_id}`, `{chain_id}` or `{training_project_id}`.
    Owned(Kind, TeamAct, fn(&Tx, &InTeam, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may read the metrics of what the path names: who may view it, and keys that export metrics.
    OwnedMetrics(Kind, fn(&Tx, &MetricsReader, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may deploy in the team that owns it, if only into some environments: the verb asks about the one it touches.
    OwnedToDeploy(Kind, fn(&Tx, &Deployer, &RequestContext) -> Result<Reply, Error>),
    /// Whoever may do this to the organization, about what that team owns.
    OrgOwned(Kind, OrgAct, fn(&Tx, &InOrg, &RequestContext) -> Result<Reply, Error>),
    /// The operator, by the socket in the data directory; over the network the route is not there.
    Operator(fn(&Tx, &policy::Operator, &RequestContext) -> Result<Reply, Error>),
    /// What the document in the body asks for: each of its root fields has a need of its own (`graphql::ROOT_FIELDS`).
    GraphQl,
    /// A route of Baseten's that is not served.
    Unserved,
    /// The same of the API by which models and Chains are called.
    UnservedInference,
    /// The same of the API by which people sign in; asked without a key too.
    UnservedOAuth,
}

/// Finds out which work there is to do with a password.
type Look = fn(&Tx, Option<&policy::Caller>, &RequestContext) -> Result<Option<Work>, Error>;

#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    // organizations
    on("GET",    "/v1/organizations/me",                  Caller(organizations::show)),
    ours("PATCH",  "/v1/organizations/me",                Org(OrgAct::ManageTeams, organizations::update)),

    // teams
    on("GET",    "/v1/teams",                             AllTeamsByEither(TeamAct::View, TeamAct::CreateApiKeys,
                                                                           teams::list)),
    on("GET",    "/v1/teams/{team_id}",                   TeamByEither(TeamAct::View, TeamAct::CreateApiKeys,
                                                                       teams::show)),
    ours("POST",   "/v1/teams",                           Org(OrgAct::ManageTeams, teams::create)),
    ours("PATCH",  "/v1/teams/{team_id}",                 OrgTeam(OrgAct::ManageTeams, teams::update)),
    ours("DELETE", "/v1/teams/{team_id}",                 OrgTeam(OrgAct::ManageTeams, teams::delete)),

    // secrets
    on("GET",    "/v1/secrets",                           AllTeams(TeamAct::View, secrets::list_all)),
    on("POST",   "/v1/secrets",                           OwnTeam(TeamAct::Deploy, secrets::upsert)),
    on("DELETE", "/v1/secrets/{secret_name}",             OwnTeam(TeamAct::Deploy, secrets::delete)),
    on("GET",    "/v1/teams/{team_id}/secrets",           Team(TeamAct::View, secrets::list)),
    on("POST",   "/v1/teams/{team_id}/secrets",           Team(TeamAct::Deploy, secrets::upsert)),
    on("DELETE", "/v1/teams/{team_id}/secrets/{secret_name}",
                                                          Team(TeamAct::Deploy, secrets::delete)),

    // members
    ours("GET",    "/v1/teams/{team_id}/members",         Team(TeamAct::View, members::list)),
    ours("POST",   "/v1/teams/{team_id}/members",         Team(TeamAct::ManageMembers, members::add)),
    ours("PATCH",  "/v1/teams/{team_id}/members/{user_id}",
                                                          Team(TeamAct::ManageMembers, members::update)),
    ours("DELETE", "/v1/teams/{team_id}/members/{user_id}",
                                                          TeamOrSelf(TeamAct::ManageMembers, members::remove)),

    // quotas
    ours("GET",    "/v1/teams/{team_id}/quotas",          Team(TeamAct::View, quotas::list)),

    // users
    on("GET",    "/v1/users",                             Member(users::list)),
    on("GET",    "/v1/users/me",                          Caller(users::show_me)),
    on("GET",    "/v1/users/{user_id}",                   Member(users::show)),
    ours("PATCH",  "/v1/users/me",                        Member(users::update_me)),
    ours("PATCH",  "/v1/users/{user_id}",                 Org(OrgAct::ManageMembers, users::update)),
    ours("DELETE", "/v1/users/{user_id}",                 OrgOrSelf(OrgAct::ManageMembers, users::remove)),
    ours("POST",   "/v1/users/{user_id}/reset",           Org(OrgAct::ManageMembers, users::make_reset)),
    ours("POST",   "/v1/users/reset",                     Password { look: users::look_at_reset, act: users::reset }),
    ours("GET",    "/v1/users/{user_id}/teams",           OrgOrSelfAlone(OrgAct::ManageMembers, users::teams)),

    // invitations
    ours("GET",    "/v1/invitations",                     Org(OrgAct::ManageMembers, invitations::list)),
    ours("POST",   "/v1/invitations",                     Org(OrgAct::ManageMembers, invitations::create)),
    ours("POST",   "/v1/invitations/{invitation_id}/resend",
                                                          Org(OrgAct::ManageMembers, invitations::resend)),
    ours("DELETE", "/v1/invitations/{invitation_id}",     Org(OrgAct::ManageMembers, invitations::revoke)),
    ours("POST",   "/v1/invitations/accept",              Password { look: invitations::look, act: invitations::accept }),

    // API keys
    on("GET",    "/v1/api_keys",                          Caller(api_keys::list)),
    on("POST",   "/v1/api_keys",                          KeyMaker(api_keys::create)),
    on("DELETE", "/v1/api_keys/{api_key_prefix}",         Caller(api_keys::revoke)),
    ours("POST",   "/v1/api_keys/{api_key_prefix}/rotate", KeyMaker(api_keys::rotate)),
    ours("GET",    "/v1/teams/{team_id}/api_keys",        TeamByEither(TeamAct::View, TeamAct::CreateApiKeys,
                                                                       api_keys::list_of_team)),
    on("POST",   "/v1/teams/{team_id}/api_keys",          KeyMaker(api_keys::create_in_team)),

    // restricted environments
    on("GET",    "/v1/environment_groups",                OwnTeam(TeamAct::View, environment_groups::list)),
    on("GET",    "/v1/environment_groups/{env_name}",     OwnTeam(TeamAct::View, environment_groups::show)),
    ours("POST",   "/v1/environment_groups",              OwnTeam(TeamAct::CreateRestrictedEnvironments,
                                                                  environment_groups::create)),
    on("PATCH",  "/v1/environment_groups/{env_name}",     OwnTeam(TeamAct::CreateRestrictedEnvironments,
                                                                  environment_groups::update)),
    on("GET",    "/v1/teams/{team_id}/environment_groups",
                                                          Team(TeamAct::View, environment_groups::list)),
    on("GET",    "/v1/teams/{team_id}/environment_groups/{env_name}",
                                                          Team(TeamAct::View, environment_groups::show)),
    ours("POST",   "/v1/teams/{team_id}/environment_groups",
                                                          Team(TeamAct::CreateRestrictedEnvironments,
                                                               environment_groups::create)),
    on("PATCH",  "/v1/teams/{team_id}/environment_groups/{env_name}",
                                                          Team(TeamAct::CreateRestrictedEnvironments,
                                                               environment_groups::update)),
    ours("DELETE", "/v1/teams/{team_id}/environment_groups/{env_name}",
                                                          Team(TeamAct::CreateRestrictedEnvironments,
                                                               environment_groups::delete)),

    // models
    on("GET",    "/v1/models",                            AllTeams(TeamAct::View, models::list_all)),
    on("GET",    "/v1/teams/{team_id}/models",            Team(TeamAct::View, models::list)),
    on("GET",    "/v1/models/{model_id}",                 Owned(Kind::Model, TeamAct::View, models::show)),
    on("PATCH",  "/v1/models/{model_id}",                 Owned(Kind::Model, TeamAct::Deploy, models::update)),
    on("DELETE", "/v1/models/{model_id}",                 Owned(Kind::Model, TeamAct::Deploy, models::delete)),

    on("POST",   "/v1/models",                            OwnTeam(TeamAct::Deploy, pushes::create_model)),
    on("POST",   "/v1/teams/{team_id}/models",            Team(TeamAct::Deploy, pushes::create_model)),
    asks("POST", "/v1/prepare_model_upload",              AllTeamsToDeploy(pushes::prepare)),

    // deployments; what a path says of one, `find` reads: its id, `development` or `production`
    on("GET",    "/v1/models/{model_id}/deployments",     Owned(Kind::Model, TeamAct::View, deployments::list)),
    on("POST",   "/v1/models/{model_id}/deployments",     OwnedToDeploy(Kind::Model, pushes::create_deployment)),
    on("GET",    "/v1/models/{model_id}/deployments/development",
                                                          Owned(Kind::Model, TeamAct::View, deployments::show)),
    on("PATCH",  "/v1/models/{model_id}/deployments/development/autoscaling_settings",
                                                          OwnedToDeploy(Kind::Model, deployments::update_autoscaling)),
    on("POST",   "/v1/models/{model_id}/deployments/development/promote",
                                                          OwnedToDeploy(Kind::Model, deployments::promote)),
    on("POST",   "/v1/models/{model_id}/deployments/development/activate",
                                                          OwnedToDeploy(Kind::Model, deployments::activate)),
    on("POST",   "/v1/models/{model_id}/deployments/development/deactivate",
                                                          OwnedToDeploy(Kind::Model, deployments::deactivate)),
    on("POST",   "/v1/models/{model_id}/deployments/development/retry",
                                                          OwnedToDeploy(Kind::Model, deployments::retry)),
    on("GET",    "/v1/models/{model_id}/deployments/production",
                                                          Owned(Kind::Model, TeamAct::View, deployments::show)),
    on("PATCH",  "/v1/models/{model_id}/deployments/production/autoscaling_settings",
                                                          OwnedToDeploy(Kind::Model, deployments::update_autoscaling)),
    on("POST",   "/v1/models/{model_id}/deployments/production/activate",
                                                          OwnedToDeploy(Kind::Model, deployments::activate)),
    on("POST",   "/v1/models/{model_id}/deployments/production/deactivate",
                                                          OwnedToDeploy(Kind::Model, deployments::deactivate)),
    on("POST",   "/v1/models/{model_id}/deployments/production/retry",
                                                          OwnedToDeploy(Kind::Model, deployments::retry)),
    on("GET",    "/v1/models/{model_id}/deployments/{deployment_id}",
                                                          Owned(Kind::Model, TeamAct::View, deployments::show)),
    on("PATCH",  "/v1/models/{model_id}/deployments/{deployment_id}",
                                                          OwnedToDeploy(Kind::Model, deployments::update)),
    on("DELETE", "/v1/models/{model_id}/deployments/{deployment_id}",
                                                          OwnedToDeploy(Kind::Model, deployments::delete)),
    on("PATCH",  "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings",
                                                          OwnedToDeploy(Kind::Model, deployments::update_autoscaling)),
    on("PATCH",  "/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings",
                                                          OwnedToDeploy(Kind::Model, deployments::update_backpressure)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/promote",
                                                          OwnedToDeploy(Kind::Model, deployments::promote)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/activate",
                                                          OwnedToDeploy(Kind::Model, deployments::activate)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/deactivate",
                                                          OwnedToDeploy(Kind::Model, deployments::deactivate)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/retry",
                                                          OwnedToDeploy(Kind::Model, deployments::retry)),
    on("GET",    "/v1/models/{model_id}/deployments/{deployment_id}/config",
                                                          Owned(Kind::Model, TeamAct::View, deployments::config)),
    on("GET",    "/v1/models/{model_id}/deployments/{deployment_id}/download",
                                                          Owned(Kind::Model, TeamAct::View, deployments::download)),
    asks("GET",  "/v1/models/{model_id}/deployments/{deployment_id}/logs",
                                                          Owned(Kind::Model, TeamAct::View, logs::of_deployment)),
    asks("POST", "/v1/models/{model_id}/deployments/{deployment_id}/logs",
                                                          Owned(Kind::Model, TeamAct::View, logs::of_deployment_by_body)),
    on("GET",    "/v1/models/{model_id}/deployments/{deployment_id}/metrics",
                                                          OwnedMetrics(Kind::Model, logs::metrics_of_deployment)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/patches",
                                                          OwnedToDeploy(Kind::Model, patches::stage)),
    asks("GET",  "/v1/models/{model_id}/deployments/{deployment_id}/patches/state",
                                                          Owned(Kind::Model, TeamAct::View, patches::state)),
    on("POST",   "/v1/models/{model_id}/deployments/{deployment_id}/patches/sync",
                                                          OwnedToDeploy(Kind::Model, patches::sync)),
    ours("GET",    "/downloads/{token}",                  Open(deployments::downloaded)),

    // environments
    on("GET",    "/v1/models/{model_id}/environments",    Owned(Kind::Model, TeamAct::View, environments::list)),
    on("POST",   "/v1/models/{model_id}/environments",    OwnedToDeploy(Kind::Model, environments::create)),
    on("GET",    "/v1/models/{model_id}/environments/{env_name}",
                                                          Owned(Kind::Model, TeamAct::View, environments::show)),
    on("PATCH",  "/v1/models/{model_id}/environments/{env_name}",
                                                          OwnedToDeploy(Kind::Model, environments::update)),
    on("DELETE", "/v1/models/{model_id}/environments/{env_name}",
                                                          OwnedToDeploy(Kind::Model, environments::delete)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/promote",
                                                          OwnedToDeploy(Kind::Model, environments::promote)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/activate",
                                                          OwnedToDeploy(Kind::Model, environments::activate)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/deactivate",
                                                          OwnedToDeploy(Kind::Model, environments::deactivate)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/cancel_promotion",
                                                          OwnedToDeploy(Kind::Model, environments::cancel_promotion)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion",
                                                          OwnedToDeploy(Kind::Model, environments::force_cancel_promotion)),
    on("POST",   "/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion",
                                                          OwnedToDeploy(Kind::Model, environments::force_roll_forward_promotion)),
    asks("GET",  "/v1/models/{model_id}/environments/{env_name}/logs",
                                                          Owned(Kind::Model, TeamAct::View, logs::of_environment)),
    on("GET",    "/v1/models/{model_id}/environments/{env_name}/metrics",
                                                          OwnedMetrics(Kind::Model, logs::metrics_of_environment)),

    // Chains
    on("GET",    "/v1/chains",                            AllTeams(TeamAct::View, chains::list_all)),
    on("GET",    "/v1/chains/{chain_id}",                 Owned(Kind::Chain, TeamAct::View, chains::show)),
    on("DELETE", "/v1/chains/{chain_id}",                 Owned(Kind::Chain, TeamAct::Deploy, chains::delete)),
    on("GET",    "/v1/chains/{chain_id}/deployments",     Owned(Kind::Chain, TeamAct::View, chains::deployments::list)),
    on("GET",    "/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
                                                          Owned(Kind::Chain, TeamAct::View, chains::deployments::show)),
    on("DELETE", "/v1/chains/{chain_id}/deployments/{chain_deployment_id}",
                                                          OwnedToDeploy(Kind::Chain, chains::deployments::delete)),
    on("POST",   "/v1/chains/{chain_id}/deployments/{chain_deployment_id}/deactivate",
                                                          OwnedToDeploy(Kind::Chain, chains::deployments::deactivate)),
    asks("GET",  "/v1/chains/{chain_id}/deployments/{chain_deployment_id}/chainlets/{chainlet_id}/logs",
                                                          Owned(Kind::Chain, TeamAct::View,
                                                                chains::deployments::chainlet_logs)),
    on("GET",    "/v1/chains/{chain_id}/environments",    Owned(Kind::Chain, TeamAct::View, chains::environments::list)),
    on("POST",   "/v1/chains/{chain_id}/environments",    OwnedToDeploy(Kind::Chain, chains::environments::create)),
    on("GET",    "/v1/chains/{chain_id}/environments/{env_name}",
                                                          Owned(Kind::Chain, TeamAct::View, chains::environments::show)),
    on("PATCH",  "/v1/chains/{chain_id}/environments/{env_name}",
                                                          OwnedToDeploy(Kind::Chain, chains::environments::update)),
    on("POST",   "/v1/chains/{chain_id}/environments/{env_name}/promote",
                                                          OwnedToDeploy(Kind::Chain, chains::environments::promote)),
    on("PATCH",  "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/autoscaling_settings",
                                                          OwnedToDeploy(Kind::Chain,
                                                                        chains::environments::update_autoscaling)),
    on("POST",   "/v1/chains/{chain_id}/environments/{env_name}/chainlet_settings/instance_types/update",
                                                          OwnedToDeploy(Kind::Chain,
                                                                        chains::environments::update_instance_types)),

    // training projects
    on("GET",    "/v1/training_projects",                 AllTeams(TeamAct::View, training_projects::list_all)),
    on("POST",   "/v1/training_projects",                 OwnTeam(TeamAct::Deploy, training_projects::upsert)),
    on("POST",   "/v1/teams/{team_id}/training_projects", Team(TeamAct::Deploy, training_projects::upsert)),
    on("GET",    "/v1/training_projects/{training_project_id}",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_projects::show)),
    on("DELETE", "/v1/training_projects/{training_project_id}",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_projects::delete)),

    // training jobs
    asks("POST", "/v1/training_jobs/search",
                                                          AllTeams(TeamAct::View, training_jobs::search)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::list)),
    on("POST",   "/v1/training_projects/{training_project_id}/jobs",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_jobs::create)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::show)),
    on("PATCH",  "/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_jobs::update)),
    on("DELETE", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_jobs::delete)),
    on("POST",   "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/stop",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_jobs::stop)),
    on("POST",   "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/recreate",
                                                          Owned(Kind::TrainingProject, TeamAct::Deploy, training_jobs::recreate)),
    asks("GET",  "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::logs)),
    asks("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/logs",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::logs_by_body)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
                                                          OwnedMetrics(Kind::TrainingProject, training_jobs::metrics)),
    asks("POST", "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/metrics",
                                                          OwnedMetrics(Kind::TrainingProject, training_jobs::metrics_by_body)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoints",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::checkpoints)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/checkpoint_files",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::checkpoint_files)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/download",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::download)),
    on("GET",    "/v1/training_projects/{training_project_id}/jobs/{training_job_id}/auth_codes",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::auth_codes)),
    on("GET",    "/v1/training_projects/{training_project_id}/cache/summary",
                                                          Owned(Kind::TrainingProject, TeamAct::View, training_jobs::cache_summary)),
    on("GET",    "/v1/training/jobs/{training_job_id}/queue_context",
                                                          Org(OrgAct::ViewAllTeams, training_jobs::queue_context)),
    on("GET",    "/v1/training/capacity",
                                                          AllTeams(TeamAct::View, training_capacity::list_all)),
    on("PATCH",  "/v1/training/capacity",
                                                          Org(OrgAct::ManageTeams, training_capacity::update)),

    // uploads
    on("GET",    "/v1/blobs/credentials/model",           AllTeamsToDeploy(uploads::for_model)),
    on("GET",    "/v1/blobs/credentials/train",           AllTeams(TeamAct::Deploy, uploads::for_training)),

    // Model APIs; two rows stand here because the last would take them for names
    on("GET",    "/v1/model_apis",                        ModelApis(model_apis::list)),
    on("GET",    "/v1/model_apis/snapshots",              Unserved),
    on("GET",    "/v1/model_apis/usage",                  Unserved),
    on("GET",    "/v1/model_apis/{model_api_name}",       ModelApis(model_apis::show)),

    // billing, instance types
    asks("GET",  "/v1/billing/usage_summary",             Org(OrgAct::ManageBilling, billing::usage_summary)),
    on("GET",    "/v1/instance_types",                    AllTeams(TeamAct::View, instance_types::list)),
    on("GET",    "/v1/instance_type_prices",              AllTeams(TeamAct::View, instance_types::prices)),

    // audit log: it tells what people did, so it is for who manages them
    asks("GET",  "/v1/audit_logs",                        Org(OrgAct::ManageMembers, audit_logs::list)),
    asks("GET",  "/v1/models/{model_id}/audit_logs",      OrgOwned(Kind::Model, OrgAct::ManageMembers, audit_logs::list_of_model)),
    asks("GET",  "/v1/chains/{chain_id}/audit_logs",      OrgOwned(Kind::Chain, OrgAct::ManageMembers, audit_logs::list_of_chain)),

    // permissions
    ours("GET",    "/v1/permissions",                     Caller(permissions::show)),
    ours("GET",    "/v1/permissions/explain",             Caller(permissions::explain)),

    // GraphQL, as truss speaks it
    on("POST",   "/graphql/",                             GraphQl),
    on("POST",   "/graphql",                              GraphQl),

    // the server itself
    ours("GET",    "/healthz",                            Open(health::live)),
    ours("GET",    "/readyz",                             Ready(health::ready)),
    ours("GET",    "/openapi.json",                       Open(openapi::show)),

    // the operator
    ours("POST",   "/v1/operator/installation",           Operator(installation::begin)),
    ours("POST",   "/v1/operator/organizations",          Operator(organizations::create_with_admin)),
    ours("POST",   "/v1/operator/fixtures",               Operator(fixtures::load)),
    ours("POST",   "/v1/operator/users/api_keys",         Operator(users::issue_key)),
    ours("POST",   "/v1/operator/users/password_resets",  Operator(users::make_reset_by_operator)),
];

const fn on(method: &'static str, template: &'static str, answer: Answer) -> Route {
    Route { method, template, answer, origin: Origin::Baseten, effect: Effect::of(method) }
}

/// What writes nothing and may read much.
const fn asks(method: &'static str, template: &'static str, answer: Answer) -> Route {
    Route { method, template, answer, origin: Origin::Baseten, effect: Effect::Searches }
}

const fn ours(method: &'static str, template: &'static str, answer: Answer) -> Route {
    Route { method, template, answer, origin: Origin::Ours, effect: Effect::of(method) }
}

/// A row with its path split, for the search.
pub struct Split {
    pub route: &'static Route,
    parts: Vec<&'static str>,
}

static TABLE: LazyLock<Vec<Split>> =
    LazyLock::new(|| ROUTES.iter().chain(UNSERVED).chain(UNSERVED_ELSEWHERE).map(Split::new).collect());

/// The route of a request: the first row that fits, and what is not served after all that is. A path that is there, asked
/// by another method, says which ones it takes.
pub fn find(request: &Request) -> Result<&'static Split, Error> {
    let there = || TABLE.iter().filter(|row| row.route.is_reachable_by(request.from) && row.fits(&request.path));
    there().find(|row| row.route.method == request.method).ok_or_else(|| {
        let methods: Vec<&str> = there().map(|row| row.route.method).collect();
        if methods.is_empty() { Error::NotFound("route") } else { Error::MethodNotAllowed(methods.join(", ")) }
    })
}

impl Split {
    fn new(route: &'static Route) -> Split {
        Split { route, parts: route.template[1..].split('/').collect() }
    }

    /// Where `{name}` stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) == Some(name))
    }

    fn fits(&self, path: &[String]) -> bool {
        self.parts.len() == path.len()
            && self.parts.iter().zip(path).all(|(part, given)| part.starts_with('{') || part == given)
    }
}

impl Route {
    /// The operator's rows are not there for the network, by whatever method.
    fn is_reachable_by(&self, listener: Listener) -> bool {
        listener == Listener::Operator || !matches!(self.answer, Answer::Operator(_))
    }

    pub fn writes(&self) -> bool {
        self.effect == Effect::Writes
    }

    /// Whether all it does is to revoke, remove or delete.
    pub fn deletes(&self) -> bool {
        self.method == "DELETE"
    }

    pub fn body_bytes_max(&self) -> usize {
        if matches!(self.answer, Open(_) | Ready(_) | Password { .. }) {
            OPEN_BODY_BYTES_MAX
        } else if matches!(self.answer, Operator(_)) {
            FIXTURES_BYTES_MAX
        } else {
            BODY_BYTES_MAX
        }
    }
}
