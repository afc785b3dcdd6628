//! Answers whether a person or a key may do something, and by which row, role or grant. The functions that enforce the
//! permissions decide.

use crate::domain::{EnvironmentName, Team};
use crate::error::Error;
use crate::policy::{Caller, OrgAct, OrgRole, Person, Restriction, TeamAct, TeamCategory, TeamKey, Who, metrics};

/// The answer to "may this subject do this, and why". The functions that enforce the permissions decide it.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub allowed: bool,
    pub because: Vec<String>,
}

/// A question that can be asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    Org(OrgAct),
    Team(&'a Team, TeamAct),
    ChangeEnvironment(&'a Team, &'a EnvironmentName, Option<&'a Restriction>),
}

impl Caller {
    /// Checks that the caller may ask what others may do, in the team or, without one, in the organization. This needs
    /// the permission to manage members there.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_team`] for a team, otherwise those of [`Caller::in_org`].
    pub fn may_ask_about_others(&self, team: Option<&Team>) -> Result<(), Error> {
        match team {
            Some(team) => self.in_team(team, TeamAct::ManageMembers).map(drop),
            None => self.in_org(OrgAct::ManageMembers).map(drop),
        }
    }

    pub fn explain(&self, question: Question<'_>) -> Explanation {
        let (decision, mut because) = match question {
            Question::Org(act) => (self.in_org(act).map(drop), vec![self.org_sentence()]),
            Question::Team(team, act) => (self.in_team(team, act).map(drop), vec![self.team_sentence(team)]),
            Question::ChangeEnvironment(team, environment, restriction) => (
                self.in_environment(team, environment.clone(), restriction).map(drop),
                vec![self.team_sentence(team), restriction_sentence(team, environment, restriction)],
            ),
        };
        let granted = match question {
            Question::Org(act) => format!("that includes \"{}\"", act.wording()),
            Question::Team(_, act) => format!("that includes \"{}\"", act.wording()),
            Question::ChangeEnvironment(..) => "so it may be changed".to_owned(),
        };
        because.push(decision.as_ref().err().map_or(granted, ToString::to_string));
        if let Question::Team(team, act) = question {
            because.extend(self.beside_the_tables(team, act));
        }
        Explanation { allowed: decision.is_ok(), because }
    }

    /// What applies to the caller and is not in the tables.
    fn beside_the_tables(&self, team: &Team, act: TeamAct) -> Option<String> {
        match &self.who {
            Who::TeamKey(key) if key.team_id == team.id => key.beside_the_tables(act),
            Who::KeyManager { .. } if act == TeamAct::View && team.org_id == self.org_id => {
                Some("but a key of this category sees which teams there are, and their names".to_owned())
            }
            Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => None,
        }
    }

    fn org_sentence(&self) -> String {
        match &self.who {
            Who::Person(person) => format!("the organization role is {}", person.role.as_str()),
            Who::TeamKey(_) => "a team API key holds no organization role".to_owned(),
            Who::KeyManager { .. } => "a key-managing key holds no organization role".to_owned(),
        }
    }

    fn team_sentence(&self, team: &Team) -> String {
        let name = &team.name;
        match &self.who {
            Who::Person(Person { role: OrgRole::Admin, .. }) => {
                format!("an organization admin is an admin of every team of the organization, so also of \"{name}\"")
            }
            Who::Person(person) => match person.explicit_role_in(&team.id) {
                Some(role) => format!("the team role in \"{name}\" is {}", role.as_str()),
                None => format!("not a member of \"{name}\""),
            },
            Who::TeamKey(key) if key.team_id == team.id => {
                let narrowed = if key.environments.is_some() { ", narrowed to environments" } else { "" };
                format!("a key of \"{name}\" with category {}{narrowed}", key.category.as_str())
            }
            Who::TeamKey(_) => format!("a key of another team than \"{name}\""),
            Who::KeyManager { .. } => "a key that manages the team keys of its organization".to_owned(),
        }
    }
}

impl TeamKey {
    /// What applies to the key and is not in the tables.
    fn beside_the_tables(&self, act: TeamAct) -> Option<String> {
        let models = self.models.as_deref().map(metrics::named);
        match act {
            TeamAct::CallModels if self.category == TeamCategory::Invoke => {
                models.map(|models| format!("but this key is narrowed to {models} and calls nothing else"))
            }
            TeamAct::View if self.category == TeamCategory::ExportMetrics => {
                let of = models.unwrap_or_else(|| "the whole team".to_owned());
                Some(format!("but a key of this category reads metrics, and this one those of {of}"))
            }
            TeamAct::ManageMembers
            | TeamAct::CreateRestrictedEnvironments
            | TeamAct::CreateApiKeys
            | TeamAct::Deploy
            | TeamAct::CallModels
            | TeamAct::View => None,
        }
    }
}

fn restriction_sentence(team: &Team, environment: &EnvironmentName, restriction: Option<&Restriction>) -> String {
    let state = if restriction.is_some() { "restricted" } else { "not restricted" };
    format!("the environment \"{}\" of \"{}\" is {state}", environment.as_str(), team.name)
}
