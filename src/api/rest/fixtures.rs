//! Fixtures over the operator's socket: a file describes organizations, and is loaded completely or not at all.
//!
//! A fixture is checked twice. Each value is checked alone while it is read; how the parts refer to each other is
//! checked here. A refusal names the position of the fault in the file, such as `people[3].teams.Reserch`.

use std::collections::BTreeMap;

use crate::api::{Reply, RequestContext};
use crate::db::api_keys::{NewKey, Owner};
use crate::db::fixtures::{self, Resource};
use crate::db::{Now, Tx, opening, organizations};
use crate::domain::invitations::InvitedTeam;
use crate::domain::{KeyName, Organization, Team, TeamName, UserId, model_apis};
use crate::error::{Error, quoted};
use crate::policy::keys::Lifetime;
use crate::policy::{Category, Operator, OrgRole, TeamRole};
use crate::token::PlainKey;
use crate::wire::fixtures::{
    self as wire, File, Fixture, Loaded, LoadedKey, LoadedMembership, LoadedOrganization, LoadedPerson, LoadedTeam,
};

mod generate;
mod holdings;
mod naming;

use naming::{Once, unknown};

/// Loads a file of fixtures and returns what was created.
///
/// # Errors
///
/// [`Error::Invalid`] or [`Error::Conflict`] with the position of the fault in the file; nothing is then loaded.
pub fn load(tx: &Tx, operator: &Operator, ctx: &RequestContext) -> Result<Reply, Error> {
    let file = ctx.read(File::parse)?;
    Ok(Reply::ok(&load_file(tx, operator, file)?))
}

/// Checks a file by loading it into a temporary database in memory. Returns what loading the file would create.
///
/// # Errors
///
/// [`Error::Invalid`] or [`Error::Conflict`] with the position of the fault in the file.
pub fn check(now: Now, operator: &Operator, body: &[u8]) -> Result<Loaded, Error> {
    let file = File::parse(body)?;
    opening::in_memory(now, |tx| load_file(tx, operator, file))
}

fn load_file(tx: &Tx, operator: &Operator, file: File) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    for (number, fixture) in file.fixtures.into_iter().enumerate() {
        let within = if file.is_list { format!("[{number}].") } else { String::new() };
        let fixture = generate::expanded(fixture, &format!("{within}generate"))?;
        loaded.organizations.push(organization(tx, operator, within, &fixture)?);
    }
    Ok(loaded)
}

fn organization(tx: &Tx, operator: &Operator, within: String, fixture: &Fixture) -> Result<LoadedOrganization, Error> {
    let asked = &fixture.organization;
    let made = organizations::create(tx, operator, &asked.name, asked.teams_enabled);
    let (organization, default_team) = made.map_err(at(format!("{within}organization.name")))?;
    let mut loading =
        Loading { tx, operator, within, organization, default_team, teams: BTreeMap::new(), people: BTreeMap::new() };
    loading.make_teams(&fixture.teams)?;
    let people = loading.people(&fixture.people)?;
    let teams = loading.teams(&fixture.teams)?;
    let api_keys = loading.key_managers(&fixture.api_keys)?;
    loading.model_apis(&fixture.model_apis)?;
    loading.invitations(&fixture.invitations)?;
    fixtures::loaded(tx, operator, &loading.organization, people.len(), teams.len())?;
    let Organization { id, name, .. } = loading.organization;
    Ok(LoadedOrganization { org_id: id.to_string(), name, people, teams, api_keys })
}

/// An organization that is being loaded.
struct Loading<'a> {
    tx: &'a Tx<'a>,
    operator: &'a Operator,
    /// The position of the fixture in the file. All positions within the fixture begin with it.
    within: String,
    organization: Organization,
    default_team: Team,
    /// The teams by name; case does not matter.
    teams: BTreeMap<String, Team>,
    /// The people by email address.
    people: BTreeMap<String, LoadedMember>,
}

/// A person who has been loaded.
struct LoadedMember {
    user_id: UserId,
    role: OrgRole,
    teams: Vec<(Team, TeamRole)>,
}

impl Loading<'_> {
    fn position(&self, list: &str, number: usize) -> String {
        format!("{}{list}[{number}]", self.within)
    }

    /// Creates the teams, still empty, so that people can be added to them.
    fn make_teams(&mut self, teams: &[wire::Team]) -> Result<(), Error> {
        let mut defaults = teams.iter().filter(|team| team.default);
        if let Some(team) = defaults.next() {
            self.default_team =
                fixtures::default_team(self.tx, self.operator, &self.default_team, &team.name, team.icon.as_ref())?;
        }
        if defaults.next().is_some() {
            return Err(Error::field(&format!("{}teams", self.within), "hold more than one default team"));
        }
        self.know_team(self.default_team.clone());
        for (number, team) in teams.iter().enumerate().filter(|(_, team)| !team.default) {
            let made = fixtures::team(self.tx, self.operator, &self.organization, &team.name, team.icon.as_ref());
            self.know_team(made.map_err(at(self.position("teams", number)))?);
        }
        Ok(())
    }

    fn know_team(&mut self, team: Team) {
        let name = TeamName::parse(&team.name).expect("the name of a team that was made");
        self.teams.insert(name.key(), team);
    }

    /// Finds the teams that a person or an invitation names.
    fn teams_named(&self, position: &str, named: &BTreeMap<String, TeamRole>) -> Result<Vec<(Team, TeamRole)>, Error> {
        let mut once = Once::default();
        let find = |(name, role): (&String, &TeamRole)| {
            let position = || format!("{position}.teams.{}", quoted(name));
            let key = TeamName::parse(name).map(|name| name.key()).unwrap_or_default();
            let team = self.teams.get(&key).ok_or_else(|| {
                let names = self.teams.values().map(|team| team.name.as_str());
                unknown(&position(), name, "team of this fixture", names)
            })?;
            once.see_as(&key, name, position)?;
            Ok((team.clone(), *role))
        };
        named.iter().map(find).collect()
    }

    fn people(&mut self, people: &[wire::Person]) -> Result<Vec<LoadedPerson>, Error> {
        if !people.iter().any(|person| person.role == OrgRole::Admin) {
            return Err(Error::field(&format!("{}people", self.within), "must hold an organization admin"));
        }
        let mut once = Once::default();
        let load = |(number, person): (usize, &wire::Person)| {
            let position = self.position("people", number);
            once.see(person.email.as_str(), || format!("{position}.email"))?;
            self.person(&position, person)
        };
        people.iter().enumerate().map(load).collect()
    }

    fn person(&mut self, position: &str, person: &wire::Person) -> Result<LoadedPerson, Error> {
        let mut teams = self.teams_named(position, &person.teams)?;
        // While teams are off, a person who joins with the organization role MEMBER is added to the default team.
        if !self.organization.teams_enabled && person.role == OrgRole::Member && teams.is_empty() {
            teams.push((self.default_team.clone(), TeamRole::Member));
        }
        let (tx, operator) = (self.tx, self.operator);
        let user = fixtures::person(tx, operator, &self.organization, &person.email, &person.name, person.role)?;
        for (team, role) in &teams {
            fixtures::member(tx, operator, team, &user.id, *role)?;
        }
        let owner = Owner::Person(&self.organization.id, &user.id);
        let key = self.key(Category::Personal, owner, person.api_key_name.as_ref())?;
        let loaded = LoadedPerson {
            user_id: user.id.to_string(),
            email: user.email.clone(),
            name: user.name,
            role: person.role.as_str().to_owned(),
            api_key: key.reveal().to_owned(),
            api_key_name: person.api_key_name.as_ref().map(|name| name.as_str().to_owned()),
            teams: teams.iter().map(membership).collect(),
        };
        self.people.insert(user.email, LoadedMember { user_id: user.id, role: person.role, teams });
        Ok(loaded)
    }

    /// Creates a key that is not narrowed: it may do all that its category may do.
    fn key(&self, category: Category, owner: Owner<'_>, name: Option<&KeyName>) -> Result<PlainKey, Error> {
        let new = NewKey {
            category,
            owner,
            name,
            model_ids: None,
            environments: None,
            lifetime: Lifetime::by_operator(self.operator),
            created_by: None,
        };
        fixtures::api_key(self.tx, self.operator, &new)
    }

    /// Loads what the teams hold. The default team comes first in the result.
    fn teams(&self, teams: &[wire::Team]) -> Result<Vec<LoadedTeam>, Error> {
        let mut loaded = Vec::new();
        for (number, asked) in teams.iter().enumerate() {
            let team = &self.teams[&asked.name.key()];
            let api_keys = self.holdings(&self.position("teams", number), team, asked)?;
            loaded.push(loaded_team(team, api_keys));
        }
        if !teams.iter().any(|team| team.default) {
            loaded.push(loaded_team(&self.default_team, Vec::new()));
        }
        loaded.sort_by_key(|team| !team.default);
        Ok(loaded)
    }

    fn key_managers(&self, keys: &[wire::OrganizationKey]) -> Result<Vec<LoadedKey>, Error> {
        let mut once = Once::default();
        let make = |(number, key): (usize, &wire::OrganizationKey)| {
            if let Some(name) = &key.name {
                once.see(name.as_str(), || format!("{}.name", self.position("api_keys", number)))?;
            }
            let owner = Owner::Organization(&self.organization.id);
            let made = self.key(Category::ManageApiKeys, owner, key.name.as_ref())?;
            Ok(loaded_key(Category::ManageApiKeys, key.name.as_ref(), &made))
        };
        keys.iter().enumerate().map(make).collect()
    }

    fn model_apis(&self, added: &[wire::ModelApi]) -> Result<(), Error> {
        let mut once = Once::default();
        for (number, model_api) in added.iter().enumerate() {
            let position = format!("{}.name", self.position("model_apis", number));
            once.see(&model_api.name, || position.clone())?;
            if model_apis::find(&model_api.name).is_none() {
                let names = model_apis::names();
                return Err(unknown(&position, &model_api.name, "Model API of the catalogue", names));
            }
            fixtures::model_api(self.tx, self.operator, &self.organization, &model_api.name)?;
            let Some(tokens) = &model_api.usage else { continue };
            let usage = fixtures::Usage {
                resource: Resource::ModelApi,
                name: &model_api.name,
                environment: None,
                instance_type: None,
                minutes: 0,
                requests: tokens.requests_per_day,
                input_tokens: tokens.input_tokens_per_day,
                output_tokens: tokens.output_tokens_per_day,
                cached_tokens: tokens.cached_tokens_per_day,
                micro_usd: tokens.micro_usd_per_day,
            };
            fixtures::usage(self.tx, self.operator, &self.organization, &usage, tokens.days.ago())?;
        }
        Ok(())
    }

    fn invitations(&self, invitations: &[wire::Invitation]) -> Result<(), Error> {
        let mut once = Once::default();
        for (number, invitation) in invitations.iter().enumerate() {
            let position = self.position("invitations", number);
            if self.people.contains_key(invitation.email.as_str()) {
                let address = quoted(invitation.email.as_str());
                return Err(Error::Invalid(format!("`{position}.email`: \"{address}\" is a member already")));
            }
            once.see(invitation.email.as_str(), || format!("{position}.email"))?;
            let teams = self.teams_named(&position, &invitation.teams)?;
            let invited_teams: Vec<InvitedTeam> =
                teams.into_iter().map(|(team, role)| InvitedTeam { team, role }).collect();
            let inviter = self.people.get(invitation.invited_by.as_str());
            let inviter = inviter.filter(|person| person.role == OrgRole::Admin).ok_or_else(|| {
                let admins = self.people.iter().filter(|(_, person)| person.role == OrgRole::Admin);
                let addresses = admins.map(|(address, _)| address.as_str());
                let (position, asked) = (format!("{position}.invited_by"), invitation.invited_by.as_str());
                unknown(&position, asked, "organization admin of this fixture", addresses)
            })?;
            let (inviter, email, role) = (&inviter.user_id, &invitation.email, invitation.role);
            fixtures::invitation(self.tx, self.operator, &self.organization, inviter, email, role, &invited_teams)?;
        }
        Ok(())
    }
}

/// Adds the position in the file to an error.
fn at(position: String) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Invalid(why) => Error::Invalid(format!("`{position}`: {why}")),
        Error::Conflict(conflict) => Error::conflict(format!("`{position}`: {}", conflict.message)),
        other => other,
    }
}

fn membership((team, role): &(Team, TeamRole)) -> LoadedMembership {
    LoadedMembership { team_id: team.id.to_string(), name: team.name.clone(), role: role.as_str().to_owned() }
}

fn loaded_team(team: &Team, api_keys: Vec<LoadedKey>) -> LoadedTeam {
    LoadedTeam { team_id: team.id.to_string(), name: team.name.clone(), default: team.is_default, api_keys }
}

/// Describes a key that is not narrowed.
fn loaded_key(category: Category, name: Option<&KeyName>, key: &PlainKey) -> LoadedKey {
    LoadedKey {
        category: category.as_str().to_owned(),
        name: name.map(|name| name.as_str().to_owned()),
        prefix: key.prefix().to_owned(),
        api_key: key.reveal().to_owned(),
        environments: None,
        model_ids: None,
        models: None,
    }
}
