//! A restricted environment cannot be changed or deleted through the model, Chain or team that it belongs to.

use super::*;

/// A member and a team key of the default team, in which `name` is restricted and nobody is on its list.
struct Closed<'h> {
    acme: Org<'h>,
    member: Someone,
    key: Someone,
}

impl<'h> Closed<'h> {
    fn new(server: &'h TestServer, name: &str) -> Closed<'h> {
        let acme = Org::new(server, "acme", Teams::On);
        let member = acme.person("max", "MEMBER", json!([{ "team_id": acme.default_team, "role": "MEMBER" }]));
        let key = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
        restrict(&acme, name, &[]);
        Closed { acme, member, key }
    }

    fn model(&self, name: &str) -> String {
        let body = json!({ "source": { "name": name, "deployment": { "config": {} } } });
        text(&self.acme.post(&self.member, "/v1/models", body).ok()["model"]["id"])
    }

    fn refused(&self, method: &str, target: &str, body: Option<Value>) {
        for by in [&self.member, &self.key] {
            let refused = self.acme.server.send(Some(&by.key), method, target, body.clone());
            let message = text(&refused.refused(403, "FORBIDDEN")["message"]);
            assert!(message.contains("is restricted"), "{message}");
        }
    }
}

#[test]
fn a_model_whose_restricted_production_has_settings_and_no_deployment_stays() {
    for settings in [
        json!({ "autoscaling_settings": { "max_replica": 3 } }),
        json!({ "promotion_settings": { "redeploy_on_promotion": true } }),
    ] {
        let server = TestServer::empty();
        let closed = Closed::new(&server, "production");
        let model = format!("/v1/models/{}", closed.model("llama"));
        closed.acme.patch(&closed.acme.founder, &format!("{model}/environments/production"), settings).ok();
        closed.refused("DELETE", &model, None);
        closed.refused("PATCH", &model, Some(json!({ "name": "renamed" })));
        closed.acme.delete(&closed.acme.founder, &model).ok();
    }
}

#[test]
fn an_environment_that_somebody_made_is_not_deleted_by_way_of_its_model() {
    let server = TestServer::empty();
    let closed = Closed::new(&server, "staging");
    let model = format!("/v1/models/{}", closed.model("llama"));
    let body = json!({ "name": "staging" });
    closed.acme.post(&closed.acme.founder, &format!("{model}/environments"), body).ok();
    closed.refused("DELETE", &format!("{model}/environments/staging"), None);
    closed.refused("DELETE", &model, None);
    closed.refused("PATCH", &model, Some(json!({ "name": "renamed" })));
    closed.acme.delete(&closed.acme.founder, &format!("{model}/environments/staging")).ok();
    closed.acme.patch(&closed.member, &model, json!({ "name": "renamed" })).ok();
    closed.acme.delete(&closed.member, &model).ok();
}

#[test]
fn a_production_in_which_nothing_was_ever_set_is_in_nobody_s_way() {
    let server = TestServer::empty();
    let closed = Closed::new(&server, "production");
    let model = format!("/v1/models/{}", closed.model("llama"));
    closed.acme.delete(&closed.member, &model).ok();
}

#[test]
fn a_chain_whose_restricted_environment_is_set_stays() {
    let statements = [
        "UPDATE chain_environment SET promotion = '{}' WHERE chain_id = 'c' AND name = 'production'",
        "INSERT INTO chainlet_setting (chain_id, environment, chainlet_name, instance_type)
         VALUES ('c', 'production', 'Hello', '2x8')",
    ];
    for statement in statements {
        let server = TestServer::empty();
        let closed = Closed::new(&server, "production");
        let (org, team) = (&closed.acme.id, &closed.acme.default_team);
        server
            .sql()
            .execute_batch(&format!(
                "INSERT INTO chain (id, org_id, team_id, name, created_at) VALUES ('c', '{org}', '{team}', 'c', 0);
                 INSERT INTO chain_environment (chain_id, name, org_id, team_id, created_at)
                 VALUES ('c', 'production', '{org}', '{team}', 0);
                 {statement}"
            ))
            .unwrap();
        server.app.db.write_blocking(server.now(), |_| Ok(())).unwrap();
        closed.refused("DELETE", "/v1/chains/c", None);
        closed.acme.delete(&closed.acme.founder, "/v1/chains/c").ok();
    }
}
