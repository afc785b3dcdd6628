//! Do invitations and links arrive by mail, what do they say, and what is left of them?

use guildhall::api::sign_in::mail_forgotten;
use guildhall::domain::BaseUrl;
use guildhall::jobs::mail::send_due;

use super::smtp::{MailServer, Received, mailer};
use super::*;

/// A server that sends its mails to this mail server.
fn with_mail(mail: &MailServer) -> TestServer {
    let server = TestServer::empty();
    server.app.mailer.set(mailer(mail.port)).unwrap();
    server
}

/// One look of the worker.
fn send(server: &TestServer) {
    send_due(&server.app.db, server.app.mailer.get().unwrap(), &|| server.now()).unwrap();
}

#[track_caller]
fn only(mail: &MailServer) -> Received {
    let received = mail.received();
    assert_eq!(received.len(), 1, "{received:?}");
    received[0].clone()
}

/// The token of the one link of a mail.
#[track_caller]
fn link(received: &Received) -> String {
    let text = received.text.replace("=3D", "=");
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
    assert_eq!(links.len(), 1, "{text}");
    links[0].rsplit('/').next().unwrap().to_owned()
}

fn invite(acme: &Org, email: &str) -> Value {
    acme.post(&acme.founder, "/v1/invitations", json!({ "email": email, "role": "MEMBER", "teams": [] })).ok()
}

fn shown(acme: &Org, id: &str) -> Value {
    let listed = acme.get(&acme.founder, "/v1/invitations").ok();
    listed["items"].as_array().unwrap().iter().find(|invitation| invitation["id"] == id).unwrap().clone()
}

fn sealed(server: &TestServer) -> i64 {
    server.sql().query_row("SELECT count(*) FROM mail WHERE sealed IS NOT NULL", [], |row| row.get(0)).unwrap()
}

#[test]
fn an_invitation_is_sent_after_it_is_made_and_its_link_works() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    let made = invite(&acme, "Mia@People.example");
    assert_eq!((&made["mail"], &made["accept_url"]), (&json!("QUEUED"), &Value::Null), "only the mail has the link");
    assert!(mail.received().is_empty(), "nothing leaves before the commit");
    send(&server);
    let received = only(&mail);
    assert_eq!(received.to.len(), 1);
    assert!(received.to[0].contains("<mia@people.example>"), "it goes to the stored address: {received:?}");
    assert!(received.from.contains("<guildhall@acme.example>"), "{received:?}");
    for expected in ["Subject: Invitation to acme", "To: mia@people.example", "founder@acme.example", "text/plain"] {
        assert!(received.text.contains(expected), "{expected}: {}", received.text);
    }
    let token = link(&received);
    assert_eq!(shown(&acme, made["id"].as_str().unwrap())["mail"], "SENT");
    assert_eq!(sealed(&server), 0, "the link is deleted once it is sent");
    send(&server);
    only(&mail);
    accept(&server, None, &token, json!({ "name": "Mia", "password": PASSWORD })).ok();
}

#[test]
fn the_link_of_a_mail_cannot_be_read_in_the_database() {
    let mail = MailServer::start(&["451 4.2.1 later"]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    invite(&acme, "mia@people.example");
    let files = || {
        let read = |name: &str| std::fs::read(server.data().join(name)).unwrap_or_default();
        [read("guildhall.db"), read("guildhall.db-wal")].concat()
    };
    let before = files();
    send(&server);
    let waiting = files();
    wait(&server, 60);
    send(&server);
    let token = link(&only(&mail));
    for bytes in [before, waiting, files()] {
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

#[test]
fn a_mail_that_is_refused_for_now_is_tried_again_after_a_pause() {
    let mail = MailServer::start(&["451 4.2.1 the mailbox is busy", "451 4.2.1 still busy"]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    let made = invite(&acme, "mia@people.example");
    let id = made["id"].as_str().unwrap();
    send(&server);
    let waiting = shown(&acme, id);
    assert_eq!(waiting["mail"], "QUEUED");
    assert!(waiting["mail_problem"].as_str().unwrap().contains("the mailbox is busy"), "{waiting}");
    wait(&server, 29);
    send(&server);
    assert!(!mail.has_said_all(), "not before 30 seconds");
    wait(&server, 1);
    send(&server);
    assert!(mail.has_said_all());
    wait(&server, 59);
    send(&server);
    assert!(mail.received().is_empty(), "the second pause is twice as long");
    wait(&server, 1);
    send(&server);
    only(&mail);
    let sent = shown(&acme, id);
    assert_eq!((&sent["mail"], &sent["mail_problem"]), (&json!("SENT"), &Value::Null));
}

#[test]
fn a_mail_that_is_refused_for_good_is_given_up_with_the_servers_words() {
    let mail = MailServer::start(&["550 5.1.1 no such user here"]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    let made = invite(&acme, "mia@people.example");
    wait(&server, 1); // the one that waits for longer is sent first
    let other = invite(&acme, "max@people.example");
    send(&server);
    let refused = shown(&acme, made["id"].as_str().unwrap());
    assert_eq!(refused["mail"], "FAILED");
    assert!(refused["mail_problem"].as_str().unwrap().contains("no such user here"), "{refused}");
    assert_eq!(shown(&acme, other["id"].as_str().unwrap())["mail"], "SENT", "each is judged by itself");
    assert_eq!(sealed(&server), 0);
    wait(&server, DAY);
    send(&server);
    only(&mail);

    // It can be sent again, with a new link.
    let again =
        acme.post(&acme.founder, &format!("/v1/invitations/{}/resend", made["id"].as_str().unwrap()), json!({}));
    assert_eq!(again.ok()["mail"], "QUEUED");
    send(&server);
    assert_eq!(mail.received().len(), 2);
}

#[test]
fn a_mail_server_that_is_not_there_is_tried_twelve_times() {
    let mail = MailServer::start(&[]);
    let server = TestServer::empty();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    server.app.mailer.set(mailer(closed)).unwrap();
    let acme = Org::new(&server, "acme", Teams::On);
    let made = invite(&acme, "mia@people.example");
    for _ in 0..12 {
        assert_eq!(shown(&acme, made["id"].as_str().unwrap())["mail"], "QUEUED");
        send(&server);
        wait(&server, HOUR);
    }
    let failed = shown(&acme, made["id"].as_str().unwrap());
    assert_eq!(failed["mail"], "FAILED");
    assert!(failed["mail_problem"].as_str().is_some_and(|why| !why.is_empty()), "{failed}");
    assert_eq!(sealed(&server), 0);
    assert!(mail.received().is_empty());
}

#[test]
fn a_revoked_invitation_is_not_sent_and_a_resent_one_only_with_its_new_link() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    let revoked = invite(&acme, "mia@people.example");
    acme.delete(&acme.founder, &format!("/v1/invitations/{}", revoked["id"].as_str().unwrap())).ok();
    let resent = invite(&acme, "max@people.example");
    acme.post(&acme.founder, &format!("/v1/invitations/{}/resend", resent["id"].as_str().unwrap()), json!({})).ok();
    send(&server);
    let received = only(&mail);
    assert!(received.to[0].contains("max@"), "{received:?}");
    accept(&server, None, &link(&received), json!({ "name": "Max", "password": PASSWORD })).ok();
    assert_eq!(sealed(&server), 0);
}

#[test]
fn a_name_puts_nothing_into_the_head_of_a_mail_and_no_second_link_into_its_text() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let name = "Ä & Co: http://evil.example";
    let founded = server.send_as_operator(
        "POST",
        "/v1/operator/organizations",
        json!({ "name": name, "email": "founder@acme.example", "user_name": "F", "teams_enabled": true }),
    );
    let key = text(&founded.ok()["api_key"]);
    let body = json!({ "email": "mia@people.example", "role": "MEMBER", "teams": [] });
    server.send(Some(&key), "POST", "/v1/invitations", Some(body)).ok();
    let with_break = json!({ "email": "mia@people.example\r\nBcc: x@evil.example", "role": "MEMBER", "teams": [] });
    server.send(Some(&key), "POST", "/v1/invitations", Some(with_break)).refused(400, "VALIDATION_ERROR");
    send(&server);
    let received = only(&mail);
    let head = received.text.split("\n\n").next().unwrap();
    assert_eq!(head.matches("Subject: ").count(), 1);
    assert!(!head.contains("Bcc"), "{head}");
    assert!(!received.text.contains("http://evil"), "{}", received.text);
    assert_eq!(received.text.matches("://").count(), 1, "{}", received.text);
}

#[test]
fn an_admin_s_link_for_a_new_password_goes_to_the_person_alone() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    let max = acme.person_by_mail(&mail, "max");
    let made = acme.post(&acme.founder, &format!("/v1/users/{max}/reset"), json!({})).ok();
    assert_eq!((&made["mail"], &made["reset_url"]), (&json!("QUEUED"), &Value::Null));
    send(&server);
    let received = mail.received().pop().unwrap();
    assert!(received.to[0].contains("max@"), "{received:?}");
    let body = json!({ "token": link(&received), "password": "another horse" });
    server.send(None, "POST", "/v1/users/reset", Some(body)).ok();
    assert!(matches!(attempt(&server, "max", "another horse", "203.0.113.1"), Ok(Answer::SignedIn(_))));
}

impl Org<'_> {
    /// A person who has accepted an invitation that came by mail.
    fn person_by_mail(&self, mail: &MailServer, name: &str) -> String {
        invite(self, &address(name));
        send(self.server);
        let received = mail.received().pop().unwrap();
        let body = json!({ "name": name, "password": PASSWORD });
        text(&accept(self.server, None, &link(&received), body).ok()["user"]["user_id"])
    }
}

#[test]
fn who_has_forgotten_the_password_gets_one_mail_and_strangers_none() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    acme.person_by_mail(&mail, "max");
    let before = mail.received().len();
    let url = BaseUrl::parse("https://guildhall.example.com").unwrap();
    let ask = |name: &str, peer: &str| {
        let email = Email::parse(&address(name)).unwrap();
        mail_forgotten(&server.app, email, &url, Some(peer.parse().unwrap()), server.now())
    };
    for name in ["max", "max", "nobody"] {
        ask(name, "203.0.113.1").unwrap();
    }
    write(&server, |_| Ok(())).unwrap(); // what was queued before it is written now
    send(&server);
    let received = mail.received().split_off(before);
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(received[0].text.contains("https://guildhall.example.com/reset/"));
    let body = json!({ "token": link(&received[0]), "password": "another horse" });
    server.send(None, "POST", "/v1/users/reset", Some(body)).ok();
    let more = (0..20).filter(|_| ask("max", "203.0.113.1").is_ok()).count();
    assert_eq!(more, 7, "ten in all");
    assert!(ask("max", "203.0.113.2").is_ok());
}

/// A person's own request must not end a link that the operator gave them.
#[test]
fn a_forgotten_password_ends_no_link_of_the_operator() {
    let mail = MailServer::start(&[]);
    let server = with_mail(&mail);
    let acme = Org::new(&server, "acme", Teams::On);
    acme.person_by_mail(&mail, "max");
    let made =
        crate::vocabulary::operate(&server, "/v1/operator/users/password_resets", json!({ "email": address("max") }));
    let token = text(&made["reset_url"]).rsplit('/').next().unwrap().to_owned();
    let url = BaseUrl::parse("https://guildhall.example.com").unwrap();
    mail_forgotten(&server.app, Email::parse(&address("max")).unwrap(), &url, None, server.now()).unwrap();
    write(&server, |_| Ok(())).unwrap();
    let body = json!({ "token": token, "password": "another horse" });
    server.send(None, "POST", "/v1/users/reset", Some(body)).ok();
}
