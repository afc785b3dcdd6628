//! A key that is narrowed to environments pushes into them as truss does, starting with its credentials, and into no
//! others.

use std::net::TcpListener;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guildhall::domain::uploads::Credentials;
use guildhall::server::{Limits, Server, serve};
use serde_json::{Value, json};

use super::s3::S3;
use super::site::now;
use crate::acme::Acme;
use crate::deployments::tar;
use crate::vocabulary::{content, text};

const CONFIG: &str = "model_name: llama\n";

/// Automation that deploys to `staging` of research, where there is a model.
struct Automation {
    acme: Acme,
    key: String,
    server: Server,
}

impl Automation {
    fn new() -> Automation {
        let acme = Acme::new();
        acme.server.now.set(now().time); // the socket has a clock of its own
        acme.model("research", "llama");
        let key = acme.make_key(
            "tess",
            json!({ "type": "WORKSPACE_MANAGE_ALL", "team_id": "research", "environments": ["staging"] }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = serve(&Arc::clone(&acme.server.app), listener, None, Limits::default()).unwrap();
        Automation { acme, key, server }
    }

    fn graphql(&self, document: &str) -> Value {
        self.acme.graphql(&self.key, document)
    }

    /// Asks for credentials and sends an archive with them. Answers its key.
    fn upload(&self) -> String {
        let fields = "s3_key aws_access_key_id aws_secret_access_key aws_session_token";
        let given = self.graphql(&format!("{{model_s3_upload_credentials{{{fields}}}}}"));
        let given = &given["data"]["model_s3_upload_credentials"];
        let credentials = Credentials {
            s3_key: text(&given["s3_key"]),
            access_key_id: text(&given["aws_access_key_id"]),
            secret_access_key: text(&given["aws_secret_access_key"]).into(),
            session_token: text(&given["aws_session_token"]).into(),
        };
        let client = S3::new(self.server.addr(), credentials);
        let archive = tar(&[("config.yaml", CONFIG), ("model/model.py", "class Model: pass\n")]);
        client.send(client.request("PUT", "", &archive)).is(200, "");
        client.credentials.s3_key
    }

    /// Everything that is kept, but when a key was last used.
    fn kept(&self) -> String {
        self.acme.run("UPDATE api_key SET last_used_at = NULL");
        content(&self.acme.server.sql())
    }

    /// The sentence of a mutation that is refused and wrote nothing.
    #[track_caller]
    fn refused(&self, mutation: &str, s3_key: &str, more: &str) -> String {
        let before = self.kept();
        let config = BASE64_STANDARD.encode("{}");
        let arguments = format!("s3_key: \"{s3_key}\" config: \"{config}\" {more}");
        let answer = self.graphql(&format!("mutation {{ {mutation}({arguments}) {{ model_version {{ id }} }} }}"));
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{mutation} {more}: {answer}");
        assert_eq!(self.kept(), before, "{mutation} {more} was refused and wrote");
        text(&answer["errors"][0]["message"])
    }
}

impl Drop for Automation {
    fn drop(&mut self) {
        self.server.stop();
    }
}

#[test]
fn a_key_narrowed_to_an_environment_pushes_into_it_from_its_credentials_on() {
    let automation = Automation::new();
    let Automation { acme, key, .. } = &automation;
    let seen = automation.graphql("{ teams { id } model(name: \"llama\") { id } }");
    assert_eq!(seen["data"], json!({ "teams": [{ "id": "research" }], "model": { "id": "llama" } }));
    let s3_key = automation.upload();
    let pushed = automation.graphql(&format!(
        "mutation {{ create_model_version_from_truss(model_id: \"llama\" s3_key: \"{s3_key}\" config: \"{}\"
           environment_name: \"staging\") {{ model_version {{ id }} }} }}",
        BASE64_STANDARD.encode("{}")
    ));
    let version = text(&pushed["data"]["create_model_version_from_truss"]["model_version"]["id"]);
    acme.run_all();
    let staging = acme.get(key, "/v1/models/llama/environments/staging");
    assert_eq!(
        (&staging["current_deployment"]["id"], &staging["current_deployment"]["status"]),
        (&json!(version), &json!("ACTIVE"))
    );
    acme.get(key, &format!("/v1/models/llama/deployments/{version}/download"));
}

#[test]
fn a_key_narrowed_to_an_environment_pushes_nothing_else() {
    let automation = Automation::new();
    let s3_key = automation.upload();
    for (mutation, more) in [
        ("create_model_version_from_truss", "model_id: \"llama\" environment_name: \"production\""),
        ("create_model_version_from_truss", "model_id: \"llama\" environment_name: \"canary\""),
        ("create_model_version_from_truss", "model_id: \"llama\""),
        ("create_model_from_truss", "name: \"mistral\""),
        ("create_model_from_truss", "name: \"mistral\" environment_name: \"staging\" team_id: \"research\""),
        ("deploy_draft_truss", "name: \"llama\""),
        ("deploy_draft_truss", "name: \"mistral\""),
    ] {
        let sentence = automation.refused(mutation, &s3_key, more);
        assert!(sentence.contains("narrowed to the environments staging"), "{mutation} {more}: {sentence}");
    }
}

#[test]
fn a_key_narrowed_to_an_environment_prepares_what_it_may_push() {
    let automation = Automation::new();
    let Automation { acme, key, .. } = &automation;
    let credentials = acme.get(key, "/v1/blobs/credentials/model");
    assert!(text(&credentials["s3_key"]).starts_with("models/"));
    let deployment = |environment: &str| json!({ "config": {}, "environment_name": environment });
    let prepare = "/v1/prepare_model_upload";
    let prepared = acme.post(key, prepare, json!({ "model_id": "llama", "deployment": deployment("staging") }));
    assert!(text(&prepared["s3_key"]).starts_with("models/"));
    for (method, target, body) in [
        ("POST", prepare, json!({ "model_id": "llama", "deployment": deployment("production") })),
        ("POST", prepare, json!({ "model_id": "llama", "deployment": { "config": {} } })),
        ("POST", prepare, json!({ "name": "mistral", "deployment": deployment("staging") })),
        ("POST", "/v1/models", json!({ "source": { "name": "mistral", "deployment": deployment("staging") } })),
        ("POST", "/v1/training_projects", json!({ "training_project": { "name": "tune" } })),
        ("GET", "/v1/blobs/credentials/train", Value::Null),
    ] {
        let sentence = acme.refused(403, key, method, target, body);
        assert!(sentence.contains("narrowed to the environments staging"), "{target}: {sentence}");
    }
    // A key that only calls deploys nowhere, whatever it is narrowed to.
    let invoke = json!({ "type": "WORKSPACE_INVOKE", "team_id": "research", "environments": ["staging"] });
    let invoke = acme.make_key("tess", invoke);
    let sentence = acme.refused(403, &invoke, "GET", "/v1/blobs/credentials/model", None);
    assert!(sentence.contains("WORKSPACE_INVOKE does not include"), "{sentence}");
}
