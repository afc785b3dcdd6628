//! Would the matrix notice a wrong access in the route table? For each row, the test sets every other access in its
//! place and sends requests as each column about each place of the matrix, up to the point where the handler would run.
//!
//! A cell notices a swap if the caller is refused with a status that the cell does not expect, or is admitted although
//! the cell expects a refusal and the place gives a reply. A swap that no cell notices must at least change the wording
//! of the API description, which `data/openapi-before.json` contains. This applies to acts that have the same marks in
//! the permission tables: such a swap changes nobody's access.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use guildhall::api::access::{At, OrgRule, Source, TeamRule, TeamsRule};
use guildhall::api::context::{Access, RequestContext};
use guildhall::api::dispatch::admit;
use guildhall::api::refusal::Api;
use guildhall::api::reply::Reply;
use guildhall::api::request::Request;
use guildhall::api::route::{Route, Table};
use guildhall::db::Tx;
use guildhall::db::resources::Kind;
use guildhall::error::Error;
use guildhall::policy::{OrgAct, TeamAct};
use serde_json::Value;

use super::asked::{Ask, Caller};
use super::{CALLERS, Expected, bare, names, served, table};
use crate::seed::WORLD;
use crate::test_server::TestServer;

/// Who may, as the description of the API tells it: by method and bare path.
fn described() -> BTreeMap<String, String> {
    let document: Value = serde_json::from_str(include_str!("../data/openapi-before.json")).unwrap();
    let operation = |(name, operation): (&String, &Value)| {
        let (method, template) = name.split_once(' ').expect("a method and a path");
        let words = operation["description"].as_str().expect("it says who may");
        (format!("{method} {}", bare(template)), words.to_owned())
    };
    document["paths"].as_object().unwrap().iter().map(operation).collect()
}

// ---- every other access ----

const SOURCES: [(Source, Option<&str>); 6] = [
    (Source::Path, Some("team_id")),
    (Source::Owner(Kind::Model, "model_id"), Some("model_id")),
    (Source::Owner(Kind::Chain, "chain_id"), Some("chain_id")),
    (Source::Owner(Kind::TrainingProject, "training_project_id"), Some("training_project_id")),
    (Source::Own, None),
    (Source::Default, None),
];

/// Every access that a route with these parameters can have.
fn accesses(template: &str) -> Vec<Access> {
    let named: Vec<&str> = template.split(['{', '}']).skip(1).step_by(2).collect();
    let has = |parameter: &Option<&str>| parameter.is_none_or(|name| named.contains(&name));
    let sources: Vec<Source> =
        SOURCES.iter().filter(|(_, parameter)| has(parameter)).map(|(source, _)| *source).collect();
    let about_a_person = named.contains(&"user_id");

    let mut all = vec![
        Access::Anyone(|_, _, _| unreachable()),
        Access::Caller(|_, _, _| unreachable()),
        Access::KeyMaker(|_, _, _| unreachable()),
        Access::DeployAnywhere(|_, _, _| unreachable()),
        Access::MetricsOfTeams(|_, _, _| unreachable()),
        Access::Invoking(|_, _, _| unreachable()),
        Access::Operator(|_, _, _| unreachable()),
    ];
    all.extend([At::Production, At::Development].map(|at| Access::Invoke(at, |_, _, _| unreachable())));
    let by_path = [(At::Environment, "env_name"), (At::Deployment, "deployment_id")];
    let by_path = by_path.into_iter().filter(|(_, parameter)| named.contains(parameter));
    all.extend(by_path.map(|(at, _)| Access::Invoke(at, |_, _, _| unreachable())));
    all.extend(org_rules(about_a_person).into_iter().map(|rule| Access::Org(rule, |_, _, _| unreachable())));
    all.extend(teams_rules().into_iter().map(|rule| Access::Teams(rule, |_, _, _| unreachable())));
    for source in sources {
        all.push(Access::Deploy(source, |_, _, _| unreachable()));
        all.push(Access::Metrics(source, |_, _, _| unreachable()));
        let about = |act: &OrgAct| Access::OrgAbout(source, *act, |_: &Tx, _, _, _: &RequestContext| unreachable());
        all.extend(OrgAct::ALL.iter().map(about));
        let rules = team_rules(about_a_person).into_iter();
        all.extend(rules.map(|rule| Access::Team(source, rule, |_, _, _| unreachable())));
    }
    all
}

/// `admit` stops before the handler.
fn unreachable() -> Result<Reply, Error> {
    unreachable!("no handler runs")
}

fn org_rules(about_a_person: bool) -> Vec<OrgRule> {
    let acts = || OrgAct::ALL.iter().copied();
    let of_persons = acts().map(OrgRule::MayOrSelf).chain(acts().map(OrgRule::MayOrSelfHidden));
    let rules = std::iter::once(OrgRule::Member).chain(acts().map(OrgRule::May));
    rules.chain(of_persons.filter(|_| about_a_person)).collect()
}

fn team_rules(about_a_person: bool) -> Vec<TeamRule> {
    let acts = || TeamAct::ALL.iter().copied();
    let single = acts().map(TeamRule::May).chain([TeamRule::ModelApis, TeamRule::CallModelApis]);
    let of_persons = acts().map(TeamRule::MayOrSelf).filter(|_| about_a_person);
    single.chain(of_persons).chain(pairs().into_iter().map(|(act, other)| TeamRule::MayEither(act, other))).collect()
}

fn teams_rules() -> Vec<TeamsRule> {
    let acts = || TeamAct::ALL.iter().copied();
    let single = acts().map(TeamsRule::May).chain(acts().map(TeamsRule::MayInAny));
    single.chain(pairs().into_iter().map(|(act, other)| TeamsRule::MayEither(act, other))).collect()
}

fn pairs() -> Vec<(TeamAct, TeamAct)> {
    let acts = || TeamAct::ALL.iter().copied();
    acts().enumerate().flat_map(|(at, act)| acts().skip(at + 1).map(move |other| (act, other))).collect()
}

/// The form, the source and the rule of an access, which is all of it but its handler.
fn form(access: &Access) -> String {
    match access {
        Access::Anyone(_) => "Anyone".to_owned(),
        Access::Caller(_) => "Caller".to_owned(),
        Access::KeyMaker(_) => "KeyMaker".to_owned(),
        Access::Org(rule, _) => format!("Org({rule:?})"),
        Access::OrgAbout(source, act, _) => format!("OrgAbout({source:?}, {act:?})"),
        Access::Team(source, rule, _) => format!("Team({source:?}, {rule:?})"),
        Access::Teams(rule, _) => format!("Teams({rule:?})"),
        Access::Deploy(source, _) => format!("Deploy({source:?})"),
        Access::DeployAnywhere(_) => "DeployAnywhere".to_owned(),
        Access::Metrics(source, _) => format!("Metrics({source:?})"),
        Access::Invoke(at, _) => format!("Invoke({at:?})"),
        Access::Invoking(_) => "Invoking".to_owned(),
        Access::MetricsOfTeams(_) => "MetricsOfTeams".to_owned(),
        Access::Operator(_) => "Operator".to_owned(),
    }
}

/// Whether two accesses let in the same callers and refuse the others with the same status and in the same words of the
/// description.
///
/// `ModelApis` and `May(View)` ask for the same act. They differ in what is said of a team that the caller does not see: with
/// a team from the path that is another status, which a cell notices, otherwise another sentence.
fn are_alike(own: &Access, other: &Access) -> bool {
    const VIEW: TeamRule = TeamRule::May(TeamAct::View);
    match (own, other) {
        (Access::Team(source, rule, _), Access::Team(other_source, other_rule, _)) => {
            let rules = [*rule, *other_rule];
            source == other_source
                && *source != Source::Path
                && (rules == [VIEW, TeamRule::ModelApis] || rules == [TeamRule::ModelApis, VIEW])
        }
        // Whoever may call in one of them may call in the other, unless a key is narrowed to `production`. Which deployment
        // answers, the tests of calls tell.
        (Access::Invoke(At::Production, _), Access::Invoke(At::Development, _))
        | (Access::Invoke(At::Development, _), Access::Invoke(At::Production, _)) => true,
        // They differ for keys narrowed to other environments, which the tests of calls tell.
        (Access::Invoke(At::Environment, _), Access::Invoking(_)) => true,
        _ => false,
    }
}

// ---- what a cell notices ----

/// The parameters that an access reads.
const READ_BY_ACCESS: [&str; 5] = ["{team_id}", "{model_id}", "{chain_id}", "{training_project_id}", "{user_id}"];

/// One cell of the matrix: a request, and the status that it expects.
struct Cell {
    request: Box<dyn Fn(&TestServer) -> Request>,
    /// Stands for all that an access reads of the request.
    read: usize,
    status: u16,
    /// Whether the place answers somebody.
    is_carried_out: bool,
}

impl Cell {
    fn notices(&self, refusal: Option<u16>, refusal_before: Option<u16>) -> bool {
        match (refusal_before, refusal) {
            (_, Some(status)) => status != self.status,
            (Some(_), None) => self.is_carried_out,
            (None, None) => false,
        }
    }
}

/// Asks a server whose table has one row.
struct Asked {
    server: TestServer,
    /// What accesses read of requests, each under its number.
    read: HashMap<String, usize>,
    /// The refusal of a form of access for what it reads, so that nothing is asked twice.
    refusals: HashMap<String, HashMap<usize, Option<u16>>>,
}

impl Asked {
    fn cells(&mut self, route: &Route, expected: &Expected, ordinary: &TestServer) -> Vec<Cell> {
        let mut cells = Vec::new();
        // No model runs here: 503 is said to those who may call.
        let answers = |statuses: &Vec<u16>| statuses.iter().any(|status| (200..300).contains(status) || *status == 503);
        for (place, statuses) in expected.places.iter().filter(|(place, _)| place != "nobody-yet") {
            // From the network, an operator's route is asked what its socket answers.
            let is_carried_out = answers(statuses) || place == "network";
            for (column, status) in statuses.iter().enumerate() {
                let caller = Caller::of(column);
                let Ask { target, from, .. } = Ask::new(expected, place, &caller, ordinary);
                let path = target.split('?').next().unwrap_or_default();
                let parts = route.template.split('/').zip(path.split('/'));
                let named: Vec<_> = parts.filter(|(part, _)| READ_BY_ACCESS.contains(part)).collect();
                let called = if expected.is_of_inference() { &*target } else { "" };
                let read = self.number(format!("{} {from:?} {named:?} {called}", CALLERS[column].0));
                let (key, method) = (caller.key, route.method);
                let request = move |server: &TestServer| {
                    let mut request = server.request(key, method, &target, Vec::new());
                    request.from = from;
                    request
                };
                cells.push(Cell { request: Box::new(request), read, status: *status, is_carried_out });
            }
        }
        cells
    }

    fn number(&mut self, read: String) -> usize {
        let next = self.read.len();
        *self.read.entry(read).or_insert(next)
    }

    /// For each cell, the status with which the row refuses whatever the body says, until `stop` has seen enough.
    fn ask(&mut self, route: Route, cells: &[Cell], mut stop: impl FnMut(usize, Option<u16>) -> bool) {
        let app = Arc::get_mut(&mut self.server.app).expect("no request is in progress");
        app.routes = Box::leak(Box::new(Table::of([route])));
        let server = &self.server;
        let refusals = self.refusals.entry(form(&route.access)).or_default();
        for (at, cell) in cells.iter().enumerate() {
            let ask =
                || server.block_on(admit(&server.app, &(cell.request)(server))).err().map(|error| error.status().0);
            if stop(at, *refusals.entry(cell.read).or_insert_with(ask)) {
                return;
            }
        }
    }
}

#[test]
fn every_other_access_is_noticed() {
    let expected: BTreeMap<String, Expected> = table().served.into_iter().map(|row| (row.name(), row)).collect();
    let (described, ordinary) = (described(), WORLD.server());
    let mut asked = Asked { server: WORLD.server(), read: HashMap::new(), refusals: HashMap::new() };
    let (mut by_cells, mut by_words, mut unnoticed) = (0, BTreeMap::new(), Vec::new());
    // In the default team, every column that views also calls: the tests of Model APIs tell the rules apart.
    for route in served().filter(|route| route.api != Api::OpenAi) {
        let name = names(route).remove(0);
        let (own, words) = (form(&route.access), route.access.to_string());
        if let Some(described) = described.get(&name) {
            assert_eq!(&words, described, "{name}");
        }
        let cells = asked.cells(route, &expected[&name], &ordinary);
        let mut before = Vec::new();
        asked.ask(*route, &cells, |_, refusal| {
            before.push(refusal);
            false
        });
        for access in accesses(route.template) {
            let other = form(&access);
            if other == own {
                continue;
            }
            let mut noticed = false;
            asked.ask(Route { access, ..*route }, &cells, |at, refusal| {
                noticed = cells[at].notices(refusal, before[at]);
                noticed
            });
            if noticed {
                by_cells += 1;
            } else if described.contains_key(&name) && access.to_string() != words {
                *by_words.entry(format!("{own} -> {other}")).or_insert(0) += 1;
            } else if !are_alike(&route.access, &access) {
                unnoticed.push(format!("{name}: {other} in place of {own}"));
            }
        }
    }
    println!("{by_cells} swaps are noticed by a cell; by the words of the description alone: {by_words:#?}");
    assert!(unnoticed.is_empty(), "{} swaps are noticed by nothing:\n{}", unnoticed.len(), unnoticed.join("\n"));
}
