//! Who may use a row of a table.
//!
//! An access says where the team of a request comes from ([`Source`]), which rule must hold, and which handler runs. It
//! has one form per type of proof, and the handler takes that proof. Therefore a row cannot name a rule and skip it.
//! REST routes, GraphQL root fields, inference routes and the operator's routes all use these forms.

use std::fmt;

use crate::api::request::Listener;
use crate::db::resources::Kind;
use crate::db::{self, Tx};
use crate::domain::Team;
use crate::domain::calls::{Callee, Place};
use crate::domain::serving::PRODUCTION;
use crate::error::Error;
use crate::policy::keys::KeyMaker;
use crate::policy::metrics::Measured;
use crate::policy::{
    Caller, Deployer, Deployers, InOrg, InTeam, Invoker, Invoking, MetricsReader, Operator, OrgAct, TeamAct,
};

/// A kind of table: what its handlers get besides the proof, and what they return.
pub trait Surface {
    type Context<'c>: Context;
    type Reply;
}

/// What an access reads from a request.
pub trait Context {
    /// A parameter of the path, or an argument of a root field.
    fn named(&self, name: &str) -> Result<&str, Error>;

    fn listener(&self) -> Listener;

    /// The model or the Chain that is called.
    fn callee(&self) -> Option<&Callee>;

    /// Tells the log which team the request is about.
    fn note_team(&self, team: &Team);
}

type Answer<S> = Result<<S as Surface>::Reply, Error>;

/// The rule of a row and its handler, one form per type of proof.
pub enum Access<S: Surface> {
    /// Anyone, with a key or without.
    Anyone(for<'c> fn(&Tx, Option<&Caller>, &S::Context<'c>) -> Answer<S>),
    /// Any caller with a key. The handler limits the reply to what this caller may see.
    Caller(for<'c> fn(&Tx, &Caller, &S::Context<'c>) -> Answer<S>),
    /// Anyone whose key may make keys of some kind: people, and keys that manage keys.
    KeyMaker(for<'c> fn(&Tx, &KeyMaker, &S::Context<'c>) -> Answer<S>),
    /// Callers who satisfy a rule in the organization.
    Org(OrgRule, for<'c> fn(&Tx, &InOrg, &S::Context<'c>) -> Answer<S>),
    /// Callers who may do an act in the organization. The request is about one of its teams, which the caller must be
    /// able to see.
    OrgAbout(Source, OrgAct, for<'c> fn(&Tx, &InOrg, &Team, &S::Context<'c>) -> Answer<S>),
    /// Callers who satisfy a rule in the whole team.
    Team(Source, TeamRule, for<'c> fn(&Tx, &InTeam, &S::Context<'c>) -> Answer<S>),
    /// All teams in which the caller satisfies a rule.
    Teams(TeamsRule, for<'c> fn(&Tx, &[InTeam], &S::Context<'c>) -> Answer<S>),
    /// Callers who may deploy in a team, possibly only into some environments. The `db` function checks the environment
    /// that it changes.
    Deploy(Source, for<'c> fn(&Tx, &Deployer, &S::Context<'c>) -> Answer<S>),
    /// All teams in which the caller may deploy, possibly only into some environments.
    DeployAnywhere(for<'c> fn(&Tx, &Deployers, &S::Context<'c>) -> Answer<S>),
    /// Callers who may read metrics of what a team owns: those who may view the team, and keys that export metrics.
    Metrics(Source, for<'c> fn(&Tx, &MetricsReader, &S::Context<'c>) -> Answer<S>),
    /// Callers who may call the model or the Chain that the request is for, at this place.
    Invoke(At, for<'c> fn(&Tx, &Invoker, &S::Context<'c>) -> Answer<S>),
    /// Callers who may call the model or the Chain that the request is for, perhaps only at some places. The `db` function
    /// checks the place.
    Invoking(for<'c> fn(&Tx, &Invoking, &S::Context<'c>) -> Answer<S>),
    /// All teams whose metrics the caller may export.
    MetricsOfTeams(for<'c> fn(&Tx, &[MetricsReader], &S::Context<'c>) -> Answer<S>),
    /// The operator, through the socket in the data directory. Over the network, the row does not exist (404).
    Operator(for<'c> fn(&Tx, &Operator, &S::Context<'c>) -> Answer<S>),
}

// Derived implementations would require contexts that can be copied.
impl<S: Surface> Clone for Access<S> {
    fn clone(&self) -> Access<S> {
        *self
    }
}

impl<S: Surface> Copy for Access<S> {}

/// Where the team of a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `{team_id}` of the path.
    Path,
    /// The team that owns the resource whose id is the parameter of this name. An id that does not exist and an id that
    /// the caller may not see are refused with the same message.
    Owner(Kind, &'static str),
    /// For a team key, the team of the key; for other callers, the default team. The path names no team.
    Own,
    /// The organization's default team.
    Default,
}

/// Which deployment of the called model or Chain answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Production,
    Development,
    /// The deployment that serves `{env_name}` of the path.
    Environment,
    /// The deployment `{deployment_id}` of the path.
    Deployment,
}

/// What must hold in the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrgRule {
    /// The caller is a person of the organization. A key that belongs to no person is refused.
    Member,
    May(OrgAct),
    /// The caller may do the act, or is the person `{user_id}`.
    MayOrSelf(OrgAct),
    /// The caller may do the act, or is the person `{user_id}`. For other people, the resource does not exist (404).
    MayOrSelfHidden(OrgAct),
}

/// What must hold in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamRule {
    May(TeamAct),
    MayEither(TeamAct, TeamAct),
    /// The caller may do the act in the team, or is the person `{user_id}`.
    MayOrSelf(TeamAct),
    /// The caller may view the team, and the team has Model APIs.
    ModelApis,
    /// The caller may call models in the team, and the team has Model APIs.
    CallModelApis,
}

/// What must hold in each team of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamsRule {
    /// The teams in which the caller may do the act. A key that belongs to no person and may not do it is refused.
    May(TeamAct),
    MayEither(TeamAct, TeamAct),
    /// The teams in which the caller may do the act. Nobody is refused: a caller who may do it in no team gets no
    /// teams.
    MayInAny(TeamAct),
}

impl<S: Surface> Access<S> {
    /// Obtains the proof without running the handler.
    ///
    /// # Errors
    ///
    /// The refusal that [`Access::answer`] would return, whatever the rest of the request contains.
    pub fn check(&self, tx: &Tx, caller: Option<&Caller>, ctx: &S::Context<'_>) -> Result<(), Error> {
        self.authorize(tx, caller, ctx, |_| Ok(()))
    }

    /// Obtains the proof and runs the handler with it.
    ///
    /// # Errors
    ///
    /// The refusal of the rule or of the handler.
    pub fn answer(&self, tx: &Tx, caller: Option<&Caller>, ctx: &S::Context<'_>) -> Answer<S> {
        self.authorize(tx, caller, ctx, |handler| handler())
    }

    /// Whether the row can be reached only through the operator's socket.
    pub fn is_operators(&self) -> bool {
        matches!(self, Access::Operator(_))
    }

    /// Whether the row can be used without a key.
    pub fn is_open(&self) -> bool {
        matches!(self, Access::Anyone(_))
    }

    /// Obtains the proof, and calls `then` with a closure that runs the handler with that proof.
    fn authorize<T>(
        &self,
        tx: &Tx,
        caller: Option<&Caller>,
        ctx: &S::Context<'_>,
        then: impl FnOnce(&dyn Fn() -> Answer<S>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let signed_in = || caller.ok_or(Error::Unauthenticated);
        match *self {
            Access::Anyone(handler) => then(&|| handler(tx, caller, ctx)),
            Access::Caller(handler) => {
                let caller = signed_in()?;
                then(&|| handler(tx, caller, ctx))
            }
            Access::KeyMaker(handler) => {
                let proof = signed_in()?.as_key_maker()?;
                then(&|| handler(tx, &proof, ctx))
            }
            Access::Org(rule, handler) => {
                let proof = rule.prove(signed_in()?, ctx)?;
                then(&|| handler(tx, &proof, ctx))
            }
            Access::OrgAbout(source, act, handler) => {
                let caller = signed_in()?;
                let team = source.team(tx, caller, ctx)?;
                let proof = caller.in_org_about(&team, act)?;
                then(&|| handler(tx, &proof, &team, ctx))
            }
            Access::Team(source, rule, handler) => {
                let caller = signed_in()?;
                let team = source.team(tx, caller, ctx)?;
                let proof = rule.prove(source, caller, &team, ctx)?;
                then(&|| handler(tx, &proof, ctx))
            }
            Access::Teams(rule, handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proofs = rule.prove(caller, &teams)?;
                then(&|| handler(tx, &proofs, ctx))
            }
            Access::Deploy(source, handler) => {
                let caller = signed_in()?;
                let team = source.team(tx, caller, ctx)?;
                let proof = caller.to_deploy(&team)?;
                then(&|| handler(tx, &proof, ctx))
            }
            Access::DeployAnywhere(handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proofs = caller.to_deploy_in_any(&teams)?;
                then(&|| handler(tx, &proofs, ctx))
            }
            Access::Metrics(source, handler) => {
                let caller = signed_in()?;
                let team = source.team(tx, caller, ctx)?;
                let proof = caller.to_read_metrics(&team, source.measured(ctx)?)?;
                then(&|| handler(tx, &proof, ctx))
            }
            Access::Invoke(at, handler) => {
                let caller = signed_in()?;
                let callee = ctx.callee().ok_or(Error::NotFound(NO_CALLEE))?;
                let team = called_team(tx, caller, callee)?;
                ctx.note_team(&team);
                let place = at.place(ctx)?;
                let invoker = caller.to_invoke(&team, callee)?.at(place, |invoking| match place {
                    Place::Deployment(id) => db::calls::environment_served(tx, invoking, id),
                    Place::Environment(_) | Place::Development => Ok(None),
                })?;
                then(&|| handler(tx, &invoker, ctx))
            }
            Access::Invoking(handler) => {
                let caller = signed_in()?;
                let callee = ctx.callee().ok_or(Error::NotFound(NO_CALLEE))?;
                let team = called_team(tx, caller, callee)?;
                ctx.note_team(&team);
                let invoking = caller.to_invoke(&team, callee)?;
                then(&|| handler(tx, &invoking, ctx))
            }
            Access::MetricsOfTeams(handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proofs = caller.to_export_all_metrics(&teams)?;
                then(&|| handler(tx, &proofs, ctx))
            }
            Access::Operator(handler) => match ctx.listener() {
                Listener::Operator => then(&|| handler(tx, &Operator::of_this_host(), ctx)),
                Listener::Network => Err(Error::NotFound("route")),
            },
        }
    }
}

/// What a request for inference is missing that names neither a model nor a Chain.
const NO_CALLEE: &str =
    "model: call it at the host `model-ID.…` or the path `/models/ID/…`, a Chain at `chain-ID.…` or `/chains/ID/…`";

/// The team that owns what is called. An id that does not exist and one that the caller may not see are refused with the
/// same message.
fn called_team(tx: &Tx, caller: &Caller, callee: &Callee) -> Result<Team, Error> {
    let (kind, id) = match callee {
        Callee::Model(id) => (Kind::Model, id),
        Callee::Chain(id) => (Kind::Chain, id),
    };
    let team = db::resources::team_of(tx, kind, id)?.filter(|team| caller.standing_in(team).is_some());
    team.ok_or(Error::NotFound(kind.as_str()))
}

impl At {
    fn place<'c>(self, ctx: &'c impl Context) -> Result<Place<'c>, Error> {
        Ok(match self {
            At::Production => Place::Environment(PRODUCTION),
            At::Development => Place::Development,
            At::Environment => Place::Environment(ctx.named("env_name")?),
            At::Deployment => Place::Deployment(ctx.named("deployment_id")?),
        })
    }
}

impl Source {
    fn team(self, tx: &Tx, caller: &Caller, ctx: &impl Context) -> Result<Team, Error> {
        let team = match self {
            Source::Path => db::teams::find(tx, ctx.named("team_id")?)?,
            Source::Owner(kind, parameter) => {
                let team = db::resources::team_of(tx, kind, ctx.named(parameter)?)?;
                let team = team.filter(|team| caller.standing_in(team).is_some());
                team.ok_or(Error::NotFound(kind.as_str()))?
            }
            Source::Own => db::teams::own(tx, caller)?,
            Source::Default => db::teams::default(tx, &caller.org_id)?,
        };
        ctx.note_team(&team);
        Ok(team)
    }

    /// The resource whose metrics the request asks for.
    fn measured(self, ctx: &impl Context) -> Result<Measured<'_>, Error> {
        match self {
            Source::Owner(Kind::Model, parameter) => Ok(Measured::Model(ctx.named(parameter)?)),
            Source::Owner(Kind::Chain | Kind::TrainingProject, _) | Source::Path | Source::Own | Source::Default => {
                Ok(Measured::NoModel)
            }
        }
    }
}

impl OrgRule {
    fn prove<'a>(self, caller: &'a Caller, ctx: &impl Context) -> Result<InOrg<'a>, Error> {
        match self {
            OrgRule::Member => Ok(caller.as_member()?.0),
            OrgRule::May(act) => caller.in_org(act),
            OrgRule::MayOrSelf(act) => caller.in_org_or_self(act, ctx.named("user_id")?),
            OrgRule::MayOrSelfHidden(act) => caller.in_org_or_self_alone(act, ctx.named("user_id")?),
        }
    }
}

impl TeamRule {
    fn prove<'a>(
        self,
        source: Source,
        caller: &'a Caller,
        team: &'a Team,
        ctx: &impl Context,
    ) -> Result<InTeam<'a>, Error> {
        match (self, source) {
            // Everyone knows that the default team exists, so its refusal is a 403.
            (TeamRule::May(act), Source::Own | Source::Default) => caller.in_default_team(team, act),
            (TeamRule::May(act), Source::Path | Source::Owner(..)) => caller.in_team(team, act),
            (TeamRule::MayEither(act, other), _) => caller.in_team_by_either(team, act, other),
            (TeamRule::MayOrSelf(act), _) => caller.in_team_or_self(team, act, ctx.named("user_id")?),
            (TeamRule::ModelApis, _) => caller.with_model_apis(team),
            (TeamRule::CallModelApis, _) => caller.to_call_model_apis(team),
        }
    }
}

impl TeamsRule {
    fn prove<'a>(self, caller: &'a Caller, teams: &'a [Team]) -> Result<Vec<InTeam<'a>>, Error> {
        match self {
            TeamsRule::May(act) => caller.in_all(teams, act),
            TeamsRule::MayEither(act, other) => caller.in_all_by_either(teams, act, other),
            TeamsRule::MayInAny(act) => Ok(teams.iter().filter_map(|team| caller.in_team(team, act).ok()).collect()),
        }
    }
}

/// Shows the form with its source and rule, without the handler.
impl<S: Surface> fmt::Debug for Access<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Anyone(_) => f.write_str("Anyone"),
            Access::Caller(_) => f.write_str("Caller"),
            Access::KeyMaker(_) => f.write_str("KeyMaker"),
            Access::Org(rule, _) => f.debug_tuple("Org").field(rule).finish(),
            Access::OrgAbout(source, act, _) => f.debug_tuple("OrgAbout").field(source).field(act).finish(),
            Access::Team(source, rule, _) => f.debug_tuple("Team").field(source).field(rule).finish(),
            Access::Teams(rule, _) => f.debug_tuple("Teams").field(rule).finish(),
            Access::Deploy(source, _) => f.debug_tuple("Deploy").field(source).finish(),
            Access::DeployAnywhere(_) => f.write_str("DeployAnywhere"),
            Access::Metrics(source, _) => f.debug_tuple("Metrics").field(source).finish(),
            Access::Invoke(at, _) => f.debug_tuple("Invoke").field(at).finish(),
            Access::Invoking(_) => f.write_str("Invoking"),
            Access::MetricsOfTeams(_) => f.write_str("MetricsOfTeams"),
            Access::Operator(_) => f.write_str("Operator"),
        }
    }
}

/// Says who may use the row, in the words of the permission tables.
impl<S: Surface> fmt::Display for Access<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Anyone(_) => f.write_str("Open to anyone."),
            Access::Caller(_) => f.write_str("Open to any key."),
            Access::KeyMaker(_) => f.write_str("Open to people and to keys that manage keys."),
            Access::Org(rule, _) => write!(f, "{rule}."),
            Access::OrgAbout(_, act, _) => write!(f, "{}.", OrgRule::May(*act)),
            Access::Team(source, rule, _) => match rule {
                TeamRule::May(act) => write!(f, "Needs \"{}\" in {source}.", act.wording()),
                TeamRule::MayEither(act, other) => {
                    write!(f, "Needs \"{}\" in {source} or \"{}\".", act.wording(), other.wording())
                }
                TeamRule::MayOrSelf(act) => {
                    write!(f, "Needs \"{}\" in {source}, or to be that person.", act.wording())
                }
                TeamRule::ModelApis => write!(f, "Needs \"{}\" in {source}.", TeamAct::View.wording()),
                TeamRule::CallModelApis => write!(f, "Needs \"{}\" in {source}.", TeamAct::CallModels.wording()),
            },
            Access::Teams(rule, _) => match rule {
                TeamsRule::May(act) | TeamsRule::MayInAny(act) => {
                    write!(f, "Joins all teams in which the caller has \"{}\".", act.wording())
                }
                TeamsRule::MayEither(act, other) => {
                    let (act, other) = (act.wording(), other.wording());
                    write!(f, "Joins all teams in which the caller has \"{act}\" or \"{other}\".")
                }
            },
            Access::Deploy(source, _) => write!(
                f,
                "Needs \"{}\" in {source}; what serves a restricted environment is for those on its list.",
                TeamAct::Deploy.wording()
            ),
            Access::DeployAnywhere(_) => write!(
                f,
                "Joins all teams in which the caller has \"{}\", if only for some environments.",
                TeamAct::Deploy.wording()
            ),
            Access::Metrics(source, _) => write!(
                f,
                "Needs \"{}\" in {source}, or a key of that team of category WORKSPACE_EXPORT_METRICS.",
                TeamAct::View.wording()
            ),
            Access::Invoke(..) | Access::Invoking(_) => {
                write!(f, "Needs \"{}\" in the team that owns the model or the Chain.", TeamAct::CallModels.wording())
            }
            Access::MetricsOfTeams(_) => write!(
                f,
                "Joins all teams in which the caller has \"{}\", or the team of a key of category WORKSPACE_EXPORT_METRICS.",
                TeamAct::View.wording()
            ),
            Access::Operator(_) => f.write_str("The operator's alone."),
        }
    }
}

impl fmt::Display for OrgRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrgRule::Member => f.write_str("Open to the people of the organization"),
            OrgRule::May(act) => write!(f, "Needs \"{}\" in the organization", act.wording()),
            OrgRule::MayOrSelf(act) | OrgRule::MayOrSelfHidden(act) => {
                write!(f, "Needs \"{}\" in the organization, or to be that person", act.wording())
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path => f.write_str("the team"),
            Source::Owner(kind, _) => write!(f, "the team that owns the {}", kind.as_str()),
            Source::Own => f.write_str("a team key's own team, otherwise in the default team"),
            Source::Default => f.write_str("the default team"),
        }
    }
}
