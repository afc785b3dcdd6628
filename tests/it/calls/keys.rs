//! Keys that call less than their team may: narrowed to models or environments, and those of running Chains.

use guildhall::db::teams;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::Site;
use super::model::{Model, Reply};
use crate::seed::WORLD;
use crate::vocabulary::{text, with};

impl Site {
    fn key(&self, more: Value) -> String {
        let mut body = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        text(&with(&self.test_server, WORLD.keys.text("ada")).post("/v1/api_keys", body)["api_key"])
    }

    /// Calls with a key that is not the world's.
    fn post_with(&self, key: &str, target: &str) -> Reply {
        let mut client = self.client();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 1\r\n\r\n1"
        ));
        client.reply()
    }

    fn statuses(&self, key: &str, targets: &[&str]) -> Vec<u16> {
        targets.iter().map(|target| self.post_with(key, target).status).collect()
    }

    fn runs_all(&self, model: &Model) {
        for name in ["development", "first", "idle", "second", "third", "chainfirsthellomodelrun"] {
            self.runs(&format!("research{name}"), model);
        }
    }
}

#[test]
fn a_key_narrowed_to_models_calls_nothing_else() {
    let site = Site::new();
    let model = Model::says("1");
    site.runs_all(&model);
    let key = site.key(json!({ "model_ids": ["researchmodel"] }));
    let targets = [
        "/models/researchmodel/production/predict",
        "/models/researchmodel/deployment/researchidle/predict",
        "/models/researchmodel/sync/x",
        "/models/researchchainfirsthellomodel/deployment/researchchainfirsthellomodelrun/predict",
        "/chains/researchchain/production/run_remote",
        "/models/inferencemodel/production/predict",
    ];
    assert_eq!(site.statuses(&key, &targets), [200, 200, 200, 403, 403, 404]);
    let told = site.post_with(&key, targets[4]).error();
    assert!(told.contains("narrowed to the model researchmodel"), "{told}");
}

#[test]
fn a_key_narrowed_to_environments_calls_only_what_serves_one() {
    let site = Site::new();
    let model = Model::says("1");
    site.runs_all(&model);
    let key = site.key(json!({ "environments": ["preview"] }));
    let targets = [
        "/models/researchmodel/environments/preview/predict",
        "/models/researchmodel/deployment/researchsecond/predict",
        "/models/researchmodel/production/predict",
        "/models/researchmodel/predict",
        "/models/researchmodel/development/predict",
        "/models/researchmodel/environments/trial/predict",
        "/models/researchmodel/deployment/researchfirst/predict",
        "/models/researchmodel/deployment/researchidle/predict",
        "/models/researchmodel/deployment/researchwaiting/predict", // about to serve `trial`
        "/models/researchmodel/sync/x",
        "/chains/researchchain/production/run_remote",
        "/models/researchmodel/environments/nosuch/predict",
        "/models/researchmodel/deployment/nosuch/predict",
    ];
    let expected = [200, 200, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 404];
    assert_eq!(site.statuses(&key, &targets), expected);
}

#[test]
fn the_key_of_a_running_chain_calls_its_chainlets_alone() {
    let site = Site::new();
    let model = Model::says("1");
    site.runs_all(&model);
    let (keys, mut rng) = (&site.test_server.app.chain_keys, StdRng::from_seed([5; 32]));
    let models = vec!["researchchainfirsthellomodel".to_owned(), "researchchainfirstrandintmodel".to_owned()];
    let team = site.test_server.app.db.read(site.test_server.now(), |tx| teams::find(tx, "research")).unwrap();
    let key = keys.issue(&mut rng, &team.org_id, &team.id, models);
    let chainlet = "/models/researchchainfirsthellomodel/deployment/researchchainfirsthellomodelrun";
    let (predict, run_remote) = (format!("{chainlet}/predict"), format!("{chainlet}/run_remote"));
    let targets = [
        predict.as_str(),
        &run_remote,
        "/models/researchmodel/production/predict",
        "/chains/researchchain/production/run_remote",
        "/models/inferencemodel/production/predict",
        "/models/researchchainfirsthellomodel/deployment/researchchainfirsthellomodelrun/wake",
        "/v1/api_keys",
    ];
    assert_eq!(site.statuses(key.reveal(), &targets), [200, 200, 403, 403, 404, 401, 401]);
    for path in ["/v1/users/me", "/v1/organizations/me", "/v1/models", "/v1/secrets"] {
        assert_eq!(site.test_server.send(Some(key.reveal()), "GET", path, None).status, 401, "{path}");
    }
    keys.revoke(key.prefix());
    assert_eq!(site.statuses(key.reveal(), &targets[..1]), [401]);
}

#[test]
fn wake_is_answered_at_once() {
    let site = Site::new();
    site.test_server
        .sql()
        .execute_batch("UPDATE deployment SET status = 'SCALED_TO_ZERO' WHERE id = 'researchidle'")
        .unwrap();
    let wake = |who: &str| site.post(who, "/models/researchmodel/deployment/researchidle/wake", "").status;
    assert_eq!(["metrics", "ian", "invoke", "max"].map(wake), [403, 404, 202, 202]);
    let sql = site.test_server.sql();
    let status: String =
        sql.query_row("SELECT status FROM deployment WHERE id = 'researchidle'", [], |row| row.get(0)).unwrap();
    assert_ne!(status, "SCALED_TO_ZERO");
}
