//! Links by which a person sets a password: who makes them, for whom, and how long they work.

use super::*;

fn send(acme: &Org, by: &Someone, user_id: &str) -> Answered {
    acme.post(by, &format!("/v1/users/{user_id}/reset"), json!({}))
}

#[track_caller]
fn link(sent: &Value) -> String {
    text(&sent["reset_url"]).rsplit('/').next().unwrap().to_owned()
}

fn reset(server: &TestServer, link: &str, mut body: Value) -> Answered {
    body["token"] = json!(link);
    server.send(None, "POST", "/v1/users/reset", Some(body))
}

fn password() -> Value {
    json!({ "password": "correct horse" })
}

#[test]
fn an_organization_admin_sends_a_member_a_link_by_which_they_get_back_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    acme.delete(&mia, &format!("/v1/api_keys/{}", prefix(&mia.key))).ok();
    let before = acme.last_entry();
    let sent = send(&acme, &acme.founder, &mia.id).ok();
    assert_eq!(
        (&sent["user_id"], &sent["mail"], &sent["expires_at"]),
        (&json!(mia.id), &json!("NOT_CONFIGURED"), &json!(in_seconds(&server, DAY)))
    );
    assert!(text(&sent["reset_url"]).starts_with("http://localhost:8000/reset/"), "{sent}");

    let done = reset(&server, &link(&sent), json!({ "password": "correct horse", "api_key_name": "mine" })).ok();
    let again = with_key(&done);
    let me = acme.get(&again, "/v1/users/me").ok();
    let mut user = done.clone();
    user.as_object_mut().unwrap().remove("api_key");
    assert_eq!(user, me);
    let steps: Vec<(String, Value)> =
        acme.audit_since(before).into_iter().map(|(event, data)| (event, data["step"].clone())).collect();
    assert_eq!(
        steps,
        [
            ("PASSWORD_RESET".to_owned(), json!("LINK_MADE")),
            ("PASSWORD_RESET".to_owned(), json!("PASSWORD_SET")),
            ("API_KEY_CREATED".to_owned(), Value::Null),
        ]
    );
    reset(&server, &link(&sent), password()).refused(404, "NOT_FOUND");

    // The password is one: it proves who they are.
    let other = Org::new(&server, "other", Teams::On);
    let (_, invited) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&server, None, &invited, password()).ok();
}

#[test]
fn without_a_key_name_the_answer_is_the_person_alone() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let sent = send(&acme, &acme.founder, &mia.id).ok();
    let done = reset(&server, &link(&sent), password()).ok();
    assert_eq!(done, acme.get(&mia, "/v1/users/me").ok());
}

#[test]
fn a_link_that_does_not_work_is_not_there_whatever_the_reason() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let dead = |link: &str| reset(&server, link, password()).refused(404, "NOT_FOUND");
    let nonsense = dead("nonsense");

    let first = link(&send(&acme, &acme.founder, &mia.id).ok());
    let second = link(&send(&acme, &acme.founder, &mia.id).ok());
    assert_eq!(dead(&first), nonsense, "replaced");
    for fall in ["demoted", "removed"] {
        let ada = acme.person(fall, "ADMIN", json!([]));
        let mia = acme.person(&format!("mia-{fall}"), "MEMBER", json!([]));
        let of_ada = link(&send(&acme, &ada, &mia.id).ok());
        let user = format!("/v1/users/{}", ada.id);
        match fall {
            "demoted" => {
                acme.patch(&acme.founder, &user, json!({ "role": "MEMBER" })).ok();
                acme.patch(&acme.founder, &user, json!({ "role": "ADMIN" })).ok();
            }
            _ => drop(acme.delete(&acme.founder, &user).ok()),
        }
        assert_eq!(dead(&of_ada), nonsense, "its maker was {fall}");
    }
    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    assert_eq!(dead(&second), nonsense, "the person was removed");

    let grace = acme.person("grace", "ADMIN", json!([]));
    let lou = acme.person("lou", "MEMBER", json!([]));
    let spare = make(&acme, &grace, json!({ "type": "PERSONAL" }));
    let of_spare = link(&send(&acme, &spare, &lou.id).ok());
    acme.delete(&grace, &format!("/v1/api_keys/{}", spare.id)).ok();
    assert_eq!(dead(&of_spare), nonsense, "the key that asked for it was revoked");

    let kim = acme.person("kim", "MEMBER", json!([]));
    let expired = link(&send(&acme, &acme.founder, &kim.id).ok());
    wait(&server, DAY);
    assert_eq!(dead(&expired), nonsense);
    for bad in [json!({ "password": "short" }), json!({}), json!({ "password": "correct horse", "name": "x" })] {
        let sent = send(&acme, &acme.founder, &kim.id).ok();
        reset(&server, &link(&sent), bad).refused(400, "VALIDATION_ERROR");
        reset(&server, &link(&sent), password()).ok();
    }
}

#[test]
fn a_name_that_is_taken_uses_nothing_up() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([]));
    let sent = send(&acme, &acme.founder, &mia.id).ok();
    let taken = json!({ "password": "correct horse", "api_key_name": "mine" });
    reset(&server, &link(&sent), taken).refused(409, "CONFLICT");
    reset(&server, &link(&sent), json!({ "password": "correct horse", "api_key_name": "other" })).ok();
}

#[test]
fn nobody_takes_over_who_is_in_another_organization_too() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let mia = acme.person("mia", "MEMBER", json!([]));
    let sent = link(&send(&acme, &acme.founder, &mia.id).ok());
    let (_, invited) = other.invite("mia@people.example", "ADMIN", json!([]));
    accept(&server, Some(&mia.key), &invited, json!({})).ok();
    reset(&server, &sent, password()).refused(404, "NOT_FOUND");
    let why = send(&acme, &acme.founder, &mia.id).refused(403, "FORBIDDEN");
    assert!(text(&why["message"]).contains("operator"), "{why}");
    let by_operator =
        server.send_as_operator("POST", "/v1/operator/users/password_resets", json!({ "email": "mia@people.example" }));
    let sent = link(&by_operator.ok());
    reset(&server, &sent, json!({ "password": "correct horse", "api_key_name": "x" })).refused(400, "VALIDATION_ERROR");
    assert_eq!(reset(&server, &sent, password()).ok()["user_id"], json!(mia.id));
}

#[test]
fn the_operator_gives_a_person_a_key_or_a_link_and_the_log_says_so() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let ask =
        |target: &str, body: Value| server.send_as_operator("POST", &format!("/v1/operator/users/{target}"), body);
    let before = acme.last_entry();
    let body = json!({ "organization": "ACME", "email": "founder@acme.example", "name": "spare" });
    let issued = ask("api_keys", body.clone()).ok();
    assert_eq!((&issued["org_id"], &issued["user_id"]), (&json!(acme.id), &json!(acme.founder.id)));
    assert!(works(&server, &with_key(&issued)));
    ask("api_keys", body).refused(409, "CONFLICT");
    let link_of = link(&ask("password_resets", json!({ "email": "founder@acme.example" })).ok());
    let events = acme.audit_since(before);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|(event, data)| event == "CREDENTIAL_ISSUED_BY_OPERATOR"
        && data["user_id"] == json!(acme.founder.id)
        && !data.to_string().contains(&link_of)));
    reset(&server, &link_of, json!({ "password": "correct horse", "api_key_name": "again" })).ok();

    let nowhere = json!({ "organization": "nowhere", "email": "founder@acme.example" });
    ask("api_keys", nowhere).refused(404, "NOT_FOUND");
    let nobody = json!({ "organization": "acme", "email": "nobody@acme.example" });
    ask("api_keys", nobody).refused(404, "NOT_FOUND");
    ask("password_resets", json!({ "email": "nobody@acme.example" })).refused(404, "NOT_FOUND");
    ask("password_resets", json!({ "email": "no address" })).refused(400, "VALIDATION_ERROR");
}
