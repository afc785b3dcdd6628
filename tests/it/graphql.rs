//! Does GraphQL answer truss, whom does it let in, and what does it refuse?

use std::collections::BTreeSet;

use guildhall::db::{self, Tx};
use guildhall::error::Error;
use guildhall::graphql::document::{Document, Kind};
use guildhall::graphql::shape::Given;
use guildhall::graphql::{Answer, Ask, ROOT_FIELDS, RootField, execute};
use guildhall::model::TeamName;
use guildhall::policy::{Caller, OrgAct};
use guildhall::token::PlainKey;
use guildhall::wire;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::house::House;
use crate::seed::WORLD;

/// Sends a document as somebody of the world, and gives the whole answer.
#[track_caller]
fn ask(house: &House, who: &str, document: &str) -> Value {
    send(house, who, json!({ "query": document }))
}

#[track_caller]
fn send(house: &House, who: &str, body: Value) -> Value {
    let answered = house.send(Some(WORLD.keys.text(who)), "POST", "/graphql/", Some(body));
    assert_eq!(answered.status, 200, "{}", answered.body);
    answered.body
}

/// What a document gives that is answered in full.
#[track_caller]
fn given(house: &House, who: &str, document: &str) -> Value {
    let mut answer = ask(house, who, document);
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].take()
}

/// The sentence of a document that is refused as a whole.
#[track_caller]
fn refused(house: &House, who: &str, document: &str) -> String {
    sentence(&ask(house, who, document), "VALIDATION_ERROR")
}

#[track_caller]
fn sentence(answer: &Value, code: &str) -> String {
    assert_eq!(answer["data"], Value::Null, "{answer}");
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
    answer["errors"][0]["message"].as_str().expect("a refusal says why").to_owned()
}

/// The sentence of a root field that is refused, and is null in the answer.
#[track_caller]
fn refused_field(house: &House, who: &str, document: &str, key: &str) -> String {
    let answer = ask(house, who, document);
    assert_eq!(answer["data"][key], Value::Null, "{answer}");
    assert_eq!(answer["errors"][0]["path"], json!([key]), "{answer}");
    answer["errors"][0]["message"].as_str().expect("a refusal says why").to_owned()
}

fn names(teams: &Value) -> Vec<&str> {
    teams["teams"].as_array().expect("a list").iter().map(|team| team["name"].as_str().expect("a name")).collect()
}

// ---- who is answered ----

/// Every root field, and which teams' things each caller gets from it.
#[test]
fn each_root_field_answers_each_caller_as_its_row_says() {
    let everybody = [
        ("ada", "Acme", "ada@example.com", &["Default", "Empty", "Inference", "Research"][..]),
        ("lone", "Acme", "lone@example.com", &[]),
        ("tess", "Acme", "tess@example.com", &["Research"]),
        ("max", "Acme", "max@example.com", &["Research"]),
        ("ian", "Acme", "ian@example.com", &["Inference"]),
        ("dora", "Acme", "dora@example.com", &["Default"]),
        ("crew", "Acme", "crew@example.com", &["Default", "Inference", "Research"]),
        ("manage-all", "Acme", "manage-all", &["Research"]),
        ("inference-manage-all", "Acme", "inference-manage-all", &["Inference"]),
        ("home-manage-all", "Acme", "home-manage-all", &["Default"]),
        ("invoke", "Acme", "invoke", &[]),
        ("metrics", "Acme", "metrics", &[]),
        ("key-manager", "Acme", "key-manager", &[]),
        ("fay", "Globex", "fay@example.com", &["Default", "Abroad"]),
    ];
    let house = WORLD.house();
    for (who, organization, email, teams) in everybody {
        assert_eq!(
            given(&house, who, "{organization{workspace_name}}")["organization"]["workspace_name"],
            organization
        );
        assert_eq!(given(&house, who, "{user{email}}")["user"]["email"], email);
        assert_eq!(names(&given(&house, who, "{teams{name}}")), teams, "{who}");
    }
    let judged_elsewhere = [
        "models",
        "model",
        "model_version",
        "truss_validation",
        "model_s3_upload_credentials",
        "create_model_from_truss",
        "create_model_version_from_truss",
        "deploy_draft_truss",
        "truss_watch_state",
        "stage_patch_for_draft_truss",
        "sync_draft_truss",
    ];
    let judged: BTreeSet<_> = ["organization", "user", "teams"].into_iter().chain(judged_elsewhere).collect();
    let served: BTreeSet<_> = ROOT_FIELDS.iter().map(|row| row.name).collect();
    assert_eq!(served, judged, "a root field that nobody judges");
}

#[test]
fn without_a_key_that_works_every_document_is_refused_inside_graphql() {
    let house = WORLD.house();
    for row in ROOT_FIELDS {
        let body = json!({ "query": format!("{{ {} {{ __typename }} }}", row.name) });
        for key in [None, Some(WORLD.keys.text("bad")), Some("no key")] {
            let answered = house.send(key, "POST", "/graphql/", Some(body.clone()));
            assert_eq!(answered.status, 200);
            sentence(&answered.body, "UNAUTHENTICATED");
        }
    }
    let answered = house.send_bytes(Some("no key"), "POST", "/graphql/", b"no document".to_vec());
    sentence(&answered.body, "UNAUTHENTICATED");
}

#[test]
fn whoami_as_truss_asks_for_it() {
    let house = WORLD.house();
    let answer = given(&house, "max", "query{organization{workspace_name}user{email}}");
    assert_eq!(answer.to_string(), r#"{"organization":{"workspace_name":"Acme"},"user":{"email":"max@example.com"}}"#);
    assert_eq!(given(&house, "max", "query {\n organization {\n id\n }\n}")["organization"]["id"], "acme");
    let aws = given(&house, "max", "{organization{aws_customer_access_role_arn aws_external_id}}");
    assert_eq!(aws["organization"], json!({ "aws_customer_access_role_arn": null, "aws_external_id": null }));
    assert_eq!(given(&house, "max", "{user{id name}}")["user"], json!({ "id": "max", "name": "Max" }));
}

#[test]
fn teams_as_truss_asks_for_them() {
    let house = WORLD.house();
    let answer = given(&house, "manage-all", "query Teams {\n teams {\n id,\n name\n default\n }\n}");
    assert_eq!(answer["teams"], json!([{ "id": "research", "name": "Research", "default": false }]));
    let answer = given(&house, "dora", "{teams{id default}}");
    assert_eq!(answer["teams"], json!([{ "id": "home", "default": true }]));
}

#[test]
fn both_paths_answer_and_no_other_method_does() {
    let house = WORLD.house();
    let key = Some(WORLD.keys.text("max"));
    let body = json!({ "query": "{user{id}}" });
    for path in ["/graphql", "/graphql/"] {
        assert_eq!(house.send(key, "POST", path, Some(body.clone())).body["data"]["user"]["id"], "max");
        assert_eq!(house.send(key, "GET", path, None).status, 405);
    }
}

// ---- what is asked ----

#[test]
fn the_answer_has_the_names_and_the_order_of_the_document() {
    let house = WORLD.house();
    let document = "{ me: user { called: name id } user { email } ours: teams { default } }";
    let body = json!({ "query": document }).to_string().into_bytes();
    let reply = house.reply(Some(WORLD.keys.text("max")), "POST", "/graphql/", body);
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"data":{"me":{"called":"Max","id":"max"},"user":{"email":"max@example.com"},"ours":[{"default":false}]}}"#
    );
    assert_eq!(reply.content_type, "application/json");
}

#[test]
fn what_is_asked_for_twice_is_answered_once() {
    let house = WORLD.house();
    assert_eq!(given(&house, "max", "{user{id id} user{name}}"), json!({ "user": { "id": "max", "name": "Max" } }));
    let sentence = refused(&house, "max", "{user{a:id a:name}}");
    assert!(sentence.contains("`a` is asked for in two ways"), "{sentence}");
}

#[test]
fn fragments_bring_their_fields() {
    let house = WORLD.house();
    let document = "query { ...All teams { ... on Team { id } ... { name } } }
                    fragment All on Query { user { ...Person } }
                    fragment Person on User { id __typename }";
    assert_eq!(
        given(&house, "max", document),
        json!({
            "user": { "id": "max", "__typename": "User" },
            "teams": [{ "id": "research", "name": "Research" }],
        })
    );
    assert_eq!(given(&house, "max", "{ __typename }"), json!({ "__typename": "Query" }));
    for (document, why) in [
        ("{ user { ...None } }", "no fragment named `None`"),
        ("{ ...Round } fragment Round on Query { ...Round }", "no fragment holds itself"),
        ("{ user { ... on Team { ... on User { id } } } }", "nothing is both"),
    ] {
        let sentence = refused(&house, "max", document);
        assert!(sentence.contains(why), "{sentence}");
    }
    let sentence = refused_field(&house, "max", "{ user { ... on Team { id } } }", "user");
    assert!(sentence.contains("this is `User`"), "{sentence}");
    let sentence = refused_field(&house, "max", "{ ... on Mutation { user { id } } }", "user");
    assert!(sentence.contains("this is `Query`"), "{sentence}");
}

#[test]
fn of_several_operations_the_named_one_is_carried_out() {
    let house = WORLD.house();
    let document = "query A { user { id } } query B { organization { id } }";
    let named = |name: Option<&str>| send(&house, "max", json!({ "query": document, "operationName": name }));
    assert_eq!(named(Some("B"))["data"], json!({ "organization": { "id": "acme" } }));
    assert!(sentence(&named(Some("C")), "VALIDATION_ERROR").contains("no operation named `C`"));
    assert!(sentence(&named(None), "VALIDATION_ERROR").contains("`operationName`"));
}

#[test]
fn what_is_not_there_is_named() {
    let house = WORLD.house();
    for (document, key, why) in [
        ("{ no_such_field }", "no_such_field", "no query named `no_such_field`"),
        (
            "{ teams { id no_such_field } }",
            "teams",
            "`Team` has no field `no_such_field`: it has `id`, `name`, `default`",
        ),
        ("{ teams(name: \"a\") { id } }", "teams", "`teams` takes no arguments: leave `name` out"),
        ("{ teams { id(of: 1) } }", "teams", "`id` of `Team` takes no arguments"),
        ("{ teams }", "teams", "`teams` has fields"),
        ("{ user { id { id } } }", "user", "`id` has no fields"),
        ("{ __schema { types { name } } }", "__schema", "no query named `__schema`"),
    ] {
        let sentence = refused_field(&house, "max", document, key);
        assert!(sentence.contains(why), "{document}: {sentence}");
    }
    // A list of nothing has the fields of its type all the same.
    let sentence = refused_field(&house, "lone", "{ teams { nope } }", "teams");
    assert!(sentence.contains("`Team` has no field `nope`"), "{sentence}");
    // One root field that fails leaves the others.
    let answer = ask(&house, "max", "{ user { id } teams { nope } }");
    assert_eq!(answer["data"], json!({ "user": { "id": "max" }, "teams": null }));
}

#[test]
fn a_query_is_no_mutation() {
    let house = WORLD.house();
    let answer = ask(&house, "ada", "mutation { teams { id } }");
    assert!(sentence(&answer, "VALIDATION_ERROR").contains("`teams` is a query, not a mutation"));
    assert_eq!(answer["errors"][0]["path"], json!(["teams"]));
    assert!(refused(&house, "ada", "mutation { a: no_such }").contains("no mutation named `no_such`"));
    assert!(refused(&house, "ada", "subscription { teams { id } }").contains("a subscription is not served"));
}

// ---- what is refused ----

#[test]
fn a_document_that_cannot_be_read_is_refused_inside_graphql() {
    let house = WORLD.house();
    for document in ["", "{", "{}", "teams", "{ teams { id }", "{ teams { id } } }", "{ teams(name: \"a\"b\") { id } }"]
    {
        let sentence = refused(&house, "max", document);
        assert!(sentence.starts_with("the document cannot be read: Parse error at "), "{sentence}");
    }
    // What stands in the document stays there.
    let sentence = refused(&house, "max", "{ teams(name: \"hushhush\" \"hushhush\") { id } }");
    assert!(!sentence.contains("hush"), "{sentence}");
}

#[test]
fn what_is_not_understood_is_not_passed_over() {
    let house = WORLD.house();
    for (document, why) in [
        ("{ user { id @skip(if: true) } }", "the directive `@skip`"),
        ("query @live { user { id } }", "the directive `@live`"),
        ("{ teams(order: DOWN) { id } }", "`DOWN` is no value"),
        ("{ teams(name: \"\"\"a\"\"\") { id } }", "a block string"),
        ("{ teams(name: $name) { id } }", "the variable `$name` is not declared"),
        ("query ($name: String!) { user { id } }", "the variable `$name` must be given"),
        ("{ teams(a: 1, a: 2) { id } }", "the argument `a` is given twice"),
    ] {
        let sentence = refused(&house, "max", document);
        assert!(sentence.contains(why), "{document}: {sentence}");
    }
}

#[test]
fn a_body_that_is_no_request_is_told_by_its_status() {
    let house = WORLD.house();
    let deep = format!("{{\"query\": \"{{user{{id}}}}\", \"variables\": {{\"a\": {}", "[".repeat(10_000));
    for body in ["", "{ user { id } }", "[]", "{}", "{\"query\": 5}", "{\"query\": \"{user{id}}\", \"more\": 1}", &deep]
    {
        let answered = house.send_bytes(Some(WORLD.keys.text("max")), "POST", "/graphql/", body.as_bytes().to_vec());
        assert_eq!((answered.status, &answered.body["code"]), (400, &json!("VALIDATION_ERROR")), "{}", answered.body);
    }
}

#[test]
fn a_long_or_deep_document_is_an_error_and_no_crash() {
    let house = WORLD.house();
    let comment = "#".repeat((64 << 10) - "{user{id}}".len());
    assert_eq!(given(&house, "max", &format!("{{user{{id}}}}{comment}")), json!({ "user": { "id": "max" } }));
    assert!(refused(&house, "max", &format!("{{user{{id}}}}{comment}#")).contains("must be at most 65536 bytes"));

    for deep in ["{a", "{a(b:[", "{a(b:{c:", "{...{", "query($a:[", "mutation{a"] {
        refused(&house, "max", &deep.repeat(10_000));
    }
    let at_the_bound = format!("{}{}", "{a".repeat(50), "}".repeat(50));
    assert!(refused_field(&house, "max", &at_the_bound, "a").contains("no query named `a`"));

    let wide =
        |count: usize| format!("{{ {} }}", (0..count).map(|at| format!("a{at}: user {{ id }} ")).collect::<String>());
    assert_eq!(given(&house, "max", &wide(16)).as_object().unwrap().len(), 16);
    assert!(refused(&house, "max", &wide(17)).contains("at most 16 root fields"));
    // Each fragment brings the next one twice.
    let doubling: String =
        (0..40).map(|at| format!("fragment F{at} on Query {{ ...F{0} ...F{0} }} ", at + 1)).collect();
    let document = format!("{{ ...F0 }} {doubling} fragment F40 on Query {{ user {{ id }} }}");
    assert!(refused(&house, "max", &document).contains("at most 256 fields and fragments"));
}

proptest! {
    /// Whatever is sent is read or refused.
    #[test]
    fn reading_a_document_ends(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..60)) {
        let body = json!({ "query": tokens.concat(), "variables": { "v": [null, { "a": 1 }] } });
        Document::read(body.to_string().as_bytes());
    }
}

const TOKENS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "...",
    "query ",
    "mutation ",
    "fragment F on T ",
    "on ",
    "a ",
    "F ",
    "$v",
    ":",
    "=",
    "!",
    "@a",
    "1 ",
    "-",
    "1.5e+3 ",
    "\"x\"",
    "\"",
    "\\",
    "\\u00e9",
    "\"\"\"",
    "é",
    "\u{3000}",
    "#",
    "\n",
    ",",
    "null ",
    "true ",
];

// ---- the documents that truss sends ----

/// Each form that was seen, in the fewest words: it is read, whether its root field is served yet or not.
#[test]
fn every_document_of_truss_is_read() {
    use Kind::{Mutation, Query};
    let user_env = json!({ "env": "{\"truss_client_version\":\"0.18.36\"}", "meta": null, "raw": "YQ==" });
    for (kind, field, document) in [
        (Query, "organization", "query{organization{workspace_name}user{email}}"),
        (Query, "teams", "query Teams { teams { id name default } }"),
        (Query, "models", "{ models(team_id: \"t\") { id, name team { id } } }"),
        (Query, "models", "{ models(all: true, chainlets_only: true) { id } }"),
        (Query, "truss_validation", "query ($env: String) { truss_validation(truss_user_env: $env config: \"e30=\") { success details } }"),
        (Query, "model_s3_upload_credentials", "{ model_s3_upload_credentials { s3_bucket s3_key } }"),
        (
            Mutation,
            "create_model_from_truss",
            "mutation ($env: String, $meta: JSONString, $raw: String) { create_model_from_truss(name: \"m\"
             s3_key: \"k\"\n\n\n truss_user_env: $env allow_truss_download: true deploy_timeout_minutes: 30
             user_deploy_metadata: $meta raw_config: $raw) { model_version { id oracle { id } } } }",
        ),
        (Query, "model", "{ model(id: \"m\") { versions { id current_model_deployment_status { status } } } }"),
        (Query, "model_version", "{ model_version(id: \"v\") { id oracle{ id } }\n }"),
        (Query, "truss_watch_state", "{ truss_watch_state(id: \"m\") { django_patch_state { current_hash } } }"),
        (Mutation, "sync_draft_truss", "mutation ($env: String) { sync_draft_truss(id: \"m\" truss_user_env: $env) { id } }"),
        (
            Mutation,
            "deploy_chain_atomic",
            "mutation ($env: String) { deploy_chain_atomic(chain_name: \"c\" is_draft: false entrypoint: {
             name: \"A\",\noracle: {\n model_name: \"a\",\ns3_key: \"k\"\n }\n } dependencies: [{ name: \"B\", oracle: { s3_key: \"k\" } }]
             truss_user_env: $env) { chain_deployment { id } } }",
        ),
        (Query, "chain_deployment", "{ chain_deployment(id:\"c\") { chainlets { name } } }"),
        (Query, "listed_instances", "{ listedInstances: listed_instances { gpuCount: gpu_count } }"),
    ] {
        let body = json!({ "query": document, "variables": user_env }).to_string();
        let Document::Operation(operation) = Document::read(body.as_bytes()) else { panic!("{document}") };
        assert_eq!((operation.kind, operation.fields[0].name.as_str()), (kind, field));
    }
}

// ---- arguments and mutations, on a table of the test's own ----

const TABLE: &[RootField] = &[
    RootField { kind: Kind::Query, name: "echo", arguments: &["text", "flag", "of"], answer: Answer::Caller(echo) },
    RootField { kind: Kind::Mutation, name: "create_team", arguments: &["name"], answer: Answer::Caller(create_team) },
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Echo {
    text: Option<String>,
    flag: Option<bool>,
    of: Option<Vec<Inner>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    number: i64,
}

fn echo(_: &Tx, _: &Caller, ask: &Ask) -> Result<Given, Error> {
    let Echo { text, flag, of } = ask.arguments()?;
    let numbers = of.map(|of| of.iter().map(|inner| inner.number.to_string()).collect::<Vec<_>>().join("+"));
    let echoed = [text, flag.map(|flag| flag.to_string()), numbers];
    ask.give(&echoed.iter().map(|echo| echo.as_deref()).collect::<Vec<_>>())
}

fn create_team(tx: &Tx, caller: &Caller, ask: &Ask) -> Result<Given, Error> {
    #[derive(serde::Deserialize)]
    struct Arguments {
        name: String,
    }
    let proof = caller.in_org(OrgAct::ManageTeams)?;
    let name = TeamName::parse(&ask.arguments::<Arguments>()?.name)?;
    ask.give(&wire::graphql::Team::from(&db::teams::create(tx, &proof, &name, None)?))
}

/// Carries a document out on the test's own table, by the writer as the server does.
fn carry_out(house: &House, who: &str, body: Value) -> Value {
    let Document::Operation(operation) = Document::read(body.to_string().as_bytes()) else { panic!("{body}") };
    let key = PlainKey::parse(WORLD.keys.text(who)).unwrap();
    let request = house.request(None, "POST", "/graphql", Vec::new());
    let work = move |tx: &Tx| execute(tx, &db::api_keys::caller(tx, &key)?.0, &operation, &request, TABLE);
    serde_json::from_slice(&house.app.db.write_blocking(house.moment(), work).unwrap()).unwrap()
}

#[test]
fn arguments_are_literals_variables_or_their_defaults() {
    let house = WORLD.house();
    let echoed = |document: &str, variables: Value| {
        carry_out(&house, "max", json!({ "query": document, "variables": variables }))["data"]["echo"].clone()
    };
    assert_eq!(echoed("{ echo }", Value::Null), json!([null, null, null]));
    assert_eq!(
        echoed("{ echo(text: \"a\\\"\\n\" flag: true, of: [{number: 1}, {number: -2}]) }", Value::Null),
        json!(["a\"\n", "true", "1+-2"])
    );
    let document =
        "query ($t: JSONString, $f: Boolean = false, $n: Int!) { echo(text: $t, flag: $f, of: [{number: $n}]) }";
    assert_eq!(echoed(document, json!({ "n": 7 })), json!([null, "false", "7"]));
    assert_eq!(echoed(document, json!({ "t": "x", "f": true, "n": 7, "more": 1 })), json!(["x", "true", "7"]));
    assert_eq!(echoed(document, json!({ "t": null, "f": null, "n": 7 })), json!([null, null, "7"]));
}

#[test]
fn an_argument_that_does_not_fit_is_named() {
    let house = WORLD.house();
    for (arguments, why) in [
        ("texts: \"a\"", "`echo` has no argument `texts`: it takes `text`, `flag`, `of`"),
        ("text: 5", "`text` cannot be read"),
        ("flag: \"yes\"", "`flag` cannot be read"),
        ("of: [{ number: 1 }, { number: \"2\" }]", "`of[1].number` cannot be read"),
        ("of: [{ number: 1, more: 1 }]", "unknown field `more`"),
    ] {
        let answer = carry_out(&house, "max", json!({ "query": format!("{{ echo({arguments}) }}") }));
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_mutation_does_all_of_its_root_fields_or_none() {
    let house = WORLD.house();
    let teams = || names(&given(&house, "ada", "{teams{name}}")).len();
    let document = "mutation { a: create_team(name: \"A\") { name } b: create_team(name: \"B\") { name } }";
    let answer = carry_out(&house, "ada", json!({ "query": document }));
    assert_eq!(answer, json!({ "data": { "a": { "name": "A" }, "b": { "name": "B" } } }));
    assert_eq!(teams(), 6);

    for (second, code) in
        [("create_team(name: \"A\") { id }", "CONFLICT"), ("create_team(name: \"D\") { nope }", "VALIDATION_ERROR")]
    {
        let document = format!("mutation {{ c: create_team(name: \"C\") {{ id }} d: {second} }}");
        let answer = carry_out(&house, "ada", json!({ "query": document }));
        sentence(&answer, code);
        assert_eq!(answer["errors"][0]["path"], json!(["d"]));
        assert_eq!(teams(), 6, "a refused mutation wrote");
    }
    let answer = carry_out(&house, "max", json!({ "query": "mutation { create_team(name: \"E\") { id } }" }));
    assert!(sentence(&answer, "FORBIDDEN").contains("Manage teams"));
    let answer = carry_out(&house, "ada", json!({ "query": "query { create_team(name: \"E\") { id } }" }));
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("is a mutation, not a query"));
}

// ---- models, as truss asks for them ----

/// What each caller gets of every root field that is about models: what is of their teams, and nothing of others.
#[test]
fn models_and_pushes_are_of_the_callers_teams_alone() {
    let config = "e30="; // {}
    for (who, research) in [
        ("ada", 200),
        ("lone", 404),
        ("tess", 200),
        ("max", 200),
        ("ian", 404),
        ("dora", 404),
        ("fay", 404),
        ("manage-all", 200),
        ("inference-manage-all", 404),
        ("invoke", 403),
        ("metrics", 403),
        ("key-manager", 403),
    ] {
        let house = WORLD.house();
        let code = |document: &str| {
            let answer = ask(&house, who, document);
            match answer["errors"][0]["extensions"]["code"].as_str() {
                None => 200,
                Some("NOT_FOUND") => 404,
                Some("FORBIDDEN") => 403,
                Some(other) => panic!("{who}: {other} {answer}"),
            }
        };
        // Reading: what one may not view is not there.
        let seen = if research == 200 { 200 } else { 404 };
        assert_eq!(code("{model(id:\"researchmodel\"){id}}"), seen, "{who}");
        assert_eq!(code("{model_version(id:\"researchidle\"){id}}"), seen, "{who}");
        assert_eq!(code("{truss_watch_state(id:\"researchmodel\"){is_container_built_from_push}}"), research, "{who}");
        // Writing to a model is judged by its team, whatever else is said.
        let version = format!(
            "mutation{{create_model_version_from_truss(model_id:\"researchmodel\" s3_key:\"models/x\" config:\"{config}\"){{model_version{{id}}}}}}"
        );
        let told = ask(&house, who, &version)["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(told == "no such upload", research == 200, "{who}: {told}");
        assert_eq!(code("mutation{sync_draft_truss(id:\"researchmodel\"){succeeded}}"), research, "{who}");
        let stage = "mutation{stage_patch_for_draft_truss(id:\"researchmodel\" patch:\"bm90aGluZw==\"){succeeded}}";
        let told = ask(&house, who, stage)["errors"][0]["extensions"]["code"].clone();
        assert_eq!(told == "VALIDATION_ERROR", research == 200, "{who}: {told}");
        // A team that one may not deploy in cannot be named.
        for field in ["create_model_from_truss", "deploy_draft_truss"] {
            let push = format!(
                "mutation{{{field}(name:\"new\" team_id:\"research\" s3_key:\"models/x\" config:\"{config}\"){{model_version{{id}}}}}}"
            );
            let told = ask(&house, who, &push)["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
            assert_eq!(told == "no such upload", research == 200, "{who}: {told}");
        }
        let credentials = code("{model_s3_upload_credentials{s3_key}}");
        let deploys_somewhere = !matches!(who, "lone" | "invoke" | "metrics" | "key-manager");
        assert_eq!(credentials, if deploys_somewhere { 200 } else { 403 }, "{who}");
        assert_eq!(
            given(&house, who, "{truss_validation(config:\"e30=\"){success}}")["truss_validation"]["success"],
            true
        );
    }
}

#[test]
fn models_are_listed_with_their_teams_and_versions() {
    let house = WORLD.house();
    let listed = given(&house, "crew", "{models(all: true){id,name team{id name}}}");
    let mut teams: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|model| model["team"]["id"].clone()).collect();
    teams.sort_by_key(ToString::to_string);
    assert_eq!(teams, ["home", "inference", "research"]);
    let one = given(&house, "crew", "{models(team_id: \"research\"){id}}");
    assert_eq!(one["models"], json!([{ "id": "researchmodel" }]));
    assert_eq!(given(&house, "max", "{models(team_id: \"inference\"){id}}")["models"], json!([]));
    assert_eq!(given(&house, "max", "{models(all: true, chainlets_only: true){id}}")["models"], json!([]));
    let model = given(
        &house,
        "max",
        "{model(name: \"llama\"){id hostname primary_version{id} versions{id semver is_draft is_primary truss_hash
          current_model_deployment_status{status}}}}",
    );
    let model = &model["model"];
    assert_eq!(model["hostname"], "http://model-researchmodel.api.localhost:8000");
    assert_eq!(model["primary_version"]["id"], "researchfirst");
    let draft = model["versions"].as_array().unwrap().iter().find(|version| version["is_draft"] == true).unwrap();
    assert_eq!(
        *draft,
        json!({ "id": "researchdevelopment", "semver": "0.0.0", "is_draft": true, "is_primary": false, "truss_hash": "hash",
                "current_model_deployment_status": { "status": "MODEL_READY" } })
    );
    sentence(&ask(&house, "crew", "{model(name: \"llama\"){id}}"), "CONFLICT");
}

#[test]
fn upload_credentials_say_where_the_archive_goes_though_nobody_asks() {
    let house = WORLD.house();
    let given = given(&house, "max", "{model_s3_upload_credentials{s3_bucket s3_key aws_access_key_id}}");
    let credentials = &given["model_s3_upload_credentials"];
    assert_eq!(credentials["endpoint_url"], "http://localhost:8000");
    assert!(credentials["region_name"].is_string());
}
