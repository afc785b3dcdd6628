//! When does a session end?

use super::*;

#[test]
fn a_session_ends_after_12_hours_without_use() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    for _ in 0..4 {
        wait(&server, 11 * HOUR);
        assert!(works(&server, &session.token));
        note_use(&server, &session);
    }
    wait(&server, 12 * HOUR - 1);
    assert!(works(&server, &session.token));
    wait(&server, 1);
    assert!(!works(&server, &session.token));
    wait(&server, -HOUR);
    assert!(!works(&server, &session.token), "what was found ended stays ended when the clock is set back");
}

#[test]
fn a_session_ends_14_days_after_the_password_however_much_it_is_used() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    for _ in 0..(14 * 24 / 6 - 1) {
        wait(&server, 6 * HOUR);
        note_use(&server, &session);
    }
    wait(&server, 6 * HOUR - 1);
    assert!(works(&server, &session.token));
    wait(&server, 1);
    assert!(!works(&server, &session.token));
}

#[test]
fn the_last_use_is_noted_once_a_minute() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let upkeep = || seen(&server, &session.token).unwrap().upkeep;
    wait(&server, 59);
    assert_eq!(upkeep(), sessions::Upkeep::Nothing);
    wait(&server, 1);
    assert_eq!(upkeep(), sessions::Upkeep::NoteUse);
    note_use(&server, &session);
    assert_eq!(upkeep(), sessions::Upkeep::Nothing);
}

#[test]
fn removing_a_person_ends_their_sessions_in_this_organization() {
    let server = TestServer::empty();
    let (acme, globex) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "globex", Teams::On));
    let mia = person(&acme, "mia", "MEMBER");
    let here = signed_in(&server, "mia");
    let (_, link) = globex.invite(&address("mia"), "MEMBER", json!([]));
    let accepted = accept(&server, None, &link, json!({ "password": PASSWORD })).ok();
    assert_eq!(accepted["user"]["user_id"], mia.id);
    let (there, id) = (signed_in(&server, "mia"), globex.id.clone());
    let there = seen(&server, &there.token).unwrap();
    let there = write(&server, move |tx| sessions::switch(tx, &there, &id)).unwrap();

    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    assert!(!works(&server, &here.token));
    assert!(works(&server, &there.token), "it is another organization's");
}

#[test]
fn a_new_password_by_a_link_ends_all_sessions() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let link = acme.post(&acme.founder, &format!("/v1/users/{}/reset", mia.id), json!({})).ok();
    let token = text(&link["reset_url"]).rsplit('/').next().unwrap().to_owned();
    let body = json!({ "token": token, "password": "another horse" });
    server.send(None, "POST", "/v1/users/reset", Some(body)).ok();
    assert!(!works(&server, &session.token));
    assert!(matches!(attempt(&server, "mia", PASSWORD, "203.0.113.1"), Ok(Answer::Wrong)));
    assert!(matches!(attempt(&server, "mia", "another horse", "203.0.113.1"), Ok(Answer::SignedIn(_))));
}

#[test]
fn the_owner_lists_and_revokes_their_sessions() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (mia, max) = (person(&acme, "mia", "MEMBER"), person(&acme, "max", "MEMBER"));
    let one = signed_in(&server, "mia");
    wait(&server, 1);
    let other = signed_in(&server, "mia");
    let listed_now = listed(&acme, &mia);
    let ids: Vec<&str> = listed_now.iter().map(|session| session["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [other.session.id.as_str(), one.session.id.as_str()], "the newest first");
    assert_eq!(listed_now[0]["user_agent"], "Browser/1 (a test)");
    assert_eq!(listed_now[0]["current"], false);
    assert!(listed(&acme, &max).is_empty());

    let path = format!("/v1/users/me/sessions/{}", one.session.id);
    acme.delete(&max, &path).refused(404, "NOT_FOUND");
    acme.delete(&acme.founder, &path).refused(404, "NOT_FOUND");
    let before = acme.last_entry();
    acme.delete(&mia, &path).ok();
    acme.delete(&mia, &path).refused(404, "NOT_FOUND");
    let audit = acme.audit_since(before);
    assert_eq!(audit, [("SESSION_REVOKED".to_owned(), json!({ "session_id": one.session.id, "user_id": mia.id }))]);
    assert!(!works(&server, &one.token));
    assert!(works(&server, &other.token));
    assert_eq!(listed(&acme, &mia).len(), 1);
}

#[test]
fn the_list_of_sessions_has_pages() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    for _ in 0..3 {
        signed_in(&server, "mia");
    }
    let first = acme.get(&mia, "/v1/users/me/sessions?limit=2").ok();
    let cursor = text(&first["pagination"]["cursor"]);
    let second = acme.get(&mia, &format!("/v1/users/me/sessions?limit=2&cursor={cursor}")).ok();
    let mut ids: Vec<String> = crate::org::ids(&first, "id");
    ids.extend(crate::org::ids(&second, "id"));
    assert_eq!(ids.len(), 3);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn a_21st_session_ends_the_one_that_was_not_used_for_the_longest_time() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(signed_in(&server, "mia"));
        wait(&server, 1);
    }
    note_use(&server, &sessions[0]);
    wait(&server, 1);
    sessions.push(signed_in(&server, "mia"));
    assert_eq!(listed(&acme, &mia).len(), 20);
    assert!(works(&server, &sessions[0].token), "it was used since");
    assert!(!works(&server, &sessions[1].token));
    assert!(works(&server, &sessions[20].token));
}

/// Signing out must not take back what was done in the session.
#[test]
fn a_link_that_an_admin_made_in_a_session_outlives_it() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (mia, max) = (person(&acme, "mia", "ADMIN"), person(&acme, "max", "MEMBER"));
    let make = || {
        let session = signed_in(&server, "mia");
        let (seen, user_id) = (seen(&server, &session.token).unwrap(), max.id.clone());
        let made = write(&server, move |tx| {
            let org = seen.caller.in_org(guildhall::policy::OrgAct::ManageMembers)?;
            let member = guildhall::db::users::find(tx, &org, &user_id)?;
            let link = guildhall::db::password_resets::create(tx, &org, &member)?;
            sessions::end(tx, &seen.session)?;
            Ok(link.token.reveal().to_owned())
        });
        made.unwrap()
    };
    let set = |token: &str| {
        let body = json!({ "token": token, "password": "another horse" });
        server.send(None, "POST", "/v1/users/reset", Some(body))
    };
    set(&make()).ok();
    let second = make();
    acme.patch(&acme.founder, &format!("/v1/users/{}", mia.id), json!({ "role": "MEMBER" })).ok();
    set(&second).refused(404, "NOT_FOUND");
}

/// An archive is sent with credentials that were given in a session.
#[test]
fn upload_credentials_of_a_session_end_with_it() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::Off);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let seen = seen(&server, &session.token).unwrap();
    let grant = |seen: &SignedIn| {
        server.app.db.read(server.now(), |tx| {
            let teams = guildhall::db::teams::of_organization(tx, &seen.caller)?;
            let deployers = seen.caller.to_deploy_in_any(&teams)?;
            let given = guildhall::db::uploads::grant(tx, &deployers, guildhall::domain::uploads::Purpose::Model);
            let granted = guildhall::db::uploads::granted(tx, &given.access_key_id, &given.session_token);
            Ok(granted.expect("it was just given"))
        })
    };
    let granted = grant(&seen).unwrap();
    let uploader = || server.app.db.read(server.now(), |tx| guildhall::db::uploads::uploader(tx, &granted));
    assert_eq!(uploader().unwrap().session_id(), Some(session.session.id.as_str()));
    write(&server, move |tx| sessions::end(tx, &seen.session)).unwrap();
    assert!(matches!(uploader(), Err(Error::Unauthenticated)));
}
