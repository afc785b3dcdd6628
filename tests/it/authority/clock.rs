//! Whatever was found expired stays expired when the clock is set back.

use guildhall::db::endings;

use super::*;

/// Sets the clock forward by so much, lets `look` find what ended, and sets it back.
fn there_and_back(server: &TestServer, seconds: i64, look: impl FnOnce()) {
    let now = server.now.get();
    server.now.set(now.plus_seconds(seconds));
    look();
    server.now.set(now);
}

/// What the server does every half minute.
fn sweep(server: &TestServer) {
    server.app.db.write_blocking(server.now(), endings::mark).unwrap();
}

#[test]
fn a_key_that_was_found_ended_on_use_does_not_revive() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let expires_at = json!(in_seconds(&server, HOUR));
    let kinds = ["PERSONAL", "WORKSPACE_MANAGE_ALL", "WORKSPACE_MANAGE_API_KEYS"];
    for kind in kinds {
        let key = make(&acme, &acme.founder, json!({ "type": kind, "expires_at": expires_at, "name": "ends" }));
        assert!(works(&server, &key));
        there_and_back(&server, HOUR, || assert!(!works(&server, &key)));
        assert!(!works(&server, &key), "{kind}");
        make(&acme, &acme.founder, json!({ "type": kind, "name": "ends" })); // its name is free
    }
}

#[test]
fn nor_one_that_a_list_left_out_or_a_sweep_found() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    for swept in [false, true] {
        let ending = json!({ "type": "WORKSPACE_MANAGE_ALL", "expires_at": in_seconds(&server, HOUR) });
        let key = make(&acme, &acme.founder, ending);
        let name = if swept { "one" } else { "two" };
        restrict(&acme, name, &[&key.id]);
        there_and_back(&server, HOUR, || match swept {
            true => sweep(&server),
            false => assert!(!acme.get(&acme.founder, "/v1/api_keys").ok().to_string().contains(&key.id)),
        });
        assert!(!works(&server, &key));
        assert_eq!(granted(&acme, name), json!([]), "its grants ended with it");
    }
}

#[test]
fn the_overlap_of_a_replaced_key_does_not_begin_again() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let key = make(&acme, &acme.founder, json!({ "type": "WORKSPACE_MANAGE_ALL" }));
    let rotate = format!("/v1/api_keys/{}/rotate", key.id);
    let new = with_key(&acme.post(&acme.founder, &rotate, json!({ "overlap_seconds": HOUR })).ok());
    there_and_back(&server, HOUR, || assert!(!works(&server, &key)));
    assert!(!works(&server, &key) && works(&server, &new));
}

#[test]
fn an_expired_invitation_stays_expired() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let status = |id: &Value| {
        let listed = acme.get(&acme.founder, "/v1/invitations").ok();
        let found = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == *id).unwrap().clone();
        text(&found["status"])
    };
    let body = json!({ "name": "New", "api_key_name": "mine" });
    for how in ["tried", "listed", "swept"] {
        let (made, link) = acme.invite(&format!("{how}@people.example"), "MEMBER", json!([]));
        there_and_back(&server, 7 * DAY, || match how {
            "tried" => drop(accept(&server, None, &link, body.clone()).refused(404, "NOT_FOUND")),
            "listed" => assert_eq!(status(&made["id"]), "EXPIRED"),
            _ => sweep(&server),
        });
        assert_eq!(status(&made["id"]), "EXPIRED", "{how}");
        accept(&server, None, &link, body.clone()).refused(404, "NOT_FOUND");
        let resent = acme.post(&acme.founder, &format!("/v1/invitations/{}/resend", text(&made["id"])), json!({})).ok();
        accept(&server, None, &token(&resent), body.clone()).ok();
    }
}

#[test]
fn an_expired_reset_link_stays_expired() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let sent = acme.post(&acme.founder, &format!("/v1/users/{}/reset", mia.id), json!({})).ok();
    let link = text(&sent["reset_url"]).rsplit('/').next().unwrap().to_owned();
    let reset = || {
        let body = json!({ "token": link, "password": "correct horse" });
        server.send(None, "POST", "/v1/users/reset", Some(body))
    };
    there_and_back(&server, DAY, || drop(reset().refused(404, "NOT_FOUND")));
    reset().refused(404, "NOT_FOUND");
}

#[test]
fn a_wrong_jump_ends_only_what_it_finds() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    there_and_back(&server, 365 * DAY, || {
        assert!(works(&server, &acme.founder));
        sweep(&server);
    });
    let key = make(&acme, &acme.founder, json!({ "type": "PERSONAL", "expires_at": in_seconds(&server, HOUR) }));
    assert!(works(&server, &key));
    let (_, link) = acme.invite("new@people.example", "MEMBER", json!([]));
    accept(&server, None, &link, json!({ "name": "New", "api_key_name": "mine" })).ok();
}

#[test]
fn nothing_is_written_where_nothing_has_ended() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    acme.get(&acme.founder, "/v1/users/me").ok(); // notes when the key was used
    server.app.db.write_blocking(server.now(), |_| Ok(())).unwrap();
    let commits = server.app.db.commits();
    acme.get(&acme.founder, "/v1/api_keys").ok();
    acme.get(&acme.founder, "/v1/invitations").ok();
    assert!(!server.app.db.read(server.now(), endings::are_due).unwrap());
    assert_eq!(server.app.db.commits(), commits);
}
