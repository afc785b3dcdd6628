//! Every page and every form: its path, who may use it, how it runs and which handler answers it.

use std::sync::LazyLock;

use crate::api::access::{Source, TeamRule};
use crate::console::context::Access;
use crate::console::page::{Page, Row, get, post};
use crate::console::{secrets, sign_in};
use crate::error::Error;
use crate::policy::TeamAct;

const PATH: Source = Source::Path;
const VIEW: TeamRule = TeamRule::May(TeamAct::View);
const DEPLOY: TeamRule = TeamRule::May(TeamAct::Deploy);

/// What is served.
#[rustfmt::skip]
pub const PAGES: &[Page] = &[
    // signing in
    get("/sign-in", Access::Anyone(sign_in::show)),
    post("/sign-in", Access::Anyone(sign_in::show), "/sign-in", "").signing_in(),
    post("/sign-out", Access::Caller(sign_in::sign_out), "/sign-in", ""),

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
