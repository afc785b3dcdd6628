//! Who may do what.
//!
//! The tables are the tables of the documents, row for row, with the categories of API keys as further columns. The
//! server enforces them, `guildhall permissions` and `GET /v1/permissions` print them, and the README is checked against
//! them. One rule stands beside them: an organization admin is an admin of every team of that organization. Who
//! reads metrics, no row says: that is [`metrics`]'s.
//!
//! The answer is a proof, not a bool. Proofs are made only here. Every function in `db` that touches an organization's or a
//! team's rows takes one and uses *its* organization or team. A proof claims no more than was checked:
//!
//! | proof | what it states |
//! |---|---|
//! | [`InOrg`] | the caller may do this act in the organization |
//! | [`InTeam`] | the caller may do this act everywhere in the team |
//! | [`Deployer`] | the caller may deploy in the team, perhaps only into some environments |
//! | [`InEnvironment`] | the caller may change this one environment of the team |
//! | [`MetricsReader`] | the caller may read these metrics |
//!
//! What is read of a team takes a [`Reader`], which the first proofs of a team all are. A proof cannot be made elsewhere:
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
pub mod keys;
pub mod metrics;
pub mod tables;

pub use crate::domain::{Category, OrgRole, TeamCategory, TeamRole};
pub use deploying::{Deployer, Deployers, InEnvironment, Restriction, nowhere};
pub use explain::{Explanation, Question};
pub use metrics::MetricsReader;

table! {
    /// What can be done to the organization.
    OrgAct by OrgRole                                                 [ Admin        Member ]
    ManageBilling: MANAGE_BILLING        "Manage billing"               [ yes           no ]
    ManageTeams: MANAGE_TEAMS            "Manage teams"                 [ yes           no ]
    ManageMembers: MANAGE_ORGANIZATION_MEMBERS
                                         "Manage organization members"  [ yes           no ]
    ViewAllTeams: VIEW_ALL_TEAMS         "View all teams"               [ yes           no ]
}

table! {
    /// What can be done in one team.
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
    /// What a person or a key is in one team: the two team roles, then the categories of keys.
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

/// Whoever sent the request, with the roles read in the same transaction.
#[derive(Clone, Debug)]
pub struct Caller {
    pub org_id: OrgId,
    pub who: Who,
    /// When the key that was sent ends.
    pub key_ends_at: Option<Time>,
}

#[derive(Clone, Debug)]
pub enum Who {
    /// A person, by a personal key. The key *is* its owner: nothing of the roles is kept in it.
    Person(Person),
    /// A team's key: a standing in its one team and none anywhere else, whoever made it.
    TeamKey(TeamKey),
    /// A key that manages the team keys of its organization.
    KeyManager { prefix: String },
}

#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: UserId,
    pub role: OrgRole,
    /// Explicit memberships in the caller's organization.
    pub teams: Vec<(TeamId, TeamRole)>,
    /// The personal key that was sent; empty for a person who is only asked about.
    pub prefix: String,
}

#[derive(Clone, Debug)]
pub struct TeamKey {
    pub prefix: String,
    pub team_id: TeamId,
    pub category: TeamCategory,
    /// What it is narrowed to; `None`: every environment.
    pub environments: Option<Vec<EnvironmentName>>,
    /// `None`: every model of the team. Empty once the models it was narrowed to are deleted.
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

/// A proof whose holder may read what the team has. It is implemented in this module alone.
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
    /// What this caller is in the team. `None`: the team is not there for it.
    pub fn standing_in(&self, team: &Team) -> Option<Standing> {
        if team.org_id != self.org_id {
            return None;
        }
        match &self.who {
            // The one inheritance rule.
            Who::Person(Person { role: OrgRole::Admin, .. }) => Some(Standing::Admin),
            Who::Person(person) => person.explicit_role_in(&team.id).map(TeamRole::standing),
            Who::TeamKey(key) => (key.team_id == team.id).then(|| key.category.standing()),
            Who::KeyManager { .. } => Some(Standing::ManageApiKeys),
        }
    }

    /// A team the caller cannot see is not there; one it sees but may not act in says which row refuses.
    pub fn in_team<'a>(&'a self, team: &'a Team, act: TeamAct) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing), act)
    }

    /// Like [`Caller::in_team`], where either act is enough.
    pub fn in_team_by_either<'a>(&'a self, team: &'a Team, act: TeamAct, other: TeamAct) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing) || other.allowed_to(standing), act)
    }

    /// Like [`Caller::in_team`]; the person whom the row concerns may do it too.
    pub fn in_team_or_self<'a>(&'a self, team: &'a Team, act: TeamAct, user_id: &str) -> Result<InTeam<'a>, Error> {
        let standing = self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.allowed(team, standing, act.allowed_to(standing) || self.is_person(user_id), act)
    }

    /// The default team, for a route that names no team: everyone knows that it exists, so its refusal is a 403.
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

    /// Model APIs are only available in the default team: a team key of another team has none, and a person who is not
    /// in the default team has none either.
    pub fn with_model_apis<'a>(&'a self, default_team: &'a Team) -> Result<InTeam<'a>, Error> {
        match self.standing_in(default_team) {
            Some(standing) => self.allowed(default_team, standing, TeamAct::View.allowed_to(standing), TeamAct::View),
            None => Err(Error::Forbidden("Model APIs are only available in the default team".to_owned())),
        }
    }

    /// The teams of a list that joins all teams the caller sees. A key that may not act at all is told so.
    pub fn in_all<'a>(&'a self, teams: &'a [Team], act: TeamAct) -> Result<Vec<InTeam<'a>>, Error> {
        self.in_each(teams, |team| self.in_team(team, act))
    }

    /// Like [`Caller::in_all`], where either act is enough.
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

    /// Whoever may do this to the organization. Keys that are no person's hold no organization role.
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

    /// Like [`Caller::in_org`], about one of its teams: one the caller cannot see is not there.
    pub fn in_org_about(&self, team: &Team, act: OrgAct) -> Result<InOrg<'_>, Error> {
        self.standing_in(team).ok_or(Error::NotFound("team"))?;
        self.in_org(act)
    }

    /// Like [`Caller::in_org`]; the person whom the row concerns may do it too.
    pub fn in_org_or_self(&self, act: OrgAct, user_id: &str) -> Result<InOrg<'_>, Error> {
        if self.is_person(user_id) { Ok(InOrg { caller: self }) } else { self.in_org(act) }
    }

    /// Like [`Caller::in_org_or_self`], about what other people do not see: for them it is not there.
    pub fn in_org_or_self_alone(&self, act: OrgAct, user_id: &str) -> Result<InOrg<'_>, Error> {
        self.as_member()?;
        self.in_org_or_self(act, user_id).map_err(|_| Error::NotFound("user"))
    }

    /// Any person of the organization. A team key is no member of it.
    pub fn as_member(&self) -> Result<(InOrg<'_>, &Person), Error> {
        match &self.who {
            Who::Person(person) => Ok((InOrg { caller: self }, person)),
            Who::TeamKey(_) | Who::KeyManager { .. } => {
                Err(Error::Forbidden("this needs a personal key: a key that is no person's is no member".to_owned()))
            }
        }
    }

    /// The caller's own organization, as everyone with a key may know it.
    pub fn own_org(&self) -> InOrg<'_> {
        InOrg { caller: self }
    }

    pub fn is_person(&self, user_id: &str) -> bool {
        matches!(&self.who, Who::Person(person) if person.user_id.as_str() == user_id)
    }

    /// The prefix of the key that was sent.
    pub fn prefix(&self) -> &str {
        match &self.who {
            Who::Person(person) => &person.prefix,
            Who::TeamKey(key) => &key.prefix,
            Who::KeyManager { prefix } => prefix,
        }
    }

    /// Who it is that makes something: a person, or a key that is no person's.
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
    /// A key that is narrowed to environments changes these alone: deleting a model or setting a secret would reach the
    /// others too.
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

fn narrowed(environments: &[EnvironmentName]) -> Error {
    let names: Vec<_> = environments.iter().map(EnvironmentName::as_str).collect();
    Error::Forbidden(format!("this key is narrowed to the environments {} and changes nothing else", names.join(", ")))
}

fn refusal(standing: Standing, act: TeamAct) -> Error {
    let what = match standing {
        Standing::Admin | Standing::Member => "the team role",
        Standing::ManageAll | Standing::Invoke | Standing::ExportMetrics | Standing::ManageApiKeys => {
            "a key of category"
        }
    };
    Error::Forbidden(format!("{what} {} does not include \"{}\"", standing.as_str(), act.wording()))
}

/// Whoever holds the host: it acts by the operator's socket or with no server running, never over the network.
#[derive(Debug)]
pub struct Operator(());

impl Operator {
    /// Made where the operator is known to be one: by the door of its socket, and by commands that hold the data directory's lock.
    pub(crate) fn of_this_host() -> Operator {
        Operator(())
    }
}
