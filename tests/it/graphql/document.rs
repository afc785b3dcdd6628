//! Which parts of a document are answered, and which documents are refused?

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guildhall::api::graphql::document::{DOCUMENT_BYTES_MAX, Document, Kind};
use proptest::prelude::*;
use serde_json::json;

use super::{ask, given, refused, refused_field, send, sentence};
use crate::seed::WORLD;

// ---- what is asked ----

#[test]
fn the_answer_has_the_names_and_the_order_of_the_document() {
    let server = WORLD.server();
    let document = "{ me: user { called: name id } user { email } ours: teams { default } }";
    let body = json!({ "query": document }).to_string().into_bytes();
    let reply = server.reply(Some(WORLD.keys.text("max")), "POST", "/graphql/", body);
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"data":{"me":{"called":"Max","id":"max"},"user":{"email":"max@example.com"},"ours":[{"default":false}]}}"#
    );
    assert_eq!(reply.content_type, "application/json");
}

#[test]
fn what_is_asked_for_twice_is_answered_once() {
    let server = WORLD.server();
    assert_eq!(given(&server, "max", "{user{id id} user{name}}"), json!({ "user": { "id": "max", "name": "Max" } }));
    let sentence = refused(&server, "max", "{user{a:id a:name}}");
    assert!(sentence.contains("`a` is asked for in two ways"), "{sentence}");
}

#[test]
fn fragments_bring_their_fields() {
    let server = WORLD.server();
    let document = "query { ...All teams { ... on Team { id } ... { name } } }
                    fragment All on Query { user { ...Person } }
                    fragment Person on User { id __typename }";
    assert_eq!(
        given(&server, "max", document),
        json!({
            "user": { "id": "max", "__typename": "User" },
            "teams": [{ "id": "research", "name": "Research" }],
        })
    );
    assert_eq!(given(&server, "max", "{ __typename }"), json!({ "__typename": "Query" }));
    for (document, why) in [
        ("{ user { ...None } }", "no fragment named `None`"),
        ("{ ...Round } fragment Round on Query { ...Round }", "no fragment holds itself"),
        ("{ user { ... on Team { ... on User { id } } } }", "nothing is both"),
    ] {
        let sentence = refused(&server, "max", document);
        assert!(sentence.contains(why), "{sentence}");
    }
    let sentence = refused_field(&server, "max", "{ user { ... on Team { id } } }", "user");
    assert!(sentence.contains("this is `User`"), "{sentence}");
    let sentence = refused_field(&server, "max", "{ ... on Mutation { user { id } } }", "user");
    assert!(sentence.contains("this is `Query`"), "{sentence}");
}

#[test]
fn of_several_operations_the_named_one_is_carried_out() {
    let server = WORLD.server();
    let document = "query A { user { id } } query B { organization { id } }";
    let named = |name: Option<&str>| send(&server, "max", json!({ "query": document, "operationName": name }));
    assert_eq!(named(Some("B"))["data"], json!({ "organization": { "id": "acme" } }));
    assert!(sentence(&named(Some("C")), "VALIDATION_ERROR").contains("no operation named `C`"));
    assert!(sentence(&named(None), "VALIDATION_ERROR").contains("`operationName`"));
}

#[test]
fn what_is_not_there_is_named() {
    let server = WORLD.server();
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
        let sentence = refused_field(&server, "max", document, key);
        assert!(sentence.contains(why), "{document}: {sentence}");
    }
    // A list of nothing has the fields of its type all the same.
    let sentence = refused_field(&server, "lone", "{ teams { nope } }", "teams");
    assert!(sentence.contains("`Team` has no field `nope`"), "{sentence}");
    // One root field that fails leaves the others.
    let answer = ask(&server, "max", "{ user { id } teams { nope } }");
    assert_eq!(answer["data"], json!({ "user": { "id": "max" }, "teams": null }));
}

#[test]
fn a_query_is_no_mutation() {
    let server = WORLD.server();
    let answer = ask(&server, "ada", "mutation { teams { id } }");
    assert!(sentence(&answer, "VALIDATION_ERROR").contains("`teams` is a query, not a mutation"));
    assert_eq!(answer["errors"][0]["path"], json!(["teams"]));
    assert!(refused(&server, "ada", "mutation { a: no_such }").contains("no mutation named `no_such`"));
    assert!(refused(&server, "ada", "subscription { teams { id } }").contains("a subscription is not served"));
}

// ---- what is refused ----

#[test]
fn a_document_that_cannot_be_read_is_refused_inside_graphql() {
    let server = WORLD.server();
    for document in ["", "{", "{}", "teams", "{ teams { id }", "{ teams { id } } }", "{ teams(name: \"a\"b\") { id } }"]
    {
        let sentence = refused(&server, "max", document);
        assert!(sentence.starts_with("the document cannot be read: Parse error at "), "{sentence}");
    }
    // What stands in the document stays there.
    let sentence = refused(&server, "max", "{ teams(name: \"hushhush\" \"hushhush\") { id } }");
    assert!(!sentence.contains("hush"), "{sentence}");
}

#[test]
fn what_is_not_understood_is_not_passed_over() {
    let server = WORLD.server();
    for (document, why) in [
        ("{ user { id @skip(if: true) } }", "the directive `@skip`"),
        ("query @live { user { id } }", "the directive `@live`"),
        ("{ teams(order: DOWN) { id } }", "`DOWN` is no value"),
        ("{ teams(name: \"\"\"a\"\"\") { id } }", "a block string"),
        ("{ teams(name: $name) { id } }", "the variable `$name` is not declared"),
        ("query ($name: String!) { user { id } }", "the variable `$name` must be given"),
        ("{ teams(a: 1, a: 2) { id } }", "the argument `a` is given twice"),
    ] {
        let sentence = refused(&server, "max", document);
        assert!(sentence.contains(why), "{document}: {sentence}");
    }
}

#[test]
fn a_body_that_is_no_request_is_told_by_its_status() {
    let server = WORLD.server();
    let deep = format!("{{\"query\": \"{{user{{id}}}}\", \"variables\": {{\"a\": {}", "[".repeat(10_000));
    for body in ["", "{ user { id } }", "[]", "{}", "{\"query\": 5}", "{\"query\": \"{user{id}}\", \"more\": 1}", &deep]
    {
        let answered = server.send_bytes(Some(WORLD.keys.text("max")), "POST", "/graphql/", body.as_bytes().to_vec());
        assert_eq!((answered.status, &answered.body["code"]), (400, &json!("VALIDATION_ERROR")), "{}", answered.body);
    }
}

#[test]
fn a_long_or_deep_document_is_an_error_and_no_crash() {
    let server = WORLD.server();
    // Whoever may deploy somewhere pushes configurations and patches.
    for (who, bytes_max) in [("max", 4 << 20), ("manage-all", 4 << 20), ("lone", 64 << 10), ("invoke", 64 << 10)] {
        let comment = "#".repeat(bytes_max - "{user{id}}".len());
        given(&server, who, &format!("{{user{{id}}}}{comment}"));
        let refused = refused(&server, who, &format!("{{user{{id}}}}{comment}#"));
        assert!(refused.contains(&format!("must be at most {bytes_max} bytes")), "{who}: {refused}");
    }

    for deep in ["{a", "{a(b:[", "{a(b:{c:", "{...{", "query($a:[", "mutation{a"] {
        refused(&server, "max", &deep.repeat(10_000));
    }
    let at_the_bound = format!("{}{}", "{a".repeat(50), "}".repeat(50));
    assert!(refused_field(&server, "max", &at_the_bound, "a").contains("no query named `a`"));

    let wide =
        |count: usize| format!("{{ {} }}", (0..count).map(|at| format!("a{at}: user {{ id }} ")).collect::<String>());
    assert_eq!(given(&server, "max", &wide(16)).as_object().unwrap().len(), 16);
    assert!(refused(&server, "max", &wide(17)).contains("at most 16 root fields"));
    // Each fragment brings the next one twice.
    let doubling: String =
        (0..40).map(|at| format!("fragment F{at} on Query {{ ...F{0} ...F{0} }} ", at + 1)).collect();
    let document = format!("{{ ...F0 }} {doubling} fragment F40 on Query {{ user {{ id }} }}");
    assert!(refused(&server, "max", &document).contains("at most 256 fields and fragments"));
}

/// A variable counts wherever it is used, in whatever it stands: nothing is built that is larger than its bound.
#[test]
fn what_a_document_becomes_is_bounded() {
    let server = WORLD.server();
    let long = "v".repeat(900 << 10);
    let aliases = |of: &str| (0..16).map(|at| format!("a{at}: {of} ")).collect::<String>();
    let uses = |count: usize| vec!["$v"; count].join(",");
    for (document, variable) in [
        (format!("query($v:String){{model(id:[{}]){{id}}}}", uses(1000)), json!(long)),
        (format!("query($v:String){{model(id:{{a:[{}]}}){{id}}}}", uses(20)), json!(long)),
        (format!("query($v:String){{{}}}", aliases("model(id:$v){id}")), json!(long)),
        (format!("query($v:String){{...F}} fragment F on Query{{{}}}", aliases("model(id:$v){id}")), json!(long)),
        (format!("query($v:String,$w:String=\"w\"){{model(id:[{}]){{id}}}}", uses(9000)), json!("\u{1}".repeat(500))),
        (format!("query($v:[Int]){{model(id:[{}]){{id}}}}", uses(2000)), json!(vec![0; 100])),
        (format!("{{model(id:[{}]){{id}}}}", "1,".repeat(50_000)), json!(null)),
        (format!("{{model(id:1 {}){{id}}}}", (0..2000).map(|at| format!("a{at}:1 ")).collect::<String>()), json!(null)),
    ] {
        let answer = send(&server, "max", json!({ "query": document, "variables": { "v": variable } }));
        let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(answer["data"].is_null() && message.len() < 300, "{:.100}: {:.300}", document, answer.to_string());
        assert!(["at most", "cannot be read"].iter().any(|why| message.contains(why)), "{document:.100}: {message}");
    }
    // Once is well: a variable of this length is one argument.
    let once = json!({ "query": "query($v:String){model(id:$v){id}}", "variables": { "v": long } });
    assert!(send(&server, "max", once.clone())["errors"][0]["message"].as_str().unwrap().contains("no such model"));
    // Whoever may deploy nowhere sends less.
    let key = Some(WORLD.keys.text("invoke"));
    assert_eq!(server.send(key, "POST", "/graphql/", Some(once)).status, 413);
}

/// What truss pushes: configurations of several hundred KiB, in the document as in variables.
#[test]
fn large_configurations_are_pushed() {
    let server = WORLD.server();
    let config =
        json!({ "resources": { "cpu": "1", "memory": "2Gi" }, "model_metadata": { "text": "x".repeat(600 << 10) } });
    let config = BASE64_STANDARD.encode(config.to_string().replace("\"1\"", "\"1\", \"more\": Infinity"));
    let validation = format!("{{ truss_validation(config: \"{config}\") {{ success details }} }}");
    assert_eq!(given(&server, "max", &validation)["truss_validation"]["success"], true);
    let push = format!(
        "mutation {{ create_model_from_truss(name: \"large\" s3_key: \"nosuch\" config: \"{config}\") {{ model_version {{ id }} }} }}"
    );
    let refused = ask(&server, "max", &push);
    let message = refused["errors"][0]["message"].as_str().expect("there is no such upload");
    assert!(message.contains("no such upload"), "{message}");
}

proptest! {
    /// Whatever is sent is read or refused.
    #[test]
    fn reading_a_document_ends(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..60)) {
        let body = json!({ "query": tokens.concat(), "variables": { "v": [null, { "a": 1 }] } });
        Document::read(body.to_string().as_bytes(), DOCUMENT_BYTES_MAX);
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
        let Document::Operation(operation) = Document::read(body.as_bytes(), DOCUMENT_BYTES_MAX) else { panic!("{document}") };
        assert_eq!((operation.kind, operation.fields[0].name.as_str()), (kind, field));
    }
}
