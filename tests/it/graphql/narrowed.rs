//! The replies of every root field to narrowed keys: one key is narrowed to the environments `preview` and `trial` of
//! research, another to a model. The expected replies are written by hand.

use std::collections::BTreeSet;

use guildhall::api::graphql::root_fields::ROOT_FIELDS;
use serde_json::Value;

use super::{ask, chains, checkpoints};
use crate::seed::WORLD;
use crate::test_server::TestServer;
use crate::vocabulary::content;

/// What a root field answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    Given,
    Forbidden,
    NotThere,
    /// It is let in: the sentence about the upload comes after everything about who pushes.
    NoUpload,
}

use Gets::{Forbidden, Given, NoUpload, NotThere};

/// A root field, its arguments and what is selected; then what the key of environments gets, and the key of a model.
const QUERIES: &[(&str, &str, Gets, Gets)] = &[
    ("organization", "{id}", Given, Given),
    ("user", "{email}", Given, Given),
    ("teams", "{id}", Given, Given),
    ("models", "(all: true){id}", Given, Given),
    ("model", "(id: \"researchmodel\"){id}", Given, NotThere),
    ("model_version", "(id: \"researchidle\"){id}", Given, NotThere),
    ("truss_validation", "(config: \"e30=\"){success}", Given, Given),
    ("model_s3_upload_credentials", "{s3_key}", Given, Forbidden),
    ("truss_watch_state", "(id: \"researchmodel\"){is_container_built_from_push}", Given, Forbidden),
    ("chains", "(all: true){id}", Given, Given),
    ("chain", "(id: \"researchchain\"){id}", Given, NotThere),
    ("chain_deployment", "(id: \"researchchainidle\"){id}", Given, NotThere),
    ("chain_s3_upload_credentials", "{s3_key}", Given, Forbidden),
    ("listed_instances", "{id}", Given, Given),
];

/// The same of mutations, without the archive and the configuration that each push has.
const PUSHES: &[(&str, &str, Gets, Gets)] = &[
    // A new model is the whole team's, wherever its first deployment goes.
    ("create_model_from_truss", "name: \"new\" team_id: \"research\"", Forbidden, Forbidden),
    ("create_model_from_truss", "name: \"new\" environment_name: \"preview\"", Forbidden, Forbidden),
    ("create_model_from_truss", "name: \"llama\" environment_name: \"preview\"", NoUpload, Forbidden),
    (
        "create_model_version_from_truss",
        "model_id: \"researchmodel\" environment_name: \"preview\"",
        NoUpload,
        Forbidden,
    ),
    (
        "create_model_version_from_truss",
        "model_id: \"researchmodel\" environment_name: \"production\"",
        Forbidden,
        Forbidden,
    ),
    ("create_model_version_from_truss", "model_id: \"researchmodel\" environment_name: \"new\"", Forbidden, Forbidden),
    ("create_model_version_from_truss", "model_id: \"researchmodel\"", Forbidden, Forbidden),
    (
        "create_model_version_from_truss",
        "model_id: \"inferencemodel\" environment_name: \"preview\"",
        NotThere,
        NotThere,
    ),
    ("deploy_draft_truss", "name: \"llama\"", Forbidden, Forbidden),
];

const CHAINS: &[(&str, Gets, Gets)] = &[
    ("chain_id: \"researchchain\" environment: \"trial\"", NoUpload, Forbidden),
    ("chain_name: \"rag\" environment: \"trial\"", NoUpload, Forbidden),
    ("chain_id: \"researchchain\" environment: \"production\"", Forbidden, Forbidden),
    ("chain_id: \"researchchain\" environment: \"guarded\"", Forbidden, Forbidden),
    ("chain_id: \"researchchain\"", Forbidden, Forbidden),
    ("chain_id: \"researchchain\" is_draft: true", Forbidden, Forbidden),
    ("chain_name: \"new\" environment: \"trial\"", Forbidden, Forbidden),
    ("chain_id: \"inferencechain\" environment: \"trial\"", NotThere, Forbidden),
];

const PATCHES: &[(&str, &str, Gets, Gets)] = &[
    ("stage_patch_for_draft_truss", "(id: \"researchmodel\" patch: \"bm90aGluZw==\"){succeeded}", Forbidden, Forbidden),
    ("sync_draft_truss", "(id: \"researchmodel\"){succeeded}", Forbidden, Forbidden),
];

fn gets(answer: &Value) -> Gets {
    let error = &answer["errors"][0];
    match (error["extensions"]["code"].as_str(), error["message"].as_str()) {
        (None, _) => Given,
        (_, Some("no such upload")) => NoUpload,
        (Some("FORBIDDEN"), _) => Forbidden,
        (Some("NOT_FOUND"), _) => NotThere,
        (Some(_), _) => panic!("{answer}"),
    }
}

/// Asks with both keys.
fn judge(server: &TestServer, document: &str, of_environments: Gets, of_model: Gets) {
    for (who, expected) in [("to-environments", of_environments), ("to-model", of_model)] {
        let answer = ask(server, who, document);
        assert_eq!(gets(&answer), expected, "{who}: {document}: {answer}");
    }
}

#[test]
fn a_narrowed_key_gets_of_each_root_field_what_it_is_narrowed_to() {
    let server = WORLD.server();
    let before = content(&server.sql());
    for (field, rest, of_environments, of_model) in QUERIES {
        judge(&server, &format!("{{{field}{rest}}}"), *of_environments, *of_model);
    }
    for (field, rest, of_environments, of_model) in PUSHES {
        let push = format!("mutation{{{field}({rest} s3_key: \"models/x\" config: \"e30=\"){{model_version{{id}}}}}}");
        judge(&server, &push, *of_environments, *of_model);
    }
    for (rest, of_environments, of_model) in CHAINS {
        judge(&server, &chains::pushed(rest), *of_environments, *of_model);
    }
    for (field, rest, of_environments, of_model) in PATCHES {
        judge(&server, &format!("mutation{{{field}{rest}}}"), *of_environments, *of_model);
    }
    for who in ["to-environments", "to-model"] {
        let answer = checkpoints::deploy(&server, who, "researchjob", "1x2");
        assert_eq!(answer["errors"][0]["message"], "no such training job", "{who}: it may deploy in no team");
    }
    assert_eq!(before, content(&server.sql()), "something was written");

    let fields = QUERIES.iter().chain(PUSHES).chain(PATCHES).map(|(field, ..)| *field);
    let judged: BTreeSet<&str> =
        fields.chain(["deploy_chain_atomic", "create_model_version_from_inference_template"]).collect();
    let served: BTreeSet<&str> = ROOT_FIELDS.iter().map(|row| row.name).collect();
    assert_eq!(served, judged, "a root field that is not judged");
}
