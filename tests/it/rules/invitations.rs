//! Decision 8: invitations.

use serde_json::{Value, json};

use crate::seed::{LINK_OF_A_NEW_PERSON, LINK_OF_FAY, WORLD};
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, at, by, newcomer, nobody, one, sorted, text, token, with};

fn invitation(email: &str) -> Value {
    json!({ "email": email, "role": "MEMBER", "teams": [{ "team_id": "research", "role": "MEMBER" }] })
}

fn acceptance(token: &str) -> Value {
    json!({ "token": token, "name": "New Comer", "api_key_name": "first" })
}

#[track_caller]
fn dead(server: &TestServer, token: &str) {
    nobody(server).refused(404, "POST", "/v1/invitations/accept", Some(acceptance(token)));
}

fn status_of(server: &TestServer, id: &str) -> String {
    let listed = by(server, "ada").get("/v1/invitations");
    text(&one(&listed["items"], "id", id)["status"])
}

#[test]
fn an_invitation_says_what_was_asked() {
    let server = WORLD.server();
    let made = by(&server, "ada").post("/v1/invitations", invitation("New.Person@Example.ORG"));
    assert_eq!(made["email"], "new.person@example.org", "bound to the normalized address");
    assert_eq!((&made["role"], &made["status"]), (&json!("MEMBER"), &json!("PENDING")));
    assert_eq!(made["teams"], json!([{ "team_id": "research", "team_name": "Research", "role": "MEMBER" }]));
    assert_eq!(made["invited_by"], json!({ "user_id": "ada", "email": "ada@example.com" }));
    assert_eq!(made["created_at"], "2026-11-01T00:00:00.000Z");
    assert_eq!(made["expires_at"], "2026-11-08T00:00:00.000Z");
    assert_eq!(made["mail"], "NOT_CONFIGURED");
}

#[test]
fn without_mail_the_link_is_shown_once_to_the_inviter() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let made = ada.post("/v1/invitations", invitation("n@e.org"));
    assert!(token(&made).len() >= 32);
    let listed = ada.get("/v1/invitations");
    assert!(listed["items"].as_array().unwrap().iter().all(|invitation| invitation["accept_url"].is_null()));
    let log = ada.get("/v1/audit_logs?limit=200");
    assert!(!log.to_string().contains(&token(&made)));
}

#[test]
fn it_is_valid_for_seven_days() {
    let server = WORLD.server();
    let made = by(&server, "ada").post("/v1/invitations", invitation("n@e.org"));
    let other = by(&server, "ada").post("/v1/invitations", invitation("other@e.org"));
    server.now.set(at(7 * DAY - 1));
    nobody(&server).post("/v1/invitations/accept", acceptance(&token(&other)));
    server.now.set(at(7 * DAY));
    dead(&server, &token(&made));
    assert_eq!(status_of(&server, &text(&made["id"])), "EXPIRED");
    server.now.set(at(7 * DAY - 1));
    dead(&server, &token(&made));
    assert_eq!(status_of(&server, &text(&made["id"])), "EXPIRED", "also when the clock is set back");
}

#[test]
fn it_is_good_for_one_use() {
    let server = WORLD.server();
    nobody(&server).post("/v1/invitations/accept", acceptance(LINK_OF_A_NEW_PERSON));
    dead(&server, LINK_OF_A_NEW_PERSON);
    assert_eq!(status_of(&server, "newperson"), "ACCEPTED");
}

#[test]
fn role_and_teams_are_fixed_when_it_is_made() {
    let server = WORLD.server();
    for extra in ["role", "teams", "email", "org_id"] {
        let mut body = acceptance(LINK_OF_A_NEW_PERSON);
        body[extra] = json!("ADMIN");
        let why = nobody(&server).refused(400, "POST", "/v1/invitations/accept", Some(body));
        assert!(why.contains(extra), "{why}");
    }
    let joined = nobody(&server).post("/v1/invitations/accept", acceptance(LINK_OF_A_NEW_PERSON));
    assert_eq!(joined["user"]["email"], "new@acme.example");
    assert_eq!(joined["user"]["role"], "MEMBER");
}

#[test]
fn the_inviter_s_standing_is_checked_again_when_it_is_accepted() {
    for fall in ["demoted", "removed"] {
        let server = WORLD.server();
        let made = by(&server, "grace").post("/v1/invitations", invitation("n@e.org"));
        match fall {
            "demoted" => by(&server, "ada").patch("/v1/users/grace", json!({ "role": "MEMBER" })),
            _ => by(&server, "ada").delete("/v1/users/grace"),
        };
        dead(&server, &token(&made));
        assert_eq!(status_of(&server, &text(&made["id"])), "REVOKED");
        let resend = format!("/v1/invitations/{}/resend", text(&made["id"]));
        by(&server, "ada").refused(409, "POST", &resend, None);
        if fall == "demoted" {
            by(&server, "ada").patch("/v1/users/grace", json!({ "role": "ADMIN" }));
            dead(&server, &token(&made));
        }
    }
}

#[test]
fn resending_makes_a_new_link_and_kills_the_old() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let made = ada.post("/v1/invitations", invitation("n@e.org"));
    server.now.set(at(3 * DAY));
    let resent = ada.post(&format!("/v1/invitations/{}/resend", text(&made["id"])), json!({}));
    assert_eq!(resent["id"], made["id"]);
    assert_eq!(resent["expires_at"], "2026-11-11T00:00:00.000Z");
    assert_ne!(token(&resent), token(&made));
    dead(&server, &token(&made));
    nobody(&server).post("/v1/invitations/accept", acceptance(&token(&resent)));
}

#[test]
fn an_expired_one_can_be_resent() {
    let server = WORLD.server();
    server.now.set(at(8 * DAY));
    let resent = by(&server, "ada").post("/v1/invitations/pending/resend", json!({}));
    assert_eq!(resent["status"], "PENDING");
    nobody(&server).post("/v1/invitations/accept", acceptance(&token(&resent)));
}

#[test]
fn inviting_a_member_is_a_conflict() {
    let server = WORLD.server();
    by(&server, "ada").refused(409, "POST", "/v1/invitations", Some(invitation("Max@Example.com")));
    by(&server, "ada").post("/v1/invitations", invitation("fred@example.com"));
}

#[test]
fn inviting_an_invited_address_replaces_the_invitation() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let first = ada.post("/v1/invitations", invitation("n@e.org"));
    let body = json!({ "email": "N@E.ORG", "role": "ADMIN", "teams": [] });
    let second = ada.post("/v1/invitations", body);
    assert_ne!(first["id"], second["id"], "replacing makes a new id");
    dead(&server, &token(&first));
    assert_eq!(status_of(&server, &text(&first["id"])), "REVOKED");
    assert_eq!(status_of(&server, &text(&second["id"])), "PENDING");
    let joined = nobody(&server).post("/v1/invitations/accept", acceptance(&token(&second)));
    assert_eq!(joined["user"]["role"], "ADMIN");
}

#[test]
fn a_revoked_link_is_dead() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    assert_eq!(ada.delete("/v1/invitations/newperson"), json!({ "id": "newperson", "deleted": true }));
    dead(&server, LINK_OF_A_NEW_PERSON);
    assert_eq!(status_of(&server, "newperson"), "REVOKED");
}

#[test]
fn resending_or_revoking_one_that_is_accepted_or_revoked_is_a_conflict() {
    let server = WORLD.server();
    for id in ["accepted", "revoked"] {
        by(&server, "ada").refused(409, "POST", &format!("/v1/invitations/{id}/resend"), Some(json!({})));
        by(&server, "ada").refused(409, "DELETE", &format!("/v1/invitations/{id}"), None);
    }
}

#[test]
fn listing_shows_all_and_filters_by_status() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    let ids = |filter: &str| sorted(ada.list(&format!("/v1/invitations{filter}"), "items", "id"));
    assert_eq!(ids(""), ["accepted", "forfay", "newperson", "pending", "revoked"]);
    assert_eq!(ids("?status=PENDING"), ["forfay", "newperson", "pending"]);
    assert_eq!(ids("?status=ACCEPTED"), ["accepted"]);
    assert_eq!(ids("?status=REVOKED"), ["revoked"]);
    assert!(ids("?status=EXPIRED").is_empty());
    server.now.set(at(7 * DAY));
    assert_eq!(ids("?status=EXPIRED"), ["forfay", "newperson", "pending"]);
    ada.refused(400, "GET", "/v1/invitations?status=LOST", None);
}

#[test]
fn a_new_person_gives_a_name_and_a_password_or_the_name_of_a_first_key() {
    let server = WORLD.server();
    for lacking in [
        json!({ "token": LINK_OF_A_NEW_PERSON }),
        json!({ "token": LINK_OF_A_NEW_PERSON, "name": "N" }),
        json!({ "token": LINK_OF_A_NEW_PERSON, "api_key_name": "first" }),
    ] {
        nobody(&server).refused(403, "POST", "/v1/invitations/accept", Some(lacking));
    }
    for bad in [
        json!({ "token": LINK_OF_A_NEW_PERSON, "name": "N", "password": "" }),
        json!({ "token": LINK_OF_A_NEW_PERSON, "name": "N", "api_key_name": "First Key" }),
    ] {
        nobody(&server).refused(400, "POST", "/v1/invitations/accept", Some(bad));
    }
    let body = json!({ "token": LINK_OF_A_NEW_PERSON, "name": "N", "password": "correct horse battery", "api_key_name": "first" });
    let joined = nobody(&server).post("/v1/invitations/accept", body);
    let them = with(&server, &text(&joined["api_key"]));
    assert_eq!(them.get("/v1/users/me")["email"], "new@acme.example");
}

#[test]
fn a_known_person_proves_to_be_that_person_by_their_key() {
    let server = WORLD.server();
    let body = json!({ "token": LINK_OF_FAY });
    for other in [nobody(&server), by(&server, "max"), by(&server, "ada"), by(&server, "abroad-manage-all")] {
        other.refused(403, "POST", "/v1/invitations/accept", Some(body.clone()));
    }
    assert_eq!(status_of(&server, "forfay"), "PENDING", "and nothing is consumed");
    by(&server, "fay").post("/v1/invitations/accept", body);
}

#[test]
fn or_by_their_password() {
    let server = WORLD.server();
    let password = "correct horse battery";
    let body = json!({ "token": LINK_OF_A_NEW_PERSON, "name": "N", "password": password });
    nobody(&server).post("/v1/invitations/accept", body);
    let invited = by(&server, "fay")
        .post("/v1/invitations", json!({ "email": "new@acme.example", "role": "MEMBER", "teams": [] }));
    let accept = |password: Value| json!({ "token": token(&invited), "password": password, "api_key_name": "globex" });
    for wrong in [json!("incorrect horse"), json!(null)] {
        nobody(&server).refused(403, "POST", "/v1/invitations/accept", Some(accept(wrong)));
    }
    let joined = nobody(&server).post("/v1/invitations/accept", accept(json!(password)));
    assert_eq!(joined["organization"]["org_id"], "globex");
    let there = with(&server, &text(&joined["api_key"]));
    assert_eq!(there.get("/v1/organizations/me")["org_id"], "globex");
}

#[test]
fn the_link_never_gives_a_known_person_a_new_password_or_name() {
    let server = WORLD.server();
    let body =
        json!({ "token": LINK_OF_FAY, "name": "Mallory", "password": "of my own choosing", "api_key_name": "mine" });
    nobody(&server).refused(403, "POST", "/v1/invitations/accept", Some(body));
    assert_eq!(by(&server, "fay").get("/v1/users/me")["name"], "Fay");
}

#[test]
fn a_request_that_carries_the_key_of_anyone_else_is_refused() {
    let server = WORLD.server();
    for other in ["max", "ada", "manage-all", "fay"] {
        let body = acceptance(LINK_OF_A_NEW_PERSON);
        by(&server, other).refused(403, "POST", "/v1/invitations/accept", Some(body));
    }
    nobody(&server).post("/v1/invitations/accept", acceptance(LINK_OF_A_NEW_PERSON));
}

#[test]
fn every_token_that_does_not_work_is_answered_alike() {
    let server = WORLD.server();
    let answers: Vec<String> = ["linkofaccepted", "linkofrevoked", "nosuchlink", "", "../accept"]
        .map(|token| nobody(&server).refused(404, "POST", "/v1/invitations/accept", Some(acceptance(token))))
        .to_vec();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[test]
fn addresses_that_look_like_another_s_are_refused() {
    let server = WORLD.server();
    for bad in [
        "mıke@example.com",
        "ａda@example.com",
        "\u{212a}im@example.com",
        "ada\u{200d}@example.com",
        "ada",
        "@e.org",
        "ada@",
        "a b@e.org",
        "ada@e.org\r\nBcc: x@y.z",
        "ada@@e.org",
        &format!("{}@e.org", "x".repeat(300)),
    ] {
        let why = by(&server, "ada").refused(400, "POST", "/v1/invitations", Some(invitation(bad)));
        assert!(why.contains("email"), "{bad:?}: {why}");
    }
    let made = by(&server, "ada").post("/v1/invitations", invitation("ada+kites@bücher.example"));
    assert_eq!(made["email"], "ada+kites@xn--bcher-kva.example");
}

#[test]
fn roles_and_teams_that_cannot_be_are_refused() {
    let server = WORLD.server();
    let ada = by(&server, "ada");
    for (body, status) in [
        (json!({ "email": "n@e.org", "role": "OWNER", "teams": [] }), 400),
        (json!({ "email": "n@e.org", "role": "MEMBER", "teams": [{ "team_id": "research", "role": "OWNER" }] }), 400),
        (json!({ "email": "n@e.org", "role": "MEMBER", "teams": [{ "team_id": "research" }] }), 400),
        (json!({ "email": "n@e.org", "role": "MEMBER", "teams": [{ "team_id": "abroad", "role": "MEMBER" }] }), 404),
        (json!({ "email": "n@e.org", "teams": [] }), 400),
    ] {
        ada.refused(status, "POST", "/v1/invitations", Some(body));
    }
    let unknown =
        json!({ "email": "n@e.org", "role": "MEMBER", "teams": [{ "team_id": "research", "role": "MEMBER", "x": 1 }] });
    ada.refused(400, "POST", "/v1/invitations", Some(unknown));
}

#[test]
fn who_joined_stands_where_the_invitation_said() {
    let server = WORLD.server();
    let joined = newcomer(&server, "ada", invitation("n@e.org"));
    let id = text(&joined["user"]["user_id"]);
    let members = by(&server, "max").get("/v1/teams/research/members");
    assert_eq!(one(&members["items"], "user_id", &id)["role"], "MEMBER");
    assert!(by(&server, "lone").list("/v1/users", "items", "user_id").contains(&id));
}
