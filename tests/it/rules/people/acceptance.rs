//! Who takes up an invitation, by which proof?

use guildhall::db::invitations::{self, Identity};
use guildhall::domain::Time;
use serde_json::json;

use crate::org::{Org, Someone, Teams, accept, contents, refused_untouched};
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, text, token};

#[test]
fn a_new_person_joins_as_what_the_invitation_says() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (blue, gone) = (acme.team("Blue"), acme.team("Gone"));
    let teams = json!([{ "team_id": blue, "role": "ADMIN" }, { "team_id": gone, "role": "MEMBER" }]);
    let (_, token) = acme.invite("new@people.example", "MEMBER", teams);
    acme.delete(&acme.founder, &format!("/v1/teams/{gone}")).ok();
    let listed = acme.get(&acme.founder, "/v1/invitations").ok();
    assert_eq!(listed["items"][0]["teams"].as_array().unwrap().len(), 1, "a team deleted since is left out");

    let before = acme.last_entry();
    let accepted = accept(&server, None, &token, json!({ "name": "New", "api_key_name": "mine" })).ok();
    let new = Someone { id: text(&accepted["user"]["user_id"]), key: text(&accepted["api_key"]) };
    assert_eq!(
        accepted,
        json!({
            "user": {
                "user_id": new.id, "email": "new@people.example", "name": "New", "workspace_name": "acme",
                "role": "MEMBER",
            },
            "organization": acme.get(&new, "/v1/organizations/me").ok(),
            "teams": [{ "team_id": blue, "team_name": "Blue", "role": "ADMIN" }],
            "api_key": new.key,
        })
    );
    let audit = acme.audit_since(before);
    assert_eq!(
        audit,
        [
            (
                "USER_JOINED_ORGANIZATION".to_owned(),
                json!({ "user_id": new.id, "new_user_email": "new@people.example" })
            ),
            (
                "TEAM_MEMBER_ADDED".to_owned(),
                json!({ "user_id": new.id, "user_email": "new@people.example", "role_name": "ADMIN" })
            ),
            (
                "API_KEY_CREATED".to_owned(),
                json!({ "api_key_id": &new.key[..14], "api_key_type": "PERSONAL", "prefix": &new.key[..14] })
            ),
        ]
    );
    acme.get(&new, &format!("/v1/teams/{blue}/members")).ok();
}

#[test]
fn a_password_is_kept_as_argon2id_and_nowhere_in_clear() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (_, token) = acme.invite("new@people.example", "MEMBER", json!([]));
    let body = json!({ "name": "New", "password": "correct horse battery" });
    let accepted = accept(&server, None, &token, body).ok();
    assert_eq!(accepted.get("api_key"), None);
    let hash: String = server
        .sql()
        .query_row("SELECT password_hash FROM user WHERE email = 'new@people.example'", [], |row| row.get(0))
        .unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(!contents(&server).contains("correct horse battery"));
}

#[test]
fn a_new_person_gives_a_name_and_a_way_back_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (_, token) = acme.invite("new@people.example", "MEMBER", json!([]));
    for body in [json!({}), json!({ "api_key_name": "mine" }), json!({ "name": "New" })] {
        let refusal = refused_untouched(&server, 403, "FORBIDDEN", || accept(&server, None, &token, body));
        let message = text(&refusal["message"]);
        assert!(["`name`", "`password`", "`api_key_name`"].iter().all(|field| message.contains(field)), "{refusal}");
    }
    accept(&server, None, &token, json!({ "password": "correct horse" })).refused(403, "FORBIDDEN");
}

#[test]
fn a_link_that_does_not_work_is_not_there_whatever_the_reason() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let body = json!({ "name": "New", "api_key_name": "mine" });
    let try_it =
        |token: &str| refused_untouched(&server, 404, "NOT_FOUND", || accept(&server, None, token, body.clone()));
    let of_another = |by: &Someone, email: &str| {
        token(&acme.post(by, "/v1/invitations", json!({ "email": email, "role": "ADMIN" })).ok())
    };

    let nonsense = try_it("nonsense");
    let (_, used) = acme.invite("used@people.example", "MEMBER", json!([]));
    accept(&server, None, &used, body.clone()).ok();
    assert_eq!(try_it(&used), nonsense);
    let (made, revoked) = acme.invite("revoked@people.example", "MEMBER", json!([]));
    acme.delete(&acme.founder, &format!("/v1/invitations/{}", text(&made["id"]))).ok();
    assert_eq!(try_it(&revoked), nonsense);

    let ada = acme.person("ada", "ADMIN", json!([]));
    let of_demoted = of_another(&ada, "demoted@people.example");
    acme.patch(&acme.founder, &format!("/v1/users/{}", ada.id), json!({ "role": "MEMBER" })).ok();
    assert_eq!(try_it(&of_demoted), nonsense);
    let eve = acme.person("eve", "ADMIN", json!([]));
    let of_removed = of_another(&eve, "removed@people.example");
    acme.delete(&acme.founder, &format!("/v1/users/{}", eve.id)).ok();
    assert_eq!(try_it(&of_removed), nonsense);

    let other = Org::new(&server, "other", Teams::On);
    let kim = other.person("kim", "MEMBER", json!([]));
    let (_, of_member) = acme.invite("kim@people.example", "MEMBER", json!([]));
    server.sql().execute("INSERT INTO org_member VALUES (?, ?, 'MEMBER', 0)", (&acme.id, &kim.id)).unwrap();
    let proven = || accept(&server, Some(&kim.key), &of_member, json!({}));
    assert_eq!(refused_untouched(&server, 404, "NOT_FOUND", proven), nonsense);

    let (_, expired) = acme.invite("expired@people.example", "MEMBER", json!([]));
    server.now.set(Time(server.now.get().0 + 7 * DAY * 1000));
    assert_eq!(accept(&server, None, &expired, body.clone()).refused(404, "NOT_FOUND"), nonsense);
    assert_eq!(try_it(&expired), nonsense, "and now it is marked");
}

#[test]
fn the_link_alone_never_acts_as_somebody_who_exists() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    let joined = accept(&server, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let keyless = other.person("kim", "MEMBER", json!([]));

    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let named = json!({ "name": "Mallory", "api_key_name": "mine" });
    refused_untouched(&server, 403, "FORBIDDEN", || accept(&server, None, &token, named));
    for proof in [
        json!({ "name": "Mallory", "password": "wrong horse" }),
        json!({ "password": "wrong horse", "api_key_name": "mine" }),
    ] {
        let before = acme.last_entry();
        accept(&server, None, &token, proof).refused(403, "FORBIDDEN");
        assert_eq!(acme.events_since(before), ["SIGN_IN_FAILED"]);
    }
    let accepted = accept(&server, None, &token, json!({ "password": "correct horse", "name": "Other" })).ok();
    assert_eq!(accepted["user"]["user_id"], joined["user"]["user_id"]);
    assert_eq!(accepted["user"]["name"], "Mia", "who is known keeps the name they have");

    let (_, token) = acme.invite("kim@people.example", "MEMBER", json!([]));
    accept(&server, None, &token, json!({ "password": "any password" })).refused(403, "FORBIDDEN");
    let accepted = accept(&server, Some(&keyless.key), &token, json!({})).ok();
    assert_eq!(accepted["user"]["user_id"], keyless.id);
}

#[test]
fn a_password_that_was_changed_since_it_was_verified_proves_nothing() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&server, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    let stored: String = server
        .sql()
        .query_row("SELECT password_hash FROM user WHERE email = 'mia@people.example'", [], |row| row.get(0))
        .unwrap();
    let proves = |verified: &str| {
        server.app.db.read(server.now(), |tx| {
            let offer = invitations::open(tx, &token)?;
            Ok(matches!(offer.identify(None, Some(verified))?, Identity::Proven(_)))
        })
    };
    assert!(proves(&stored).unwrap());
    assert!(!proves(&stored.replace("t=2", "t=3")).unwrap());
}

#[test]
fn a_request_with_the_key_of_anyone_else_is_refused() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let other = Org::new(&server, "other", Teams::On);
    let kim = other.person("kim", "MEMBER", json!([]));
    let team_key = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let (_, to_new) = acme.invite("new@people.example", "MEMBER", json!([]));
    let (_, to_kim) = acme.invite("kim@people.example", "MEMBER", json!([]));
    let body = json!({ "name": "New", "api_key_name": "mine", "password": "correct horse" });
    for token in [&to_new, &to_kim] {
        for key in [&acme.founder.key, &team_key] {
            refused_untouched(&server, 403, "FORBIDDEN", || accept(&server, Some(key), token, body.clone()));
        }
        refused_untouched(&server, 401, "UNAUTHENTICATED", || {
            accept(&server, Some("guild_nonsense"), token, body.clone())
        });
    }
    refused_untouched(&server, 403, "FORBIDDEN", || accept(&server, Some(&kim.key), &to_new, body.clone()));
    accept(&server, Some(&kim.key), &to_kim, json!({ "api_key_name": "mine" })).ok();
    accept(&server, None, &to_new, body).ok();
}

#[test]
fn nobody_guesses_on() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&server, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let (_, token) = acme.invite("mia@people.example", "MEMBER", json!([]));
    for _ in 0..10 {
        accept(&server, None, &token, json!({ "password": "wrong horse" })).refused(403, "FORBIDDEN");
    }
    let right = json!({ "password": "correct horse" });
    let refusal = refused_untouched(&server, 429, "RATE_LIMITED", || accept(&server, None, &token, right.clone()));
    assert!(refusal["retry_after"].as_u64().unwrap() >= 15 * 60, "{refusal}");
    server.now.set(server.now.get().plus_seconds(15 * 60));
    accept(&server, None, &token, right).ok();
}

#[test]
fn of_fifty_who_accept_at_once_one_does() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (_, token) = other.invite("mia@people.example", "MEMBER", json!([]));
    accept(&server, None, &token, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let proofs = [
        ("key@people.example", json!({ "name": "New", "api_key_name": "mine" })),
        ("password@people.example", json!({ "name": "New", "password": "correct horse" })),
        ("mia@people.example", json!({ "password": "correct horse" })),
    ];
    for (email, mut body) in proofs {
        let (_, token) = acme.invite(email, "MEMBER", json!([]));
        body["token"] = json!(token);
        let before = acme.last_entry();
        let request = || server.request(None, "POST", "/v1/invitations/accept", body.to_string().into());
        let answered = server.send_at_once((0..50).map(|_| request()).collect());
        let accepted = answered.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(accepted, 1, "{email}");
        assert!(answered.iter().all(|answer| matches!(answer.status, 200 | 404)), "{email}");
        let joined = acme.events_since(before).into_iter().filter(|event| event == "USER_JOINED_ORGANIZATION").count();
        assert_eq!(joined, 1, "{email}");
    }
}
