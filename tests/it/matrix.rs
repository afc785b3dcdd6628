//! The status of every route for every caller: all rows of the route table × all kinds of callers × all places. The
//! expected statuses are written by hand in `data/matrix.txt`. A route without a row in that file fails, and so does a
//! row without a route.

use std::collections::{BTreeMap, BTreeSet};

use guildhall::api::refusal::Api;
use guildhall::api::route::Route;
use guildhall::api::routes;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::seed::{self, WORLD};
use crate::test_server::TestServer;
use crate::vocabulary::content;

mod asked;
mod swaps;

use asked::{Ask, Caller};

/// The columns of the table: what they are called there, and the key of the world that they send.
const CALLERS: &[(&str, Option<&str>)] = &[
    ("nobody", None),
    ("bad", Some("bad")),
    ("admin", Some("ada")),
    ("lone", Some("lone")),
    ("tadmin", Some("tess")),
    ("member", Some("max")),
    ("elsewh", Some("ian")),
    ("indeflt", Some("dora")),
    ("foreign", Some("fay")),
    ("all", Some("manage-all")),
    ("invoke", Some("invoke")),
    ("metrics", Some("metrics")),
    ("all-o", Some("inference-manage-all")),
    ("all-d", Some("home-manage-all")),
    ("keymgr", Some("key-manager")),
    ("env", Some("to-environments")),
    ("mdl", Some("to-model")),
];

/// These words name teams: where one is not there, it is told in the words of an id that nobody has.
const TEAMS: [&str; 5] = ["own", "other", "default", "foreign", "nothing"];

/// Where the body says what is asked for, these places are the same path.
const SAME_PATH: &[(&str, &str, &[&str])] = &[
    ("POST", "/v1/teams/{}/members", &["own", "nobody", "foreigner", "already"]),
    ("POST", "/v1/invitations", &["it", "own", "foreign", "nothing", "colleague"]),
    ("POST", "/v1/invitations/accept", &["newcomer", "known", "nothing", "accepted", "revoked"]),
    ("POST", "/v1/users/reset", &["it", "nothing"]),
    ("POST", "/v1/operator/users/api_keys", &["socket", "nothing"]),
    ("POST", "/v1/api_keys", &["personal", "keymgr", "unnamed", "own", "other", "default", "foreign", "nothing"]),
    ("POST", "/v1/environment_groups", &["it", "there"]),
    ("POST", "/v1/teams/{}/environment_groups", &["own", "there"]),
    ("POST", "/v1/models/{}/deployments", &["own", "into"]),
    ("POST", "/v1/models/{}/environments", &["own", "there"]),
    ("POST", "/v1/chains/{}/environments", &["own", "closed", "there"]),
    ("POST", "/v1/chains/{}/environments/{}/promote", &["own", "absent", "stranger"]),
    ("POST", "/v1/prepare_model_upload", &["it", "own", "nothing"]),
    ("PATCH", "/v1/training/capacity", &["own", "other", "default", "foreign", "nothing"]),
];

/// Large bodies of Baseten's, where what is not known is left alone.
const OPEN_BODIES: &[(&str, &str)] = &[
    ("POST", "/inference/v1/chat/completions"),
    ("POST", "/inference/v1/completions"),
    ("POST", "/inference/v1/embeddings"),
    ("POST", "/v1/models"),
    ("POST", "/v1/teams/{}/models"),
    ("POST", "/v1/prepare_model_upload"),
    ("POST", "/v1/models/{}/deployments"),
    ("POST", "/v1/models/{}/deployments/development/promote"),
    ("POST", "/v1/models/{}/deployments/{}/promote"),
    ("POST", "/v1/models/{}/deployments/{}/logs"),
    ("POST", "/v1/models/{}/deployments/{}/patches"),
    ("POST", "/v1/models/{}/environments"),
    ("POST", "/v1/models/{}/environments/{}/promote"),
    ("POST", "/v1/chains/{}/environments"),
    ("PATCH", "/v1/chains/{}/environments/{}"),
    ("POST", "/v1/chains/{}/environments/{}/promote"),
    ("PATCH", "/v1/chains/{}/environments/{}/chainlet_settings/autoscaling_settings"),
    ("POST", "/v1/chains/{}/environments/{}/chainlet_settings/instance_types/update"),
    ("POST", "/v1/training_projects/{}/jobs"),
];

struct Expected {
    method: String,
    template: String,
    /// The statuses of each place, one a caller.
    places: Vec<(String, Vec<u16>)>,
}

impl Expected {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    fn is_of_inference(&self) -> bool {
        routes::all().any(|route| route.api == Api::Inference && names(route).contains(&self.name()))
    }

    /// Some routes are asked by POST and only look.
    fn writes(&self) -> bool {
        let is_this = |route: &&Route| names(route).contains(&self.name());
        routes::all().find(is_this).expect("every row has a route").writes()
    }

    /// What this caller gets who sends a body that cannot be read: who is refused whatever the body says is refused
    /// before the body is read, and everybody else is told about the body.
    fn with_a_bad_body(&self, place: &str, caller: usize) -> u16 {
        let same = SAME_PATH.iter().find(|(method, template, places)| {
            *method == self.method && *template == self.template && places.contains(&place)
        });
        let same = same.map_or(vec![place], |(_, _, places)| places.to_vec());
        let statuses: BTreeSet<u16> =
            self.places.iter().filter(|(place, _)| same.contains(&&**place)).map(|(_, row)| row[caller]).collect();
        match *statuses.iter().collect::<Vec<_>>() {
            [only @ (401 | 403 | 404)] => *only,
            _ => 400,
        }
    }
}

struct Table {
    served: Vec<Expected>,
    /// The one row of every route that is not served.
    unserved: Vec<(String, Vec<u16>)>,
}

/// Reads the table. It panics with the line that cannot be read.
fn table() -> Table {
    let mut patterns: BTreeMap<&str, Vec<(String, Vec<u16>)>> = BTreeMap::new();
    let mut pattern = None;
    let mut table: Vec<Expected> = Vec::new();
    for line in include_str!("data/matrix.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "|").collect();
        match words[..] {
            [] | ["#", ..] => {}
            ["columns", ..] => {
                assert_eq!(words[1..], CALLERS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "the columns");
            }
            ["pattern", name] => {
                pattern = Some(name);
                patterns.insert(name, Vec::new());
            }
            [method, template, ref rest @ ..] if template.starts_with('/') => {
                let places = match rest {
                    [] => Vec::new(),
                    ["=", name] => patterns[name].clone(),
                    _ => panic!("cannot be read: {line}"),
                };
                pattern = None;
                table.push(Expected { method: method.to_owned(), template: template.to_owned(), places });
            }
            [place, ref statuses @ ..] => {
                let row: Vec<u16> = statuses.iter().map(|s| s.parse().unwrap_or_else(|_| panic!("{line}"))).collect();
                assert_eq!(row.len(), CALLERS.len(), "{line}");
                let places = match pattern {
                    Some(name) => patterns.get_mut(name).expect("it was begun"),
                    None => &mut table.last_mut().expect("a route comes before its rows").places,
                };
                places.push((place.to_owned(), row));
            }
        }
    }
    Table { served: table, unserved: patterns["unserved"].clone() }
}

impl Table {
    /// The rows of the routes that are there: those that are written, and those of what is not served.
    fn of_routes(self) -> Vec<Expected> {
        let there: BTreeSet<String> = served().flat_map(names).collect();
        let unserved = unserved().map(|route| Expected {
            method: route.method.to_owned(),
            template: bare(route.template),
            places: self.unserved.clone(),
        });
        let unserved: Vec<Expected> = unserved.collect();
        self.served.into_iter().filter(|row| there.contains(&row.name())).chain(unserved).collect()
    }
}

/// What GraphQL refuses it refuses with the status 200: its root fields are judged in `graphql.rs`.
fn served() -> impl Iterator<Item = &'static Route> {
    routes::all().filter(|route| route.is_served() && route.api != Api::GraphQl)
}

fn unserved() -> impl Iterator<Item = &'static Route> {
    routes::all().filter(|route| !route.is_served() && route.api == Api::Management)
}

/// A route by each of its paths.
fn names(route: &Route) -> Vec<String> {
    route.paths().iter().map(|path| format!("{} {}", route.method, bare(path))).collect()
}

/// The template with the names of its places taken out.
fn bare(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_has_rows_and_every_row_a_route() {
    let there: BTreeSet<String> = served().flat_map(names).collect();
    let expected: BTreeSet<String> = table().served.iter().map(Expected::name).collect();
    assert_eq!(there.len(), served().flat_map(names).count(), "a route is listed twice in the table");
    let without_rows: Vec<_> = there.difference(&expected).collect();
    let without_route: Vec<_> = expected.difference(&there).collect();
    assert!(
        without_rows.is_empty() && without_route.is_empty(),
        "routes without rows in data/matrix.txt: {without_rows:#?}\nrows without a route: {without_route:#?}"
    );
}

#[test]
fn every_route_is_open_to_somebody() {
    for expected in table().served {
        let mut statuses = expected.places.iter().flat_map(|(_, row)| row);
        // 503 is for those whose call would be queued if models ran.
        let is_open = |status: &u16| (200..300).contains(status) || *status == 503;
        assert!(statuses.any(is_open), "{} is open to nobody", expected.name());
    }
}

/// One request to a served route that is carried out.
pub struct CarriedOut {
    pub method: String,
    pub target: String,
    pub key: Option<&'static str>,
    pub body: Option<Value>,
    pub from: guildhall::api::Listener,
}

/// A request to every served route, from a caller and about a place for which it is carried out.
pub fn carried_out(server: &TestServer) -> Vec<CarriedOut> {
    let first = |expected: Expected| {
        let is_carried_out = |status: &u16| (200..300).contains(status);
        let (place, row) = expected.places.iter().find(|(_, row)| row.iter().any(is_carried_out))?;
        let caller = Caller::of(row.iter().position(is_carried_out)?);
        let Ask { target, body, from } = Ask::new(&expected, place, &caller, server);
        Some(CarriedOut { method: expected.method, target, key: caller.key, body, from })
    };
    table().served.into_iter().filter_map(first).collect()
}

/// A copy of the world, and all that it holds.
struct Scene {
    server: TestServer,
    sql: Connection,
    content: String,
}

impl Scene {
    /// The world, but for the place where nobody is yet.
    fn new(place: &str) -> Scene {
        let server = if place == "nobody-yet" { TestServer::empty() } else { WORLD.server() };
        let sql = seed::open(server.data());
        let content = content(&sql);
        Scene { server, sql, content }
    }

    fn is_untouched(&self) -> bool {
        content(&self.sql) == self.content
    }

    fn audited(&self) -> i64 {
        self.sql.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
    }

    fn send(&self, caller: &Caller, method: &str, ask: &Ask, body: Vec<u8>) -> (u16, Vec<u8>) {
        let mut request = self.server.request(caller.key, method, &ask.target, body);
        request.from = ask.from;
        let reply = self.server.answer(request);
        (reply.status, reply.body)
    }
}

/// Asks one route from everywhere, and tells what was not as expected.
struct Judge<'t> {
    expected: &'t Expected,
    scene: Scene,
    wrong: Vec<String>,
    cells: usize,
}

impl Judge<'_> {
    fn judge(mut self) -> (Vec<String>, usize) {
        let expected = self.expected;
        for column in 0..CALLERS.len() {
            let mut not_there: Option<Vec<u8>> = None;
            for (place, row) in &expected.places {
                if place == "nobody-yet" {
                    self.scene = Scene::new(place);
                }
                let answered = self.cell(place, column, row[column]);
                if place == "nobody-yet" {
                    self.scene = Scene::new("");
                }
                if row[column] == 404 && TEAMS.contains(&&**place) {
                    let same = not_there.get_or_insert_with(|| answered.clone());
                    if *same != answered {
                        self.complain(place, column, "tells what is not theirs from what is not there");
                    }
                }
            }
        }
        (self.wrong, self.cells)
    }

    fn cell(&mut self, place: &str, column: usize, status: u16) -> Vec<u8> {
        self.cells += 1;
        let caller = Caller::of(column);
        let ask = Ask::new(self.expected, place, &caller, &self.scene.server);
        if ask.body.is_some() {
            self.with_bad_bodies(place, column, &caller, &ask, status);
        }
        let body = ask.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let before = self.scene.audited();
        let (got, answered) = self.scene.send(&caller, &self.expected.method, &ask, body);
        if got != status {
            self.complain(place, column, &format!("{got}, not {status}: {}", String::from_utf8_lossy(&answered)));
        }
        let wrote = self.expected.writes() && (200..300).contains(&got);
        match wrote {
            true => {
                // What changes nothing leaves none.
                if self.scene.audited() == before && !self.scene.is_untouched() {
                    self.complain(place, column, "wrote without an entry in the audit log");
                }
                self.scene = Scene::new(place);
            }
            false => self.must_be_untouched(place, column),
        }
        if got >= 400 {
            self.must_be_a_refusal(place, column, got, &answered);
        }
        answered
    }

    /// Who is refused by the path is refused before the body is read, and whoever is not is told about the body.
    fn with_bad_bodies(&mut self, place: &str, column: usize, caller: &Caller, ask: &Ask, status: u16) {
        let unreadable = self.expected.with_a_bad_body(place, column);
        let (got, _) = self.scene.send(caller, &self.expected.method, ask, b"{".to_vec());
        let refused_anyway = (status, got) == (409, 409); // of what is there, whatever the body says
        if got != unreadable && !refused_anyway {
            self.complain(place, column, &format!("with an unreadable body {got}, not {unreadable}"));
        }
        let is_open = OPEN_BODIES.contains(&(&*self.expected.method, &*self.expected.template));
        if status == 200 && !is_open {
            let mut body = ask.body.clone().expect("it has one");
            body["surprise"] = json!("x");
            let (got, answered) = self.scene.send(caller, &self.expected.method, ask, body.to_string().into_bytes());
            if got != 400 || !String::from_utf8_lossy(&answered).contains("surprise") {
                self.complain(place, column, &format!("{got} for an unknown field, not 400 naming it"));
            }
        }
        self.must_be_untouched(place, column);
    }

    fn must_be_untouched(&mut self, place: &str, column: usize) {
        if !self.scene.is_untouched() {
            self.complain(place, column, "changed the database without saying so");
            self.scene = Scene::new(place);
        }
    }

    fn must_be_a_refusal(&mut self, place: &str, column: usize, status: u16, answered: &[u8]) {
        let code = match status {
            400 => "VALIDATION_ERROR",
            401 => "UNAUTHENTICATED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            409 => "CONFLICT",
            501 => "NOT_IMPLEMENTED",
            _ => "",
        };
        let body: Value = serde_json::from_slice(answered).unwrap_or_default();
        if self.expected.is_of_inference() {
            if body["error"].as_str().is_none_or(str::is_empty) || body.as_object().map(|body| body.len()) != Some(1) {
                self.complain(place, column, &format!("a refusal without its message alone: {body}"));
            }
            return;
        }
        if self.expected.template.starts_with("/inference/") {
            let message = &body["error"]["message"];
            if body["error"]["code"] != code || message.as_str().is_none_or(str::is_empty) {
                self.complain(place, column, &format!("a refusal without its code and message: {body}"));
            }
            return;
        }
        if body["code"] != code || body["message"].as_str().is_none_or(str::is_empty) {
            self.complain(place, column, &format!("a refusal without its code and message: {body}"));
        }
        if status == 501 && !body["message"].as_str().is_some_and(|m| m.contains(&self.expected.method)) {
            self.complain(place, column, &format!("a 501 that does not name its route: {body}"));
        }
    }

    fn complain(&mut self, place: &str, column: usize, what: &str) {
        let caller = CALLERS[column].0;
        self.wrong.push(format!("{} · {place} · {caller}: {what}", self.expected.name()));
    }
}

#[test]
fn everyone_gets_what_the_table_says() {
    let table = table().of_routes();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let (mut wrong, mut cells) = (Vec::new(), 0);
        while let Some(expected) = table.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            // A thread of its own for each route keeps one connection for all that it reads.
            let judge = || {
                guildhall::db::thread_parks();
                Judge { expected, scene: Scene::new(""), wrong: Vec::new(), cells: 0 }.judge()
            };
            let judged = std::thread::scope(|scope| scope.spawn(judge).join());
            let (found, judged) = judged.unwrap_or_else(|why| std::panic::resume_unwind(why));
            wrong.extend(found);
            cells += judged;
        }
        (wrong, cells)
    };
    let (mut wrong, mut cells) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (found, judged) = worker.join().expect("no worker panics");
            wrong.extend(found);
            cells += judged;
        }
    });
    println!("{cells} cells");
    assert!(wrong.is_empty(), "{} of {cells} cells are not as expected:\n{}", wrong.len(), wrong.join("\n"));
}
