//! Organization settings → Permissions: the tables, and why somebody may or may not do something.

use askama::Template;

use crate::api::Reply;
use crate::console::context::PageContext;
use crate::console::frame::{Frame, Nav};
use crate::console::rendering::{html, sentence};
use crate::console::view;
use crate::db::{Tx, api_keys, environment_groups, people, teams};
use crate::domain::{EnvironmentName, Paging, Team, User};
use crate::error::Error;
use crate::policy::tables::{self, Table};
use crate::policy::{Caller, Explanation, InOrg, OrgAct, Question, TeamAct};

/// How many people the question offers.
const OFFERED_MAX: usize = 200;
const CHANGE_ENVIRONMENT: &str = "CHANGE_ENVIRONMENT";

#[derive(Template)]
#[template(path = "permissions.html")]
struct Permissions {
    frame: Frame,
    tables: Vec<Shown>,
    people: Vec<User>,
    teams: Vec<Team>,
    acts: Vec<(&'static str, &'static str)>,
    user_id: String,
    act: String,
    team_id: String,
    environment: String,
    answer: Option<Answer>,
    refused: Option<String>,
}

/// A table, its cells as yes and no.
struct Shown {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<(&'static str, Vec<bool>)>,
}

struct Answer {
    who: String,
    act: String,
    explanation: Explanation,
}

pub fn show(tx: &Tx, org: &InOrg, ctx: &PageContext) -> Result<Reply, Error> {
    let frame = Frame::new(tx, ctx, Nav::Organization, None)?;
    let caller = org.caller();
    let people = if frame.may.manage_members {
        people::of_organization(tx, org, "", &Paging { after: String::new(), items_max: OFFERED_MAX })?.items
    } else {
        Vec::new()
    };
    let asked = (!ctx.query("act").is_empty()).then(|| explain(tx, caller, ctx));
    let (answer, refused) = match asked {
        None => (None, None),
        Some(Ok(answer)) => (Some(answer), None),
        Some(Err(error @ (Error::Invalid(_) | Error::Forbidden(_) | Error::NotFound(_)))) => {
            (None, Some(sentence(&error)))
        }
        Some(Err(error)) => return Err(error),
    };
    let mut shown = vec![of("Organization roles", tables::organization(), &["Admin", "Member"])];
    if frame.has_teams() {
        shown.push(of("Team roles", tables::team(), &["Team Admin", "Team Member"]));
    }
    shown.push(of("Keys of no person", tables::team_api_keys(), &[]));
    let of_org = OrgAct::ALL.iter().map(|act| (act.as_str(), act.wording()));
    let of_team = TeamAct::ALL.iter().map(|act| (act.as_str(), act.wording()));
    html(&Permissions {
        tables: shown,
        people: people.into_iter().map(|member| member.user).collect(),
        teams: teams::of_organization(tx, caller)?,
        acts: [(CHANGE_ENVIRONMENT, "Change an environment")].into_iter().chain(of_team).chain(of_org).collect(),
        user_id: ctx.query("user_id").to_owned(),
        act: ctx.query("act").to_owned(),
        team_id: ctx.query("team_id").to_owned(),
        environment: ctx.query("environment").to_owned(),
        answer,
        refused,
        frame,
    })
}

fn of(title: &'static str, table: Table, headings: &[&str]) -> Shown {
    let row = |row: &tables::Row| {
        (row.wording, table.roles.iter().map(|role| row.allowed.contains(role)).collect::<Vec<bool>>())
    };
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let named = table.roles.iter().map(|role| view::sentence_case(role.trim_start_matches("WORKSPACE_"))).collect();
    Shown {
        title,
        columns: if headings.is_empty() { named } else { headings },
        rows: table.rows.iter().map(row).collect(),
    }
}

/// Answers the question of the query with the functions that enforce the permissions.
fn explain(tx: &Tx, caller: &Caller, ctx: &PageContext) -> Result<Answer, Error> {
    let (user_id, act, team_id) = (ctx.query("user_id"), ctx.query("act"), ctx.query("team_id"));
    let org_act = OrgAct::parse(act);
    let team = match org_act {
        Some(_) => None,
        None => {
            let team = match team_id {
                "" => teams::default(tx, &caller.org_id)?,
                id => teams::find(tx, id)?,
            };
            caller.standing_in(&team).ok_or(Error::NotFound("team"))?;
            Some(team)
        }
    };
    let subject = if user_id.is_empty() || caller.is_person(user_id) {
        caller.clone()
    } else {
        caller.may_ask_about_others(team.as_ref())?;
        api_keys::person(tx, &caller.org_id, user_id)?
    };
    let name = match user_id {
        "" => "You".to_owned(),
        id => crate::db::users::find(tx, &caller.own_org(), id)?.user.name,
    };
    let (explanation, words) = match (org_act, team) {
        (Some(act), _) => (subject.explain(Question::Org(act)), act.wording().to_owned()),
        (None, Some(team)) if act == CHANGE_ENVIRONMENT => {
            let environment = match ctx.query("environment") {
                "" => "production",
                name => name,
            };
            let environment = EnvironmentName::parse("environment", environment)?;
            let restriction = environment_groups::restriction(tx, &team, &environment)?;
            let question = Question::ChangeEnvironment(&team, &environment, restriction.as_ref());
            (subject.explain(question), format!("Change {} in {}", environment.as_str(), team.name))
        }
        (None, Some(team)) => {
            let act = TeamAct::parse(act).ok_or_else(|| Error::field("act", "is not in the tables"))?;
            (subject.explain(Question::Team(&team, act)), format!("{} in {}", act.wording(), team.name))
        }
        (None, None) => return Err(Error::field("act", "is not in the tables")),
    };
    Ok(Answer { who: name, act: words, explanation })
}
