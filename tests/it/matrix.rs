//! Who gets what status on every route: all rows of the route table × all kinds of callers × all places. What is expected
//! is written by hand in `data/matrix.txt`; a route without a row there fails, and a row without a route.

use std::collections::{BTreeMap, BTreeSet};

use guildhall::http::Door;
use guildhall::http::routes::{Answer, ROUTES, Route};
use guildhall::http::unserved::UNSERVED;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::house::House;
use crate::seed::{self, LINK_OF_A_NEW_PERSON, LINK_OF_FAY, WORLD};

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
];

/// These words name teams: where one is not there, it is told in the words of an id that nobody has.
const TEAMS: [&str; 5] = ["own", "other", "default", "foreign", "nothing"];

/// Where the body says what is asked for, these places are the same path.
const SAME_PATH: &[(&str, &str, &[&str])] = &[
    ("POST", "/v1/teams/{}/members", &["own", "nobody", "foreigner", "already"]),
    ("POST", "/v1/invitations", &["it", "own", "foreign", "nothing", "colleague"]),
    ("POST", "/v1/invitations/accept", &["newcomer", "known", "nothing", "accepted", "revoked"]),
    ("POST", "/v1/api_keys", &["personal", "keymgr", "unnamed", "own", "other", "default", "foreign", "nothing"]),
    ("POST", "/v1/environment_groups", &["it", "there"]),
    ("POST", "/v1/teams/{}/environment_groups", &["own", "there"]),
    ("PATCH", "/v1/training/capacity", &["own", "other", "default", "foreign", "nothing"]),
];

/// Large bodies of Baseten's, where what is not known is left alone.
const OPEN_BODIES: &[(&str, &str)] = &[
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

    /// Some routes are asked by POST and only look.
    fn writes(&self) -> bool {
        let is_this = |route: &&Route| route.method == self.method && bare(route.template) == self.template;
        ROUTES.iter().chain(UNSERVED).find(is_this).expect("every row has a route").writes()
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
        let there: BTreeSet<String> = served().map(name).collect();
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
    ROUTES.iter().filter(|route| !matches!(route.answer, Answer::GraphQl | Answer::Unserved))
}

fn unserved() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(UNSERVED).filter(|route| matches!(route.answer, Answer::Unserved))
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, bare(route.template))
}

/// The template with the names of its places taken out.
fn bare(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_has_rows_and_every_row_a_route() {
    let there: BTreeSet<String> = served().map(name).collect();
    let expected: BTreeSet<String> = table().served.iter().map(Expected::name).collect();
    assert_eq!(there.len(), served().count(), "a route stands twice in the table");
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
        assert!(statuses.any(|status| (200..300).contains(status)), "{} is open to nobody", expected.name());
    }
}

/// What is sent to this route about this place.
struct Ask {
    target: String,
    body: Option<Value>,
    from: Door,
}

/// Whoever asks: a column.
struct Caller {
    key: Option<&'static str>,
    user: Option<&'static str>,
    prefix: &'static str,
}

impl Caller {
    fn of(column: usize) -> Caller {
        match CALLERS[column].1 {
            None => Caller { key: None, user: None, prefix: "guild_nothing0" },
            Some("bad") => Caller { key: Some(WORLD.keys.text("bad")), user: None, prefix: "guild_nothing0" },
            Some(name) => {
                let person = ["ada", "lone", "tess", "max", "ian", "dora", "fay"].contains(&name);
                Caller {
                    key: Some(WORLD.keys.text(name)),
                    user: person.then_some(name),
                    prefix: WORLD.keys.prefix(name),
                }
            }
        }
    }
}

impl Ask {
    fn new(expected: &Expected, place: &str, caller: &Caller, house: &House) -> Ask {
        let mut target = String::new();
        let mut noun = "";
        for part in expected.template[1..].split('/') {
            target.push('/');
            if part == "{}" {
                let word = of_model(noun, &expected.template, place);
                target.push_str(&word.unwrap_or_else(|| named(noun, place, caller, house)));
            } else {
                target.push_str(part);
                noun = part;
            }
        }
        target.push_str(&query(&expected.method, &expected.template, place));
        let body = body(&expected.method, &expected.template, place);
        let from = if matches!(place, "socket" | "nobody-yet") { Door::Operator } else { Door::Network };
        Ask { target, body, from }
    }
}

fn team(place: &str) -> &str {
    match place {
        "other" => "inference",
        "default" => "home",
        "foreign" => "abroad",
        "nothing" => "nosuchteam",
        "empty" => "empty",
        _ => "research",
    }
}

/// What stands in the path behind a noun.
fn named(noun: &str, place: &str, caller: &Caller, house: &House) -> String {
    let kind = |kind: &str| if place == "nothing" { "nosuchid".to_owned() } else { format!("{}{kind}", team(place)) };
    match (noun, place) {
        ("teams", _) => team(place).to_owned(),
        ("secrets", "gone") => "nosuchsecret".to_owned(),
        ("secrets", _) => "token".to_owned(),
        ("members" | "users", "self") => caller.user.unwrap_or("crew").to_owned(),
        ("members", "gone") | ("users", "nothing") => "nosuchuser".to_owned(),
        ("members" | "users", "foreign") => "fern".to_owned(),
        ("members" | "users", _) => "crew".to_owned(),
        ("invitations", "own") => "pending".to_owned(),
        ("invitations", "foreign") => "theirs".to_owned(),
        ("invitations", "nothing") => "nosuchinvitation".to_owned(),
        ("invitations", id) => id.to_owned(),
        ("api_keys", "self") => caller.prefix.to_owned(),
        ("api_keys", "personal") => WORLD.keys.prefix("crew").to_owned(),
        ("api_keys", "keymgr") => WORLD.keys.prefix("spare-key-manager").to_owned(),
        ("api_keys", "other") => WORLD.keys.prefix("inference-spare").to_owned(),
        ("api_keys", "default") => WORLD.keys.prefix("home-spare").to_owned(),
        ("api_keys", "foreign") => WORLD.keys.prefix("abroad-spare").to_owned(),
        ("api_keys", "nothing") => "guild_nothing0".to_owned(),
        ("api_keys", _) => WORLD.keys.prefix("spare").to_owned(),
        ("environment_groups", "gone") => "nosuchenvironment".to_owned(),
        ("environment_groups", "used") => "production".to_owned(),
        ("environment_groups", _) => "staging".to_owned(),
        ("models", _) => kind("model"),
        ("chains", _) => kind("chain"),
        ("training_projects", _) => kind("project"),
        ("jobs", "gone") => "nosuchjob".to_owned(),
        ("jobs", "strange") => "inferencejob".to_owned(),
        ("jobs", _) => kind("job"),
        ("downloads", "it") => {
            let asked = "/v1/models/researchmodel/deployments/researchidle/download";
            let link = house.send(Some(WORLD.keys.text("ada")), "GET", asked, None).body["download_url"].clone();
            link.as_str().and_then(|link| link.rsplit('/').next()).expect("a link has parts").to_owned()
        }
        ("downloads", _) => "nosuchlink".to_owned(),
        ("model_apis", "gone") => "nosuchmodelapi".to_owned(),
        ("model_apis", _) => {
            let listed = house.send(Some(WORLD.keys.text("ada")), "GET", "/v1/model_apis", None);
            listed.body["items"][0]["name"].as_str().expect("the catalogue has one").to_owned()
        }
        _ => "x".to_owned(), // of a route that is not served
    }
}

/// What stands behind these nouns is told by the route too.
fn of_model(noun: &str, template: &str, place: &str) -> Option<String> {
    match noun {
        "deployments" if template.contains("/patches") => Some("development".to_owned()),
        "deployments" if place == "nothing" => Some("nosuchid".to_owned()),
        "deployments" => Some(format!("{}idle", team(place))),
        "environments" if template.ends_with("_promotion") => Some("trial".to_owned()),
        "environments" if place == "gone" => Some("nosuchenvironment".to_owned()),
        "environments" => Some("preview".to_owned()),
        _ => None,
    }
}

fn query(method: &str, template: &str, place: &str) -> String {
    match (method, template, place) {
        ("DELETE", "/v1/teams/{}", "full") => String::new(),
        ("DELETE", "/v1/teams/{}", _) => "?force=true".to_owned(),
        ("GET", "/v1/billing/usage_summary", _) => {
            "?start_date=2026-10-02T00:00:00Z&end_date=2026-11-01T00:00:00Z".to_owned()
        }
        ("GET", "/v1/permissions/explain", "myself") => "?act=MANAGE_BILLING".to_owned(),
        ("GET", "/v1/permissions/explain", "colleague") => "?act=MANAGE_BILLING&user_id=crew".to_owned(),
        ("GET", "/v1/permissions/explain", "someone") => "?act=MANAGE_BILLING&user_id=nosuchuser".to_owned(),
        ("GET", "/v1/permissions/explain", "colleague-own") => "?act=DEPLOY&team_id=research&user_id=crew".to_owned(),
        ("GET", "/v1/permissions/explain", place) => format!("?act=DEPLOY&team_id={}", team(place)),
        _ => String::new(),
    }
}

/// A body that the route takes.
fn body(method: &str, template: &str, place: &str) -> Option<Value> {
    let body = match (method, template) {
        ("PATCH", "/v1/organizations/me") => json!({ "name": "Renamed" }),
        ("POST", "/v1/teams") => json!({ "name": "Platform", "icon": "🛠" }),
        ("PATCH", "/v1/teams/{}") => json!({ "name": "Renamed" }),
        ("POST", "/v1/secrets" | "/v1/teams/{}/secrets") => json!({ "name": "hf_token", "value": "hf_1" }),
        ("POST", "/v1/teams/{}/members") => {
            let user = match place {
                "foreign" => "fred",
                "foreigner" => "fern",
                "nobody" => "nosuchuser",
                "already" => "max",
                _ => "lone",
            };
            json!({ "user_id": user, "role": "MEMBER" })
        }
        ("PATCH", "/v1/teams/{}/members/{}") => json!({ "role": "ADMIN" }),
        ("PATCH", "/v1/users/me") => json!({ "name": "Renamed" }),
        ("PATCH", "/v1/users/{}") if place == "self" => json!({ "role": "MEMBER" }),
        ("PATCH", "/v1/users/{}") => json!({ "role": "ADMIN" }),
        ("POST", "/v1/invitations") => {
            let email = if place == "colleague" { "crew@example.com" } else { "guest@example.com" };
            let teams = match place {
                "it" | "colleague" => json!([]),
                place => json!([{ "team_id": team(place), "role": "MEMBER" }]),
            };
            json!({ "email": email, "role": "MEMBER", "teams": teams })
        }
        ("POST", "/v1/invitations/accept") => match place {
            "newcomer" => json!({ "token": LINK_OF_A_NEW_PERSON, "name": "New", "api_key_name": "first" }),
            "known" => json!({ "token": LINK_OF_FAY }),
            "accepted" => json!({ "token": "linkofaccepted" }),
            "revoked" => json!({ "token": "linkofrevoked", "name": "New", "api_key_name": "first" }),
            _ => json!({ "token": "nosuchlink", "name": "New", "api_key_name": "first" }),
        },
        ("POST", "/v1/api_keys") => match place {
            "personal" => json!({ "type": "PERSONAL" }),
            "keymgr" => json!({ "type": "WORKSPACE_MANAGE_API_KEYS" }),
            "unnamed" => json!({ "type": "WORKSPACE_INVOKE" }),
            place => json!({ "type": "WORKSPACE_INVOKE", "team_id": team(place) }),
        },
        ("POST", "/v1/teams/{}/api_keys") => json!({ "type": "WORKSPACE_INVOKE" }),
        ("POST", "/v1/api_keys/{}/rotate") => json!({ "overlap_seconds": 3600 }),
        ("POST", "/v1/environment_groups" | "/v1/teams/{}/environment_groups") => {
            let name = if place == "there" { "staging" } else { "canary" };
            json!({ "name": name, "manage_access": { "is_restricted": true } })
        }
        ("PATCH", "/v1/environment_groups/{}" | "/v1/teams/{}/environment_groups/{}") => {
            json!({ "manage_access": { "is_restricted": false } })
        }
        ("POST", "/v1/training_projects" | "/v1/teams/{}/training_projects") => {
            json!({ "training_project": { "name": "new" } })
        }
        ("POST", "/v1/training_projects/{}/jobs") => json!({ "training_job": { "image": { "base_image": "python" } } }),
        ("PATCH", "/v1/training_projects/{}/jobs/{}") => json!({ "priority": 1 }),
        ("POST", "/v1/training_projects/{}/jobs/{}/logs" | "/v1/training_projects/{}/jobs/{}/metrics") => {
            json!({ "start_epoch_millis": 0, "end_epoch_millis": 1 })
        }
        ("POST", "/v1/training_jobs/search") => json!({ "statuses": ["TRAINING_JOB_PENDING"] }),
        ("PATCH", "/v1/training/capacity") => json!({ "team_id": team(place), "gpu_type": "H100", "max_gpus": 8 }),
        ("POST", "/v1/models" | "/v1/teams/{}/models") => {
            json!({ "source": { "name": "new", "deployment": { "config": {} } } })
        }
        ("POST", "/v1/prepare_model_upload") => json!({ "name": "new", "deployment": { "config": {} } }),
        ("POST", "/v1/models/{}/deployments") => json!({ "source": { "deployment": { "config": {} } } }),
        ("POST", "/v1/models/{}/deployments/development/promote" | "/v1/models/{}/deployments/{}/promote") => {
            json!({ "preserve_env_instance_type": true })
        }
        ("PATCH", "/v1/models/{}/deployments/{}") => json!({ "name": "renamed" }),
        (
            "PATCH",
            "/v1/models/{}/deployments/development/autoscaling_settings"
            | "/v1/models/{}/deployments/production/autoscaling_settings"
            | "/v1/models/{}/deployments/{}/autoscaling_settings",
        ) => json!({ "max_replica": 2 }),
        ("PATCH", "/v1/models/{}/deployments/{}/request_backpressure_settings") => {
            json!({ "policy": "REJECT_ON_FULL" })
        }
        ("POST", "/v1/models/{}/deployments/{}/logs") => json!({ "limit": 1 }),
        ("POST", "/v1/models/{}/deployments/{}/patches") => json!({
            "prev_patch_hash": "hash",
            "next_patch_point": { "content_hashes": {}, "config": "", "requirements": [] },
            "patch_ops": [],
        }),
        ("POST", "/v1/models/{}/environments") => json!({ "name": "new" }),
        ("PATCH", "/v1/models/{}/environments/{}") => json!({ "autoscaling_settings": { "max_replica": 2 } }),
        ("POST", "/v1/models/{}/environments/{}/promote") => json!({ "deployment_id": format!("{}idle", team(place)) }),
        ("PATCH", "/v1/models/{}") => json!({ "name": "renamed" }),
        ("POST", "/v1/operator/organizations" | "/v1/operator/installation") => {
            json!({ "name": "Initech", "email": "f@initech.example", "user_name": "F", "teams_enabled": true })
        }
        ("POST", "/v1/operator/fixtures") => json!({
            "organization": { "name": "initech", "teams_enabled": false },
            "people": [{ "email": "f@initech.example", "name": "F", "role": "ADMIN", "api_key_name": "first" }],
            "teams": [{ "name": "Default", "default": true }],
        }),
        _ => return None,
    };
    Some(body)
}

/// A copy of the world, and all that it holds.
struct Scene {
    house: House,
    sql: Connection,
    content: String,
}

impl Scene {
    /// The world, but for the place where nobody is yet.
    fn new(place: &str) -> Scene {
        let house = if place == "nobody-yet" { House::empty() } else { WORLD.house() };
        let sql = seed::open(house.data());
        let content = seed::content(&sql);
        Scene { house, sql, content }
    }

    fn is_untouched(&self) -> bool {
        seed::content(&self.sql) == self.content
    }

    fn audited(&self) -> i64 {
        self.sql.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
    }

    fn send(&self, caller: &Caller, method: &str, ask: &Ask, body: Vec<u8>) -> (u16, Vec<u8>) {
        let mut request = self.house.request(caller.key, method, &ask.target, body);
        request.from = ask.from;
        let reply = self.house.answer(request);
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
        let ask = Ask::new(self.expected, place, &caller, &self.scene.house);
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
                if self.scene.audited() == before {
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
