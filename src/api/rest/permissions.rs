//! Who may do what, over HTTP: the tables, and why somebody may or may not do something.

use crate::api::{Reply, RequestContext};
use crate::db::{Tx, api_keys, environment_groups, teams};
use crate::domain::api_keys::KeyKind;
use crate::domain::{EnvironmentName, Team};
use crate::error::Error;
use crate::policy::tables::{self, Row, Table};
use crate::policy::{Caller, Category, OrgAct, Person, Question, TeamAct, Who};
use crate::wire::permissions::{Act, Acts, Explanation, Permissions, Subject};

/// The act of changing an environment. It is not a row of the tables: it needs "Deploy", and in a restricted
/// environment a place on its list.
const CHANGE_ENVIRONMENT: &str = "CHANGE_ENVIRONMENT";

pub fn show(_: &Tx, _: &Caller, _: &RequestContext) -> Result<Reply, Error> {
    Ok(Reply::ok(&all_tables()))
}

/// The permission tables, in the same form as `guildhall permissions -o json` shows them.
pub fn all_tables() -> Permissions {
    Permissions {
        organization: shown(tables::organization()),
        team: shown(tables::team()),
        team_api_keys: shown(tables::team_api_keys()),
    }
}

fn shown(table: Table) -> Acts {
    let act = |row: Row| Act { act: row.act, title: row.wording, allowed: row.allowed };
    Acts { roles: table.roles, acts: table.rows.into_iter().map(act).collect() }
}

pub fn explain(tx: &Tx, caller: &Caller, ctx: &RequestContext) -> Result<Reply, Error> {
    let whom = Whom::read(ctx)?;
    match Asked::read(ctx)? {
        Asked::Org(act) => answer(tx, caller, whom, Question::Org(act)),
        Asked::Team(act, team_id) => {
            let team = team_seen(tx, caller, team_id)?;
            answer(tx, caller, whom, Question::Team(&team, act))
        }
        Asked::ChangeEnvironment(name, team_id) => {
            let team = team_seen(tx, caller, team_id)?;
            let restriction = environment_groups::restriction(tx, &team, &name)?;
            answer(tx, caller, whom, Question::ChangeEnvironment(&team, &name, restriction.as_ref()))
        }
    }
}

fn answer(tx: &Tx, caller: &Caller, whom: Whom<'_>, question: Question<'_>) -> Result<Reply, Error> {
    let (act, team, environment) = match question {
        Question::Org(act) => (act.as_str(), None, None),
        Question::Team(team, act) => (act.as_str(), Some(team), None),
        Question::ChangeEnvironment(team, name, _) => (CHANGE_ENVIRONMENT, Some(team), Some(name.as_str())),
    };
    let about = About::find(tx, caller, team, whom)?;
    let explanation = about.subject.explain(question);
    Ok(Reply::ok(&Explanation {
        allowed: explanation.allowed,
        act,
        subject: about.shown(team),
        team_id: team.map(|team| team.id.as_str()),
        environment,
        because: &explanation.because,
    }))
}

fn team_seen(tx: &Tx, caller: &Caller, id: &str) -> Result<Team, Error> {
    let team = teams::find(tx, id)?;
    caller.standing_in(&team).ok_or(Error::NotFound("team"))?;
    Ok(team)
}

/// The act that a request asks about, after the query has been checked.
enum Asked<'a> {
    Org(OrgAct),
    Team(TeamAct, &'a str),
    ChangeEnvironment(EnvironmentName, &'a str),
}

impl<'a> Asked<'a> {
    fn read(ctx: &'a RequestContext) -> Result<Asked<'a>, Error> {
        let act = ctx.query("act").ok_or_else(|| Error::field("act", &one_of_the_acts()))?;
        let (team_id, environment) = (ctx.query("team_id"), ctx.query("environment"));
        if environment.is_some() && act != CHANGE_ENVIRONMENT {
            return Err(Error::field("environment", "goes with CHANGE_ENVIRONMENT alone"));
        }
        if let Some(act) = OrgAct::parse(act) {
            return match team_id {
                None => Ok(Asked::Org(act)),
                Some(_) => Err(Error::field("team_id", "goes with what is done in a team: leave it out")),
            };
        }
        let needs_team = || Error::field("team_id", "must say in which team");
        if let Some(act) = TeamAct::parse(act) {
            return Ok(Asked::Team(act, team_id.ok_or_else(needs_team)?));
        }
        if act != CHANGE_ENVIRONMENT {
            return Err(Error::field("act", &one_of_the_acts()));
        }
        let name = environment.ok_or_else(|| Error::field("environment", "must say which environment"))?;
        Ok(Asked::ChangeEnvironment(EnvironmentName::parse("environment", name)?, team_id.ok_or_else(needs_team)?))
    }
}

fn one_of_the_acts() -> String {
    let org = OrgAct::ALL.iter().map(|act| act.as_str());
    let acts: Vec<_> = org.chain(TeamAct::ALL.iter().map(|act| act.as_str())).chain([CHANGE_ENVIRONMENT]).collect();
    format!("must be one of {}", acts.join(", "))
}

/// The subject that a request asks about.
enum Whom<'a> {
    Oneself,
    User(&'a str),
    Key(&'a str),
}

impl<'a> Whom<'a> {
    fn read(ctx: &'a RequestContext) -> Result<Whom<'a>, Error> {
        match (ctx.query("user_id"), ctx.query("api_key_prefix")) {
            (None, None) => Ok(Whom::Oneself),
            (Some(user_id), None) => Ok(Whom::User(user_id)),
            (None, Some(prefix)) => Ok(Whom::Key(prefix)),
            (Some(_), Some(_)) => Err(Error::field("api_key_prefix", "must not stand beside `user_id`: ask about one")),
        }
    }
}

/// The subject of the answer, as the caller that they would be in a request of their own.
struct About {
    subject: Caller,
    /// The prefix and category of the key, if the answer is about a key and not about a person.
    key: Option<(String, Category)>,
}

impl About {
    /// Finds the subject. Anyone may ask about themselves; to ask about others, a caller needs the right to manage
    /// them. A caller without this right does not learn whether the subject exists.
    fn find(tx: &Tx, caller: &Caller, team: Option<&Team>, whom: Whom<'_>) -> Result<About, Error> {
        match whom {
            Whom::Oneself => Ok(About { subject: caller.clone(), key: own_key(caller) }),
            Whom::User(user_id) => {
                if !caller.is_person(user_id) {
                    caller.may_ask_about_others(team)?;
                }
                Ok(About { subject: api_keys::person(tx, &caller.org_id, user_id)?, key: None })
            }
            Whom::Key(prefix) => {
                let key = api_keys::find(tx, caller, prefix);
                let is_own = |kind| matches!(kind, KeyKind::Personal(owner) if caller.is_person(owner.as_str()));
                if prefix != caller.prefix() && !key.as_ref().is_ok_and(|key| is_own(key.kind())) {
                    caller.may_ask_about_others(team)?;
                }
                let key = key?;
                let subject = api_keys::bearer(tx, &key)?;
                let category = key.kind().category();
                Ok(About { subject, key: Some((key.prefix, category)) })
            }
        }
    }

    fn shown(&self, team: Option<&Team>) -> Subject<'_> {
        let person = match &self.subject.who {
            Who::Person(person) => Some(person),
            Who::TeamKey(_) | Who::KeyManager { .. } => None,
        };
        let standing = team.and_then(|team| self.subject.standing_in(team));
        Subject {
            user_id: person.filter(|_| self.key.is_none()).map(|Person { user_id, .. }| user_id.as_str()),
            api_key_prefix: self.key.as_ref().map(|(prefix, _)| prefix.as_str()),
            organization_role: person.map(|person| person.role.as_str()),
            team_role: standing.filter(|_| person.is_some()).map(|standing| standing.as_str()),
            category: self.key.as_ref().map(|(_, category)| category.as_str()),
        }
    }
}

/// The key of a caller that is not a person. For a person, the answer is about the person and not about the key.
fn own_key(caller: &Caller) -> Option<(String, Category)> {
    let category = match &caller.who {
        Who::Person(_) => return None,
        Who::TeamKey(key) => Category::Team(key.category),
        Who::KeyManager { .. } => Category::ManageApiKeys,
    };
    Some((caller.prefix().to_owned(), category))
}
