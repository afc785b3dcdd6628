//! Does a second factor hold: no sign-in without it, no code twice, and a way back?

use guildhall::api::sign_in::confirm;
use guildhall::db::second_factor;
use guildhall::db::sessions::Ticket;
use guildhall::domain::second_factor::{AuthenticatorSecret, Code};
use guildhall::policy::{InOrg, Person};

use super::*;

fn with_person<T: Send + 'static>(
    server: &TestServer,
    session: &NewSession,
    work: impl FnOnce(&Tx, &InOrg, &Person) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let seen = seen(server, &session.token).unwrap();
    write(server, move |tx| {
        let (org, person) = seen.caller.as_member()?;
        work(tx, &org, person)
    })
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

fn shown(secret: &AuthenticatorSecret, server: &TestServer) -> String {
    secret.code_at(server.now.get())
}

/// Enrols and confirms; gives the secret and the recovery codes.
fn enrolled(server: &TestServer, session: &NewSession) -> (AuthenticatorSecret, Vec<String>) {
    let secret = with_person(server, session, |tx, _, person| second_factor::enrol(tx, person)).unwrap();
    let first = code(&shown(&secret, server));
    let codes = with_person(server, session, move |tx, org, person| second_factor::confirm(tx, org, person, &first));
    let codes = codes.unwrap().expect("the code is right");
    (secret, codes.iter().map(|code| code.reveal()).collect())
}

#[track_caller]
fn ticket(server: &TestServer, password: &str) -> Ticket {
    match attempt(server, "mia", password, "203.0.113.1") {
        Ok(Answer::CodeNeeded(ticket)) => ticket,
        other => panic!("no code is asked for: {other:?}"),
    }
}

fn give(server: &TestServer, ticket: &Ticket, given: &str) -> Result<Answer, Error> {
    server.block_on(confirm(&server.app, ticket.clone(), code(given), place("203.0.113.1"), server.now()))
}

fn is_in(answer: &Result<Answer, Error>) -> bool {
    matches!(answer, Ok(Answer::SignedIn(_)))
}

fn is_wrong(answer: &Result<Answer, Error>) -> bool {
    matches!(answer, Ok(Answer::Wrong))
}

#[test]
fn codes_are_those_of_rfc_6238() {
    let secret = AuthenticatorSecret::of(b"12345678901234567890").unwrap();
    for (seconds, shown) in
        [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
    {
        assert_eq!(secret.code_at(guildhall::domain::Time(seconds * 1000)), shown);
    }
    assert!(
        secret
            .to_uri("mia+1@people.example")
            .starts_with("otpauth://totp/Guildhall:mia%2B1%40people%2Eexample?secret=GEZDGNBVGY3TQOJQ")
    );
    assert!(!format!("{secret:?}").contains("GEZ"));
}

#[test]
fn who_has_an_authenticator_needs_its_code_to_sign_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let before = acme.last_entry();
    let secret = with_person(&server, &session, |tx, _, person| second_factor::enrol(tx, person)).unwrap();
    signed_in(&server, "mia"); // it counts only once it has shown a code
    let first = shown(&secret, &server);
    let wrong = code(if first == "000000" { "000001" } else { "000000" });
    let refused =
        with_person(&server, &session, move |tx, org, person| second_factor::confirm(tx, org, person, &wrong));
    assert!(refused.unwrap().is_none());
    let (again, right) =
        (with_person(&server, &session, |tx, _, person| second_factor::enrolment(tx, person)), code(&first));
    assert_eq!(again.unwrap().unwrap().to_text(), secret.to_text(), "the page may be shown again");
    let codes = with_person(&server, &session, move |tx, org, person| second_factor::confirm(tx, org, person, &right));
    assert_eq!(codes.unwrap().unwrap().len(), 10);
    assert_eq!(acme.events_since(before), ["USER_UPDATED"]);

    let with = ticket(&server, PASSWORD);
    assert!(is_wrong(&give(&server, &with, &first)), "the code that confirmed it is used up");
    wait(&server, 30);
    let second = shown(&secret, &server);
    assert!(is_in(&give(&server, &with, &second)));
    assert!(is_wrong(&give(&server, &with, &second)), "no code is accepted twice");
    wait(&server, 30);
    let spaced = shown(&secret, &server);
    assert!(is_in(&give(&server, &with, &format!("{} {}", &spaced[..3], &spaced[3..]))));
}

#[test]
fn a_ticket_ends_after_5_minutes_and_with_the_password() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let (secret, _) = enrolled(&server, &signed_in(&server, "mia"));
    let late = ticket(&server, PASSWORD);
    wait(&server, 300);
    assert!(is_wrong(&give(&server, &late, &shown(&secret, &server))));
    let with = ticket(&server, PASSWORD);
    for strange in ["", "zz", "00", &with.as_str()[2..], &"0".repeat(5000)] {
        assert!(is_wrong(&give(&server, &Ticket::of(strange), &shown(&secret, &server))), "{strange}");
    }
    let link = acme.post(&acme.founder, &format!("/v1/users/{}/reset", mia.id), json!({})).ok();
    let token = text(&link["reset_url"]).rsplit('/').next().unwrap().to_owned();
    server.send(None, "POST", "/v1/users/reset", Some(json!({ "token": token, "password": "another horse" }))).ok();
    assert!(is_wrong(&give(&server, &with, &shown(&secret, &server))));
    assert!(
        is_in(&give(&server, &ticket(&server, "another horse"), &shown(&secret, &server))),
        "an admin's link leaves it on"
    );
}

#[test]
fn recovery_codes_work_once_each() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    let (_, codes) = enrolled(&server, &session);
    assert!(is_in(&give(&server, &ticket(&server, PASSWORD), &codes[0])));
    assert!(is_wrong(&give(&server, &ticket(&server, PASSWORD), &codes[0])));
    assert!(is_in(&give(&server, &ticket(&server, PASSWORD), &codes[9].to_uppercase().replace('-', " "))));
    let left = with_person(&server, &session, |tx, _, person| second_factor::recovery_codes_left(tx, person));
    assert_eq!(left.unwrap(), 8);
    let contents = crate::org::contents(&server);
    assert!(codes.iter().all(|code| !contents.contains(code) && !contents.contains(&code.replace('-', ""))));
}

#[test]
fn codes_cannot_be_guessed() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let (secret, _) = enrolled(&server, &signed_in(&server, "mia"));
    let with = ticket(&server, PASSWORD);
    wait(&server, 60);
    let right = shown(&secret, &server);
    let guesses = (0..1_000_000).map(|guess| format!("{guess:06}")).filter(|guess| *guess != right);
    let tried = guesses.take(40).filter(|guess| is_wrong(&give(&server, &with, guess))).count();
    assert_eq!(tried, 20);
    assert!(matches!(give(&server, &with, &right), Err(Error::RateLimited { .. })));
    wait(&server, 15 * 60);
    let with = ticket(&server, PASSWORD);
    assert!(is_in(&give(&server, &with, &shown(&secret, &server))));
}

#[test]
fn switching_it_off_wants_the_password() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let session = signed_in(&server, "mia");
    enrolled(&server, &session);
    let again = with_person(&server, &session, |tx, _, person| second_factor::enrol(tx, person));
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    let disable = |verified: String| {
        with_person(&server, &session, move |tx, org, person| second_factor::disable(tx, org, person, &verified))
    };
    assert!(!disable("$argon2id$other".to_owned()).unwrap());
    ticket(&server, PASSWORD);
    let email = Email::parse(&address("mia")).unwrap();
    let stored = server.app.db.read(server.now(), |tx| sessions::password_hash(tx, &email)).unwrap().unwrap();
    assert!(disable(stored).unwrap());
    signed_in(&server, "mia");
    let left: i64 = server.sql().query_row("SELECT count(*) FROM recovery_code", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn the_operators_link_removes_a_lost_authenticator() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    enrolled(&server, &signed_in(&server, "mia"));
    let body = json!({ "email": address("mia") });
    let made = crate::vocabulary::operate(&server, "/v1/operator/users/password_resets", body);
    let token = text(&made["reset_url"]).rsplit('/').next().unwrap().to_owned();
    server.send(None, "POST", "/v1/users/reset", Some(json!({ "token": token, "password": PASSWORD }))).ok();
    signed_in(&server, "mia");
}

#[test]
fn accepting_an_invitation_by_password_does_not_get_around_it() {
    let server = TestServer::empty();
    let (acme, globex) = (Org::new(&server, "acme", Teams::On), Org::new(&server, "globex", Teams::On));
    person(&acme, "mia", "MEMBER");
    enrolled(&server, &signed_in(&server, "mia"));
    let (_, link) = globex.invite(&address("mia"), "MEMBER", json!([]));
    let email = Email::parse(&address("mia")).unwrap();
    let stored = server.app.db.read(server.now(), |tx| sessions::password_hash(tx, &email)).unwrap().unwrap();
    let begun = write(&server, move |tx| {
        use guildhall::db::invitations::{Identity, Joiner, accept, open};
        let offer = open(tx, &link)?;
        let Identity::Proven(proven) = offer.identify(None, Some(&stored))? else { panic!("it was verified") };
        let accepted = accept(tx, &offer, Joiner::Existing(proven), None)?;
        sessions::begin_accepted(tx, &accepted, &place("203.0.113.1"))
    });
    assert!(begun.unwrap().is_none());
}
