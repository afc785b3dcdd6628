//! Which deployment answers, and whose calls reach it.

use serde_json::json;

use super::Site;
use super::model::Model;
use crate::seed::WORLD;
use crate::vocabulary::with;

/// Each place has its own deployment, and each deployment answers with its name.
#[test]
fn each_place_reaches_its_own_deployment() {
    let site = Site::new();
    let said = ["\"development\"", "\"first\"", "\"idle\"", "\"second\"", "\"third\""];
    let models: Vec<Model> = said.into_iter().map(Model::says).collect();
    for (model, said) in models.iter().zip(said) {
        site.runs(&format!("research{}", said.trim_matches('"')), model);
    }
    let chain = ["\"entrypoint of development\"", "\"entrypoint of second\""];
    let chains: Vec<Model> = chain.into_iter().map(Model::says).collect();
    site.runs("researchchaindevelopmenthellomodelrun", &chains[0]);
    site.runs("researchchainsecondhellomodelrun", &chains[1]);
    for (target, said) in [
        ("/models/researchmodel/production/predict", "\"first\""),
        ("/models/researchmodel/predict", "\"first\""),
        ("/models/researchmodel/development/predict", "\"development\""),
        ("/models/researchmodel/environments/production/predict", "\"first\""),
        ("/models/researchmodel/environments/preview/predict", "\"second\""),
        ("/models/researchmodel/environments/trial/predict", "\"third\""),
        ("/models/researchmodel/deployment/researchidle/predict", "\"idle\""),
        ("/chains/researchchain/development/run_remote", "\"entrypoint of development\""),
        ("/chains/researchchain/environments/preview/run_remote", "\"entrypoint of second\""),
        ("/chains/researchchain/deployment/researchchainsecond/run_remote", "\"entrypoint of second\""),
        ("/models/researchchainsecondhellomodel/deployment/researchchainsecondhellomodelrun/run_remote", chain[1]),
        ("/models/researchchainsecondhellomodel/deployment/researchchainsecondhellomodelrun/predict", chain[1]),
    ] {
        let answered = site.post("max", target, "1");
        assert_eq!((answered.status, answered.body.as_str()), (200, said), "{target}");
    }
}

/// A restricted environment is called by whoever may call the others.
#[test]
fn a_restriction_does_not_affect_calls() {
    let site = Site::new();
    let model = Model::says("1");
    site.runs("researchsecond", &model);
    let callers = ["ada", "lone", "tess", "max", "ian", "fay", "manage-all", "invoke", "metrics", "to-environments"];
    let statuses =
        || callers.map(|who| site.post(who, "/models/researchmodel/environments/preview/predict", "1").status);
    let before = statuses();
    assert_eq!(before, [200, 404, 200, 200, 404, 404, 200, 200, 403, 200]);
    let ada = with(&site.test_server, WORLD.keys.text("ada"));
    let restricted = json!({ "manage_access": { "is_restricted": true } });
    ada.patch("/v1/teams/research/environment_groups/preview", restricted);
    assert_eq!(statuses(), before);
}

/// What belongs to others is told in the words of what does not exist.
#[test]
fn what_belongs_to_others_does_not_exist() {
    let site = Site::new();
    for (what, targets) in [
        ("model", ["/models/inferencemodel/predict", "/models/abroadmodel/predict", "/models/nosuchid/predict"]),
        (
            "Chain",
            ["/chains/inferencechain/run_remote", "/chains/abroadchain/run_remote", "/chains/nosuchid/run_remote"],
        ),
    ] {
        for target in targets {
            let answered = site.post("max", target, "1");
            assert_eq!((answered.status, answered.error()), (404, format!("no such {what}")), "{target}");
        }
    }
    let told = site.post("max", "/models/researchmodel/deployment/inferenceidle/predict", "1");
    assert_eq!((told.status, told.error().as_str()), (404, "no such deployment"));
}
