//! Do links lead to this server, whatever host a request names?

use serde_json::{Value, json};

use super::client::{Client, Open, open_listener, patient};
use crate::seed::WORLD;

/// Asks for everything that holds a link. `head` stands before the other headers, `target` goes before the path.
fn links(open: &Open, target: &str, head: &str) -> Vec<String> {
    let document = "{ model(id: \"researchmodel\") { hostname } chain(id: \"researchchain\") { hostname }
                      model_s3_upload_credentials { s3_key } chain_s3_upload_credentials { s3_key } }";
    let graphql = json!({ "query": document }).to_string();
    let name = rand::random::<u32>();
    let invited = json!({ "email": format!("p{name}@example.com"), "role": "MEMBER", "teams": [] }).to_string();
    let mut links = Vec::new();
    for (who, method, path, body) in [
        ("max", "GET", "/v1/blobs/credentials/model", ""),
        ("max", "GET", "/v1/blobs/credentials/train", ""),
        ("max", "GET", "/v1/models/researchmodel/deployments/researchidle/download", ""),
        ("ada", "POST", "/v1/invitations", &invited),
        ("dora", "GET", "/v1/model_apis", ""),
        ("max", "POST", "/graphql/", &graphql),
    ] {
        let (key, length) = (WORLD.keys.text(who), body.len());
        let mut client = Client::connect(open.addr);
        client.write(format!(
            "{method} {target}{path} HTTP/1.1\r\n{head}Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ));
        let replies = client.replies();
        assert_eq!(replies, [200], "{head}{path}");
        let body: Value = serde_json::from_str(&replies[0].body).unwrap();
        collect(&body, &mut links);
    }
    assert!(links.len() >= 8, "{links:?}");
    links
}

fn collect(value: &Value, links: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains("://") => links.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, links)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, links)),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

#[test]
fn a_host_that_is_not_ours_is_in_no_link() {
    let open = open_listener(patient());
    let port = open.addr.port();
    let here = format!("http://127.0.0.1:{port}");
    for host in [
        "evil.example",
        "evil.example:8000",
        "api.evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.11.12.13",
        "model-researchmodel.evil.example",
        "Evil.Example.",
    ] {
        let host_line = format!("Host: {host}\r\n");
        let forwarded =
            format!("Host: localhost\r\nX-Forwarded-Host: {host}\r\nForwarded: host={host}\r\nX-Host: {host}\r\n");
        let as_a_proxy = (format!("http://{host}"), "Host: localhost\r\n".to_owned());
        for (target, head) in [(String::new(), host_line), as_a_proxy, (String::new(), forwarded)] {
            for link in links(&open, &target, &head) {
                let leads_here = link.starts_with(&here) || link.contains("localhost");
                let names_another = link.to_lowercase().contains("evil") || link.contains("10.11");
                assert!(leads_here && !names_another, "{head}{link}");
            }
        }
    }
}

#[test]
fn a_host_of_ours_is_in_the_links() {
    let open = open_listener(patient());
    let port = open.addr.port();
    for host in ["localhost:8000", "api.localhost:1234", "127.0.0.1", &format!("127.0.0.1:{port}"), "[::1]:8000"] {
        let links = links(&open, "", &format!("Host: {host}\r\n"));
        assert!(links.iter().any(|link| link == &format!("http://{host}")), "{host}: {links:?}");
    }
}
