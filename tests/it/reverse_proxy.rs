//! Behind a reverse proxy that terminates TLS: do links lead to it, and do uploads work through it?

use guildhall::api::{Request, S3Hosts};
use guildhall::domain::BaseUrl;
use serde_json::{Value, json};

use crate::process::{Client, Serving, guildhall, init};
use crate::seed::WORLD;
use crate::test_server::TestServer;

const PUBLIC: &str = "https://guildhall.example.com";

/// Asked as by the front, as somebody of the world.
fn ask(server: &TestServer, who: &str, method: &str, target: &str, body: Value) -> Value {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = server.request(Some(WORLD.keys.text(who)), method, target, body);
    let reply = server.answer(Request { base_url: BaseUrl::parse(PUBLIC).unwrap(), ..request });
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn every_link_leads_to_the_front() {
    let server = WORLD.server();
    let get = |who: &str, target: &str| ask(&server, who, "GET", target, Value::Null);
    for purpose in ["model", "train"] {
        let credentials = get("max", &format!("/v1/blobs/credentials/{purpose}"));
        assert_eq!(credentials["creds"]["endpoint_url"], PUBLIC);
    }
    let download = get("max", "/v1/models/researchmodel/deployments/researchidle/download");
    let url = download["download_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{PUBLIC}/downloads/")), "{url}");
    let invited = json!({ "email": "lin@example.com", "role": "MEMBER", "teams": [] });
    let invitation = ask(&server, "ada", "POST", "/v1/invitations", invited);
    let url = invitation["accept_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{PUBLIC}/invite/")), "{url}");
    assert_eq!(get("dora", "/v1/model_apis")["items"][0]["invoke_url"], PUBLIC);
    let document = "{ model(id: \"researchmodel\") { hostname } chain(id: \"researchchain\") { hostname }
                      model_s3_upload_credentials { s3_key } chain_s3_upload_credentials { s3_key } }";
    let answer = ask(&server, "max", "POST", "/graphql/", json!({ "query": document }));
    assert_eq!(answer["data"]["model"]["hostname"], "https://model-researchmodel.guildhall.example.com");
    assert_eq!(answer["data"]["chain"]["hostname"], "https://chain-researchchain.guildhall.example.com");
    for purpose in ["model", "chain"] {
        assert_eq!(answer["data"][format!("{purpose}_s3_upload_credentials")]["endpoint_url"], PUBLIC);
    }
}

#[test]
fn a_go_client_gets_credentials_once_the_front_takes_s3s_hosts() {
    let server = WORLD.server();
    for (s3_hosts, granted) in [(S3Hosts::Elsewhere, false), (S3Hosts::Here, true)] {
        for dry_run in [false, true] {
            let body =
                json!({ "name": "go", "team_id": "research", "deployment": { "config": {} }, "dry_run": dry_run });
            let body = body.to_string().into_bytes();
            let request = server.request(Some(WORLD.keys.text("max")), "POST", "/v1/prepare_model_upload", body);
            let reply = server.answer(Request { s3_hosts, user_agent: Some("baseten-cli/0.4".to_owned()), ..request });
            let prepared: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(reply.status, 200, "{prepared}");
            assert_eq!(!prepared["creds"].is_null(), granted && !dry_run, "{prepared}");
            assert_eq!(!prepared["s3_key"].is_null(), granted && !dry_run, "{prepared}");
        }
    }
}

#[test]
fn a_server_behind_a_front_gives_out_its_public_url_whatever_host_it_is_asked_by() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let key = init(&data);
    let mut command = guildhall();
    command.env("GUILDHALL_PUBLIC_URL", "https://Guildhall.example.com/");
    let server = Serving::by(command, &data);
    let (status, granted) = Client::new(server.addr, &key).send("GET", "/v1/blobs/credentials/model", None).unwrap();
    assert_eq!((status, &granted["creds"]["endpoint_url"]), (200, &json!(PUBLIC)), "{granted}");
}

#[test]
fn what_is_no_public_url_is_wrong_usage() {
    for words in [
        &["--public-url", "guildhall.example.com"][..],
        &["--public-url", "https://guildhall.example.com/path"],
        &["--s3-hosts"],
    ] {
        let output = guildhall().arg("serve").args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("--public-url"), "{told}");
    }
}
