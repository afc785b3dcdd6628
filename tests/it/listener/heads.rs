//! Are requests refused before their body arrives if their head is enough to refuse them?

use super::client::{Client, Open, assert_refused, open_listener, patient};
use crate::seed::WORLD;

/// Asks with a body to come that never comes, and gives the answer.
#[track_caller]
fn ask(open: &Open, line: &str, key: Option<&str>, framing: &str) -> (u16, String) {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let mut client = Client::connect(open.addr);
    client.write(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{key}{framing}\r\n\r\n{{"));
    let replies = client.replies();
    assert_eq!(replies.len(), 1, "{line}");
    assert!(replies[0].closes(), "{line}: what still comes is no request");
    assert_refused(&replies, replies[0].status, &replies[0].code());
    (replies[0].status, replies[0].code())
}

#[test]
fn who_may_not_is_told_before_a_body_comes() {
    let open = open_listener(patient());
    let (ada, leila) = (WORLD.keys.text("ada"), WORLD.keys.text("max"));
    let nobody = "guild_nobodys0.x";
    for framing in
        ["Content-Length: 1048575", "Transfer-Encoding: chunked", "Content-Length: 10\r\nExpect: 100-continue"]
    {
        for (line, key, status) in [
            ("POST /v1/teams", Some(nobody), 401),
            ("POST /v1/teams", None, 401),
            ("POST /v1/secrets", None, 401),
            ("POST /v1/invitations/accept", Some(nobody), 401),
            ("GET /healthz", Some(nobody), 401),
            ("GET /readyz", Some(nobody), 401),
            ("POST /v1/nowhere", None, 404),
            ("POST /v1/nowhere", Some(ada), 404),
            ("POST /v1/nowhere", Some(nobody), 401),
            ("POST /healthz", None, 405),
            ("PUT /v1/teams", Some(ada), 405),
            ("POST /v1/teams", Some(leila), 403),
            ("POST /v1/teams/nowhere/secrets", Some(leila), 404),
            ("POST /v1/operator/organizations", Some(ada), 404),
            ("POST /v1/models/nothing/deployments", Some(ada), 404),
            ("POST /v1/loops/checkpoints/deploy", Some(ada), 501),
        ] {
            let (answered, _) = ask(&open, line, key, framing);
            assert_eq!(answered, status, "{line} {key:?} {framing:?}");
        }
    }
    open.assert_serves();
}

/// Within GraphQL, as clients of that read it.
#[test]
fn who_has_no_key_is_told_within_graphql_before_a_body_comes() {
    let open = open_listener(patient());
    for line in ["POST /graphql/", "POST /graphql"] {
        for key in ["", "Authorization: Bearer guild_nobodys0.x\r\n"] {
            let mut client = Client::connect(open.addr);
            client.write(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: 1048575\r\n\r\n{{"));
            let replies = client.replies();
            assert_eq!((replies.len(), replies[0].status), (1, 200), "{line}");
            assert!(replies[0].closes() && replies[0].body.contains("\"UNAUTHENTICATED\""), "{line}");
        }
    }
    open.assert_serves();
}

#[test]
fn what_anyone_may_send_is_short() {
    let open = open_listener(patient());
    for line in ["POST /v1/invitations/accept", "GET /healthz"] {
        assert_eq!(ask(&open, line, None, "Content-Length: 65537").0, 413, "{line}");
    }
}
