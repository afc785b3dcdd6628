//! Links and credentials that identify their caller: they allow only what that caller may do now.

use guildhall::db::uploads;

use super::*;
use crate::seed::WORLD;

/// Somebody of the world.
fn of_the_world(name: &str) -> Someone {
    Someone { id: name.to_owned(), key: WORLD.keys.text(name).to_owned() }
}

fn send(server: &TestServer, by: &Someone, method: &str, target: &str, body: Option<Value>) -> Answered {
    server.send(Some(&by.key), method, target, body)
}

/// What is taken from somebody between asking and using.
const FALLS: [&str; 5] = ["nothing", "left the team", "removed", "key revoked", "key ended"];

/// A key of a member of research that ends in five minutes, by which something is asked for.
fn ending_key(server: &TestServer, by: &Someone) -> Someone {
    let body = json!({ "type": "PERSONAL", "expires_at": in_seconds(server, 300) });
    with_key(&send(server, by, "POST", "/v1/api_keys", Some(body)).ok())
}

fn let_fall(server: &TestServer, fall: &str, key: &Someone) {
    let (ada, max) = (of_the_world("ada"), of_the_world("max"));
    match fall {
        "nothing" => {}
        "left the team" => drop(send(server, &max, "DELETE", "/v1/teams/research/members/max", None).ok()),
        "removed" => drop(send(server, &ada, "DELETE", "/v1/users/max", None).ok()),
        "key revoked" => drop(send(server, &max, "DELETE", &format!("/v1/api_keys/{}", key.id), None).ok()),
        _ => wait(server, 300),
    }
}

#[test]
fn a_download_link_ends_with_the_membership_and_the_key_of_whoever_asked_for_it() {
    for asked in [
        "/v1/models/researchmodel/deployments/researchidle/download",
        "/v1/training_projects/researchproject/jobs/researchjob/download",
    ] {
        for fall in FALLS {
            let server = WORLD.server();
            let key = ending_key(&server, &of_the_world("max"));
            let given = send(&server, &key, "GET", asked, None).ok();
            let Some(url) = given["download_url"].as_str().or(given["artifact_presigned_urls"][0].as_str()) else {
                assert!(asked.contains("training"), "{given}");
                continue; // the world's job has no archive
            };
            let path = url.strip_prefix("http://localhost:8000").unwrap();
            let_fall(&server, fall, &key);
            let status = server.reply(None, "GET", path, Vec::new()).status;
            assert_eq!(status, if fall == "nothing" { 200 } else { 404 }, "{asked} {fall}");
        }
    }
}

#[test]
fn a_download_link_of_a_team_key_ends_with_it() {
    let server = WORLD.server();
    let key = of_the_world("manage-all");
    let asked = "/v1/models/researchmodel/deployments/researchidle/download";
    let url = text(&send(&server, &key, "GET", asked, None).ok()["download_url"]);
    let path = url.strip_prefix("http://localhost:8000").unwrap();
    assert_eq!(server.reply(None, "GET", path, Vec::new()).status, 200);
    send(&server, &of_the_world("ada"), "DELETE", &format!("/v1/api_keys/{}", prefix(&key.key)), None).ok();
    server.send(None, "GET", path, None).refused(404, "NOT_FOUND");
}

#[test]
fn a_download_link_ends_with_what_it_is_of() {
    let server = WORLD.server();
    let max = of_the_world("max");
    let asked = "/v1/models/researchmodel/deployments/researchidle/download";
    let url = text(&send(&server, &max, "GET", asked, None).ok()["download_url"]);
    let path = url.strip_prefix("http://localhost:8000").unwrap();
    let deployment = "/v1/models/researchmodel/deployments/researchidle";
    send(&server, &max, "DELETE", deployment, None).ok();
    server.send(None, "GET", path, None).refused(404, "NOT_FOUND");
}

#[test]
fn upload_credentials_end_with_the_right_to_deploy_and_the_key() {
    for fall in FALLS {
        let server = WORLD.server();
        let key = ending_key(&server, &of_the_world("max"));
        let given = send(&server, &key, "GET", "/v1/blobs/credentials/model", None).ok();
        let credentials = &given["creds"];
        let (id, session) = (&credentials["aws_access_key_id"], &credentials["aws_session_token"]);
        let_fall(&server, fall, &key);
        let may = server.app.db.read(server.now(), |tx| {
            let grant = uploads::granted(tx, &text(id), &text(session)).expect("it was made here");
            uploads::uploader(tx, &grant).map(drop)
        });
        assert_eq!(may.is_ok(), fall == "nothing", "{fall}: {may:?}");
    }
}

#[test]
fn an_invitation_ends_with_the_standing_of_its_inviter_for_good() {
    for fall in ["demoted", "removed"] {
        let server = WORLD.server();
        let (ada, grace) = (of_the_world("ada"), of_the_world("grace"));
        let body = json!({ "email": "n@e.org", "role": "ADMIN" });
        let made = send(&server, &grace, "POST", "/v1/invitations", Some(body)).ok();
        match fall {
            "demoted" => {
                for role in ["MEMBER", "ADMIN"] {
                    send(&server, &ada, "PATCH", "/v1/users/grace", Some(json!({ "role": role }))).ok();
                }
            }
            _ => drop(send(&server, &ada, "DELETE", "/v1/users/grace", None).ok()),
        }
        let listed = send(&server, &ada, "GET", "/v1/invitations?status=REVOKED", None).ok();
        assert!(listed.to_string().contains(&text(&made["id"])), "{fall}: {listed}");
        let body = json!({ "name": "New", "api_key_name": "mine" });
        accept(&server, None, &token(&made), body).refused(404, "NOT_FOUND");
    }
}

/// An invitation made with a key that ends: the link ends with the key, and so does the key of whoever accepts it, new or known.
#[test]
fn an_invitation_of_a_key_that_ends_leads_to_no_key_that_lasts_longer() {
    for invited in ["new@example.com", "sol@example.com"] {
        for resent in [false, true] {
            let server = WORLD.server();
            let (ada, ends_at) = (of_the_world("ada"), in_seconds(&server, 300));
            let key = ending_key(&server, &ada);
            let inviter = if resent { &ada } else { &key };
            let body = json!({ "email": invited, "role": "ADMIN" });
            let mut made = send(&server, inviter, "POST", "/v1/invitations", Some(body)).ok();
            if resent {
                let at = format!("/v1/invitations/{}/resend", text(&made["id"]));
                made = send(&server, &key, "POST", &at, Some(json!({}))).ok();
            }
            assert_eq!(made["expires_at"], json!(ends_at), "{invited} {resent}");
            let token = text(&made["accept_url"]).rsplit('/').next().unwrap().to_owned();
            let body = json!({ "token": token, "name": "New", "api_key_name": "first" });
            let by = (invited == "sol@example.com").then(|| of_the_world("sol").key);
            let accepted = server.send(by.as_deref(), "POST", "/v1/invitations/accept", Some(body)).ok();
            let first = Someone { id: String::new(), key: text(&accepted["api_key"]) };
            assert_eq!(send(&server, &first, "GET", "/v1/users/me", None).status, 200);
            let body = json!({ "type": "PERSONAL", "name": "lasting" });
            send(&server, &first, "POST", "/v1/api_keys", Some(body)).refused(403, "FORBIDDEN");
            wait(&server, 300);
            assert_eq!(send(&server, &first, "GET", "/v1/users/me", None).status, 401, "{invited} {resent}");
        }
    }
}
