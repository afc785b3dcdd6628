//! Chains and their pushes, as truss requests them.

use serde_json::json;

use super::{ask, given, refused_field};
use crate::chains::{Chainlet, mutation};
use crate::seed::WORLD;
use crate::test_server::TestServer;

/// What truss would push, of an upload that nobody sent.
pub(super) fn pushed(arguments: &str) -> String {
    let chainlet =
        Chainlet { name: "Hello", model_name: "Hello-1".to_owned(), s3_key: "models/x".to_owned(), config: json!({}) };
    mutation(arguments, &[chainlet])
}

/// Whether it is let in: the sentence about the upload comes after everything about who pushes.
fn gets_to_the_upload(server: &TestServer, who: &str, document: &str) -> Result<(), String> {
    let answer = ask(server, who, document);
    let told = answer["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{who}: {answer}"));
    if told == "no such upload" { Ok(()) } else { Err(told.to_owned()) }
}

/// What each caller gets of every root field that is about Chains: what is of their teams, and nothing of others.
#[test]
fn chains_and_their_pushes_are_of_the_callers_teams_alone() {
    let everybody: [(&str, &[&str], bool); 14] = [
        ("ada", &["home", "inference", "research"], true),
        ("lone", &[], false),
        ("tess", &["research"], true),
        ("max", &["research"], true),
        ("ian", &["inference"], false),
        ("dora", &["home"], false),
        ("crew", &["home", "inference", "research"], true),
        ("fay", &["abroad", "globexhome"], false),
        ("manage-all", &["research"], true),
        ("inference-manage-all", &["inference"], false),
        ("home-manage-all", &["home"], false),
        ("invoke", &[], false),
        ("metrics", &[], false),
        ("key-manager", &[], false),
    ];
    for (who, teams, of_research) in everybody {
        let server = WORLD.server();
        let mut seen: Vec<String> = Vec::new();
        for chain in given(&server, who, "{chains(all: true){team{id}}}")["chains"].as_array().unwrap() {
            seen.push(chain["team"]["id"].as_str().unwrap().to_owned());
        }
        seen.sort();
        assert_eq!(seen, teams, "{who}");
        let one = given(&server, who, "{chains(team_id: \"research\"){id}}");
        assert_eq!(one["chains"].as_array().unwrap().len(), usize::from(of_research), "{who}");
        for (document, key, missing) in [
            ("{chain(id:\"researchchain\"){id}}", "chain", "no such Chain"),
            ("{chain_deployment(id:\"researchchainidle\"){id}}", "chain_deployment", "no such Chain deployment"),
        ] {
            match of_research {
                true => drop(given(&server, who, document)),
                false => assert_eq!(refused_field(&server, who, document, key), missing, "{who}"),
            }
        }
        let deploys_somewhere = !matches!(who, "lone" | "invoke" | "metrics" | "key-manager");
        let credentials = ask(&server, who, "{chain_s3_upload_credentials{s3_key}}");
        assert_eq!(credentials["errors"].is_null(), deploys_somewhere, "{who}");
        let deploy = "does not include \"Deploy models, Chains, and training projects\"";
        let nowhere = match who {
            "invoke" => format!("a key of category WORKSPACE_INVOKE {deploy}"),
            "metrics" => format!("a key of category WORKSPACE_EXPORT_METRICS {deploy}"),
            "key-manager" => format!("a key of category WORKSPACE_MANAGE_API_KEYS {deploy}"),
            _ => "there is no team in which you may deploy: ask a team admin to add you to one".to_owned(),
        };
        for (arguments, missing) in [
            ("chain_id: \"researchchain\"", "no such Chain"),
            ("chain_id: \"researchchain\" team_id: \"inference\" environment: \"preview\"", "no such Chain"),
            ("chain_id: \"researchchain\" is_draft: true", "no such Chain"),
            ("chain_name: \"new\" team_id: \"research\"", "no such team"),
            ("chain_name: \"rag\" team_id: \"research\" is_draft: true", "no such team"),
        ] {
            let expected = match (of_research, deploys_somewhere) {
                (true, _) => Ok(()),
                (false, true) => Err(missing.to_owned()),
                (false, false) => Err(nowhere.clone()),
            };
            assert_eq!(gets_to_the_upload(&server, who, &pushed(arguments)), expected, "{who} {arguments}");
        }
        let restricted =
            gets_to_the_upload(&server, who, &pushed("chain_id: \"researchchain\" environment: \"guarded\""));
        let may = matches!(who, "ada" | "tess");
        assert_eq!(restricted.is_ok(), may, "{who}: {restricted:?}");
    }
}

#[test]
fn without_a_team_a_new_chain_is_the_only_teams_or_the_default_teams() {
    let server = WORLD.server();
    for who in ["max", "manage-all", "crew", "ada", "dora"] {
        assert_eq!(gets_to_the_upload(&server, who, &pushed("chain_name: \"new\"")), Ok(()), "{who}");
    }
}

#[test]
fn nothing_and_another_teams_are_told_in_the_same_words() {
    let server = WORLD.server();
    for field in ["chain", "chain_deployment"] {
        let asked = |id: &str| refused_field(&server, "max", &format!("{{{field}(id:\"{id}\"){{id}}}}"), field);
        let nothing = asked("nosuchid");
        for id in ["inferencechain", "inferencechainidle", "abroadchain", "abroadchainidle", "researchmodel"] {
            assert_eq!(asked(id), nothing, "{field} {id}");
        }
    }
    assert_eq!(given(&server, "max", "{chains(team_id: \"inference\"){id}}")["chains"], json!([]));
    assert_eq!(given(&server, "max", "{chains(team_id: \"nosuchteam\"){id}}")["chains"], json!([]));
}

#[test]
fn chains_as_truss_lists_watches_and_polls_them() {
    let server = WORLD.server();
    let listed =
        given(&server, "max", "{\n chains(team_id: \"research\") {\n id\n name\n team {\n id\n name\n }\n }\n}");
    let team = json!({ "id": "research", "name": "Research" });
    assert_eq!(listed["chains"], json!([{ "id": "researchchain", "name": "rag", "team": team }]));
    let chain = given(&server, "max", "{chain(id: \"researchchain\"){deployments{id created is_draft}}}");
    let deployments = chain["chain"]["deployments"].as_array().unwrap();
    let drafts: Vec<_> = deployments.iter().filter(|it| it["is_draft"] == true).collect();
    // Python 3.11 reads it so, without a zone.
    let draft = json!({ "id": "researchchaindevelopment", "created": "2026-11-01T00:00:00.000", "is_draft": true });
    assert_eq!(drafts, [&draft]);
    assert_eq!(deployments.len(), 5);
    let polled = given(
        &server,
        "max",
        "{chain_deployment(id:\"researchchainwaiting\"){chainlets{name id is_entrypoint oracle{id name hostname}
          oracle_version{id is_draft current_model_deployment_status{status}}} chain{id}}}",
    );
    let chainlet = |name: &str, id: &str, is_entrypoint: bool| {
        let model = format!("researchchainwaiting{id}model");
        json!({
            "name": name, "id": format!("researchchainwaiting{id}"), "is_entrypoint": is_entrypoint,
            "oracle": { "id": model, "name": format!("{id}-waiting"),
                        "hostname": format!("http://model-{model}.api.localhost:8000") },
            "oracle_version": { "id": format!("{model}run"), "is_draft": false,
                                "current_model_deployment_status": { "status": "BUILDING_MODEL" } },
        })
    };
    assert_eq!(
        polled["chain_deployment"],
        json!({ "chainlets": [chainlet("Hello", "hello", true), chainlet("RandInt", "randint", false)],
                "chain": { "id": "researchchain" } })
    );
}

#[test]
fn credentials_for_a_source_are_for_a_source() {
    let server = WORLD.server();
    let credentials = given(
        &server,
        "max",
        "query {chain_s3_upload_credentials {s3_bucket s3_key aws_access_key_id aws_secret_access_key aws_session_token}}",
    );
    let credentials = &credentials["chain_s3_upload_credentials"];
    assert!(credentials["s3_key"].as_str().unwrap().starts_with("chains/"), "{credentials}");
    assert_eq!(credentials["endpoint_url"], "http://localhost:8000");
}
