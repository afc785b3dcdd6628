//! Does each arm of the access rules decide as the documents say? The tests make callers and teams themselves and call
//! `policy` without a server.
//!
//! The callers belong to the organization `acme`. Its teams are `home` (the default team), `research` and `inference`;
//! `abroad` is a team of another organization.

use guildhall::domain::{EnvironmentName, OrgId, Team, TeamId, Time};
use guildhall::error::Error;
use guildhall::policy::{Caller, Credential, OrgRole, Person, TeamCategory, TeamKey, TeamRole, Who};
use rusqlite::types::{FromSql, ValueRef};

mod deploying;
mod explained;
mod keys;
mod metrics;
mod proofs;
mod tables;

/// An id, as it is read from a column.
fn id<T: FromSql>(text: &str) -> T {
    T::column_result(ValueRef::from(text)).expect("an id is a text")
}

fn team(name: &str) -> Team {
    let org_id: OrgId = id(if name == "abroad" { "globex" } else { "acme" });
    let is_default = name == "home";
    Team { id: id(name), org_id, name: name.to_owned(), icon: None, is_default, created_at: Time(0) }
}

/// All teams of the callers' organization.
fn teams() -> Vec<Team> {
    ["home", "research", "inference"].map(team).to_vec()
}

fn caller(who: Who) -> Caller {
    Caller { org_id: id("acme"), who, key_ends_at: None }
}

/// A person, whose key has the prefix `guild_` and their name.
fn person(user: &str, role: OrgRole, teams: &[(&str, TeamRole)]) -> Caller {
    let teams = teams.iter().map(|(team, role)| (id::<TeamId>(team), *role)).collect();
    caller(Who::Person(Person {
        user_id: id(user),
        role,
        teams,
        prefix: format!("guild_{user}"),
        credential: Credential::Key,
    }))
}

/// An organization admin without a team.
fn ada() -> Caller {
    person("ada", OrgRole::Admin, &[])
}

/// A team admin of `research`.
fn tess() -> Caller {
    person("tess", OrgRole::Member, &[("research", TeamRole::Admin)])
}

/// A team member of `research`.
fn max() -> Caller {
    person("max", OrgRole::Member, &[("research", TeamRole::Member)])
}

/// A member of the organization in no team.
fn lone() -> Caller {
    person("lone", OrgRole::Member, &[])
}

/// A key of `research`.
fn team_key(category: TeamCategory) -> TeamKey {
    TeamKey { prefix: "guild_team".to_owned(), team_id: id("research"), category, environments: None, models: None }
}

fn key(category: TeamCategory) -> Caller {
    caller(Who::TeamKey(team_key(category)))
}

/// A key of `research` that is narrowed to environments.
fn key_for_environments(category: TeamCategory, names: &[&str]) -> Caller {
    let environments = names.iter().map(|name| environment(name)).collect();
    caller(Who::TeamKey(TeamKey { environments: Some(environments), ..team_key(category) }))
}

/// A key of `research` that is narrowed to models.
fn key_for_models(category: TeamCategory, ids: &[&str]) -> Caller {
    let models = ids.iter().map(|id| (*id).to_owned()).collect();
    caller(Who::TeamKey(TeamKey { models: Some(models), ..team_key(category) }))
}

fn key_manager() -> Caller {
    caller(Who::KeyManager { prefix: "guild_manager".to_owned() })
}

fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::parse("name", name).expect("it is a name")
}

/// The sentence of a 403.
#[track_caller]
fn forbidden<T>(decision: Result<T, Error>) -> String {
    match decision {
        Err(Error::Forbidden(sentence)) => sentence,
        Err(other) => panic!("refused, but not with a 403: {other:?}"),
        Ok(_) => panic!("allowed"),
    }
}

/// What a 404 says does not exist.
#[track_caller]
fn not_found<T>(decision: Result<T, Error>) -> &'static str {
    match decision {
        Err(Error::NotFound(what)) => what,
        Err(other) => panic!("refused, but not with a 404: {other:?}"),
        Ok(_) => panic!("allowed"),
    }
}
