//! The one path that every request takes.
//!
//! Find the route, open a transaction, know the caller, get the proof, act, commit, render. What fails on the way has
//! written nothing.

use std::sync::Arc;

use bytes::Bytes;

use crate::db::api_keys::Use;
use crate::db::resources::Kind;
use crate::db::{self, Db, Moment, Tx};
use crate::error::Error;
use crate::graphql::document::{Document, EXPANSION_MAX};
use crate::model::network::Network;
use crate::model::{Client, Site, Team, Time};
use crate::policy::metrics::Measured;
use crate::policy::{Caller, Operator};
use crate::pool::{self, Hooks, Pool};
use crate::token::PlainKey;

pub mod api_keys;
pub mod audit_logs;
pub mod billing;
mod body;
pub mod chains;
pub mod deployments;
pub mod elsewhere;
pub mod environment_groups;
pub mod environments;
pub mod expiry;
pub mod fixtures;
pub mod graphql;
pub mod health;
pub mod installation;
pub mod instance_types;
pub mod invitations;
pub mod logs;
pub mod members;
pub mod model_apis;
pub mod models;
pub mod openapi;
pub mod operator;
pub mod organizations;
mod parameters;
pub mod passwords;
pub mod patches;
pub mod permissions;
pub mod pushes;
pub mod quotas;
pub mod reply;
pub mod request_log;
pub mod routes;
pub mod secrets;
pub mod server;
pub mod teams;
pub mod training_capacity;
pub mod training_jobs;
pub mod training_projects;
pub mod unserved;
pub mod uploads;
pub mod users;

use body::Body;
use passwords::{Guesses, Outcome};
pub use reply::Reply;
use request_log::RequestLog;
use routes::{Answer, Effect, Split};

/// The limit of a body where its route sets no other.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Of a body that anyone may send, also without a key.
pub const OPEN_BODY_BYTES_MAX: usize = 64 << 10;
/// Of a file of fixtures, which only the operator sends.
pub const FIXTURES_BYTES_MAX: usize = 64 << 20;

/// What every request shares.
pub struct App {
    /// Dropped before the database that its work may read.
    pub pool: Arc<Pool>,
    pub db: Db,
    pub front: Front,
    guesses: Guesses,
}

impl App {
    pub fn new(db: Db) -> App {
        App::behind(Front::default(), db)
    }

    pub fn behind(front: Front, db: Db) -> App {
        let hooks = Hooks { on_start: db::thread_parks, on_idle: db::park };
        App { pool: Arc::new(Pool::new(pool::Limits::default(), hooks)), db, front, guesses: Guesses::default() }
    }
}

/// What stands before the server and ends TLS for it, if anything does.
#[derive(Debug, Default)]
pub struct Front {
    /// Where clients reach it. Without it links begin with the host by which their request came, if
    /// that is this one.
    pub public: Option<Site>,
    /// The address to listen on, as it was given: without a public URL links may begin with it.
    pub listen: Option<Site>,
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
pub enum Door {
    Network,
    /// The operator's socket in the data directory.
    Operator,
}

/// A request as the door hands it over: bounded, its path split and decoded.
pub struct Request {
    pub method: String,
    /// Where whoever sent it reaches us.
    pub site: Site,
    pub s3_hosts: S3Hosts,
    /// Whether it came for the host at which a model or a Chain is called.
    pub is_for_model: bool,
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
    pub from: Door,
    pub at: Time,
    pub seed: [u8; 32],
    /// What the log will say about it.
    pub log: Arc<RequestLog>,
}

/// A request on its route: what handlers ask for what was sent.
pub struct Ask<'r> {
    pub request: &'r Request,
    row: &'static Split,
    ahead: &'r Ahead,
    came: Came,
}

/// What was done for a request ahead of its transaction.
#[derive(Default)]
struct Ahead {
    outcome: Outcome,
    document: Option<Document>,
    body: Body,
}

/// How much of a request is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// Its head: whoever may not do what it asks is told before a body is read.
    Head,
    All,
}

/// Refuses from its head alone what need not be read, and says how many bytes of a body may come.
///
/// # Errors
///
/// Whatever [`answer`] would refuse for any body: the route, the key, and what the key may do.
pub async fn admit(app: &App, request: &Request) -> Result<usize, Error> {
    let row = routes::find(request);
    request.log.note_route(row.as_ref().ok().map(|row| row.route), request);
    let bytes_max = row.as_ref().map_or(BODY_BYTES_MAX, |row| row.route.body_bytes_max());
    let moment = Moment { now: request.at, seed: request.seed };
    let admitted = app.db.read(moment, |tx| {
        let caller = caller(tx, request)?.map(|(caller, _)| caller);
        let ask = Ask { request, row: row?, ahead: &Ahead::default(), came: Came::Head };
        ask.answer(tx, caller.as_ref())?;
        match (&ask.row.route.answer, &caller) {
            (Answer::GraphQl, Some(caller)) => Ok(EXPANSION_MAX * graphql::document_bytes_max(tx, caller)?),
            _ => Ok(bytes_max),
        }
    });
    expiry::mark(&app.db, moment, &request.log).await;
    admitted
}

pub async fn answer(app: &Arc<App>, request: Request) -> Reply {
    let moment = Moment { now: request.at, seed: request.seed };
    let log = Arc::clone(&request.log);
    let reply = carry_out(app, moment, request).await;
    expiry::mark(&app.db, moment, &log).await;
    reply
}

async fn carry_out(app: &Arc<App>, moment: Moment, request: Request) -> Reply {
    let log = Arc::clone(&request.log);
    let row = routes::find(&request);
    log.note_route(row.as_ref().ok().map(|row| row.route), &request);
    let row = match row {
        Ok(row) => row,
        Err(error) => {
            let answered = read(app, moment, Err(error), &request, &Ahead::default());
            return answered.unwrap_or_else(|error| log.refuse(&error));
        }
    };
    if matches!(row.route.answer, Answer::GraphQl) {
        let answered = graphql::speak(app, moment, row, request).await;
        return answered.unwrap_or_else(|error| graphql::refused(&error, &log));
    }
    let answered = match row.route.effect {
        Effect::Reads if matches!(row.route.answer, Answer::Ready(_)) => ready(app, moment, row, request).await,
        Effect::Reads => read(app, moment, Ok(row), &request, &Ahead::default()),
        Effect::Searches => search(app, moment, row, request).await,
        Effect::Writes => write(app, moment, row, request).await,
    };
    answered.unwrap_or_else(|error| log.refuse(&error))
}

/// A key that was used and should be seen to have been.
type Used = Option<String>;

fn read(
    app: &App,
    moment: Moment,
    row: Result<&'static Split, Error>,
    request: &Request,
    ahead: &Ahead,
) -> Result<Reply, Error> {
    let (reply, used) = app.db.read(moment, |tx| act(tx, row, request, ahead))?;
    note_use(&app.db, moment, used);
    Ok(reply)
}

/// Read on the pool: what is looked through may be large. Whoever has no key is refused here.
async fn search(app: &Arc<App>, moment: Moment, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let caller = app.db.read(moment, |tx| caller(tx, &request))?;
    let Some((caller, _)) = caller else { return read(app, moment, Ok(row), &request, &Ahead::default()) };
    let (bytes, searched) = (request.body.len(), Arc::clone(app));
    let search = move || read(&searched, moment, Ok(row), &request, &Ahead::default());
    app.pool.run(caller.org_id.as_str(), bytes, search).await
}

/// Large bodies and passwords are worked on before the writer is asked: it must never wait for them.
async fn write(app: &App, moment: Moment, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let mut ahead = Ahead::default();
    if let Answer::Password { look, .. } = row.route.answer {
        let work = app.db.read(moment, |tx| {
            let caller = caller(tx, &request)?;
            let ask = Ask { request: &request, row, ahead: &ahead, came: Came::All };
            look(tx, caller.as_ref().map(|(caller, _)| caller), &ask)
        })?;
        if let Some(work) = work {
            ahead.outcome = passwords::work(&app.guesses, work, moment).await?;
            if matches!(ahead.outcome, Outcome::Wrong) {
                request.log.note_wrong_password();
            }
        }
    } else {
        ahead.body = read_ahead(app, moment, row, &request).await?;
    }
    let (moment, step) = (operator::moment(&request)?, operator::Step::of(&request)?);
    let work = move |tx: &Tx| step.take(tx, || act(tx, Ok(row), &request, &ahead).map(|(reply, _)| reply));
    app.db.write(moment, work).await
}

async fn read_ahead(app: &App, moment: Moment, row: &'static Split, request: &Request) -> Result<Body, Error> {
    let attempt = |tx: &Tx, body: Body| {
        let caller = caller(tx, request)?;
        let owner = caller.as_ref().map(|(caller, _)| caller.org_id.as_str().to_owned()).unwrap_or_default();
        let ahead = Ahead { body, ..Ahead::default() };
        let tried =
            Ask { request, row, ahead: &ahead, came: Came::All }.answer(tx, caller.as_ref().map(|(caller, _)| caller));
        Ok((owner, tried.map(drop), ahead.body))
    };
    body::read_ahead(app, moment, &request.body, attempt).await
}

/// Answered by the writer, so that an answer shows that it lives.
async fn ready(app: &App, moment: Moment, row: &'static Split, request: Request) -> Result<Reply, Error> {
    let done = app.db.write(moment, move |tx| act(tx, Ok(row), &request, &Ahead::default())).await;
    let (reply, used) = done.map_err(health::unready)?;
    note_use(&app.db, moment, used);
    Ok(reply)
}

/// A key that does not work is refused wherever it is sent, so the caller comes before the route.
fn act(tx: &Tx, row: Result<&'static Split, Error>, request: &Request, ahead: &Ahead) -> Result<(Reply, Used), Error> {
    let caller = caller(tx, request)?;
    let ask = Ask { request, row: row?, ahead, came: Came::All };
    if let Some((caller, _)) = caller.as_ref().filter(|_| ask.writes()) {
        tx.charge_to(caller);
    }
    if ask.row.route.deletes() {
        tx.frees_space()?;
    }
    if ask.writes()
        && let Some(client) = request.user_agent.as_deref().and_then(Client::parse)
    {
        tx.sent_by(client);
    }
    let answer = || ask.answer(tx, caller.as_ref().map(|(caller, _)| caller));
    let reply = if ask.writes() && caller.is_some() { tx.unless_unchanged(answer)? } else { answer()? };
    let used = caller.and_then(|(caller, used)| (used == Use::ToNote).then(|| caller.prefix().to_owned()));
    if ask.writes() {
        used.iter().try_for_each(|prefix| db::api_keys::note_use(tx, prefix))?;
    }
    Ok((reply, used))
}

fn caller(tx: &Tx, request: &Request) -> Result<Option<(Caller, Use)>, Error> {
    let Some(header) = &request.authorization else { return Ok(None) };
    let key = key(header);
    let known = key.as_ref().ok_or(Error::Unauthenticated).and_then(|key| db::api_keys::caller(tx, key));
    match &known {
        Ok((caller, _)) => request.log.note_caller(caller),
        Err(Error::Unauthenticated) => request.log.note_failed_sign_in(key.as_ref()),
        Err(_) => {}
    }
    known.map(Some)
}

fn key(authorization: &str) -> Option<PlainKey> {
    let (scheme, key) = authorization.split_once(' ')?;
    let is_known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("api-key");
    PlainKey::parse(key.trim()).filter(|_| is_known)
}

fn note_use(db: &Db, moment: Moment, used: Used) {
    if let Some(prefix) = used {
        db.write_later(moment, move |tx| db::api_keys::note_use(tx, &prefix));
    }
}

impl Ask<'_> {
    /// Gets the proof that the route asks for, and hands it to the handler once all of the request is here.
    fn answer(&self, tx: &Tx, caller: Option<&Caller>) -> Result<Reply, Error> {
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
                let proof = caller.in_all_to_deploy(&teams)?;
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
                let proof = caller.in_team_to_deploy(&team)?;
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
                let proof = caller.in_team_to_read_metrics(&team, self.measured(kind))?;
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
                    graphql::answer(tx, caller, document, self.request)
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

    fn writes(&self) -> bool {
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
            Door::Operator => Ok(Operator::of_this_host()),
            Door::Network => Err(Error::NotFound("route")),
        }
    }
}
