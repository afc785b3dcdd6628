//! Are fixtures loaded completely or not at all, and do errors say what is wrong and where?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use guildhall::api::operator::Mode;
use guildhall::server::operator::{Answered, send_here};
use serde_json::{Value, json};

use crate::test_server::TestServer;

const ROUTE: &str = "/v1/operator/fixtures";

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).expect("a file of the repository")
}

fn load(server: &TestServer, fixture: &[u8]) -> (u16, Value) {
    let Answered { status, body } =
        send_here(&server.app, server.now(), Mode::Direct, ROUTE, fixture).expect("it answers");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fn loaded(server: &TestServer, fixture: &[u8]) -> Value {
    let (status, body) = load(server, fixture);
    assert_eq!(status, 200, "{body}");
    body["organizations"].clone()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// A fixture that uses every part of the shape once.
fn whole() -> Value {
    json!({
        "organization": {"name": "whole", "teams_enabled": true},
        "people": [
            {"email": "ada@whole.example", "name": "Ada", "role": "ADMIN", "api_key_name": "laptop"},
            {"email": "mei@whole.example", "name": "Mei", "role": "MEMBER", "teams": {"Research": "MEMBER"}},
        ],
        "teams": [
            {"name": "Everybody", "default": true, "icon": "🏛️"},
            {
                "name": "Research",
                "models": [{
                    "name": "kites", "instance_type": "L4:4x16", "environments": ["staging"],
                    "usage": [{
                        "name": "deployment-1", "environment": "staging", "instance_type": "L4:4x16",
                        "days": {"from": 3, "to": 1}, "minutes_per_day": 10, "requests_per_day": 5,
                        "micro_usd_per_day": 141400,
                    }],
                }],
                "chains": [{"name": "kites", "environments": ["staging"]}],
                "training_projects": [{"name": "kites"}],
                "secrets": [{"name": "hf_access_token", "value": "example"}],
                "api_keys": [
                    {"type": "WORKSPACE_INVOKE", "name": "robot", "models": ["kites"], "environments": ["staging"]},
                ],
                "environment_groups": [{
                    "name": "staging", "is_restricted": true, "users": ["mei@whole.example"], "api_keys": ["robot"],
                }],
            },
        ],
        "api_keys": [{"name": "vault"}],
        "model_apis": [{
            "name": "gpt-oss-120b",
            "usage": {
                "days": {"from": 1}, "requests_per_day": 1, "input_tokens_per_day": 2, "output_tokens_per_day": 3,
                "micro_usd_per_day": 4,
            },
        }],
        "invitations": [
            {"email": "noah@whole.example", "role": "MEMBER", "invited_by": "ada@whole.example",
             "teams": {"Research": "MEMBER"}},
        ],
    })
}

/// Whether nothing was kept: only then can the installation be begun, which this does.
fn is_empty(server: &TestServer) -> bool {
    let found = json!({"name": "first", "email": "ada@first.example", "user_name": "Ada", "teams_enabled": false});
    let body = found.to_string();
    let answered = send_here(&server.app, server.now(), Mode::Direct, "/v1/operator/installation", body.as_bytes());
    answered.expect("it answers").status == 200
}

#[test]
fn every_part_of_the_shape_loads() {
    let server = TestServer::empty();
    let organizations = loaded(&server, whole().to_string().as_bytes());
    let [whole] = items(&organizations) else { panic!("one organization: {organizations}") };
    assert_eq!(whole["name"], "whole");
    let teams: Vec<_> = items(&whole["teams"]).iter().map(|team| (text(&team["name"]), &team["default"])).collect();
    assert_eq!(teams, [("Everybody", &json!(true)), ("Research", &json!(false))]);
    let memberships: Vec<_> = items(&whole["people"]).iter().map(|person| items(&person["teams"]).len()).collect();
    assert_eq!(memberships, [0, 1]);
    assert_eq!(whole["people"][1]["teams"][0]["team_id"], whole["teams"][1]["team_id"]);
    assert!(!is_empty(&server));
}

#[test]
fn a_file_may_hold_several_organizations() {
    let server = TestServer::empty();
    let mut other = whole();
    other["organization"]["name"] = json!("other");
    let organizations = loaded(&server, json!([whole(), other]).to_string().as_bytes());
    let names: Vec<_> = items(&organizations).iter().map(|organization| text(&organization["name"])).collect();
    assert_eq!(names, ["whole", "other"]);
    // Ada is one person in both, with a key for each.
    let ada = |at: usize| &organizations[at]["people"][0];
    assert_eq!(ada(0)["user_id"], ada(1)["user_id"]);
    assert_ne!(ada(0)["api_key"], ada(1)["api_key"]);
    assert_eq!(load(&server, json!([whole()]).to_string().as_bytes()).0, 409, "its name is taken");
}

#[test]
fn acme_has_what_the_demo_and_the_clients_tests_want() {
    let server = TestServer::empty();
    let organizations = loaded(&server, &file("acme.json"));
    let acme = &organizations[0];
    let teams: Vec<_> = items(&acme["teams"]).iter().map(|team| text(&team["name"])).collect();
    assert_eq!(teams, ["Default", "Research", "Inference", "Platform"]);
    let people = items(&acme["people"]);
    assert_eq!(people.len(), 8);
    assert!(people.iter().any(|person| person["role"] == "ADMIN"));
    assert!(people.iter().any(|person| person["role"] == "MEMBER" && items(&person["teams"]).is_empty()));
    let roles = |person: &Value| items(&person["teams"]).iter().map(|team| text(&team["role"]).to_owned()).collect();
    assert!(people.iter().any(|person| {
        let roles: BTreeSet<String> = roles(person);
        roles.len() == 2
    }));
    for team in &teams {
        let leads = |person: &&Value| {
            person["role"] == "MEMBER"
                && items(&person["teams"]).iter().any(|its| its["name"] == **team && its["role"] == "ADMIN")
        };
        assert!(people.iter().any(|person| leads(&person)), "{team} has an admin");
    }
    let mut categories: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let team_keys = items(&acme["teams"]).iter().flat_map(|team| items(&team["api_keys"]));
    for key in team_keys.chain(items(&acme["api_keys"])) {
        categories.entry(text(&key["type"])).or_default().push(text(&key["api_key"]));
        assert!(text(&key["api_key"]).starts_with(text(&key["prefix"])));
    }
    let every = ["WORKSPACE_EXPORT_METRICS", "WORKSPACE_INVOKE", "WORKSPACE_MANAGE_ALL", "WORKSPACE_MANAGE_API_KEYS"];
    assert_eq!(categories.keys().copied().collect::<Vec<_>>(), every);
    for key in people.iter().map(|person| text(&person["api_key"])).chain(categories.into_values().flatten()) {
        assert_eq!(server.send(Some(key), "GET", "/v1/organizations/me", None).status, 200);
    }

    let ada = text(&people[0]["api_key"]);
    let secrets = server.send(Some(ada), "GET", "/v1/secrets", None).body;
    let named: Vec<_> =
        items(&secrets["secrets"]).iter().filter(|secret| secret["name"] == "hf_access_token").collect();
    assert!(named.len() > 1, "one name in several teams");
    let values = items(&serde_json::from_slice::<Value>(&file("acme.json")).expect("JSON")["teams"])
        .iter()
        .flat_map(|team| items(&team["secrets"]).to_vec())
        .all(|secret| text(&secret["value"]).contains("example-not-a-real"));
    assert!(values, "values are obvious examples");
}

#[test]
fn while_teams_are_off_everyone_is_in_the_default_team() {
    let server = TestServer::empty();
    let organizations = loaded(&server, &file("solo.json"));
    let solo = &organizations[0];
    let memberships: Vec<_> = items(&solo["people"])
        .iter()
        .map(|person| items(&person["teams"]).iter().map(|team| text(&team["role"])).collect::<Vec<_>>())
        .collect();
    assert_eq!(memberships, [vec![], vec!["ADMIN"], vec!["MEMBER"]]);
    assert_eq!(items(&solo["teams"]).len(), 1);
    let key = text(&solo["people"][0]["api_key"]);
    assert_eq!(server.send(Some(key), "GET", "/v1/organizations/me", None).body["teams_enabled"], false);
}

#[test]
fn a_seed_makes_the_same_every_time() {
    let described = |organizations: &Value| -> Vec<Value> {
        let person = |person: &Value| {
            let teams: Vec<_> = items(&person["teams"]).iter().map(|team| (&team["name"], &team["role"])).collect();
            json!([person["email"], person["name"], person["role"], teams])
        };
        items(&organizations[0]["people"]).iter().map(person).collect()
    };
    let large = loaded(&TestServer::empty(), &file("large.json"));
    assert_eq!((items(&large[0]["teams"]).len(), items(&large[0]["people"]).len()), (101, 10_000));
    let mut smaller: Value = serde_json::from_slice(&file("large.json")).expect("JSON");
    smaller["generate"]["people"] = json!(150);
    let smaller = smaller.to_string();
    let first = described(&loaded(&TestServer::empty(), smaller.as_bytes()));
    assert_eq!(first, described(&loaded(&TestServer::empty(), smaller.as_bytes())));
    assert_eq!(first, described(&large)[..150]);
    let other = smaller.replace("\"seed\":7", "\"seed\":8");
    assert_ne!(first, described(&loaded(&TestServer::empty(), other.as_bytes())));
}

/// What is done to a whole fixture, and what must be told of it: the place and the reason.
#[rustfmt::skip]
fn spoiled() -> Vec<(Value, &'static str, &'static str)> {
    let set = |pointer: &str, value: Value| {
        let mut fixture = whole();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        match fixture.pointer_mut(parent).expect("the parent is there") {
            Value::Array(list) if name == "-" => list.push(value),
            Value::Array(list) => list[name.parse::<usize>().expect("a number")] = value,
            parent => parent[name] = value,
        }
        fixture
    };
    let twice = |list: &str| set(&format!("{list}/-"), whole().pointer(&format!("{list}/0")).expect("one").clone());
    vec![
        // shapes and values
        (json!({}), "", "organization"),
        (json!("whole"), "", "must be an object"),
        (set("/person", json!([])), "person", "unknown field"),
        (set("/people/1/email", json!("mei")), "people[1].email", "must be an e-mail address"),
        (set("/people/1/role", json!("OWNER")), "people[1].role", "ADMIN or MEMBER"),
        (set("/people/1/team", json!({})), "people[1].team", "unknown field"),
        (set("/people/1/teams/Research", json!("LEAD")), "people[1].teams.Research", "ADMIN or MEMBER"),
        (set("/people/0/api_key_name", json!("Lap Top")), "people[0].api_key_name", "lower-case"),
        (set("/teams/1/icon", json!("R")), "teams[1].icon", "one emoji"),
        (set("/teams/1/secrets/0/name", json!("a b")), "teams[1].secrets[0].name", "letters"),
        (set("/teams/1/secrets/0/value", json!("")), "teams[1].secrets[0].value", "bytes"),
        (set("/teams/1/api_keys/0/type", json!("PERSONAL")), "teams[1].api_keys[0].type", "WORKSPACE_INVOKE"),
        (set("/teams/1/models/0/environments/0", json!("development")), "teams[1].models[0].environments[0]", "no environment"),
        (set("/teams/1/models/0/usage/0/days", json!({"from": 1, "to": 3})), "teams[1].models[0].usage[0].days", "days back"),
        (set("/teams/1/models/0/usage/0/days", json!({"from": 400})), "teams[1].models[0].usage[0].days", "366"),
        // what parts say of each other
        (set("/people/1/teams", json!({"Reserch": "ADMIN"})), "people[1].teams.Reserch", "no team"),
        (set("/people/1/teams/RESEARCH", json!("ADMIN")), "people[1].teams.Research", "twice"),
        (set("/people/0/role", json!("MEMBER")), "people", "organization admin"),
        (twice("/people"), "people[2].email", "twice"),
        (twice("/teams"), "teams", "more than one default team"),
        (set("/teams/-", json!({"name": "research"})), "teams[2]", "exists in this organization"),
        (set("/teams/1/name", json!("everyBODY")), "teams[1]", "exists in this organization"),
        (set("/organization/teams_enabled", json!(false)), "teams[1]", "teams are off"),
        (twice("/teams/1/models"), "teams[1].models[1].name", "twice"),
        (set("/teams/1/models/0/environments/-", json!("production")), "teams[1].models[0].environments[1]", "twice"),
        (twice("/teams/1/chains"), "teams[1].chains[1].name", "twice"),
        (twice("/teams/1/chains/0/environments"), "teams[1].chains[0].environments[1]", "twice"),
        (twice("/teams/1/training_projects"), "teams[1].training_projects[1].name", "twice"),
        (set("/teams/1/secrets/-", json!({"name": "HF-Access.Token", "value": "x"})), "teams[1].secrets[1].name", "twice"),
        (twice("/teams/1/api_keys"), "teams[1].api_keys[1].name", "twice"),
        (set("/teams/1/api_keys/0/models/0", json!("kite")), "teams[1].api_keys[0].models[0]", "no model"),
        (set("/teams/1/api_keys/0/type", json!("WORKSPACE_MANAGE_ALL")), "teams[1].api_keys[0].models", "cannot narrow"),
        (set("/teams/1/api_keys/0/type", json!("WORKSPACE_EXPORT_METRICS")), "teams[1].api_keys[0].environments", "cannot narrow"),
        (twice("/teams/1/environment_groups"), "teams[1].environment_groups[1].name", "twice"),
        (set("/teams/1/environment_groups/0/users/0", json!("ada@whole.example")), "teams[1].environment_groups[0].users[0]", "no member"),
        (set("/teams/1/environment_groups/0/users/0", json!("eve@whole.example")), "teams[1].environment_groups[0].users[0]", "no member"),
        (twice("/teams/1/environment_groups/0/users"), "teams[1].environment_groups[0].users[1]", "twice"),
        (set("/teams/1/environment_groups/0/api_keys/0", json!("robots")), "teams[1].environment_groups[0].api_keys[0]", "no key"),
        (set("/teams/1/environment_groups/0/is_restricted", json!(false)), "teams[1].environment_groups[0]", "not restricted"),
        (twice("/api_keys"), "api_keys[1].name", "twice"),
        (twice("/model_apis"), "model_apis[1].name", "twice"),
        (twice("/invitations"), "invitations[1].email", "twice"),
        (set("/invitations/0/email", json!("mei@whole.example")), "invitations[0].email", "member already"),
        (set("/invitations/0/invited_by", json!("mei@whole.example")), "invitations[0].invited_by", "no organization admin"),
        (set("/invitations/0/teams", json!({"Reserch": "ADMIN"})), "invitations[0].teams.Reserch", "no team"),
        (set("/teams/1/models/0/instance_type", json!("H1000:1")), "teams[1].models[0].instance_type", "\"H1000:1\" names no instance type: there is \"H100"),
        (set("/teams/1/models/0/usage/0/instance_type", json!("1x3")), "teams[1].models[0].usage[0].instance_type", "\"1x2\""),
        (set("/people/1/teams", json!({"Reserch": "ADMIN"})), "people[1].teams.Reserch", "there is \"Research\", \"Everybody\""),
        (set("/invitations/0/invited_by", json!("mei@whole.example")), "invitations[0].invited_by", "\"ada@whole.example\""),
        (twice("/people"), "people[2].email", "\"ada@whole.example\" is listed twice; it is in `people[0].email` too"),
        (set("/teams/1/secrets/-", json!({"name": "HF-Access.Token", "value": "x"})), "\"HF-Access.Token\"", "`teams[1].secrets[0].name` too"),
        (json!([]), "list", "is empty"),
        (set("/model_apis/0/name", json!("gpt-5")), "model_apis[0].name", "no Model API"),
        (set("/generate", json!({
            "seed": 1, "teams": 2, "people": 3, "admins": 4, "teams_per_person": 1, "secrets_per_team": 0,
            "api_keys_per_team": 0, "models_per_team": 0, "chains_per_team": 0, "training_projects_per_team": 0,
            "instance_type": "1x2", "usage_days": 0,
        })), "generate", "admins"),
    ]
}

#[test]
fn a_bad_fixture_is_refused_whole_and_says_where_and_why() {
    let server = TestServer::empty();
    for (fixture, place, why) in spoiled() {
        let (status, body) = load(&server, fixture.to_string().as_bytes());
        let message = text(&body["message"]);
        assert!(status == 400 || status == 409, "{place}, {why}: {status} {message}");
        assert!(message.contains(place) && message.contains(why), "{place}, {why}: {message}");
    }
    assert_eq!(load(&server, b"{").0, 400);
    assert!(is_empty(&server), "nothing of any of them was kept");
}

#[test]
fn a_file_is_read_as_editors_write_it_and_never_half() {
    let server = TestServer::empty();
    let text = whole().to_string();
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &utf_16].concat();
    let twice = text.replacen("\"Research\":\"MEMBER\"", "\"Research\":\"MEMBER\",\"Research\":\"ADMIN\"", 1);
    assert_ne!(twice, text);
    let two_lists = text.replacen("\"people\":", "\"people\":[],\"people\":", 1);
    for (file, why) in [
        (utf_16.as_slice(), "UTF-16"),
        (&marked, "UTF-16"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (twice.as_bytes(), "\"Research\" is listed twice"),
        (two_lists.as_bytes(), "duplicate field `people`"),
    ] {
        let (status, body) = load(&server, file);
        assert_eq!(status, 400, "{why}: {body}");
        assert!(text_of(&body).contains(why), "{why}: {body}");
    }
    assert!(is_empty(&server));
    let server = TestServer::empty();
    loaded(&server, &[b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat());
}

fn text_of(refusal: &Value) -> &str {
    text(&refusal["message"])
}

#[test]
fn keys_are_answered_with_their_names_and_what_narrows_them() {
    let organizations = loaded(&TestServer::empty(), whole().to_string().as_bytes());
    let key = &organizations[0]["teams"][1]["api_keys"][0];
    assert_eq!((&key["name"], &key["environments"]), (&json!("robot"), &json!(["staging"])));
    assert_eq!((&key["models"], items(&key["model_ids"]).len()), (&json!(["kites"]), 1));
    assert_eq!(organizations[0]["api_keys"][0]["name"], "vault");
}

#[test]
fn in_a_list_the_place_begins_with_its_number() {
    let server = TestServer::empty();
    let mut other = whole();
    other["organization"]["name"] = json!("other");
    for (spoil, place) in [(json!("ada"), "[1].people[0].email"), (json!("mei@whole.example"), "[1].people[1].email")] {
        other["people"][0]["email"] = spoil;
        let (status, body) = load(&server, json!([whole(), other]).to_string().as_bytes());
        assert_eq!(status, 400);
        assert!(text(&body["message"]).contains(place), "{body}");
    }
    assert!(is_empty(&server), "the first of them was not kept either");
}

#[test]
fn over_the_network_the_routes_of_the_operator_are_not_there() {
    let server = TestServer::empty();
    let organizations = loaded(&server, whole().to_string().as_bytes());
    let admin = text(&organizations[0]["people"][0]["api_key"]);
    let nowhere = server.send(Some(admin), "POST", "/v1/operator/nowhere", None);
    for path in [ROUTE, "/v1/operator/installation"] {
        for key in [None, Some(admin)] {
            let answered = server.send(key, "POST", path, Some(whole()));
            assert_eq!((answered.status, &answered.body), (nowhere.status, &nowhere.body), "{path}");
        }
    }
}
