//! Who is signed in, as what, and what is kept of it?

use guildhall::db::sessions::Upkeep;
use guildhall::policy::{OrgAct, OrgRole, Who};

use super::*;

#[test]
fn a_session_is_its_person_in_one_organization() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "ADMIN");
    let session = signed_in(&server, "mia");
    let seen = seen(&server, &session.token).unwrap();
    let Who::Person(person) = &seen.caller.who else { panic!("{seen:?}") };
    assert_eq!((person.user_id.as_str(), person.role), (mia.id.as_str(), OrgRole::Admin));
    assert_eq!(seen.caller.org_id.as_str(), acme.id);
    assert_eq!(seen.caller.session_id(), Some(session.session.id.as_str()));
    assert_eq!(seen.caller.key_ends_at, None, "a session makes keys that last");
    assert_eq!(seen.session.address, Some("203.0.113.1".parse().unwrap()));

    // What is done in it stands in the audit log as done in the console.
    let before = acme.last_entry();
    let renamed = move |tx: &Tx| {
        let org = seen.caller.in_org(OrgAct::ManageTeams)?;
        let name = Some(guildhall::domain::TeamName::parse("Acme 2")?);
        guildhall::db::organizations::update(
            tx,
            &org,
            &guildhall::db::organizations::Change { name, teams_enabled: None },
        )
    };
    write(&server, renamed).unwrap();
    assert_eq!(acme.events_since(before), ["ORGANIZATION_UPDATED"]);
    let (source, prefix): (String, Option<String>) = server
        .sql()
        .query_row("SELECT source, actor_prefix FROM audit ORDER BY id DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((source.as_str(), prefix), ("UI", None));
}

#[test]
fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    acme.person("keyed", "MEMBER", json!([])); // has a key and no password
    for (name, password) in [("mia", "wrong horse"), ("keyed", "wrong horse"), ("nobody", "wrong horse")] {
        let answer = attempt(&server, name, password, "203.0.113.1");
        assert!(matches!(answer, Ok(Answer::Wrong)), "{name}: {answer:?}");
    }
    assert_eq!(server.sql().query_row("SELECT count(*) FROM session", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// The work of hashing is done in each case: on a machine of any speed, no case is a fraction of another.
#[test]
fn an_unknown_address_takes_as_much_work_as_a_wrong_password() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let shortest = |name: &str| {
        let time = |_| {
            let since = std::time::Instant::now();
            attempt(&server, name, "wrong horse", "203.0.113.1").unwrap();
            since.elapsed()
        };
        (0..5).map(time).min().unwrap()
    };
    let (known, unknown) = (shortest("mia"), shortest("nobody"));
    assert!(unknown * 3 > known && known * 3 > unknown, "{known:?} and {unknown:?}");
}

#[test]
fn the_database_holds_no_token() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let token = session.token.reveal().to_owned();
    assert!(!crate::org::contents(&server).contains(&token));
    for file in ["guildhall.db", "guildhall.db-wal"] {
        let bytes = std::fs::read(server.data().join(file)).unwrap();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "{file}");
    }
}

#[test]
fn somebody_in_several_organizations_is_in_one_of_them_at_a_time() {
    let server = TestServer::empty();
    let (acme, globex) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "globex", Teams::On));
    person(&acme, "mia", "MEMBER");
    let (_, link) = globex.invite(&address("mia"), "ADMIN", json!([]));
    accept(&server, None, &link, json!({ "password": PASSWORD })).ok();
    let first = signed_in(&server, "mia");
    assert_eq!(first.session.org_id.as_str(), acme.id, "the one that they joined first");
    let here = seen(&server, &first.token).unwrap();
    let organizations =
        server.app.db.read(server.now(), |tx| sessions::organizations_of(tx, &here.session.user_id)).unwrap();
    assert_eq!(organizations.iter().map(|org| org.name.as_str()).collect::<Vec<_>>(), ["acme", "globex"]);

    wait(&server, 5 * DAY / 10);
    let (there, id) = (here, globex.id.clone());
    assert!(works(&server, &first.token) || first.session.expires_at <= server.now.get());
    let second = write(&server, move |tx| sessions::switch(tx, &there, &id)).unwrap();
    assert_eq!(second.session.org_id.as_str(), globex.id);
    assert!(!works(&server, &first.token), "the one before has ended");
    assert_eq!(second.session.signed_in_at, first.session.signed_in_at, "switching makes no session last longer");

    // The one that they used last.
    wait(&server, 60);
    assert_eq!(signed_in(&server, "mia").session.org_id.as_str(), globex.id);
    let other = Org::new(&server, "other", Teams::On);
    let (here, id) = (seen(&server, &second.token).unwrap(), other.id.clone());
    assert!(matches!(write(&server, move |tx| sessions::switch(tx, &here, &id)), Err(Error::NotFound("organization"))));
}

#[test]
fn the_token_is_replaced_when_a_role_changes() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let replace = |token: &SessionToken| {
        let token = copy(token);
        write(&server, move |tx| sessions::replace(tx, &token)).unwrap()
    };
    assert_eq!(seen(&server, &session.token).unwrap().upkeep, Upkeep::Nothing);
    assert!(replace(&session.token).is_none(), "nothing has changed");

    let research = acme.team("Research");
    let member = json!({ "user_id": mia.id, "role": "MEMBER" });
    acme.post(&acme.founder, &format!("/v1/teams/{research}/members"), member).ok();
    assert_eq!(seen(&server, &session.token).unwrap().upkeep, Upkeep::Replace);
    let second = replace(&session.token).expect("a role in a team is a role");
    assert!(replace(&session.token).is_none(), "another request has replaced it already");
    assert!(works(&server, &session.token), "for requests that were under way");
    wait(&server, 31);
    assert!(!works(&server, &session.token));
    assert!(works(&server, &second));

    acme.patch(&acme.founder, &format!("/v1/users/{}", mia.id), json!({ "role": "ADMIN" })).ok();
    let seen_again = seen(&server, &second).unwrap();
    assert!(seen_again.caller.in_org(OrgAct::ManageBilling).is_ok(), "the role counts at once");
    assert_eq!(seen_again.session.id, session.session.id, "it is the same session");
    let third = replace(&second).expect("a role in the organization is a role");
    assert_eq!(seen(&server, &third).unwrap().upkeep, Upkeep::Nothing);
}

#[test]
fn the_forms_of_each_session_carry_a_token_of_its_own() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let (one, other) = (signed_in(&server, "mia"), signed_in(&server, "mia"));
    let of =
        |session: &NewSession| server.app.db.read(server.now(), |tx| Ok(sessions::form_token(tx, &session.session)));
    let (of_one, of_other) = (of(&one).unwrap(), of(&other).unwrap());
    assert_ne!(of_one, of_other);
    assert_eq!(of_one, of(&one).unwrap(), "an open form stays good");
    let is = |given: &str| server.app.db.read(server.now(), |tx| Ok(sessions::is_form_token(tx, &one.session, given)));
    assert!(is(&of_one).unwrap());
    for wrong in ["", &of_other, &of_one[1..], &of_one.to_uppercase()] {
        assert!(!is(wrong).unwrap(), "{wrong}");
    }
}

#[test]
fn somebody_in_no_organization_is_told_so() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    acme.delete(&acme.founder, &format!("/v1/users/{}", mia.id)).ok();
    let answer = attempt(&server, "mia", PASSWORD, "203.0.113.1");
    assert!(matches!(&answer, Err(Error::Forbidden(why)) if why.contains("no organization")), "{answer:?}");
    assert!(matches!(attempt(&server, "mia", "wrong horse", "203.0.113.1"), Ok(Answer::Wrong)));
}
