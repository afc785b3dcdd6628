//! What is deleted together with a deployment, a Chain or a team. Nothing is left behind.

use serde_json::json;

use crate::acme::Acme;
use crate::deployments::whole;
use crate::vocabulary::text;

/// What a deployment of a Chain is made of, counted by table.
const TABLES: [&str; 12] = [
    "chain",
    "chain_deployment",
    "chain_environment",
    "chainlet",
    "chainlet_setting",
    "deployment",
    "deployment_log",
    "deployment_patch",
    "model",
    "model_environment",
    "upload",
    "pragma_foreign_key_check",
];

fn counts(acme: &Acme) -> Vec<(&'static str, i64)> {
    TABLES.iter().map(|table| (*table, acme.count(table))).collect()
}

/// A Chain with everything: a source, a development deployment, environments with settings, a copy, and one that waits.
fn full(acme: &Acme, name: &str) -> String {
    let source = acme.uploaded_for("chains", "max", &whole());
    let arguments =
        format!("chain_name: \"{name}\" team_id: \"research\" original_source_artifact_s3_key: \"{source}\"");
    let chain = acme.push_chain("max", &arguments).chain;
    acme.run_all();
    let development = acme.push_again(&chain, "is_draft: true");
    acme.run_all();
    let settings = json!([{ "chainlet_name": "Hello", "instance_type_id": "2x8" }]);
    let body = json!({ "name": "staging", "chainlet_settings": settings });
    acme.post("max", &format!("/v1/chains/{chain}/environments"), body);
    acme.promote(&chain, "staging", &development);
    acme.push_again(&chain, "environment: \"production\"");
    chain
}

#[test]
fn a_chain_takes_everything_of_it_along() {
    let acme = Acme::new();
    acme.create("max", "research", "llama");
    acme.run_all();
    let other = full(&acme, "other");
    acme.run_all();
    let before = counts(&acme);
    let chain = full(&acme, "rag");
    assert!(counts(&acme).iter().zip(&before).filter(|(now, then)| now.1 > then.1).count() > 7);
    assert_eq!(acme.delete("max", &format!("/v1/chains/{chain}")), json!({ "id": chain, "deleted": true }));
    assert_eq!(counts(&acme), before);
    acme.run_all();
    assert_eq!(counts(&acme), before);
    acme.refused(404, "max", "GET", &format!("/v1/chains/{chain}"), None);
    acme.refused(404, "max", "GET", &format!("/v1/chains/{chain}/deployments"), None);
    acme.get("max", &format!("/v1/chains/{other}"));
}

#[test]
fn a_deployment_takes_its_chainlets_along_and_leaves_its_environment_empty() {
    let acme = Acme::new();
    let rag = acme.rag();
    let before = counts(&acme);
    let source = acme.uploaded_for("chains", "max", &whole());
    acme.chain_environment(&rag.chain, "staging");
    let arguments = format!("environment: \"staging\" original_source_artifact_s3_key: \"{source}\"");
    let staged = acme.push_again(&rag.chain, &arguments);
    acme.run_all();
    let models = acme.models_of(&staged);
    let gone = acme.delete("max", &format!("/v1/chains/{}/deployments/{staged}", rag.chain));
    assert_eq!(gone, json!({ "id": staged, "deleted": true, "chain_id": rag.chain }));
    assert_eq!(acme.serving(&rag.chain, "staging"), json!(null));
    for (model, _) in models {
        acme.refused(404, "max", "GET", &format!("/v1/models/{model}"), None);
    }
    let with_staging: Vec<_> =
        before.iter().map(|(table, count)| (*table, count + i64::from(*table == "chain_environment"))).collect();
    assert_eq!(counts(&acme), with_staging);
    acme.refused(404, "max", "DELETE", &format!("/v1/chains/{}/deployments/{staged}", rag.chain), None);
    assert_eq!(acme.get("max", &format!("/v1/chains/{}", rag.chain))["deployments_count"], 1);
}

#[test]
fn the_number_of_a_deployment_that_is_gone_is_not_given_again() {
    let acme = Acme::new();
    let rag = acme.rag();
    let second = acme.push_again(&rag.chain, "");
    acme.delete("max", &format!("/v1/chains/{}/deployments/{second}", rag.chain));
    acme.push_again(&rag.chain, "");
    let names: Vec<String> = acme
        .audit()
        .iter()
        .filter(|entry| entry["event_type"] == "CHAIN_DEPLOYED")
        .map(|entry| text(&entry["data"]["chain_deployment_name"]))
        .collect();
    assert_eq!(names, ["deployment-1", "deployment-2", "deployment-3"]);
}

#[test]
fn a_source_stays_as_long_as_one_deployment_is_of_it() {
    let acme = Acme::new();
    let source = acme.uploaded_for("chains", "max", &whole());
    let with_source = format!("original_source_artifact_s3_key: \"{source}\"");
    let draft =
        acme.push_chain("max", &format!("chain_name: \"rag\" team_id: \"research\" is_draft: true {with_source}"));
    acme.run_all();
    let is_there = || acme.count(&format!("upload WHERE s3_key = '{source}'")) == 1;
    let promoted = acme.promote(&draft.chain, "production", &draft.id);
    // Pushed again without it, the development deployment lets go of it; the copy holds it.
    acme.push_again(&draft.chain, "is_draft: true");
    assert!(is_there());
    acme.delete("max", &format!("/v1/chains/{}/deployments/{}", draft.chain, text(&promoted["id"])));
    assert!(!is_there());
}

#[test]
fn a_team_that_holds_chains_counts_them_and_goes_by_force() {
    let acme = Acme::new();
    acme.create("max", "research", "llama");
    acme.run_all();
    full(&acme, "rag");
    full(&acme, "other");
    let refused = acme.send("ada", "DELETE", "/v1/teams/research", None);
    assert_eq!(refused.status, 409);
    assert_eq!(refused.body["details"], json!({ "models": 1, "chains": 2, "training_projects": 0 }));
    acme.delete("ada", "/v1/teams/research?force=true");
    let left: Vec<_> = counts(&acme).into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(left, []);
    assert_eq!((acme.events("MODEL_DELETED"), acme.events("CHAIN_DELETED")), (1, 2));
}
