//! Who may do what.
//!
//! The tables are the tables of the documents, row for row, with the categories of API keys as further columns. The
//! server enforces them, `guildhall permissions` and `GET /v1/permissions` print them, and a test checks the README
//! against them. One rule is not in the tables: an organization admin is an admin of every team of that organization.
//! The tables do not say who reads metrics; [`metrics`] does.
//!
//! The answer is a proof, not a bool. Only this module makes proofs. Every function in `db` that touches rows of an
//! organization or a team takes a proof and uses the organization or team of *that proof*. A proof claims no more than
//! was checked:
//!
//! | proof | what it states |
//! |---|---|
//! | [`InOrg`] | the caller may do this act in the organization |
//! | [`InTeam`] | the caller may do this act everywhere in the team |
//! | [`Deployer`] | the caller may deploy in the team, perhaps only into some environments |
//! | [`InEnvironment`] | the caller may change this one environment of the team |
//! | [`MetricsReader`] | the caller may read these metrics |
//! | [`Invoker`] | the caller may call this model or Chain in this environment, or by this deployment |
//!
//! Verbs that read a team's rows take a [`Reader`]. Every proof for a team is a `Reader`, except
//! [`MetricsReader`] and [`Invoker`].
//! Other modules cannot make a proof:
//!
//! ```compile_fail,E0451
//! use guildhall::domain::Team;
//! use guildhall::policy::{Caller, InTeam};
//!
//! fn forge<'a>(caller: &'a Caller, team: &'a Team) -> InTeam<'a> {
//!     InTeam { caller, team }
//! }
//! ```

use crate::domain::named::named;
use crate::domain::{EnvironmentName, OrgId, Team, TeamId, Time, UserId};
use crate::error::Error;
use crate::table::{mark, table};

mod deploying;
mod explain;
mod invoking;
pub mod keys;
pub mod metrics;
mod operator;
mod refusals;
pub mod tables;

pub use crate::domain::{Category, OrgRole, TeamCategory, TeamRole};
pub use deploying::{Deployer, Deployers, InEnvironment, Restriction, nowhere};
pub use explain::{Explanation, Question};
pub use invoking::{Invoker, Invoking};
pub use metrics::MetricsReader;
pub use operator::Operator;
use refusals::{narrowed, refusal};

table! {
    /// Acts on the organization.
    OrgAct by OrgRole                                                 [ Admin        Member ]
    ManageBilling: MANAGE_BILLING        "Manage billing"               [ yes           no ]
    ManageTeams: MANAGE_TEAMS            "Manage teams"                 [ yes           no ]
    ManageMembers: MANAGE_ORGANIZATION_MEMBERS
                                         "Manage organization members"  [ yes           no ]
    ViewAllTeams: VIEW_ALL_TEAMS         "View all teams"               [ yes           no ]
}

table! {
    /// Acts in one team.
    TeamAct by Standing                                               [ Admin Member ManageAll Invoke ExportMetrics ManageApiKeys ]
    ManageMembers: MANAGE_TEAM_MEMBERS  "Manage team members"          [ yes   no       no        no     no            no  ]
    CreateRestrictedEnvironments: CREATE_RESTRICTED_ENVIRONMENTS
                                        "Create restricted environments"
                                                                       [ yes   no       no        no     no            no  ]
    CreateApiKeys: CREATE_TEAM_API_KEYS "Create team API keys"         [ yes   no       no        no     no            yes ]
    Deploy: DEPLOY                      "Deploy models, Chains, and training projects"
                                                                       [ yes   yes      yes       no     no            no  ]
    CallModels: CALL_MODELS             "Call models"                  [ yes   yes      yes       yes    no            no  ]
    View: VIEW_TEAM_RESOURCES           "View team resources"          [ yes   yes      yes       no     no            no  ]
}

named! {
    /// The standing of a person or a key in one team: the two team roles, then the categories of keys.
    Standing {
        Admin: ADMIN,
        Member: MEMBER,
        ManageAll: WORKSPACE_MANAGE_ALL,
        Invoke: WORKSPACE_INVOKE,
        ExportMetrics: WORKSPACE_EXPORT_METRICS,
        ManageApiKeys: WORKSPACE_MANAGE_API_KEYS,
    }
}

impl TeamRole {
    pub const fn standing(self) -> Standing {
        match self {
            TeamRole::Admin => Standing::Admin,
            TeamRole::Member => Standing::Member,
        }
    }
}

impl TeamCategory {
    pub const fn standing(self) -> Standing {
        match self {
            TeamCategory::ManageAll => Standing::ManageAll,
            TeamCategory::Invoke => Standing::Invoke,
            TeamCategory::ExportMetrics => Standing::ExportMetrics,
        }
    }
}

/// The sender of a request, with the roles read in the same transaction.
#[derive(Clone, Debug)]
pub struct Caller {
    pub org_id: OrgId,
    pub who: Who,
    /// When the key that was sent expires.
    pub key_ends_at: Option<Time>,
}

#[derive(Clone, Debug)]
pub enum Who {
    /// A person, authenticated by a personal key or a session. Neither stores roles: they have those of the person.
    Person(Person),
    /// A team's key. It has a standing in its one team and in no other, whoever made it.
    TeamKey(TeamKey),
    /// A key that manages the team keys of its organization.
    KeyManager { prefix: String },
}

#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: UserId,
    pub role: OrgRole,
    /// Explicit memberships in teams of the caller's organization.
    pub teams: Vec<(TeamId, TeamRole)>,
    /// The prefix of the personal key that was sent, or the id of the session. Empty for a person who is only the subject
    /// of a question.
    pub prefix: String,
    pub credential: Credential,
}

/// How a person proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// They sent a personal key.
    Key,
    /// They are signed in to the console.
    Session,
    /// They did not: the person is the subject of a question.
    Nothing,
}

#[derive(Clone, Debug)]
pub struct TeamKey {
    pub prefix: String,
    pub team_id: TeamId,
    pub category: TeamCategory,
    /// The environments that the key is narrowed to. `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    /// The models that the key is narrowed to. `None`: every model of the team. Empty once all of these models are
    /// deleted.
    pub models: Option<Vec<String>>,
}

/// Proof that the caller may do what its route asks in the caller's organization.
#[derive(Clone, Copy, Debug)]
pub struct InOrg<'a> {
    caller: &'a Caller,
}

impl<'a> InOrg<'a> {
    pub fn org_id(&self) -> &'a OrgId {
        &self.caller.org_id
    }

    pub fn caller(&self) -> &'a Caller {
        self.caller
    }
}

/// Proof that the caller may do what its route asks everywhere in one team.
#[derive(Clone, Copy, Debug)]
pub struct InTeam<'a> {
    caller: &'a Caller,
    team: &'a Team,
}

/// A proof whose holder may read what the team has. Only this module implements it.
pub trait Reader: reader::Sealed {
    fn team(&self) -> &Team;

    fn caller(&self) -> &Caller;
}

mod reader {
    pub trait Sealed {}
}

impl<'a> InTeam<'a> {
    pub fn team(&self) -> &'a Team {
        self.team
    }

    pub fn caller(&self) -> &'a Caller {
        self.caller
    }
}

impl reader::Sealed for InTeam<'_> {}

impl Reader for InTeam<'_> {
    fn team(&self) -> &Team {
        self.team
    }

    fn caller(&self) -> &Caller {
        self.caller
    }
}

impl Caller {
    /// The caller's standing in the team. `None`: the caller does not see the team.
    pub fn standing_in(&self, team: &Team) -> Option<Standing> {
        if team.org_id != self.org_id {
            return None;
        }
        match &self.who {
            // The only rule of inheritance: an organization admin is an admin of every team.
            Who::Person(Person { role: OrgRole::Admin, .. }) => Some(Standing::Admin),
            Who::Person(person) => person.explicit_role_in(&team.id).map(TeamRole::standing),
            Who::TeamKey(key) => (key.team_id == team.id).then(|| key.category.standing()),
            Who::KeyManager { .. } => Some(Standing::ManageApiKeys),
        }
    }

    /// Proves that the caller may do `act` everywhere in the team.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the caller does not see the team. [`Error::Forbidden`] if the caller sees it and may not
    /// do `act` in it; the message names the row of the table.
    pub fn in_team<'a>(&'a self, team: &'a Team, act: TeamAct) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing), act)
    }

    /// Proves that the caller may do `act` or `other` in the team.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_team`]. The message names the row of `act`.
    pub fn in_team_by_either<'a>(&'a self, team: &'a Team, act: TeamAct, other: TeamAct) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing) || other.allowed_to(standing), act)
    }

    /// Proves that the caller may do `act` in the team, or is the person `user_id`.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_team`].
    pub fn in_team_or_self<'a>(&'a self, team: &'a Team, act: TeamAct, user_id: &str) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing) || self.is_person(user_id), act)
    }

    /// Proves that the caller may do `act` in the default team, for a route that names no team.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if the caller may not do `act` in the default team, or does not see it. The refusal is not
    /// [`Error::NotFound`], because everyone knows that the default team exists.
    pub fn in_default_team<'a>(&'a self, team: &'a Team, act: TeamAct) -> Result<InTeam<'a>, Error> {
        match self.standing_in(team) {
            Some(standing) => self.allowed(team, standing, act.allowed_to(standing), act),
            None => Err(Error::Forbidden(format!(
                "without a team in its path this is about the default team, \"{}\", and you are not in it: \
                 name your team in the path, or ask a team admin to add you to one",
                team.name
            ))),
        }
    }

    /// Proves that the caller may use Model APIs, which are only available in the default team.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a team key of another team, for a person who is not in the default team, and for a
    /// standing in it that does not include viewing.
    pub fn with_model_apis<'a>(&'a self, default_team: &'a Team) -> Result<InTeam<'a>, Error> {
        match self.standing_in(default_team) {
            Some(standing) => self.allowed(default_team, standing, TeamAct::View.allowed_to(standing), TeamAct::View),
            None => Err(Error::Forbidden("Model APIs are only available in the default team".to_owned())),
        }
    }

    /// Proves that the caller may call Model APIs, which are only available in the default team.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::with_model_apis`], for the row that lets callers call models, and [`Error::Forbidden`] for a
    /// key that is narrowed to models or environments: a Model API is neither.
    pub fn to_call_model_apis<'a>(&'a self, default_team: &'a Team) -> Result<InTeam<'a>, Error> {
        let Some(standing) = self.standing_in(default_team) else {
            return Err(Error::Forbidden("Model APIs are only available in the default team".to_owned()));
        };
        let proof =
            self.allowed(default_team, standing, TeamAct::CallModels.allowed_to(standing), TeamAct::CallModels)?;
        match &self.who {
            Who::TeamKey(TeamKey { models: Some(_), .. } | TeamKey { environments: Some(_), .. }) => {
                Err(Error::Forbidden("this key is narrowed and calls no Model APIs: send a key that is not".to_owned()))
            }
            Who::TeamKey(_) | Who::Person(_) | Who::KeyManager { .. } => Ok(proof),
        }
    }

    /// The teams in which the caller may do `act`.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that belongs to no person and may not do `act`.
    pub fn in_all<'a>(&'a self, teams: &'a [Team], act: TeamAct) -> Result<Vec<InTeam<'a>>, Error> {
        self.in_each(teams, |team| self.in_team(team, act))
    }

    /// The teams in which the caller may do `act` or `other`.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that belongs to no person and may do neither.
    pub fn in_all_by_either<'a>(
        &'a self,
        teams: &'a [Team],
        act: TeamAct,
        other: TeamAct,
    ) -> Result<Vec<InTeam<'a>>, Error> {
        self.in_each(teams, |team| self.in_team_by_either(team, act, other))
    }

    fn in_each<'a, P>(
        &'a self,
        teams: &'a [Team],
        prove: impl Fn(&'a Team) -> Result<P, Error>,
    ) -> Result<Vec<P>, Error> {
        match &self.who {
            Who::Person(_) => Ok(teams.iter().filter_map(|team| prove(team).ok()).collect()),
            Who::TeamKey(_) | Who::KeyManager { .. } => {
                teams.iter().filter(|team| self.standing_in(team).is_some()).map(prove).collect()
            }
        }
    }

    /// Proves that the caller may do `act` to the organization.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] if the caller's organization role does not include `act`, and for keys that belong to no
    /// person: they have no organization role.
    pub fn in_org(&self, act: OrgAct) -> Result<InOrg<'_>, Error> {
        match &self.who {
            Who::Person(person) if act.allowed_to(person.role) => Ok(InOrg { caller: self }),
            Who::Person(person) => Err(Error::Forbidden(format!(
                "the organization role {} does not include \"{}\"",
                person.role.as_str(),
                act.wording()
            ))),
            Who::TeamKey(_) | Who::KeyManager { .. } => Err(Error::Forbidden(format!(
                "\"{}\" needs an organization role, and this key is no person's",
                act.wording()
            ))),
        }
    }

    /// Proves that the caller may do `act` to the organization, for an act that concerns one of its teams.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the caller does not see the team, and those of [`Caller::in_org`].
    pub fn in_org_about(&self, team: &Team, act: OrgAct) -> Result<InOrg<'_>, Error> {
        self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.in_org(act)
    }

    /// Proves that the caller may do `act` to the organization, or is the person `user_id`.
    ///
    /// # Errors
    ///
    /// Those of [`Caller::in_org`].
    pub fn in_org_or_self(&self, act: OrgAct, user_id: &str) -> Result<InOrg<'_>, Error> {
        if self.is_person(user_id) { Ok(InOrg { caller: self }) } else { self.in_org(act) }
    }

    /// Proves that the caller may do `act` to the organization, or is the person `user_id`, for data that is hidden
    /// from other people.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that belongs to no person, [`Error::NotFound`] for every other caller.
    pub fn in_org_or_self_alone(&self, act: OrgAct, user_id: &str) -> Result<InOrg<'_>, Error> {
        self.as_member()?;
        self.in_org_or_self(act, user_id).map_err(|_| Error::NotFound("user"))
    }

    /// Proves that the caller is a person of the organization.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] for a key that belongs to no person: such a key is not a member.
    pub fn as_member(&self) -> Result<(InOrg<'_>, &Person), Error> {
        match &self.who {
            Who::Person(person) => Ok((InOrg { caller: self }, person)),
            Who::TeamKey(_) | Who::KeyManager { .. } => {
                Err(Error::Forbidden("this needs a personal key: a key that is no person's is no member".to_owned()))
            }
        }
    }

    /// A proof for the caller's own organization. Everyone with a key may know it.
    pub fn own_org(&self) -> InOrg<'_> {
        InOrg { caller: self }
    }

    pub fn is_person(&self, user_id: &str) -> bool {
        matches!(&self.who, Who::Person(person) if person.user_id.as_str() == user_id)
    }

    /// The id of the session by which the person is signed in.
    pub fn session_id(&self) -> Option<&str> {
        match &self.who {
            Who::Person(Person { credential: Credential::Session, prefix, .. }) => Some(prefix),
            Who::Person(_) | Who::TeamKey(_) | Who::KeyManager { .. } => None,
        }
    }

    /// The prefix of the key that was sent, or the id of the session.
    pub fn prefix(&self) -> &str {
        match &self.who {
            Who::Person(person) => &person.prefix,
            Who::TeamKey(key) => &key.prefix,
            Who::KeyManager { prefix } => prefix,
        }
    }

    /// The author of what the caller makes: a person's id, or the prefix of a key that belongs to no person.
    pub fn author(&self) -> &str {
        match &self.who {
            Who::Person(person) => person.user_id.as_str(),
            Who::TeamKey(_) | Who::KeyManager { .. } => self.prefix(),
        }
    }

    fn allowed<'a>(
        &'a self,
        team: &'a Team,
        standing: Standing,
        allowed: bool,
        act: TeamAct,
    ) -> Result<InTeam<'a>, Error> {
        if !allowed {
            return Err(refusal(standing, act));
        }
        if let Who::TeamKey(key) = &self.who {
            key.reaches_beyond_environments(act)?;
        }
        Ok(InTeam { caller: self, team })
    }
}

impl TeamKey {
    /// Refuses `Deploy` for a key that is narrowed to environments. Such a key changes only these environments;
    /// deleting a model or setting a secret would also affect others.
    fn reaches_beyond_environments(&self, act: TeamAct) -> Result<(), Error> {
        match (&self.environments, act) {
            (Some(names), TeamAct::Deploy) => Err(narrowed(names)),
            (
                Some(_),
                TeamAct::ManageMembers
                | TeamAct::CreateRestrictedEnvironments
                | TeamAct::CreateApiKeys
                | TeamAct::CallModels
                | TeamAct::View,
            )
            | (None, _) => Ok(()),
        }
    }
}

impl Person {
    pub fn explicit_role_in(&self, team_id: &TeamId) -> Option<TeamRole> {
        self.teams.iter().find(|(id, _)| id == team_id).map(|(_, role)| *role)
    }
}
