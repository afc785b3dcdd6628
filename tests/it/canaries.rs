//! No refusal shows what was sent. Canaries of every JSON type are sent in every field of every body, in unknown
//! fields, in parameters, in documents and in configurations. A value that may be a secret is never quoted. Of other
//! values at most 60 characters are quoted. An unknown field is named if it looks like a field name, because clients
//! want to see which one they mistyped.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::matrix::{CarriedOut, carried_out};
use crate::seed::WORLD;
use crate::test_server::TestServer;

/// Stands in every canary, and in nothing else.
const MARK: &str = "hushcanary";
const NUMBER: u64 = 918_273_645_546;
const QUOTED_CHARS_MAX: usize = 60;

/// Fields whose text is a credential, by what their names end in.
const SECRETS: &[&str] = &["value", "password", "token"];

/// A long canary that names itself again and again.
fn long() -> String {
    format!("{MARK}-").repeat(60)
}

/// What stands in place of a field: of every type, and texts that are too long, of controls, or like a key.
fn canaries() -> Vec<Value> {
    vec![
        json!(NUMBER),
        json!(-(NUMBER as i64)),
        json!(918273.645546),
        json!([MARK]),
        json!([[NUMBER]]),
        json!({ format!("{MARK} is no name"): MARK }),
        json!({ long(): NUMBER }),
        json!(long()),
        json!(format!("{MARK}\n\u{1b}[31m{}", long())),
        json!(format!("{MARK}`, expected {}", long())),
        json!(true),
        Value::Null,
    ]
}

/// The places of all values of a body, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let at = format!("{at}/{}", escaped(name));
                found.push(at.clone());
                places(field, &at, found);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let at = format!("{at}/{place}");
                found.push(at.clone());
                places(item, &at, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What an answer shows of a canary that it should not.
fn shown(answer: &str, canary: &Value, is_secret: bool) -> Option<String> {
    let number = NUMBER.to_string();
    if answer.contains(&number) || answer.contains("918273.6") {
        return Some(format!("shows the number {number}"));
    }
    let text = canary.as_str();
    if (is_secret || text.is_none()) && answer.contains(MARK) {
        return Some(format!("shows {MARK}"));
    }
    let chars: Vec<char> = text?.chars().collect();
    let too_many = chars.windows(QUOTED_CHARS_MAX + 1).map(|window| window.iter().collect::<String>());
    too_many.into_iter().find(|part| answer.contains(part)).map(|part| format!("shows {part}"))
}

struct Cage {
    server: TestServer,
    wrong: Vec<String>,
    sent: usize,
}

impl Cage {
    fn new() -> Cage {
        Cage { server: WORLD.server(), wrong: Vec::new(), sent: 0 }
    }

    /// Sends a body, and looks at the answer if it is a refusal.
    fn send(&mut self, asked: &CarriedOut, target: &str, body: &[u8], canary: &Value, is_secret: bool) {
        let mut request = self.server.request(asked.key, &asked.method, target, body.to_vec());
        request.from = asked.from;
        let reply = self.server.answer(request);
        self.sent += 1;
        let answer = String::from_utf8_lossy(&reply.body).into_owned();
        let name = format!("{} {target}", asked.method);
        if reply.status >= 500 && reply.status != 501 {
            self.wrong.push(format!("{name}: {}: {answer}", reply.status));
        }
        if reply.status >= 400
            && let Some(shown) = shown(&answer, canary, is_secret)
        {
            self.wrong.push(format!("{name}: {}: {shown}: {answer}", reply.status));
        }
    }

    fn found_nothing(self, sent_at_least: usize) {
        assert!(self.sent >= sent_at_least, "{} were sent", self.sent);
        let wrong = &self.wrong[..self.wrong.len().min(20)];
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", self.wrong.len(), self.sent);
    }
}

#[test]
fn no_field_of_any_body_is_shown() {
    let mut cage = Cage::new();
    for asked in carried_out(&cage.server) {
        let Some(body) = asked.body.clone() else { continue };
        let mut found = vec![String::new()];
        places(&body, "", &mut found);
        for place in &found {
            let field = place.rsplit('/').next().unwrap_or_default();
            let is_secret = SECRETS.iter().any(|secret| field.ends_with(secret));
            for canary in canaries() {
                let mut sent = body.clone();
                *sent.pointer_mut(place).expect("a place of the body") = canary.clone();
                cage.send(&asked, &asked.target, sent.to_string().as_bytes(), &canary, is_secret);
            }
        }
        for name in [long(), format!("{MARK} with a space"), format!("{MARK}`, expected")] {
            let mut sent = body.clone();
            if let Some(fields) = sent.as_object_mut() {
                fields.insert(name, json!(NUMBER));
                cage.send(&asked, &asked.target, sent.to_string().as_bytes(), &Value::Null, true);
            }
        }
        for broken in
            [MARK.to_owned(), format!("{{\"{MARK} is no name\": {MARK}"), format!("\"{MARK}"), format!("[{NUMBER},")]
        {
            cage.send(&asked, &asked.target, broken.as_bytes(), &Value::Null, true);
        }
    }
    cage.found_nothing(1000);
}

#[test]
fn no_parameter_of_a_query_is_shown() {
    const PARAMETERS: &[&str] = &[
        "limit",
        "cursor",
        "direction",
        "search",
        "user_ids",
        "team_ids",
        "sources",
        "event_type_groups",
        "start_epoch_millis",
        "end_epoch_millis",
        "min_level",
        "includes",
        "excludes",
        "mode",
        "metrics",
        "start_date",
        "end_date",
        "output_format",
        "name",
        "action",
        "environment",
        "page_size",
        "page_token",
        "confirm",
        "all",
    ];
    let mut cage = Cage::new();
    for asked in carried_out(&cage.server).into_iter().filter(|asked| asked.method == "GET") {
        let path = asked.target.split('?').next().unwrap_or_default().to_owned();
        for parameter in PARAMETERS {
            cage.send(&asked, &format!("{path}?{parameter}={}", long()), b"", &json!(long()), false);
        }
    }
    cage.found_nothing(500);
}

#[test]
fn nothing_of_a_document_is_shown() {
    let mut cage = Cage::new();
    let asked = CarriedOut {
        method: "POST".to_owned(),
        target: "/graphql/".to_owned(),
        key: Some(WORLD.keys.text("ada")),
        body: None,
        from: guildhall::api::Listener::Network,
    };
    let name = long().replace('-', "_");
    let config = BASE64_STANDARD.encode(format!("{{\"resources\": {{\"instance_type\": \"{}\"}}}}", long()));
    let broken = BASE64_STANDARD.encode(format!("{{\"{MARK}\": {MARK}"));
    for document in [
        format!("{{ {name} }}"),
        format!("{{ teams {{ {name} }} }}"),
        format!("{{ teams({name}: 1) {{ id }} }}"),
        format!("{{ models(team_id: {NUMBER}) {{ id }} }}"),
        format!("{{ models(team_id: [\"{MARK}\"]) {{ id }} }}"),
        format!("{{ model(id: {{ a: \"{MARK}\" }}) {{ id }} }}"),
        format!("{{ model(name: \"{}\") {{ id }} }}", long()),
        format!("{{ ...{name} }}"),
        format!("{{ ... on {name} {{ id }} }}"),
        format!("{{ teams(a: ${name}) {{ id }} }}"),
        format!("query (${name}: String!) {{ teams {{ id }} }}"),
        format!("{{ user {{ id @{name} }} }}"),
        format!("{{ teams(a: {name}) {{ id }} }}"),
        format!("{{ {name}: user {{ id }} {name}: teams {{ id }} }}"),
        format!("{{ teams(a: \"{MARK}"),
        format!("{{ truss_validation(config: \"{config}\") {{ details }} }}"),
        format!("{{ truss_validation(config: \"{broken}\") {{ details }} }}"),
        format!("{{ truss_validation(config: \"{}\") {{ details }} }}", long()),
        format!(
            "mutation {{ create_model_from_truss(name: \"{}\" s3_key: \"{0}\" config: \"e30=\") {{ model_version {{ id }} }} }}",
            long()
        ),
        format!(
            "mutation {{ create_model_from_truss(name: \"m\" s3_key: {NUMBER} config: \"e30=\") {{ model_version {{ id }} }} }}"
        ),
    ] {
        let body = json!({ "query": document, "variables": { "v": long() } }).to_string();
        let answer = cage.server.send_bytes(asked.key, "POST", "/graphql/", body.into_bytes());
        cage.sent += 1;
        // The answer's keys and paths are the document's own words.
        let told: Vec<&str> =
            answer.body["errors"].as_array().into_iter().flatten().filter_map(|e| e["message"].as_str()).collect();
        let told = format!("{told:?} {}", answer.body["data"]["truss_validation"]["details"]);
        for canary in [json!(long()), json!(name)] {
            if let Some(shown) = shown(&told, &canary, false) {
                cage.wrong.push(format!("{document}: {shown}: {told}"));
            }
        }
    }
    for canary in canaries() {
        let body = json!({ "query": canary }).to_string();
        cage.send(&asked, "/graphql/", body.as_bytes(), &canary, false);
        let body = json!({ "query": "{ user { id } }", "operationName": canary, "variables": canary }).to_string();
        cage.send(&asked, "/graphql/", body.as_bytes(), &canary, false);
    }
    cage.found_nothing(20);
}
