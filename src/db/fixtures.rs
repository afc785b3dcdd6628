//! Loads fixtures for the operator: it creates rows of every kind of resource, without a caller.
//!
//! Each verb takes the operator as its proof. Single rows leave no entry in the audit log; [`loaded`] records the whole
//! load. The reader of the fixture checks that no name occurs twice in it, since it can name the entry at fault.

use rusqlite::named_params;
use serde_json::json;

use crate::db::audit::{self, Actor, Event};
use crate::db::teams::{self, DefaultTeam};
use crate::db::{
    Tx, api_keys, chains, environment_groups, invitations, members, models, secrets, training_projects, users,
};
use crate::domain::invitations::InvitedTeam;
use crate::domain::serving::PRODUCTION;
use crate::domain::{
    Email, EnvironmentName, Icon, Organization, PersonName, ResourceName, SecretName, SecretValue, Team, TeamName,
    User, UserId,
};
use crate::error::Error;
use crate::policy::{Operator, OrgRole, Restriction, TeamRole};
use crate::token::PlainKey;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// Creates a team in addition to the default team.
///
/// # Errors
///
/// [`Error::Invalid`] while teams are off in the organization; [`Error::Conflict`] for a name that another team has.
pub fn team(
    tx: &Tx,
    _: &Operator,
    organization: &Organization,
    name: &TeamName,
    icon: Option<&Icon>,
) -> Result<Team, Error> {
    if !organization.teams_enabled {
        return Err(Error::Invalid("teams are off in this organization: it has its default team alone".to_owned()));
    }
    teams::insert(tx, &organization.id, name, icon, DefaultTeam::No)
}

/// Gives the default team, which is created together with its organization, the name and icon of the fixture.
///
/// # Errors
///
/// [`Error::Conflict`] for a name that another team has.
pub fn default_team(tx: &Tx, _: &Operator, team: &Team, name: &TeamName, icon: Option<&Icon>) -> Result<Team, Error> {
    teams::write(tx, &team.org_id, team, name, icon.map(Icon::as_str))
}

/// Makes a person a member of the organization. A person whose address exists already keeps their name.
pub fn person(
    tx: &Tx,
    _: &Operator,
    organization: &Organization,
    email: &Email,
    name: &PersonName,
    role: OrgRole,
) -> Result<User, Error> {
    let user = match users::of_email(tx, email)? {
        Some(user) => user,
        None => users::insert(tx, email, name)?,
    };
    users::join(tx, &organization.id, &user.id, role)?;
    Ok(user)
}

/// Makes a member of the organization a member of the team.
pub fn member(tx: &Tx, _: &Operator, team: &Team, user_id: &UserId, role: TeamRole) -> Result<(), Error> {
    members::insert(tx, team, user_id, role)
}

/// Creates an API key.
pub fn api_key(tx: &Tx, _: &Operator, new: &api_keys::NewKey<'_>) -> Result<PlainKey, Error> {
    Ok(api_keys::insert(tx, new)?)
}

/// Creates a secret of the team, or replaces its value.
pub fn secret(tx: &Tx, _: &Operator, team: &Team, name: &SecretName, value: &SecretValue) -> Result<(), Error> {
    secrets::store(tx, team, name, value)
}

/// Creates a model with `production` and these other environments. Returns its id.
pub fn model(
    tx: &Tx,
    _: &Operator,
    team: &Team,
    name: &ResourceName,
    instance_type: &str,
    environments: &[EnvironmentName],
) -> Result<String, Error> {
    let id = models::insert(tx, team, name, instance_type)?;
    for environment in environments {
        models::insert_environment(tx, team, &id, environment.as_str())?;
    }
    Ok(id)
}

/// Creates a Chain with these environments and `production`, which every Chain has and which may be in the list or not.
/// Returns its id.
pub fn chain(
    tx: &Tx,
    _: &Operator,
    team: &Team,
    name: &ResourceName,
    environments: &[EnvironmentName],
) -> Result<String, Error> {
    let id = chains::insert(tx, team, name)?;
    for environment in environments.iter().map(EnvironmentName::as_str).filter(|name| *name != PRODUCTION) {
        chains::insert_environment(tx, team, &id, environment)?;
    }
    Ok(id)
}

/// Creates a training project. Returns its id.
pub fn training_project(tx: &Tx, _: &Operator, team: &Team, name: &ResourceName) -> Result<String, Error> {
    Ok(training_projects::insert(tx, team, name)?)
}

/// Creates an environment group of the team, with its restriction if it has one.
pub fn environment_group(
    tx: &Tx,
    _: &Operator,
    team: &Team,
    name: &EnvironmentName,
    restriction: Option<&Restriction>,
) -> Result<(), Error> {
    environment_groups::insert(tx, team, name, restriction)
}

/// Adds a Model API to the organization.
pub fn model_api(tx: &Tx, _: &Operator, organization: &Organization, name: &str) -> Result<(), Error> {
    tx.sql
        .prepare_cached(
            "INSERT INTO model_api (org_id, name, added_at)
             VALUES (:org_id, :name, :now)",
        )?
        .execute(named_params! { ":org_id": organization.id, ":name": name, ":now": tx.now })?;
    Ok(())
}

/// Creates a pending invitation. Its link is not kept anywhere: resending the invitation makes a link that works.
pub fn invitation(
    tx: &Tx,
    _: &Operator,
    organization: &Organization,
    inviter: &UserId,
    email: &Email,
    role: OrgRole,
    invited_teams: &[InvitedTeam],
) -> Result<(), Error> {
    let inviter = invitations::Inviter { user_id: inviter, key_ends_at: None };
    invitations::insert(tx, &organization.id, inviter, email, role, invited_teams).map(drop)
}

/// What one resource used on each of several days.
#[derive(Debug)]
pub struct Usage<'a> {
    pub resource: Resource<'a>,
    pub name: &'a str,
    pub environment: Option<&'a EnvironmentName>,
    pub instance_type: Option<&'a str>,
    pub minutes: u32,
    pub requests: u32,
    pub input_tokens: u32,
    pub output_tokens: u32,
    pub cached_tokens: u32,
    pub micro_usd: u32,
}

/// The kind of resource that was used, with the team and the parent resource that it belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    ModelDeployment(&'a Team, Parent<'a>),
    Chainlet(&'a Team, Parent<'a>),
    TrainingJob(&'a Team, Parent<'a>),
    ModelApi,
}

/// The model, Chain or training project that a resource belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    pub id: &'a str,
    pub name: &'a str,
}

/// Records the same usage for each of these days, which are counted back from today.
pub fn usage(
    tx: &Tx,
    _: &Operator,
    organization: &Organization,
    usage: &Usage<'_>,
    days_ago: impl Iterator<Item = u16>,
) -> Result<(), Error> {
    let (kind, team, parent) = match usage.resource {
        Resource::ModelDeployment(team, model) => ("MODEL_DEPLOYMENT", Some(team), Some(model)),
        Resource::Chainlet(team, chain) => ("CHAINLET", Some(team), Some(chain)),
        Resource::TrainingJob(team, project) => ("TRAINING_JOB", Some(team), Some(project)),
        Resource::ModelApi => ("MODEL_API", None, None),
    };
    // A Model API is identified by its name. Every other entry is a resource of its own, with a new id.
    let resource_id = team.map_or_else(|| usage.name.to_owned(), |_| tx.id());
    let mut insert = tx.sql.prepare_cached(
        "INSERT INTO usage (org_id, day, kind, resource_id, resource_name, model_id, model_name, team_id, team_name,
                            environment, instance_type, minutes, requests, input_tokens, output_tokens,
                            cached_tokens, micro_usd)
         VALUES (:org_id, :day, :kind, :resource_id, :resource_name, :model_id, :model_name, :team_id, :team_name,
                 :environment, :instance_type, :minutes, :requests, :input_tokens, :output_tokens,
                 :cached_tokens, :micro_usd)",
    )?;
    for ago in days_ago {
        let when = tx.now.plus_seconds(-i64::from(ago) * SECONDS_A_DAY).to_string();
        insert.execute(named_params! {
            ":org_id": organization.id,
            ":day": when.split('T').next(),
            ":kind": kind,
            ":resource_id": resource_id,
            ":resource_name": usage.name,
            ":model_id": parent.map(|parent| parent.id),
            ":model_name": parent.map(|parent| parent.name),
            ":team_id": team.map(|team| &team.id),
            ":team_name": team.map(|team| &team.name),
            ":environment": usage.environment.map(EnvironmentName::as_str),
            ":instance_type": usage.instance_type,
            ":minutes": usage.minutes,
            ":requests": usage.requests,
            ":input_tokens": usage.input_tokens,
            ":output_tokens": usage.output_tokens,
            ":cached_tokens": usage.cached_tokens,
            ":micro_usd": usage.micro_usd,
        })?;
    }
    Ok(())
}

/// Records in the audit log what was loaded into an organization.
pub fn loaded(
    tx: &Tx,
    operator: &Operator,
    organization: &Organization,
    people: usize,
    teams: usize,
) -> Result<(), Error> {
    let data = json!({ "organization_id": organization.id.as_str(), "people": people, "teams": teams });
    audit::record(tx, Actor::Operator(operator), &organization.id, None, Event::new("FIXTURES_LOADED", data))
}
