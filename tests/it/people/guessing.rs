//! Can a password be guessed, and can somebody be locked out?

use guildhall::api::guesses::{Guess, Guesses};
use guildhall::domain::Time;

use super::*;
use crate::test_server::BEGIN;

fn limited(answer: &Result<Answer, Error>) -> bool {
    matches!(answer, Err(Error::RateLimited { .. }))
}

#[test]
fn a_thousand_wrong_passwords_do_not_stop_the_right_one_from_another_address() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    let attacker = "198.51.100.7";
    let limits = (0..1000).filter(|_| limited(&attempt(&server, "mia", "wrong horse", attacker))).count();
    assert_eq!(limits, 990, "ten are tried, the others are refused");
    assert!(
        limited(&attempt(&server, "mia", PASSWORD, attacker)),
        "who guesses does not even get in with the right one"
    );
    assert!(matches!(attempt(&server, "mia", PASSWORD, "203.0.113.1"), Ok(Answer::SignedIn(_))));
    wait(&server, 15 * 60);
    assert!(matches!(attempt(&server, "mia", PASSWORD, attacker), Ok(Answer::SignedIn(_))));
}

#[test]
fn failed_attempts_are_recorded_each_time_that_they_are_ten_times_as_many() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let mia = person(&acme, "mia", "MEMBER");
    let before = acme.last_entry();
    for peer in 1..=3 {
        for _ in 0..10 {
            attempt(&server, "mia", "wrong horse", &format!("198.51.100.{peer}")).unwrap();
        }
    }
    attempt(&server, "nobody", "wrong horse", "198.51.100.9").unwrap();
    write(&server, |_| Ok(())).unwrap(); // what was queued before it is written now
    let audit = acme.audit_since(before);
    let attempts: Vec<i64> = audit.iter().map(|(_, data)| data["attempts"].as_i64().unwrap()).collect();
    assert_eq!(attempts, [1, 10]);
    for (event, data) in &audit {
        assert_eq!((event.as_str(), &data["user_id"]), ("SIGN_IN_FAILED", &json!(mia.id)));
        assert!(!data.to_string().contains("horse"), "{data}");
    }
}

fn count(guesses: &Guesses, account: &str, peer: &str, now: Time) -> bool {
    guesses.count(&Guess::new(account.to_owned(), Some(peer.parse().unwrap())), now).is_ok()
}

#[test]
fn an_account_under_attack_from_everywhere_stays_open_to_its_owner() {
    let guesses = Guesses::default();
    let mut tried = 0;
    for peer in 0..1000 {
        let peer = format!("10.0.{}.{}", peer / 250, peer % 250);
        tried += (0..10).filter(|_| count(&guesses, "mia", &peer, BEGIN)).count();
    }
    assert_eq!(tried, 100 + 990 * 3, "each address has three tries once a hundred have failed");
    assert!(count(&guesses, "mia", "203.0.113.1", BEGIN));
}

#[test]
fn one_peer_guesses_at_no_more_than_a_hundred_accounts() {
    let guesses = Guesses::default();
    let tried = (0..200).filter(|account| count(&guesses, &format!("{account}"), "10.0.0.1", BEGIN)).count();
    assert_eq!(tried, 100);
    assert!(count(&guesses, "mia", "10.0.0.2", BEGIN));
    assert!(count(&guesses, "mia", "10.0.0.1", BEGIN.plus_seconds(15 * 60)));
}

#[test]
fn all_addresses_of_one_ipv6_subscriber_are_one_peer() {
    let guesses = Guesses::default();
    let tried = (0..50).filter(|at| count(&guesses, "mia", &format!("2001:db8::{at:x}"), BEGIN)).count();
    assert_eq!(tried, 10);
    assert!(count(&guesses, "mia", "2001:db8:0:1::1", BEGIN));
}

#[test]
fn signing_in_rightly_counts_against_nobody() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    person(&acme, "mia", "MEMBER");
    for _ in 0..15 {
        signed_in(&server, "mia");
    }
}
