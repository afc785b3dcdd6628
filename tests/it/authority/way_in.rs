//! Does an organization always keep a password or a key with which one of its admins has access?

use super::*;

fn of(key: &Someone) -> String {
    format!("/v1/api_keys/{}", prefix(&key.key))
}

#[test]
fn the_last_key_of_the_last_admin_is_not_revoked() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let why = acme.delete(&acme.founder, &of(&acme.founder)).refused(409, "CONFLICT");
    assert!(text(&why["message"]).contains("admin"), "{why}");
    assert!(works(&server, &acme.founder));
    let spare = make(&acme, &acme.founder, json!({ "type": "PERSONAL" }));
    acme.delete(&acme.founder, &of(&acme.founder)).ok();
    acme.delete(&spare, &of(&spare)).refused(409, "CONFLICT");
}

#[test]
fn a_key_that_ends_is_no_lasting_way_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let ending = make(&acme, &acme.founder, json!({ "type": "PERSONAL", "expires_at": in_seconds(&server, DAY) }));
    let why = acme.delete(&ending, &of(&acme.founder)).refused(409, "CONFLICT");
    assert!(text(&why["message"]).contains("does not end"), "{why}");
    acme.delete(&acme.founder, &of(&ending)).ok();

    // With a rotation the new key lasts as the old one did.
    let rotated = acme.post(&acme.founder, &format!("{}/rotate", of(&acme.founder)), json!({})).ok();
    let founder = with_key(&rotated);
    acme.delete(&founder, &of(&founder)).refused(409, "CONFLICT");
    let overlapping = acme.post(&founder, &format!("{}/rotate", of(&founder)), json!({ "overlap_seconds": HOUR })).ok();
    let newest = with_key(&overlapping);
    acme.delete(&founder, &of(&newest)).refused(409, "CONFLICT");
    acme.delete(&newest, &of(&founder)).ok();
}

#[test]
fn another_admin_without_a_key_and_a_password_is_no_way_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (_, link) = acme.invite("mia@people.example", "ADMIN", json!([]));
    let joined = accept(&server, None, &link, json!({ "name": "Mia", "password": "correct horse" })).ok();
    server.sql().execute("UPDATE user SET password_hash = NULL", []).unwrap();
    let founder = format!("/v1/users/{}", acme.founder.id);
    acme.delete(&acme.founder, &of(&acme.founder)).refused(409, "CONFLICT");
    acme.delete(&acme.founder, &founder).refused(409, "CONFLICT");
    acme.patch(&acme.founder, &founder, json!({ "role": "MEMBER" })).refused(409, "CONFLICT");
    acme.delete(&acme.founder, &format!("/v1/users/{}", text(&joined["user"]["user_id"]))).ok();
}

/// They sign in with it and make a key.
#[test]
fn another_admin_with_a_password_is_a_way_in() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let (_, link) = acme.invite("mia@people.example", "ADMIN", json!([]));
    let joined = accept(&server, None, &link, json!({ "name": "Mia", "password": "correct horse" })).ok();
    let mia = format!("/v1/users/{}", text(&joined["user"]["user_id"]));
    let spare = make(&acme, &acme.founder, json!({ "type": "PERSONAL", "expires_at": in_seconds(&server, DAY) }));
    acme.delete(&spare, &of(&acme.founder)).ok();
    acme.patch(&spare, &mia, json!({ "role": "MEMBER" })).refused(409, "CONFLICT");
    acme.delete(&spare, &mia).refused(409, "CONFLICT");
}

#[test]
fn where_another_admin_has_a_key_nothing_is_in_the_way() {
    let server = TestServer::empty();
    let acme = Org::new(&server, "acme", Teams::On);
    let grace = acme.person("grace", "ADMIN", json!([]));
    let max = acme.person("max", "MEMBER", json!([]));
    acme.delete(&max, &of(&max)).ok();
    acme.delete(&grace, &of(&acme.founder)).ok();
    acme.delete(&grace, &of(&grace)).refused(409, "CONFLICT");
    acme.delete(&grace, &format!("/v1/users/{}", acme.founder.id)).ok();
}
