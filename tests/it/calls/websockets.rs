//! Websockets pass in both directions until one side closes.

use std::io::{Read as _, Write as _};

use super::model::{Model, reply};
use super::{Site, until};

const WEBSOCKET: &str = "/models/researchmodel/environments/production/websocket";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Answers each byte with its capital letter, until `q`.
fn shouts() -> Model {
    Model::new(|_, connection| {
        connection.write_all(SWITCHED).unwrap();
        let mut byte = [0];
        while matches!(connection.read(&mut byte), Ok(1)) && byte != *b"q" {
            connection.write_all(&byte.map(|byte| byte.to_ascii_uppercase())).unwrap();
        }
        false
    })
}

#[test]
fn bytes_pass_in_both_directions() {
    let site = Site::new();
    let model = shouts();
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("GET", "invoke", WEBSOCKET, UPGRADE) + "ab"); // without waiting for the handshake
    let (status, head) = client.reply_head();
    assert_eq!(status, 101, "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert_eq!(client.take(2), b"AB");
    for letter in "cdefghijklmnop".bytes() {
        client.send([letter]);
        assert_eq!(client.take(1), [letter.to_ascii_uppercase()]);
    }
    assert_eq!(replica.outstanding(), 1, "the replica is in use");
    let seen = &model.seen()[0];
    assert_eq!(seen.line, "GET /v1/websocket HTTP/1.1");
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!((seen.header("upgrade"), seen.header("authorization")), (Some("websocket"), None));
    client.send("q");
    assert!(client.is_closed(), "the model has closed");
    until("the replica is free", || replica.outstanding() == 0);
}

#[test]
fn a_caller_that_leaves_closes_the_websocket() {
    let site = Site::new();
    let model = shouts();
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("GET", "max", WEBSOCKET, UPGRADE));
    assert_eq!(client.reply_head().0, 101);
    drop(client);
    until("the model's connection closes", || model.ended() == 1);
    until("the replica is free", || replica.outstanding() == 0);
    until("the call is counted", || site.counted(101) == 1);
}

#[test]
fn a_process_that_ends_closes_the_websocket() {
    let site = Site::new();
    let model = shouts();
    let replica = site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("GET", "max", WEBSOCKET, UPGRADE));
    assert_eq!(client.reply_head().0, 101);
    replica.end();
    assert!(client.is_closed());
}

#[test]
fn what_is_no_websocket_is_refused() {
    let site = Site::new();
    let model = Model::new(|_, connection| reply(connection, 403, "", "{\"error\":\"no\"}"));
    site.runs("researchfirst", &model);
    let mut client = site.client();
    client.send(site.head("GET", "max", WEBSOCKET, ""));
    let answered = client.reply();
    assert_eq!(answered.status, 400);
    assert!(answered.error().contains("Upgrade: websocket"), "{}", answered.error());
    assert!(model.seen().is_empty());
    // What the model refuses is the caller's reply, and the connection serves the next request.
    for _ in 0..2 {
        client.send(site.head("GET", "max", WEBSOCKET, UPGRADE));
        let answered = client.reply();
        assert_eq!((answered.status, answered.body.as_str()), (403, "{\"error\":\"no\"}"));
    }
    client.send(site.head("GET", "ian", WEBSOCKET, UPGRADE));
    assert_eq!(client.reply().status, 404);
}
