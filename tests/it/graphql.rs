//! Does GraphQL answer truss, who may use it, and what does it refuse?

use std::collections::BTreeSet;

use guildhall::api::graphql::context::{Access, FieldContext};
use guildhall::api::graphql::document::{DOCUMENT_BYTES_MAX, Document, Kind};
use guildhall::api::graphql::execution::execute;
use guildhall::api::graphql::root_fields::{ROOT_FIELDS, RootField};
use guildhall::db::{self, Tx};
use guildhall::domain::TeamName;
use guildhall::error::Error;
use guildhall::policy::{Caller, OrgAct};
use guildhall::token::PlainKey;
use guildhall::wire;
use guildhall::wire::graphql::shape::Given;
use serde_json::{Value, json};

use crate::seed::WORLD;
use crate::test_server::TestServer;

mod chains;
mod checkpoints;
mod document;
mod models;
mod narrowed;

/// Sends a document as somebody of the world, and gives the whole answer.
#[track_caller]
fn ask(server: &TestServer, who: &str, document: &str) -> Value {
    send(server, who, json!({ "query": document }))
}

#[track_caller]
fn send(server: &TestServer, who: &str, body: Value) -> Value {
    let answered = server.send(Some(WORLD.keys.text(who)), "POST", "/graphql/", Some(body));
    assert_eq!(answered.status, 200, "{}", answered.body);
    answered.body
}

/// What a document gives that is answered in full.
#[track_caller]
fn given(server: &TestServer, who: &str, document: &str) -> Value {
    let mut answer = ask(server, who, document);
    assert!(answer.get("errors").is_none(), "{answer}");
    answer["data"].take()
}

/// The sentence of a document that is refused as a whole.
#[track_caller]
fn refused(server: &TestServer, who: &str, document: &str) -> String {
    sentence(&ask(server, who, document), "VALIDATION_ERROR")
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
fn refused_field(server: &TestServer, who: &str, document: &str, key: &str) -> String {
    let answer = ask(server, who, document);
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
    let server = WORLD.server();
    for (who, organization, email, teams) in everybody {
        assert_eq!(
            given(&server, who, "{organization{workspace_name}}")["organization"]["workspace_name"],
            organization
        );
        assert_eq!(given(&server, who, "{user{email}}")["user"]["email"], email);
        assert_eq!(names(&given(&server, who, "{teams{name}}")), teams, "{who}");
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
        "chains",
        "chain",
        "chain_deployment",
        "chain_s3_upload_credentials",
        "deploy_chain_atomic",
        "listed_instances",
        "create_model_version_from_inference_template",
    ];
    let judged: BTreeSet<_> = ["organization", "user", "teams"].into_iter().chain(judged_elsewhere).collect();
    let served: BTreeSet<_> = ROOT_FIELDS.iter().map(|row| row.name).collect();
    assert_eq!(served, judged, "a root field that nobody judges");
}

#[test]
fn without_a_key_that_works_every_document_is_refused_inside_graphql() {
    let server = WORLD.server();
    for row in ROOT_FIELDS {
        let body = json!({ "query": format!("{{ {} {{ __typename }} }}", row.name) });
        for key in [None, Some(WORLD.keys.text("bad")), Some("no key")] {
            let answered = server.send(key, "POST", "/graphql/", Some(body.clone()));
            assert_eq!(answered.status, 200);
            sentence(&answered.body, "UNAUTHENTICATED");
        }
    }
    let answered = server.send_bytes(Some("no key"), "POST", "/graphql/", b"no document".to_vec());
    sentence(&answered.body, "UNAUTHENTICATED");
}

#[test]
fn whoami_as_truss_asks_for_it() {
    let server = WORLD.server();
    let answer = given(&server, "max", "query{organization{workspace_name}user{email}}");
    assert_eq!(answer.to_string(), r#"{"organization":{"workspace_name":"Acme"},"user":{"email":"max@example.com"}}"#);
    assert_eq!(given(&server, "max", "query {\n organization {\n id\n }\n}")["organization"]["id"], "acme");
    let aws = given(&server, "max", "{organization{aws_customer_access_role_arn aws_external_id}}");
    assert_eq!(aws["organization"], json!({ "aws_customer_access_role_arn": null, "aws_external_id": null }));
    assert_eq!(given(&server, "max", "{user{id name}}")["user"], json!({ "id": "max", "name": "Max" }));
}

#[test]
fn teams_as_truss_asks_for_them() {
    let server = WORLD.server();
    let answer = given(&server, "manage-all", "query Teams {\n teams {\n id,\n name\n default\n }\n}");
    assert_eq!(answer["teams"], json!([{ "id": "research", "name": "Research", "default": false }]));
    let answer = given(&server, "dora", "{teams{id default}}");
    assert_eq!(answer["teams"], json!([{ "id": "home", "default": true }]));
}

#[test]
fn both_paths_answer_and_no_other_method_does() {
    let server = WORLD.server();
    let key = Some(WORLD.keys.text("max"));
    let body = json!({ "query": "{user{id}}" });
    for path in ["/graphql", "/graphql/"] {
        assert_eq!(server.send(key, "POST", path, Some(body.clone())).body["data"]["user"]["id"], "max");
        assert_eq!(server.send(key, "GET", path, None).status, 405);
    }
}

// ---- arguments and mutations, on a table of the test's own ----

const TABLE: &[RootField] = &[
    RootField {
        kind: Kind::Query,
        name: "echo",
        arguments: &["text", "flag", "of"],
        access: Access::Caller(echo),
        prepare: None,
    },
    RootField {
        kind: Kind::Mutation,
        name: "create_team",
        arguments: &["name"],
        access: Access::Caller(create_team),
        prepare: None,
    },
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

fn echo(_: &Tx, _: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    let Echo { text, flag, of } = ctx.arguments()?;
    let numbers = of.map(|of| of.iter().map(|inner| inner.number.to_string()).collect::<Vec<_>>().join("+"));
    let echoed = [text, flag.map(|flag| flag.to_string()), numbers];
    ctx.give(&echoed.iter().map(|echo| echo.as_deref()).collect::<Vec<_>>())
}

fn create_team(tx: &Tx, caller: &Caller, ctx: &FieldContext) -> Result<Given, Error> {
    #[derive(serde::Deserialize)]
    struct Arguments {
        name: String,
    }
    let proof = caller.in_org(OrgAct::ManageTeams)?;
    let name = TeamName::parse(&ctx.arguments::<Arguments>()?.name)?;
    ctx.give(&wire::graphql::Team::from(&db::teams::create(tx, &proof, &name, None)?))
}

/// Carries a document out on the test's own table, by the writer as the server does.
fn carry_out(server: &TestServer, who: &str, body: Value) -> Value {
    let Document::Operation(operation) = Document::read(body.to_string().as_bytes(), DOCUMENT_BYTES_MAX) else {
        panic!("{body}")
    };
    let key = PlainKey::parse(WORLD.keys.text(who)).unwrap();
    let request = server.request(None, "POST", "/graphql", Vec::new());
    let work = move |tx: &Tx| execute(tx, &db::api_keys::caller(tx, &key)?.0, &operation, &request, TABLE);
    serde_json::from_slice(&server.app.db.write_blocking(server.now(), work).unwrap()).unwrap()
}

#[test]
fn arguments_are_literals_variables_or_their_defaults() {
    let server = WORLD.server();
    let echoed = |document: &str, variables: Value| {
        carry_out(&server, "max", json!({ "query": document, "variables": variables }))["data"]["echo"].clone()
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
    let server = WORLD.server();
    for (arguments, why) in [
        ("texts: \"a\"", "`echo` has no argument `texts`: it takes `text`, `flag`, `of`"),
        ("text: 5", "`text` must be a string"),
        ("flag: \"yes\"", "`flag` must be true or false"),
        ("of: [{ number: 1 }, { number: \"2\" }]", "`of[1].number` must be"),
        ("of: [{ number: 1, more: 1 }]", "unknown field `more`"),
    ] {
        let answer = carry_out(&server, "max", json!({ "query": format!("{{ echo({arguments}) }}") }));
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_mutation_does_all_of_its_root_fields_or_none() {
    let server = WORLD.server();
    let teams = || names(&given(&server, "ada", "{teams{name}}")).len();
    let document = "mutation { a: create_team(name: \"A\") { name } b: create_team(name: \"B\") { name } }";
    let answer = carry_out(&server, "ada", json!({ "query": document }));
    assert_eq!(answer, json!({ "data": { "a": { "name": "A" }, "b": { "name": "B" } } }));
    assert_eq!(teams(), 6);

    for (second, code) in
        [("create_team(name: \"A\") { id }", "CONFLICT"), ("create_team(name: \"D\") { nope }", "VALIDATION_ERROR")]
    {
        let document = format!("mutation {{ c: create_team(name: \"C\") {{ id }} d: {second} }}");
        let answer = carry_out(&server, "ada", json!({ "query": document }));
        sentence(&answer, code);
        assert_eq!(answer["errors"][0]["path"], json!(["d"]));
        assert_eq!(teams(), 6, "a refused mutation wrote");
    }
    let answer = carry_out(&server, "max", json!({ "query": "mutation { create_team(name: \"E\") { id } }" }));
    assert!(sentence(&answer, "FORBIDDEN").contains("Manage teams"));
    let answer = carry_out(&server, "ada", json!({ "query": "query { create_team(name: \"E\") { id } }" }));
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("is a mutation, not a query"));
}
