//! The names of models and deployments: each name refers to one of them, however clients spell it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{push_body, whole};
use crate::acme::Acme;
use crate::vocabulary::text;

/// As a client sends it that decomposes what it shows, or leaves a blank behind it.
const SPELLINGS: [&str; 4] = ["cafe\u{301}", " café", "café  ", "café"];

impl Acme {
    /// A push by GraphQL, as truss has it. Answers the ids of the model and of its deployment.
    #[track_caller]
    fn pushed(&self, who: &str, mutation: &str, arguments: &str) -> (String, String) {
        let answer = self.graphql(who, &self.push_document(who, mutation, arguments));
        let made = &answer["data"][mutation]["model_version"];
        assert!(made.is_object(), "{answer}");
        (text(&made["oracle"]["id"]), text(&made["id"]))
    }

    #[track_caller]
    fn push_refused_to(&self, code: &str, who: &str, mutation: &str, arguments: &str) -> String {
        let document = self.push_document(who, mutation, arguments);
        let before = self.content();
        let answer = self.graphql(who, &document);
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
        assert_eq!(self.content(), before, "{arguments} was refused and wrote");
        text(&answer["errors"][0]["message"])
    }

    fn push_document(&self, who: &str, mutation: &str, arguments: &str) -> String {
        let (s3_key, config) = (self.uploaded(who, &whole()), BASE64_STANDARD.encode("{}"));
        format!(
            "mutation {{ {mutation}({arguments} s3_key: \"{s3_key}\" config: \"{config}\")
               {{ model_version {{ id oracle {{ id }} }} }} }}"
        )
    }

    fn name_of(&self, model: &str, which: &str) -> String {
        text(&self.deployment(model, which)["name"])
    }

    fn names_in(&self, model: &str) -> Vec<String> {
        let listed = self.get("ada", &format!("/v1/models/{model}/deployments"));
        let mut names: Vec<String> =
            listed["deployments"].as_array().unwrap().iter().map(|it| text(&it["name"])).collect();
        names.sort();
        names
    }

    fn seconds(&self) -> i64 {
        self.server.now.get().0 / 1000
    }
}

#[test]
fn a_model_that_is_spelled_otherwise_is_the_same_by_every_way_to_push() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "café");
    let in_team = "team_id: \"research\"";
    for (count, name) in SPELLINGS.iter().enumerate() {
        let arguments = format!("name: \"{name}\" {in_team}");
        assert_eq!(acme.pushed("max", "create_model_from_truss", &arguments).0, model, "{name:?}");
        assert_eq!(acme.pushed("max", "deploy_draft_truss", &arguments).0, model, "{name:?}");
        let body = json!({ "source": { "name": name, "deployment": { "config": {} } } });
        if *name == "café" {
            acme.refused(409, "max", "POST", "/v1/teams/research/models", body);
            continue;
        }
        let made = acme.post("max", "/v1/teams/research/models", body);
        assert_eq!((&made["model"]["id"], &made["model"]["name"]), (&json!(model), &json!("café")), "{name:?}");
        assert_eq!(acme.names_in(&model).len(), 4 + 2 * count, "{name:?}"); // one development deployment
    }
    // Another team's is another model.
    let other = acme.pushed("ian", "create_model_from_truss", "name: \"café\" team_id: \"inference\"").0;
    assert_ne!(other, model);
    assert_eq!(acme.events("MODEL_DEPLOYED"), 1 + 3 * SPELLINGS.len());
}

#[test]
fn a_chain_that_is_spelled_otherwise_is_the_same() {
    let acme = Acme::new();
    let first = acme.push_chain("max", "chain_name: \"café\" team_id: \"research\"");
    for name in SPELLINGS {
        let again = acme.push_chain("max", &format!("chain_name: \"{name}\" team_id: \"research\""));
        assert_eq!(again.chain, first.chain, "{name:?}");
        let draft = acme.push_chain("max", &format!("chain_name: \"{name}\" team_id: \"research\" is_draft: true"));
        assert_eq!(draft.chain, first.chain, "{name:?}");
    }
    assert_eq!(acme.count("chain"), 1);
}

/// What was to make a model is judged as a push to the one that is there.
#[test]
fn whoever_may_not_deploy_to_a_model_does_not_by_spelling_it_otherwise() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "trail");
    acme.restrict("research", "production");
    let arguments = "name: \"trail \" team_id: \"research\" environment_name: \"production\"";
    let told = acme.push_refused_to("FORBIDDEN", "max", "create_model_from_truss", arguments);
    assert!(told.contains("production"), "{told}");
    let body = json!({
        "source": { "name": "trail ", "deployment": { "config": {}, "environment_name": "production" } },
    });
    acme.refused(403, "max", "POST", "/v1/teams/research/models", body);
    let chain = acme.push_chain("ada", "chain_name: \"rag\" team_id: \"research\"").chain;
    let hello = acme.hello("max");
    let arguments = "chain_name: \"rag \" team_id: \"research\" environment: \"production\"";
    acme.push_refused("FORBIDDEN", "max", arguments, &hello);
    // A key that is narrowed to an environment pushes there, and makes no model of its own.
    let key = acme.make_key(
        "tess",
        json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "environments": ["staging"] }),
    );
    let staging = "environment_name: \"staging\"";
    let (pushed, _) = acme.pushed(&key, "create_model_from_truss", &format!("name: \"trail \" {staging}"));
    assert_eq!(pushed, model);
    acme.push_refused_to("FORBIDDEN", &key, "create_model_from_truss", &format!("name: \"other\" {staging}"));
    assert_eq!(acme.get("ada", &format!("/v1/chains/{chain}"))["deployments_count"], 1);
}

#[test]
fn a_name_is_one_deployment_of_a_model() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    let target = format!("/v1/models/{model}/deployments");
    let second = acme.push("max", &model, json!({ "deployment_name": "blue" }));
    for name in ["blue", "deployment-1", "development"] {
        let told = acme.refused(409, "max", "POST", &target, push_body(json!({ "deployment_name": name })));
        assert!(told.contains(&format!("\"{name}\"")) && told.contains("another name"), "{told}");
    }
    for name in ["blue", "development"] {
        acme.refused(409, "max", "PATCH", &format!("{target}/{first}"), json!({ "name": name }));
    }
    let prepare = json!({ "model_id": model, "deployment": { "config": {}, "deployment_name": "blue" } });
    acme.refused(409, "max", "POST", "/v1/prepare_model_upload", prepare);
    // To its own name it is renamed as often as one likes, and nothing is written.
    let before = acme.events("MODEL_DEPLOYMENT_UPDATED");
    let same = acme.patch("max", &format!("{target}/{}", text(&second["id"])), json!({ "name": "blue" }));
    assert_eq!((&same["id"], acme.events("MODEL_DEPLOYMENT_UPDATED")), (&second["id"], before));
    acme.patch("max", &format!("{target}/{first}"), json!({ "name": "green" }));
    acme.push("max", &model, json!({ "deployment_name": "deployment-1" })); // it is free again
    // Of another model it says nothing.
    let (other, _) = acme.create("max", "research", "mistral");
    acme.push("max", &other, json!({ "deployment_name": "blue" }));
}

#[test]
fn numbering_skips_names_that_are_taken() {
    let acme = Acme::new();
    let (model, first) = acme.create("max", "research", "llama");
    acme.patch("max", &format!("/v1/models/{model}/deployments/{first}"), json!({ "name": "deployment-3" }));
    acme.push("max", &model, json!({ "deployment_name": "deployment-2" })); // it has the number 2
    let names = |_| text(&acme.push("max", &model, json!({}))["name"]);
    assert_eq!([(); 2].map(names), ["deployment-4", "deployment-5"]);
    let rag = acme.rag().chain;
    acme.push_again(&rag, "deployment_name: \"deployment-3\"");
    let third = acme.push_again(&rag, "");
    let name = |id: &str| -> String {
        let sql = acme.server.sql();
        sql.query_row("SELECT name FROM chain_deployment WHERE id = ?", [id], |row| row.get(0)).unwrap()
    };
    assert_eq!(name(&third), "deployment-4");
}

#[test]
fn a_push_by_graphql_of_a_name_that_is_taken_gets_the_time_behind_it() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let long = "n".repeat(255);
    for name in ["blue", "development", &long] {
        let push = || {
            let arguments = format!("model_id: \"{model}\" name: \"{name}\"");
            let (_, id) = acme.pushed("max", "create_model_version_from_truss", &arguments);
            acme.name_of(&model, &id)
        };
        if name != "development" {
            assert_eq!(push(), name);
        }
        let now = acme.seconds();
        for second in 0..3 {
            // In one and the same second, the names differ.
            let suffix = format!(".{}", now + second);
            assert_eq!(push(), format!("{}{suffix}", &name[..name.len().min(255 - suffix.len())]));
        }
    }
    let (_, id) =
        acme.pushed("max", "create_model_from_truss", "name: \"llama \" version_name: \"blue\" team_id: \"research\"");
    assert_eq!(acme.name_of(&model, &id), format!("blue.{}", acme.seconds() + 3));
    let rag = acme.rag().chain;
    for expected in ["blue".to_owned(), format!("blue.{}", acme.seconds()), format!("blue.{}", acme.seconds() + 1)] {
        let id = acme.push_again(&rag, "deployment_name: \"blue\"");
        let sql = acme.server.sql();
        let name: String =
            sql.query_row("SELECT name FROM chain_deployment WHERE id = ?", [&id], |row| row.get(0)).unwrap();
        assert_eq!(name, expected);
    }
}

#[test]
fn a_promoted_copy_is_called_as_its_source_with_the_time_behind_it() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    acme.run_all();
    acme.post("max", &format!("/v1/models/{model}/environments"), json!({ "name": "staging" }));
    let promote = |environment: &str, id: &Value| {
        let target = format!("/v1/models/{model}/environments/{environment}/promote");
        text(&acme.post("max", &target, json!({ "deployment_id": id }))["name"])
    };
    let blue = acme.push("max", &model, json!({ "deployment_name": "blue", "environment_name": "canary" }));
    acme.run_all();
    assert_eq!(promote("staging", &blue["id"]), format!("blue.{}", acme.seconds()));
    let draft = acme.pushed("max", "deploy_draft_truss", "name: \"llama\" team_id: \"research\"").1;
    acme.run_all();
    let target = format!("/v1/models/{model}/deployments/development/promote");
    let copy = acme.post("max", &target, json!({}));
    assert_eq!(copy["name"], format!("development.{}", acme.seconds()));
    assert_eq!(acme.name_of(&model, &draft), "development");
    // So do the copies of a Chain's deployment, and of its chainlets.
    let rag = acme.rag();
    acme.chain_environment(&rag.chain, "staging");
    let copy = text(&acme.promote(&rag.chain, "staging", &rag.id)["id"]);
    let sql = acme.server.sql();
    let name: String =
        sql.query_row("SELECT name FROM chain_deployment WHERE id = ?", [&copy], |row| row.get(0)).unwrap();
    assert_eq!(name, format!("deployment-1.{}", acme.seconds()));
    for (model, id) in acme.models_of(&copy) {
        assert_eq!(acme.name_of(&model, &id), format!("deployment-1.{}", acme.seconds()));
    }
}

#[test]
fn a_development_deployment_has_its_name_and_serves_no_environment() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    for (field, value) in [
        ("deployment_name", json!("blue")),
        ("environment_name", json!("production")),
        ("preserve_env_instance_type", json!(false)),
    ] {
        let deployment = json!({ "config": {}, "is_development": true, field: value });
        let source = json!({ "deployment": deployment });
        let new = json!({ "name": "new", "deployment": deployment });
        for (target, body) in [
            ("/v1/prepare_model_upload", json!({ "model_id": model, "deployment": deployment })),
            ("/v1/prepare_model_upload", json!({ "name": "new", "team_id": "research", "deployment": deployment })),
            (&format!("/v1/models/{model}/deployments"), json!({ "source": source })),
            ("/v1/teams/research/models", json!({ "source": new })),
        ] {
            let told = acme.refused(400, "max", "POST", target, body);
            assert!(told.contains(&format!("`{field}`")) && told.contains("is_development"), "{told}");
        }
    }
    let kept = json!({ "config": {}, "is_development": true, "preserve_env_instance_type": true });
    acme.post("max", "/v1/prepare_model_upload", json!({ "model_id": model, "deployment": kept }));
}

#[test]
fn an_environment_that_must_be_there_is_not_made() {
    let acme = Acme::new();
    let (model, _) = acme.create("max", "research", "llama");
    let into = |environment: &str| json!({ "config": {}, "environment_name": environment, "create_environment_if_missing": false });
    for (target, body) in [
        ("/v1/prepare_model_upload", json!({ "model_id": model, "deployment": into("canary") })),
        ("/v1/prepare_model_upload", json!({ "name": "new", "team_id": "research", "deployment": into("canary") })),
        ("/v1/teams/research/models", json!({ "source": { "name": "new", "deployment": into("canary") } })),
        ("/v1/teams/research/models", json!({ "source": { "name": "llama ", "deployment": into("canary") } })),
        (&format!("/v1/models/{model}/deployments"), json!({ "source": { "deployment": into("canary") } })),
    ] {
        acme.refused(404, "max", "POST", target, body);
    }
    let prepared = json!({ "name": "new", "team_id": "research", "deployment": into("production") });
    acme.post("max", "/v1/prepare_model_upload", prepared);
    let source = json!({ "name": "new", "deployment": into("production") });
    acme.post("max", "/v1/teams/research/models", json!({ "source": source }));
}
