//! Does a link reveal whether its address belongs to an account, and who starts with a new account?

use super::*;

/// An invitation of an address that is somebody's elsewhere, with a password, and of one that is nobody's.
fn known_and_new(server: &TestServer) -> (Org<'_>, String, String) {
    let (acme, other) = (Org::new(server, "acme", Teams::On), Org::new(server, "other", Teams::On));
    let (_, link) = other.invite("known@people.example", "MEMBER", json!([]));
    accept(server, None, &link, json!({ "name": "Known", "password": "correct horse" })).ok();
    let (_, known) = acme.invite("known@people.example", "MEMBER", json!([]));
    let (_, new) = acme.invite("new@people.example", "MEMBER", json!([]));
    (acme, known, new)
}

#[test]
fn until_the_proof_is_shown_an_address_that_is_somebody_s_answers_as_one_that_is_nobody_s() {
    let server = TestServer::empty();
    let (acme, known, new) = known_and_new(&server);
    for body in [
        json!({}),
        json!({ "name": "N" }),
        json!({ "api_key_name": "mine" }),
        json!({ "password": "wrong horse" }),
        json!({ "password": "wrong horse", "api_key_name": "mine" }),
        json!({ "password": "short" }),
        json!({ "name": "", "api_key_name": "mine" }),
    ] {
        let bytes = |link: &str| {
            let mut body = body.clone();
            body["token"] = json!(link);
            let mut request = server.request(None, "POST", "/v1/invitations/accept", body.to_string().into_bytes());
            request.log = std::sync::Arc::default();
            let reply = server.answer(request);
            (reply.status, reply.body)
        };
        let before = acme.last_entry();
        let (of_known, of_new) = (bytes(&known), bytes(&new));
        assert_eq!(of_known, of_new, "{body}");
        let events = acme.events_since(before);
        let (first, second) = events.split_at(events.len() / 2);
        assert_eq!(first, second, "the audit log tells no more: {body}");
    }
    let sent = |link: &str| accept(&server, Some(&acme.founder.key), link, json!({})).refused(403, "FORBIDDEN");
    assert_eq!(sent(&known), sent(&new));
}

#[test]
fn wrong_passwords_are_noted_and_limited_alike() {
    let server = TestServer::empty();
    let (acme, known, new) = known_and_new(&server);
    for (link, email) in [(&known, "known@people.example"), (&new, "new@people.example")] {
        let before = acme.last_entry();
        for _ in 0..10 {
            accept(&server, None, link, json!({ "password": "wrong horse" })).refused(403, "FORBIDDEN");
        }
        let noted = acme.audit_since(before);
        assert_eq!(noted.len(), 10);
        assert!(noted.iter().all(|(event, data)| event == "SIGN_IN_FAILED" && data["invited_user_email"] == email));
        assert!(!format!("{noted:?}").contains("wrong horse"));
        accept(&server, None, link, json!({ "password": "wrong horse" })).refused(429, "RATE_LIMITED");
        assert_eq!(acme.audit_since(before).len(), 10, "what is not tried is not noted");
    }
    let listed = acme.get(&acme.founder, "/v1/audit_logs?event_type_groups=USER_MANAGEMENT").ok();
    assert!(listed.to_string().contains("SIGN_IN_FAILED"));
    wait(&server, 15 * 60);
    accept(&server, None, &known, json!({ "password": "correct horse" })).ok();
}

#[test]
fn somebody_removed_without_password_key_or_membership_begins_anew() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "ADMIN", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    let (_, link) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let joined = accept(&server, None, &link, json!({ "name": "Mia Again", "password": "correct horse" })).ok();
    assert_eq!((&joined["user"]["user_id"], &joined["user"]["name"]), (&json!(mia.id), &json!("Mia Again")));
    assert_eq!((&joined["user"]["role"], &joined["teams"]), (&json!("MEMBER"), &json!([])));
    assert!(!works(&server, &mia));

    // Now there is a password: the next time it is asked for.
    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    let (_, link) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let stranger = json!({ "name": "Mallory", "api_key_name": "mine" });
    accept(&server, None, &link, stranger).refused(403, "FORBIDDEN");
    accept(&server, None, &link, json!({ "password": "correct horse", "api_key_name": "mine" })).ok();
}

#[test]
fn who_is_still_in_another_organization_does_not_begin_anew() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let mia = acme.person("mia", "MEMBER", json!([]));
    let (_, link) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&server, Some(&mia.key), &link, json!({})).ok();
    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    let (_, link) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let stranger = json!({ "name": "Mallory", "api_key_name": "mine" });
    accept(&server, None, &link, stranger).refused(403, "FORBIDDEN");
}

/// As much work is done for an address that is nobody's: the medians are far closer than a hash is to none.
#[test]
fn the_time_tells_nothing() {
    let server = TestServer::empty();
    let (_, known, new) = known_and_new(&server);
    let time = |link: &str| {
        let begin = std::time::Instant::now();
        let answered: Answered = accept(&server, None, link, json!({ "password": "wrong horse" }));
        answered.refused(403, "FORBIDDEN");
        begin.elapsed()
    };
    let (mut of_known, mut of_new) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        of_known.push(time(&known));
        of_new.push(time(&new));
    }
    of_known.sort();
    of_new.sort();
    let (known, new) = (of_known[4], of_new[4]);
    assert!(known < new * 3 && new < known * 3, "{known:?} {new:?}");
}
