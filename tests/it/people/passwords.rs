//! How does a person change their password, and how does an installation get its first one?

use guildhall::api::guesses::Guess;
use guildhall::api::passwords::{Outcome, Work, work};
use guildhall::db::first_run::{self, Founding};
use guildhall::db::passwords;
use guildhall::domain::{PersonName, TeamName};

use super::*;

const NEW: &str = "another horse";

fn outcome(server: &TestServer, session: &NewSession, old: &str) -> Outcome {
    let seen = seen(server, &session.token).unwrap();
    let (email, against) = server.app.db.read(server.now(), |tx| passwords::of_signed_in(tx, &seen)).unwrap();
    let change = Work::Change {
        old: Password::parse(old.to_owned()).unwrap(),
        new: Password::parse(NEW.to_owned()).unwrap(),
        against,
        guess: Guess::new(email.as_str().to_owned(), None),
    };
    server.block_on(work(&server.app.guesses, change, server.now())).unwrap().0
}

fn change(server: &TestServer, session: &NewSession, outcome: Outcome) -> Option<SessionToken> {
    let Outcome::Changed { verified, hashed } = outcome else { panic!("{outcome:?}") };
    let seen = seen(server, &session.token).unwrap();
    write(server, move |tx| passwords::change(tx, &seen, &verified, &hashed)).unwrap()
}

#[test]
fn a_new_password_wants_the_old_one_and_ends_every_other_session() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let (here, there) = (signed_in(&server, "mia"), signed_in(&server, "mia"));
    let link = acme.post(&acme.founder, &format!("/v1/users/{}/reset", mia.id), json!({})).ok();
    assert!(matches!(outcome(&server, &here, "wrong horse"), Outcome::Wrong));
    let before = acme.last_entry();
    let right = outcome(&server, &here, PASSWORD);
    let token = change(&server, &here, right).expect("the old password was right");
    assert!(!works(&server, &here.token), "the token is replaced at once");
    assert!(!works(&server, &there.token));
    assert!(works(&server, &token));
    assert!(matches!(attempt(&server, "mia", PASSWORD, "203.0.113.1"), Ok(Answer::Wrong)));
    assert!(matches!(attempt(&server, "mia", NEW, "203.0.113.1"), Ok(Answer::SignedIn(_))));
    let audit = acme.audit_since(before);
    assert_eq!(audit, [("PASSWORD_RESET".to_owned(), json!({ "user_id": mia.id, "step": "PASSWORD_CHANGED" }))]);
    let token = text(&link["reset_url"]).rsplit('/').next().unwrap().to_owned();
    let body = json!({ "token": token, "password": "third horse" });
    server.send(None, "POST", "/v1/users/reset", Some(body)).refused(404, "NOT_FOUND");
}

#[test]
fn of_two_changes_at_once_one_is_made() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let (here, there) = (signed_in(&server, "mia"), signed_in(&server, "mia"));
    let (one, other) = (outcome(&server, &here, PASSWORD), outcome(&server, &there, PASSWORD));
    let seen_there = seen(&server, &there.token).unwrap();
    assert!(change(&server, &here, one).is_some());
    let Outcome::Changed { verified, hashed } = other else { panic!("{other:?}") };
    let late = write(&server, move |tx| passwords::change(tx, &seen_there, &verified, &hashed)).unwrap();
    assert!(late.is_none(), "the password that was verified is not the stored one any more");
}

fn founding(organization: &str) -> Founding {
    Founding {
        organization: TeamName::parse(organization).unwrap(),
        email: Email::parse(&address("ada")).unwrap(),
        name: PersonName::parse("Ada Adler").unwrap(),
        password_hash: "$argon2id$nobody".to_owned(),
    }
}

#[test]
fn an_empty_installation_is_set_up_once_by_its_link() {
    let server = TestServer::empty();
    let token = server.app.first_run.begin(server.now()).expect("it is the first");
    assert!(server.app.first_run.begin(server.now()).is_none(), "there is one link");
    let open = |token: &str| server.app.first_run.open(token, server.now.get());
    assert!(open("").is_none() && open(&token.reveal()[1..]).is_none());
    assert!(open(token.reveal()).is_some(), "opening it does not use it up");
    let found = |organization: &str| {
        let (operator, founding) = (open(token.reveal()).unwrap(), founding(organization));
        write(&server, move |tx| first_run::found(tx, &operator, &founding, &place("127.0.0.1")))
    };
    let session = found("Acme").unwrap();
    let seen = seen(&server, &session.token).unwrap();
    assert!(seen.caller.in_org(guildhall::policy::OrgAct::ManageMembers).is_ok(), "its first admin");
    assert!(matches!(found("Globex"), Err(Error::NotFound("setup link"))));
    assert!(!server.app.db.read(server.now(), first_run::is_open).unwrap());
    let sql = server.sql();
    let events = "SELECT group_concat(event_type) FROM (SELECT event_type FROM audit ORDER BY id)";
    let events: String = sql.query_row(events, [], |row| row.get(0)).unwrap();
    assert_eq!(events, "ORGANIZATION_CREATED,USER_JOINED_ORGANIZATION");
}

#[test]
fn the_setup_link_ends_after_30_minutes() {
    let server = TestServer::empty();
    let token = server.app.first_run.begin(server.now()).unwrap();
    wait(&server, 30 * 60 - 1);
    assert!(server.app.first_run.open(token.reveal(), server.now.get()).is_some());
    wait(&server, 1);
    assert!(server.app.first_run.open(token.reveal(), server.now.get()).is_none());
    assert!(server.app.first_run.begin(server.now()).is_none(), "a restart makes another");
}

#[test]
fn without_a_start_there_is_no_setup_link() {
    let server = TestServer::empty();
    assert!(server.app.first_run.open("", server.now.get()).is_none());
}
