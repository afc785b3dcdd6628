//! A request, where it came in, and what a handler asks it for.

use std::sync::Arc;

use bytes::Bytes;

use crate::api::body::Body;
use crate::api::graphql::document::Document;
use crate::api::graphql::endpoint;
use crate::api::passwords::Outcome;
use crate::api::reply::Reply;
use crate::api::request_log::RequestLog;
use crate::api::routes::{Answer, Split};
use crate::db::resources::Kind;
use crate::db::{self, Tx};
use crate::domain::network::Network;
use crate::domain::{BaseUrl, Team, Time};
use crate::error::Error;
use crate::policy::metrics::Measured;
use crate::policy::{Caller, Operator};

/// What stands before the server and ends TLS for it, if anything does.
#[derive(Debug, Default)]
pub struct ReverseProxy {
    /// Where clients reach it. Without it links begin with the host by which their request came, if
    /// that is this one.
    pub public: Option<BaseUrl>,
    /// The address to listen on, as it was given: without a public URL links may begin with it.
    pub listen: Option<BaseUrl>,
    pub s3_hosts: S3Hosts,
    /// Whose connections are many clients' at once; they say for whom a request is.
    pub trusted_proxies: Vec<Network>,
}

/// Where that goes which is sent to S3's own host for our bucket. Go clients send archives there, whatever they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum S3Hosts {
    #[default]
    Elsewhere,
    /// The front takes it and passes it on.
    Here,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Network,
    /// The operator's socket in the data directory.
    Operator,
}

/// A request as the door hands it over: bounded, its path split and decoded.
pub struct Request {
    pub method: String,
    /// Where whoever sent it reaches us.
    pub base_url: BaseUrl,
    pub s3_hosts: S3Hosts,
    /// Whether it came for the host at which a model or a Chain is called.
    pub is_for_model: bool,
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
    pub from: Listener,
    pub at: Time,
    pub seed: [u8; 32],
    /// What the log will say about it.
    pub log: Arc<RequestLog>,
}

/// A request on its route: what handlers ask for what was sent.
pub struct RequestContext<'r> {
    pub request: &'r Request,
    pub(super) row: &'static Split,
    pub(super) ahead: &'r Ahead,
    pub(super) came: Came,
}

/// What was done for a request ahead of its transaction.
#[derive(Default)]
pub struct Ahead {
    pub(super) outcome: Outcome,
    pub(super) document: Option<Document>,
    pub(super) body: Body,
}

/// How much of a request is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Its head: whoever may not do what it asks is told before a body is read.
    Head,
    All,
}

impl RequestContext<'_> {
    /// Gets the proof that the route asks for, and hands it to the handler once all of the request is here.
    pub(super) fn answer(&self, tx: &Tx, caller: Option<&Caller>) -> Result<Reply, Error> {
        let signed_in = || caller.ok_or(Error::Unauthenticated);
        match self.row.route.answer {
            Answer::Open(handler) | Answer::Ready(handler) => self.with_all(|| handler(tx, caller, self)),
            Answer::Password { act, .. } => self.with_all(|| act(tx, caller, self, &self.ahead.outcome)),
            Answer::Operator(handler) => {
                let proof = self.operator()?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::Caller(handler) => {
                let proof = signed_in()?;
                self.with_all(|| handler(tx, proof, self))
            }
            Answer::KeyMaker(handler) => {
                let proof = signed_in()?.as_key_maker()?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::Member(handler) => {
                let proof = signed_in()?.as_member()?.0;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::Org(act, handler) => {
                let proof = signed_in()?.in_org(act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OrgOrSelf(act, handler) => {
                let proof = signed_in()?.in_org_or_self(act, self.param("user_id"))?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OrgOrSelfAlone(act, handler) => {
                let proof = signed_in()?.in_org_or_self_alone(act, self.param("user_id"))?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OrgTeam(act, handler) => {
                let (caller, team) = (signed_in()?, self.team(tx)?);
                let proof = caller.in_org_about(&team, act)?;
                self.with_all(|| handler(tx, &proof, &team, self))
            }
            Answer::Team(act, handler) => {
                let (caller, team) = (signed_in()?, self.team(tx)?);
                let proof = caller.in_team(&team, act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::TeamByEither(act, other, handler) => {
                let (caller, team) = (signed_in()?, self.team(tx)?);
                let proof = caller.in_team_by_either(&team, act, other)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::TeamOrSelf(act, handler) => {
                let (caller, team) = (signed_in()?, self.team(tx)?);
                let proof = caller.in_team_or_self(&team, act, self.param("user_id"))?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OwnTeam(act, handler) => {
                let caller = signed_in()?;
                let team = db::teams::own(tx, caller).inspect(|team| self.request.log.note_team(team))?;
                let proof = caller.in_default_team(&team, act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::AllTeams(act, handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proof = caller.in_all(&teams, act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::AllTeamsByEither(act, other, handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proof = caller.in_all_by_either(&teams, act, other)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::AllTeamsToDeploy(handler) => {
                let caller = signed_in()?;
                let teams = db::teams::of_organization(tx, caller)?;
                let proof = caller.to_deploy_in_any(&teams)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::ModelApis(handler) => {
                let caller = signed_in()?;
                let team = db::teams::default(tx, &caller.org_id)?;
                let proof = caller.with_model_apis(&team)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OwnedToDeploy(kind, handler) => {
                let caller = signed_in()?;
                let team = self.owner(tx, caller, kind)?;
                let proof = caller.to_deploy(&team)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::Owned(kind, act, handler) => {
                let caller = signed_in()?;
                let team = self.owner(tx, caller, kind)?;
                let proof = caller.in_team(&team, act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OwnedMetrics(kind, handler) => {
                let caller = signed_in()?;
                let team = self.owner(tx, caller, kind)?;
                let proof = caller.to_read_metrics(&team, self.measured(kind))?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::OrgOwned(kind, act, handler) => {
                let caller = signed_in()?;
                let team = self.owner(tx, caller, kind)?;
                let proof = caller.in_org_about(&team, act)?;
                self.with_all(|| handler(tx, &proof, self))
            }
            Answer::GraphQl => {
                let caller = signed_in()?;
                self.with_all(|| {
                    let document = self.ahead.document.as_ref().expect("a document is read before its transaction");
                    endpoint::answer(tx, caller, document, self.request)
                })
            }
            Answer::Unserved | Answer::UnservedInference => signed_in().and(Err(self.row.route.not_served())),
            Answer::UnservedOAuth => Err(self.row.route.not_served()),
        }
    }

    fn with_all(&self, handler: impl FnOnce() -> Result<Reply, Error>) -> Result<Reply, Error> {
        match self.came {
            Came::Head => Ok(Reply::bytes("application/json", Vec::new())),
            Came::All => handler(),
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.ahead.document.as_ref().map_or(self.row.route.writes(), Document::writes)
    }

    fn team(&self, tx: &Tx) -> Result<Team, Error> {
        db::teams::find(tx, self.param("team_id")).inspect(|team| self.request.log.note_team(team))
    }

    /// The team that owns what the path names. The same words for an id that nobody has and for one that the caller does
    /// not see.
    fn owner(&self, tx: &Tx, caller: &Caller, kind: Kind) -> Result<Team, Error> {
        let team = db::resources::team_of(tx, kind, self.param(kind.param()))?;
        let team = team.filter(|team| caller.standing_in(team).is_some()).ok_or(Error::NotFound(kind.as_str()));
        team.inspect(|team| self.request.log.note_team(team))
    }

    fn measured(&self, kind: Kind) -> Measured<'_> {
        match kind {
            Kind::Model => Measured::Model(self.param(kind.param())),
            Kind::Chain | Kind::TrainingProject => Measured::NoModel,
        }
    }

    fn operator(&self) -> Result<Operator, Error> {
        match self.request.from {
            Listener::Operator => Ok(Operator::of_this_host()),
            Listener::Network => Err(Error::NotFound("route")),
        }
    }
}
