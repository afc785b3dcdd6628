//! Who may use a row of a table.
//!
//! An access says where the team of a request comes from ([`Source`]), which rule must hold, and which handler runs. It has
//! one form per type of proof, and the handler takes that proof. So a row cannot name a rule and skip it. REST routes,
//! GraphQL root fields, inference routes and the operator's routes all use these forms.

use std::fmt;

use crate::api::request::Listener;
use crate::db::resources::Kind;
use crate::db::{self, Tx};
use crate::domain::Team;
use crate::error::Error;
use crate::policy::keys::KeyMaker;
use crate::policy::metrics::Measured;
use crate::policy::{Caller, Deployer, Deployers, InOrg, InTeam, MetricsReader, Operator, OrgAct, TeamAct};

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

    /// Tells the log which team the request is about.
    fn note_team(&self, team: &Team);
}

type Answer<S> = Result<<S as Surface>::Reply, Error>;

/// The rule of a row and its handler, one form per type of proof.
pub enum Access<S: Surface> {
    /// Anyone, with a key or without.
    Anyone(for<'c> fn(&Tx, Option<&Caller>, &S::Context<'c>) -> Answer<S>),
    /// Anyone with a key. The handler shows what is the caller's own.
    Caller(for<'c> fn(&Tx, &Caller, &S::Context<'c>) -> Answer<S>),
    /// Anyone whose key may make keys of some kind: people, and keys that manage keys.
    KeyMaker(for<'c> fn(&Tx, &KeyMaker, &S::Context<'c>) -> Answer<S>),
    /// Whoever may do this to the organization.
    Org(OrgRule, for<'c> fn(&Tx, &InOrg, &S::Context<'c>) -> Answer<S>),
    /// Whoever may do this to the organization, about one of its teams, which the caller must see.
    OrgAbout(Source, OrgAct, for<'c> fn(&Tx, &InOrg, &Team, &S::Context<'c>) -> Answer<S>),
    /// Whoever may do this everywhere in a team.
    Team(Source, TeamRule, for<'c> fn(&Tx, &InTeam, &S::Context<'c>) -> Answer<S>),
    /// All teams in which the caller may do this.
    Teams(TeamsRule, for<'c> fn(&Tx, &[InTeam], &S::Context<'c>) -> Answer<S>),
    /// Whoever may deploy in a team, perhaps only into some environments. The verb asks about the environment that it changes.
    Deploy(Source, for<'c> fn(&Tx, &Deployer, &S::Context<'c>) -> Answer<S>),
    /// All teams in which the caller may deploy, perhaps only into some environments.
    DeployAnywhere(for<'c> fn(&Tx, &Deployers, &S::Context<'c>) -> Answer<S>),
    /// Whoever may read metrics of what a team owns: those who may view it, and keys that export metrics.
    Metrics(Source, for<'c> fn(&Tx, &MetricsReader, &S::Context<'c>) -> Answer<S>),
    /// The operator, through the socket in the data directory. For the network the row does not exist.
    Operator(for<'c> fn(&Tx, &Operator, &S::Context<'c>) -> Answer<S>),
}

// Derived, these would ask for contexts that can be copied.
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
    /// The team that owns what the parameter of this name names. An id that nobody has and one that the caller does not
    /// see are refused in the same words.
    Owner(Kind, &'static str),
    /// A team key's own team, otherwise the default team: the path names none.
    Own,
    /// The organization's default team.
    Default,
}

/// What must hold in the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrgRule {
    /// The caller is a person of the organization. Keys that are no person's are not.
    Member,
    May(OrgAct),
    /// The same act, or the caller is the person `{user_id}`.
    MayOrSelf(OrgAct),
    /// As `MayOrSelf`, about what other people do not see: for them it does not exist.
    MayOrSelfHidden(OrgAct),
}

/// What must hold in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamRule {
    May(TeamAct),
    MayEither(TeamAct, TeamAct),
    /// The act, or the caller is the person `{user_id}`.
    MayOrSelf(TeamAct),
    /// The caller may view the team, and the team has Model APIs.
    ModelApis,
}

/// What must hold in each team of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeamsRule {
    /// A key that may not do this at all is refused.
    May(TeamAct),
    MayEither(TeamAct, TeamAct),
    /// Nobody is refused: whoever may do this nowhere gets no teams.
    MayInAny(TeamAct),
}

impl<S: Surface> Access<S> {
    /// Obtains the proof, and does not run the handler.
    ///
    /// # Errors
    ///
    /// The refusal that [`Access::answer`] would give whatever the rest of the request says.
    pub fn check(&self, tx: &Tx, caller: Option<&Caller>, ctx: &S::Context<'_>) -> Result<(), Error> {
        self.authorize(tx, caller, ctx, |_| Ok(()))
    }

    /// Obtains the proof and runs the handler with it.
    ///
    /// # Errors
    ///
    /// The refusal of the rule, or of the handler.
    pub fn answer(&self, tx: &Tx, caller: Option<&Caller>, ctx: &S::Context<'_>) -> Answer<S> {
        self.authorize(tx, caller, ctx, |handler| handler())
    }

    /// Whether only the operator's socket reaches the row.
    pub fn is_operators(&self) -> bool {
        matches!(self, Access::Operator(_))
    }

    /// Whether the row answers without a key.
    pub fn is_open(&self) -> bool {
        matches!(self, Access::Anyone(_))
    }

    /// `then` gets the handler with its proof.
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
            Access::Operator(handler) => match ctx.listener() {
                Listener::Operator => then(&|| handler(tx, &Operator::of_this_host(), ctx)),
                Listener::Network => Err(Error::NotFound("route")),
            },
        }
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

    /// What the metrics of a request are of.
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

/// Who may, in the words of the permission tables.
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
