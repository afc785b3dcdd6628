//! Every page and every form: its path, who may use it, how it runs and which handler answers it.

use std::sync::LazyLock;

use crate::api::access::{OrgRule, Source, TeamRule, TeamsRule};
use crate::console::context::Access;
use crate::console::page::{Page, Row, get, post};
use crate::console::{
    account, activity, api_keys, billing, chains, deployments, environments, links, members, model_apis, models,
    overview, permissions, secrets, sign_in, team_members, teams, training,
};
use crate::error::Error;
use crate::policy::{OrgAct, TeamAct};

const PATH: Source = Source::Path;
const VIEW: TeamRule = TeamRule::May(TeamAct::View);
const RESTRICT: TeamRule = TeamRule::May(TeamAct::CreateRestrictedEnvironments);
const MANAGE_MEMBERS: TeamRule = TeamRule::May(TeamAct::ManageMembers);
const MANAGE_MEMBERS_OR_SELF: TeamRule = TeamRule::MayOrSelf(TeamAct::ManageMembers);
const IN_VIEW: TeamsRule = TeamsRule::May(TeamAct::View);
const DEPLOY: TeamRule = TeamRule::May(TeamAct::Deploy);

const MEMBER: OrgRule = OrgRule::Member;
const MANAGE_PEOPLE: OrgRule = OrgRule::May(OrgAct::ManageMembers);
const MANAGE_PEOPLE_OR_SELF: OrgRule = OrgRule::MayOrSelf(OrgAct::ManageMembers);
const MANAGE_TEAMS: OrgRule = OrgRule::May(OrgAct::ManageTeams);
const MANAGE_BILLING: OrgRule = OrgRule::May(OrgAct::ManageBilling);

/// What is served.
#[rustfmt::skip]
pub const PAGES: &[Page] = &[
    // signing in
    get("/sign-in", Access::Anyone(sign_in::show)),
    post("/sign-in", Access::Anyone(sign_in::show), "/sign-in", "").signing_in(),
    post("/sign-out", Access::Caller(sign_in::sign_out), "/sign-in", ""),

    // links of mails
    get("/invite/{token}", Access::Anyone(links::show_invitation)),
    post("/invite/{token}", Access::Anyone(links::accept), "/invite/{token}", "").with_password(links::find_acceptance_work),
    get("/reset/{token}", Access::Anyone(links::show_reset)),
    post("/reset/{token}", Access::Anyone(links::reset), "/reset/{token}", "").with_password(links::find_reset_work),

    get("/setup/{setup_token}", Access::Anyone(links::show_setup)),
    post("/setup/{setup_token}", Access::Anyone(links::setup), "/setup/{setup_token}", "")
        .with_password(links::find_setup_work),

    // members of the organization, invitations
    get("/settings/members", Access::Org(MEMBER, members::list)).searching(),
    post("/settings/members/invite", Access::Org(MANAGE_PEOPLE, members::invite_member), "/settings/members", "invite"),
    post("/settings/members/{user_id}/change", Access::Org(MANAGE_PEOPLE, members::change), "/settings/members", "edit"),
    post("/settings/members/{user_id}/remove", Access::Org(MANAGE_PEOPLE_OR_SELF, members::remove),
         "/settings/members", "remove").deleting(),
    post("/settings/members/{user_id}/reset", Access::Org(MANAGE_PEOPLE, members::make_reset), "/settings/members", "edit"),
    post("/settings/members/invitations/{invitation_id}/resend", Access::Org(MANAGE_PEOPLE, members::resend),
         "/settings/members", ""),
    post("/settings/members/invitations/{invitation_id}/revoke", Access::Org(MANAGE_PEOPLE, members::revoke),
         "/settings/members", "").deleting(),

    // teams, the organization
    get("/", Access::Caller(teams::home)),
    get("/settings/teams", Access::Teams(IN_VIEW, teams::list)).searching(),
    post("/settings/teams/create", Access::Org(MANAGE_TEAMS, teams::create), "/settings/teams", "create"),
    get("/t/{team_id}/settings", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::general)),
    post("/t/{team_id}/settings/update", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::update),
         "/t/{team_id}/settings", ""),
    post("/t/{team_id}/settings/delete", Access::OrgAbout(PATH, OrgAct::ManageTeams, teams::delete),
         "/t/{team_id}/settings", "delete").deleting(),
    get("/settings/general", Access::Org(MANAGE_TEAMS, teams::organization)),
    post("/settings/general/update", Access::Org(MANAGE_TEAMS, teams::update_organization), "/settings/general", ""),
    post("/settings/general/teams", Access::Org(MANAGE_TEAMS, teams::switch_teams), "/settings/general", ""),

    // members of a team
    get("/t/{team_id}/settings/members", Access::Team(PATH, VIEW, team_members::list)).searching(),
    post("/t/{team_id}/settings/members/add", Access::Team(PATH, MANAGE_MEMBERS, team_members::add),
         "/t/{team_id}/settings/members", ""),
    post("/t/{team_id}/settings/members/{user_id}/change", Access::Team(PATH, MANAGE_MEMBERS, team_members::change),
         "/t/{team_id}/settings/members", "edit"),
    post("/t/{team_id}/settings/members/{user_id}/remove",
         Access::Team(PATH, MANAGE_MEMBERS_OR_SELF, team_members::remove),
         "/t/{team_id}/settings/members", "remove").deleting(),

    // API keys
    get("/t/{team_id}/settings/api-keys", Access::Team(PATH, VIEW, api_keys::list_of_team)).searching(),
    post("/t/{team_id}/settings/api-keys/create", Access::KeyMaker(api_keys::create),
         "/t/{team_id}/settings/api-keys", "create"),
    post("/t/{team_id}/settings/api-keys/{api_key_prefix}/rotate", Access::KeyMaker(api_keys::rotate),
         "/t/{team_id}/settings/api-keys", "rotate"),
    post("/t/{team_id}/settings/api-keys/{api_key_prefix}/revoke", Access::Caller(api_keys::revoke),
         "/t/{team_id}/settings/api-keys", "revoke").deleting(),
    get("/account/api-keys", Access::Org(MEMBER, api_keys::list_own)).searching(),
    post("/account/api-keys/create", Access::KeyMaker(api_keys::create), "/account/api-keys", "create"),
    post("/account/api-keys/{api_key_prefix}/rotate", Access::KeyMaker(api_keys::rotate), "/account/api-keys", "rotate"),
    post("/account/api-keys/{api_key_prefix}/revoke", Access::Caller(api_keys::revoke),
         "/account/api-keys", "revoke").deleting(),

    // restricted environments
    get("/t/{team_id}/settings/environments", Access::Team(PATH, VIEW, environments::list)).searching(),
    post("/t/{team_id}/settings/environments/create", Access::Team(PATH, RESTRICT, environments::create),
         "/t/{team_id}/settings/environments", "create"),
    post("/t/{team_id}/settings/environments/{env_name}/change", Access::Team(PATH, RESTRICT, environments::change),
         "/t/{team_id}/settings/environments", "edit"),
    post("/t/{team_id}/settings/environments/{env_name}/lift", Access::Team(PATH, RESTRICT, environments::lift),
         "/t/{team_id}/settings/environments", "lift").deleting(),

    // a team
    get("/t/{team_id}", Access::Team(PATH, VIEW, overview::show)).searching(),

    // models and their deployments
    get("/t/{team_id}/models", Access::Team(PATH, VIEW, models::list)).searching(),
    get("/t/{team_id}/models/new", Access::Team(PATH, DEPLOY, models::deploy)),
    get("/t/{team_id}/models/{model_id}", Access::Team(PATH, VIEW, models::show)).searching(),
    post("/t/{team_id}/models/{model_id}/rename", Access::Team(PATH, DEPLOY, models::rename),
         "/t/{team_id}/models/{model_id}", "rename"),
    post("/t/{team_id}/models/{model_id}/delete", Access::Team(PATH, DEPLOY, models::delete),
         "/t/{team_id}/models/{model_id}", "delete").deleting(),
    post("/t/{team_id}/models/{model_id}/environments/create", Access::Deploy(PATH, models::create_environment),
         "/t/{team_id}/models/{model_id}", "environment"),
    post("/t/{team_id}/models/{model_id}/environments/{env_name}/promote", Access::Deploy(PATH, models::promote),
         "/t/{team_id}/models/{model_id}", "promote"),
    post("/t/{team_id}/models/{model_id}/environments/{env_name}/autoscaling", Access::Deploy(PATH, models::scale),
         "/t/{team_id}/models/{model_id}", "autoscaling"),
    get("/t/{team_id}/models/{model_id}/deployments/{deployment_id}", Access::Team(PATH, VIEW, deployments::show)).searching(),
    post("/t/{team_id}/models/{model_id}/deployments/{deployment_id}/activate",
         Access::Deploy(PATH, deployments::activate), "/t/{team_id}/models/{model_id}", ""),
    post("/t/{team_id}/models/{model_id}/deployments/{deployment_id}/deactivate",
         Access::Deploy(PATH, deployments::deactivate), "/t/{team_id}/models/{model_id}", ""),
    post("/t/{team_id}/models/{model_id}/deployments/{deployment_id}/retry",
         Access::Deploy(PATH, deployments::retry), "/t/{team_id}/models/{model_id}", ""),
    post("/t/{team_id}/models/{model_id}/deployments/{deployment_id}/delete",
         Access::Deploy(PATH, deployments::delete), "/t/{team_id}/models/{model_id}", "delete-deployment").deleting(),

    // Chains
    get("/t/{team_id}/chains", Access::Team(PATH, VIEW, chains::list)).searching(),
    get("/t/{team_id}/chains/{chain_id}", Access::Team(PATH, VIEW, chains::show)).searching(),
    post("/t/{team_id}/chains/{chain_id}/delete", Access::Team(PATH, DEPLOY, chains::delete),
         "/t/{team_id}/chains/{chain_id}", "delete").deleting(),
    post("/t/{team_id}/chains/{chain_id}/deployments/{chain_deployment_id}/deactivate",
         Access::Deploy(PATH, chains::deactivate), "/t/{team_id}/chains/{chain_id}", ""),

    // training
    get("/t/{team_id}/training", Access::Team(PATH, VIEW, training::list)).searching(),
    get("/t/{team_id}/training/{training_project_id}", Access::Team(PATH, VIEW, training::show)).searching(),
    post("/t/{team_id}/training/{training_project_id}/delete", Access::Team(PATH, DEPLOY, training::delete),
         "/t/{team_id}/training/{training_project_id}", "delete").deleting(),
    get("/t/{team_id}/training/{training_project_id}/jobs/{training_job_id}",
        Access::Team(PATH, VIEW, training::job)).searching(),
    post("/t/{team_id}/training/{training_project_id}/jobs/{training_job_id}/stop",
         Access::Team(PATH, DEPLOY, training::stop),
         "/t/{team_id}/training/{training_project_id}/jobs/{training_job_id}", ""),

    // Model APIs
    get("/t/{team_id}/model-apis", Access::Team(PATH, VIEW, model_apis::list)),

    // billing, activity, permissions
    get("/settings/billing", Access::Org(MANAGE_BILLING, billing::show)).searching(),
    get("/settings/activity", Access::Org(MANAGE_PEOPLE, activity::list)).searching(),
    get("/settings/activity/export", Access::Org(MANAGE_PEOPLE, activity::export)).searching(),
    get("/settings/permissions", Access::Org(MEMBER, permissions::show)).searching(),

    // one's own account
    get("/account", Access::Org(MEMBER, account::show)),
    post("/account/rename", Access::Org(MEMBER, account::rename), "/account", ""),
    post("/account/switch", Access::Org(MEMBER, account::switch), "/account", ""),
    get("/account/sessions", Access::Org(MEMBER, account::sessions)),
    post("/account/sessions/{session_id}/revoke", Access::Org(MEMBER, account::revoke_session),
         "/account/sessions", "").deleting(),

    get("/account/password", Access::Org(MEMBER, account::password)),
    post("/account/password", Access::Org(MEMBER, account::change_password), "/account/password", "")
        .with_password(account::find_password_work),

    // secrets
    get("/t/{team_id}/settings/secrets", Access::Team(PATH, VIEW, secrets::list)).searching(),
    post("/t/{team_id}/settings/secrets/set", Access::Team(PATH, DEPLOY, secrets::set),
         "/t/{team_id}/settings/secrets", "set"),
    post("/t/{team_id}/settings/secrets/{secret_name}/delete", Access::Team(PATH, DEPLOY, secrets::delete),
         "/t/{team_id}/settings/secrets", "delete").deleting(),
];

/// The first segments of the paths that belong to the console. Every other path belongs to an API.
pub const FIRST_SEGMENTS: &[&str] =
    &["", "account", "assets", "invite", "reset", "settings", "setup", "sign-in", "sign-out", "t"];

fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| PAGES.iter().copied().map(Row::of).collect());
    &ROWS
}

/// The row that answers a request.
///
/// # Errors
///
/// [`Error::NotFound`] if no page has the path, [`Error::MethodNotAllowed`] if one has it with another method.
pub fn find(method: &str, path: &[String]) -> Result<&'static Row, Error> {
    let mut on_path = rows().iter().filter(|row| row.path.matches(path)).peekable();
    let Some(first) = on_path.peek() else { return Err(Error::NotFound("page")) };
    let allowed = first.page.method.to_owned();
    on_path.find(|row| row.page.method == method).ok_or(Error::MethodNotAllowed(allowed))
}

/// The page with this template. Forms name the page that they stand on.
pub fn of_template(template: &str) -> &'static Row {
    let found = rows().iter().find(|row| row.page.method == "GET" && row.page.template == template);
    found.expect("a form stands on a page of this table")
}
