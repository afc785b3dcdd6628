//! Do invitations, from their making to their end, follow the rules?

use serde_json::{Value, json};

use crate::org::{Org, Teams, accept, contents, ids, refused_untouched};
use crate::test_server::TestServer;
use crate::vocabulary::{DAY, text, token};

#[test]
fn an_invitation_says_what_it_gives_and_shows_its_link_once() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let blue = acme.team("Blue");
    let before = acme.last_entry();
    let (made, token) = acme.invite("New@People.example", "MEMBER", json!([{ "team_id": blue, "role": "ADMIN" }]));
    assert_eq!(made["accept_url"], format!("http://localhost:8000/invite/{token}"));
    let mut listed = made.clone();
    listed["accept_url"] = Value::Null;
    assert_eq!(
        listed,
        json!({
            "id": made["id"], "email": "new@people.example", "role": "MEMBER",
            "teams": [{ "team_id": blue, "team_name": "Blue", "role": "ADMIN" }],
            "status": "PENDING", "created_at": "2026-11-01T00:00:00.000Z", "expires_at": "2026-11-08T00:00:00.000Z",
            "invited_by": { "user_id": acme.founder.id, "email": "founder@acme.example" },
            "mail": "NOT_CONFIGURED", "mail_problem": null, "accept_url": null,
        })
    );
    assert_eq!(acme.get(&acme.founder, "/v1/invitations").ok()["items"], json!([listed]));
    assert_eq!(
        acme.audit_since(before),
        [("USER_INVITED".to_owned(), json!({ "invited_user_email": "new@people.example", "role_name": "MEMBER" }))]
    );
    assert!(!contents(&server).contains(&token), "the database holds the link's hash alone");
}

#[test]
fn who_may_not_invite_is_refused_whatever_the_id() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = acme.person("mia", "MEMBER", json!([{ "team_id": acme.default_team, "role": "ADMIN" }]));
    let team_key = acme.key(None, Some(&acme.default_team), &acme.founder.id);
    let (made, _) = acme.invite("new@people.example", "MEMBER", json!([]));
    for key in [&mia.key, &team_key] {
        for id in [&text(&made["id"]), "nothing"] {
            for (method, target) in [
                ("GET", "/v1/invitations".to_owned()),
                ("POST", "/v1/invitations".to_owned()),
                ("POST", format!("/v1/invitations/{id}/resend")),
                ("DELETE", format!("/v1/invitations/{id}")),
            ] {
                refused_untouched(&server, 403, "FORBIDDEN", || {
                    server.send(Some(key), method, &target, Some(json!({})))
                });
            }
        }
    }
}

#[test]
fn members_are_not_invited_and_teams_of_others_are_not_there() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let invite = |email: &str, team_id: &str| {
        let teams = json!([{ "team_id": team_id, "role": "MEMBER" }]);
        acme.post(&acme.founder, "/v1/invitations", json!({ "email": email, "role": "MEMBER", "teams": teams }))
    };
    refused_untouched(&server, 409, "CONFLICT", || invite("Founder@ACME.example", &acme.default_team));
    let theirs = refused_untouched(&server, 404, "NOT_FOUND", || invite("new@people.example", &other.default_team));
    let nobodys = refused_untouched(&server, 404, "NOT_FOUND", || invite("new@people.example", "nothing"));
    assert_eq!(theirs, nobodys);
}

#[test]
fn inviting_again_replaces_the_open_invitation() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (first, old) = acme.invite("new@people.example", "ADMIN", json!([]));
    let before = acme.last_entry();
    let (second, new) = acme.invite("new@people.example", "MEMBER", json!([]));
    assert_eq!(acme.events_since(before), ["INVITATION_REVOKED", "USER_INVITED"]);
    assert_ne!(first["id"], second["id"]);
    let listed = |status: &str| ids(&acme.get(&acme.founder, &format!("/v1/invitations{status}")).ok(), "id");
    assert_eq!(listed("?status=REVOKED"), [text(&first["id"])]);
    assert_eq!(listed("?status=PENDING"), [text(&second["id"])]);
    assert_eq!(listed("").len(), 2);
    let body = json!({ "name": "New", "api_key_name": "mine" });
    refused_untouched(&server, 404, "NOT_FOUND", || accept(&server, None, &old, body.clone()));
    assert_eq!(accept(&server, None, &new, body).ok()["user"]["role"], "MEMBER");
}

#[test]
fn invitations_come_in_pages_the_newest_first() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mut made = Vec::new();
    for at in 0..5 {
        server.now.set(server.now.get().plus_seconds(1));
        made.push(text(&acme.invite(&format!("p{at}@people.example"), "MEMBER", json!([])).0["id"]));
    }
    acme.delete(&acme.founder, &format!("/v1/invitations/{}", made[2])).ok();
    let open = [4, 3, 1, 0].map(|at: usize| made[at].clone());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for size in [2, 2] {
        let page = acme.get(&acme.founder, &format!("/v1/invitations?status=PENDING&limit=2{cursor}")).ok();
        assert_eq!(ids(&page, "id").len(), size);
        seen.extend(ids(&page, "id"));
        cursor = page["pagination"]["cursor"].as_str().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
    }
    assert_eq!((seen, cursor.as_str()), (open.to_vec(), ""));
    acme.get(&acme.founder, "/v1/invitations?status=OPEN").refused(400, "VALIDATION_ERROR");
}

#[test]
fn a_new_link_kills_the_old_one_and_stands_on_whoever_made_it() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let ada = acme.person("ada", "ADMIN", json!([]));
    let (made, old) = acme.invite("new@people.example", "MEMBER", json!([]));
    let resend = format!("/v1/invitations/{}/resend", text(&made["id"]));
    server.now.set(server.now.get().plus_seconds(8 * DAY));
    assert_eq!(acme.get(&ada, "/v1/invitations?status=EXPIRED").ok()["items"][0]["id"], made["id"]);

    let before = acme.last_entry();
    let resent = acme.post(&ada, &resend, json!({})).ok();
    assert_eq!(acme.events_since(before), ["INVITATION_RESENT"]);
    assert_eq!((&resent["id"], &resent["status"]), (&made["id"], &json!("PENDING")));
    assert_eq!(resent["invited_by"]["user_id"], ada.id);
    assert_eq!(resent["expires_at"], "2026-11-16T00:00:00.000Z");

    let body = json!({ "name": "New", "api_key_name": "mine" });
    refused_untouched(&server, 404, "NOT_FOUND", || accept(&server, None, &old, body.clone()));
    acme.patch(&ada, &format!("/v1/users/{}", acme.founder.id), json!({ "role": "MEMBER" })).ok();
    accept(&server, None, &token(&resent), body).ok();
}

#[test]
fn what_is_accepted_or_revoked_is_neither_resent_nor_revoked() {
    let server = TestServer::empty();
    let (acme, other) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "other", Teams::On));
    let (accepted, token) = acme.invite("one@people.example", "MEMBER", json!([]));
    accept(&server, None, &token, json!({ "name": "One", "api_key_name": "mine" })).ok();
    let (revoked, _) = acme.invite("two@people.example", "MEMBER", json!([]));
    let before = acme.last_entry();
    let target = format!("/v1/invitations/{}", text(&revoked["id"]));
    assert_eq!(acme.delete(&acme.founder, &target).ok(), json!({ "id": revoked["id"], "deleted": true }));
    assert_eq!(acme.events_since(before), ["INVITATION_REVOKED"]);
    for invitation in [&accepted, &revoked] {
        let target = format!("/v1/invitations/{}", text(&invitation["id"]));
        let resend = format!("{target}/resend");
        refused_untouched(&server, 409, "CONFLICT", || acme.delete(&acme.founder, &target));
        refused_untouched(&server, 409, "CONFLICT", || acme.post(&acme.founder, &resend, json!({})));
        refused_untouched(&server, 404, "NOT_FOUND", || other.delete(&other.founder, &target));
        refused_untouched(&server, 404, "NOT_FOUND", || other.post(&other.founder, &resend, json!({})));
    }
    let listed = acme.get(&acme.founder, "/v1/invitations?status=ACCEPTED").ok();
    assert_eq!(ids(&listed, "id"), [text(&accepted["id"])]);
}
