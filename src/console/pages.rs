//! Every page and every form: its path, who may use it, how it runs and which handler answers it.

use std::sync::LazyLock;

use crate::api::access::{OrgRule, Source, TeamRule, TeamsRule};
use crate::console::context::Access;
use crate::console::page::{Page, Row, get, post};
use crate::console::{api_keys, deployments, environments, links, members, models, secrets, sign_in, team_members, teams};
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

    // models and their deployments
    get("/t/{team_id}/models", Access::Team(PATH, VIEW, models::list)).searching(),
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
